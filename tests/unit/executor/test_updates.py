"""What a frame of trade_updates says, whether it leads on, and whether the stream is trusted."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.wire import WireError, WireOrder
from services.executor.lifecycle import TRANSITIONS, OrderState
from services.executor.orders import OrderRow
from services.executor.submit import change_from
from services.executor.updates import (
    BACKOFF_SECONDS,
    GRACE_SECONDS,
    Said,
    Trust,
    after_connect,
    after_deaf,
    after_loss,
    after_polled_news,
    after_update,
    heard_in,
    is_deaf,
    leads_on,
    poll_seconds,
    stream_url,
)
from tests.unit.executor.orders_kit import WALL, approved

ORDER = b'{"id":"o1","client_order_id":"acl-1","status":"new","qty":"1","filled_qty":"0"}'


def row(state: OrderState = OrderState.ACCEPTED, filled: int = 0) -> OrderRow:
    return OrderRow(
        client_order_id="acl-1",
        state=state,
        approval=approved(),
        revision=1,
        published_revision=1,
        order_id="o1",
        filled_qty=Decimal(filled),
    )


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (b'{"stream":"authorization","data":{"status":"authorized"}}', Said.AUTHORIZED),
        (b'{"stream":"authorization","data":{"status":"unauthorized"}}', Said.REFUSED),
        (b'{"stream":"listening","data":{"streams":["trade_updates"]}}', Said.LISTENING),
        (b'{"stream":"listening","data":{"streams":[]}}', Said.REFUSED),
        (b'{"stream":"trade_updates","data":{"event":"new","order":' + ORDER + b"}}", Said.UPDATE),
        (b'{"stream":"trade_updates","data":{"event":"new"}}', Said.NOTHING),
        (b'{"stream":"news"}', Said.NOTHING),
    ],
)
def test_what_a_frame_says(frame: bytes, said: Said) -> None:
    assert heard_in(frame).said is said


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"stream":' + b"[" * 5000,
        b'{"stream":"trade_updates","data":{"order":' + ORDER.replace(b'"0"', b'"NaN"') + b"}}",
    ],
)
def test_a_frame_that_is_none(frame: bytes) -> None:
    with pytest.raises(WireError):
        heard_in(frame)


def told(status: str, filled: int = 0, order_id: str = "o1") -> WireOrder:
    order = {"id": order_id, "client_order_id": "acl-1", "status": status, "qty": "3"}
    return msgspec.convert(order | {"filled_qty": str(filled)}, WireOrder, strict=False)


def test_what_is_told_late_or_twice_leads_nowhere() -> None:
    filled = row(OrderState.FILLED, 3)
    assert not leads_on(filled, told("new"))
    assert not leads_on(filled, told("partially_filled", 2))
    assert not leads_on(row(OrderState.PARTIALLY_FILLED, 2), told("partially_filled", 1))
    assert leads_on(row(OrderState.PARTIALLY_FILLED, 1), told("partially_filled", 2))
    assert not leads_on(row(), told("filled", 3, order_id="another"))


@given(
    state=st.sampled_from(OrderState),
    filled=st.integers(0, 3),
    status=st.sampled_from(["new", "partially_filled", "filled", "canceled", "held", "odd"]),
    told_filled=st.integers(0, 3),
)
def test_what_leads_on_is_in_the_table_and_unfills_nothing(
    state: OrderState, filled: int, status: str, told_filled: int
) -> None:
    before, order = row(state, filled), told(status, told_filled)
    if leads_on(before, order):
        target = change_from(order, WALL).state
        assert target is state or target in TRANSITIONS[state]
        assert told_filled >= filled


def test_a_stream_that_is_late_is_forgiven_and_one_that_is_deaf_is_not() -> None:
    trust = after_polled_news(after_connect(Trust(), 0.0), "acl-1", 100.0)
    assert not trust.healthy
    assert not is_deaf(trust, 100.0 + GRACE_SECONDS)
    assert after_update(trust, "acl-1").healthy
    assert not after_update(trust, "acl-2").healthy
    assert is_deaf(trust, 100.1 + GRACE_SECONDS)


def test_what_happened_before_it_was_open_is_not_held_against_it() -> None:
    trust = after_connect(Trust(), 100.0)
    assert after_polled_news(trust, "acl-1", 100.0 + GRACE_SECONDS / 2).healthy
    assert not after_polled_news(trust, "acl-1", 100.0 + GRACE_SECONDS).healthy


def test_after_being_deaf_it_is_trusted_when_it_has_told_something() -> None:
    trust = after_connect(after_loss(after_deaf(after_connect(Trust(), 0.0))), 50.0)
    assert not trust.healthy
    assert after_polled_news(trust, "acl-1", 99.0) == trust, "nothing is expected of it"
    assert after_update(trust, "acl-1").healthy


def test_connections_that_tell_nothing_come_ever_slower() -> None:
    trust, pauses = Trust(), []
    for _ in range(8):
        trust = after_loss(trust)
        pauses.append(trust.pause_seconds)
    assert pauses == [*BACKOFF_SECONDS, BACKOFF_SECONDS[-1], BACKOFF_SECONDS[-1]]
    assert after_update(trust, "acl-1").pause_seconds == 0.0


def test_polling_is_seldom_only_while_the_stream_is_trusted_and_nothing_in_doubt() -> None:
    good = after_connect(Trust(), 0.0)

    def pause(trust: Trust, *, in_doubt: bool) -> float:
        return poll_seconds(trust, in_doubt=in_doubt, often=5, seldom=30)

    assert pause(good, in_doubt=False) == 30
    assert pause(good, in_doubt=True) == pause(Trust(), in_doubt=False) == 5


def test_the_streams_address() -> None:
    assert stream_url("http://127.0.0.1:9/", live=False) == "ws://127.0.0.1:9/stream"
    assert stream_url(None, live=True) == "wss://api.alpaca.markets/stream"
    assert stream_url(None, live=False) == "wss://paper-api.alpaca.markets/stream"
