"""From the broker's activities to the ledger: each event once, under its own name."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common import wire
from libs.common.contracts import LedgerEntered, LedgerEvent
from services.executor.ledger import OPTION_AND_CASH_TYPES, entry_of
from tests.unit.executor.orders_kit import PUT, WALL

CALL = "KO240315C00060000"


def activity(**fields: Any) -> wire.WireActivity:
    """As it comes over the wire."""
    raw = {"id": "20240315::1", "activity_type": "OPASN", "symbol": PUT} | fields
    found = wire.decode(msgspec.json.encode(raw), wire.WireActivity, "activity")
    assert isinstance(found, wire.WireActivity)
    return found


def entry(**fields: Any) -> LedgerEntered:
    made = entry_of(activity(**fields), WALL)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("kind", "symbol", "event"),
    [
        ("OPASN", PUT, LedgerEvent.ASSIGNED),
        ("OPASN", CALL, LedgerEvent.CALLED_AWAY),
        ("OPASN", "KO", LedgerEvent.ASSIGNED),
        ("OPEXC", CALL, LedgerEvent.EXERCISED),
        ("OPEXP", PUT, LedgerEvent.EXPIRED),
        ("OPTRD", "KO", LedgerEvent.OTHER),
        ("DIV", "KO", LedgerEvent.DIVIDEND),
        ("SOMETHING_NEW", "KO", LedgerEvent.OTHER),
    ],
)
def test_each_activity_has_its_event(kind: str, symbol: str, event: LedgerEvent) -> None:
    made = entry(activity_type=kind, symbol=symbol)
    assert (made.event, made.activity_type, made.underlying) == (event, kind, "KO")
    assert made.subject == f"ledger.{event.value}.KO"


def test_an_assignment_is_two_rows_and_one_event() -> None:
    rows = [
        entry(id="a::1", activity_type="OPASN", qty="1", price="57.5", net_amount="0"),
        entry(id="a::2", activity_type="OPTRD", symbol="KO", qty="100", net_amount="-5750"),
    ]
    assert [row.event for row in rows] == [LedgerEvent.ASSIGNED, LedgerEvent.OTHER]
    assert sum(row.net_amount or 0 for row in rows) == -5750
    assert [row.message_id for row in rows] == ["ledger-a::1", "ledger-a::2"]


def test_fills_and_rows_about_no_symbol_are_not_ledger_entries() -> None:
    assert entry_of(activity(activity_type="FILL"), WALL) is None
    assert entry_of(activity(activity_type="DIV", symbol=None), WALL) is None
    assert "FILL" not in OPTION_AND_CASH_TYPES


def test_numbers_come_as_texts_and_missing_ones_as_nothing() -> None:
    made = entry(qty="-2", price="57.50", net_amount="-11500.00", date="2024-03-15")
    assert (made.qty, made.price) == (-2, Decimal("57.5"))
    assert (made.net_amount, made.date) == (-11500, dt.date(2024, 3, 15))
    bare = entry()
    assert (bare.qty, bare.price, bare.net_amount, bare.date) == (0, None, None, None)


def test_without_a_date_the_new_york_day_of_its_time_is_taken() -> None:
    made = entry(transaction_time="2024-03-16T00:30:00Z")  # half past eight in the evening there
    assert made.date == dt.date(2024, 3, 15)


def test_the_same_activity_read_again_is_the_same_message() -> None:
    later = entry_of(activity(), WALL + dt.timedelta(days=1))
    assert later is not None
    assert later.message_id == entry().message_id
