"""Whatever JSON comes in: an order request or a refusal, nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exchange.engine.order_requests import parse_order
from services.exchange.engine.orders import OrderRequest, OrderType
from services.exchange.engine.refusals import Refusal

FIELDS = [
    "symbol", "qty", "side", "type", "time_in_force", "limit_price", "stop_price", "trail_price",
    "trail_percent", "client_order_id", "position_intent", "notional", "order_class", "legs",
    "extended_hours", "take_profit",
]  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**4000)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["AAPL", "buy", "limit", "day", "1", "NaN", "Infinity", "1e30", "-0", "٣"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
GOOD = {"symbol": "KO", "qty": "1", "side": "buy", "type": "limit", "time_in_force": "day"}
GOOD |= {"limit_price": 50.25}


def read(body: Any) -> OrderRequest | Refusal:
    try:
        return parse_order(body)
    except Refusal as refusal:
        return refusal


@given(JSON)
def test_any_json_is_refused_unless_it_is_an_order(body: Any) -> None:
    with pytest.raises(Refusal):
        parse_order(body)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_an_order_with_odd_fields_is_read_or_refused(odd: dict[str, Any]) -> None:
    answer = read(GOOD | odd)
    if isinstance(answer, OrderRequest):
        assert 0 < answer.qty <= 1_000_000
    else:
        assert answer.status in (400, 422)
        assert len(answer.message) < 300


@given(st.decimals(min_value=Decimal("0.01"), max_value=1000, places=2))
def test_prices_are_read_alike_from_numbers_and_strings(price: Decimal) -> None:
    as_number = parse_order(GOOD | {"limit_price": float(price)})
    as_text = parse_order(GOOD | {"limit_price": str(price)})
    assert as_number.limit_price == as_text.limit_price == price
    assert as_number.type is OrderType.LIMIT
