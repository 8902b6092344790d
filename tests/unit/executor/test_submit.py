"""What an answer of the broker means, and when an approval may be sent."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.broker import BrokerRefusedError, BrokerUnreachableError, refusal_of
from libs.common.contracts import AlpacaEnv, IntentApproved, OrderType, Side
from libs.common.signing import generate_keypair
from libs.common.wire import WireError
from services.executor.lifecycle import OrderState
from services.executor.submit import (
    Step,
    Verdict,
    change_from,
    is_news,
    mismatch,
    refusal_of_approval,
    step_when_not_found,
    verdict_of,
)
from tests.unit.executor.orders_kit import (
    ACCOUNT,
    EXPIRES,
    KEYS,
    MARKET,
    WALL,
    after,
    approved,
    put_intent,
    row,
    shown,
    stop_intent,
)

# --- verdicts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "message", "verdict"),
    [
        (400, 40010000, "request body format is invalid", Verdict.REJECTED),
        (401, None, "unauthorized", Verdict.REJECTED),
        (403, 40310000, "insufficient options buying power", Verdict.REJECTED),
        (404, 40410000, "asset not found", Verdict.REJECTED),
        (408, None, "request timeout", Verdict.UNKNOWN),
        (409, None, "conflict", Verdict.EXISTS),
        (422, 40010001, "client_order_id must be unique", Verdict.EXISTS),
        (422, 42210000, "client_order_id must be unique", Verdict.EXISTS),
        (422, 42210000, "invalid limit_price 0.383", Verdict.REJECTED),
        (429, 42910000, "too many requests", Verdict.NOT_NOW),
        (500, 50010000, "internal server error", Verdict.UNKNOWN),
        (502, None, "<html>bad gateway</html>", Verdict.UNKNOWN),
        (503, None, "maintenance", Verdict.UNKNOWN),
        (504, None, "gateway timeout", Verdict.UNKNOWN),
        (302, None, "moved", Verdict.UNKNOWN),
    ],
)
def test_a_refusal_is_certain_or_leaves_doubt(
    status: int, code: int | None, message: str, verdict: Verdict
) -> None:
    assert verdict_of(BrokerRefusedError(status, code, message)) is verdict


@pytest.mark.parametrize(
    "error",
    [
        BrokerUnreachableError("no answer in time"),
        BrokerUnreachableError("connection refused"),
        WireError("the broker's order does not decode"),
        ValueError("something of the SDK"),
    ],
)
def test_no_answer_and_an_answer_that_is_no_order_leave_doubt(
    error: BrokerUnreachableError | ValueError,
) -> None:
    assert verdict_of(error) is Verdict.UNKNOWN


@settings(deadline=None)
@given(st.integers(100, 999).filter(lambda status: not 400 <= status < 500), st.text())
def test_only_a_4xx_can_prove_that_nothing_was_done(status: int, message: str) -> None:
    assert verdict_of(refusal_of(status, message.encode())) is Verdict.UNKNOWN


# --- doubt -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "step"),
    [
        (10, Step.WAIT),
        (14.9, Step.WAIT),
        (15, Step.SEND_AGAIN),
        (59.9, Step.SEND_AGAIN),
        (60, Step.GIVE_UP),
        (3600, Step.GIVE_UP),
    ],
)
def test_what_the_broker_does_not_show_is_waited_for_sent_again_and_given_up(
    seconds: float, step: Step
) -> None:
    doubtful = row(OrderState.UNKNOWN, doubt_since=after(10))
    assert step_when_not_found(doubtful, after(seconds), settle_seconds=5) is step


def test_doubt_that_comes_late_still_waits_before_it_is_given_up() -> None:
    """The last request may be under way when the approval ends."""
    late = row(OrderState.UNKNOWN, doubt_since=after(59))
    assert step_when_not_found(late, after(61), settle_seconds=5) is Step.WAIT
    assert step_when_not_found(late, after(64), settle_seconds=5) is Step.GIVE_UP


def test_a_row_without_a_time_of_doubt_is_never_sent_again() -> None:
    half_sent = row(OrderState.SUBMITTING, doubt_since=None)
    steps = {step_when_not_found(half_sent, after(s), settle_seconds=5) for s in range(200)}
    assert steps == {Step.WAIT, Step.GIVE_UP}


@settings(deadline=None)
@given(
    st.floats(0, 300),
    st.floats(0, 300),
    st.floats(0, 60),
)
def test_nothing_is_sent_again_unsettled_or_void(
    doubt_seconds: float, now_seconds: float, settle_seconds: float
) -> None:
    doubtful = row(OrderState.UNKNOWN, doubt_since=after(doubt_seconds))
    now = after(now_seconds)
    step = step_when_not_found(doubtful, now, settle_seconds)
    if step is Step.SEND_AGAIN:
        assert now < EXPIRES
        assert now >= after(doubt_seconds) + dt.timedelta(seconds=settle_seconds)
    if step is Step.GIVE_UP:
        assert now >= EXPIRES


# --- an order found under our id ---------------------------------------------------------------


def test_our_own_order_is_no_mismatch() -> None:
    assert mismatch(row(), shown()) is None
    stop = row(approval=approved(stop_intent()))
    broker_stop = shown(
        symbol="KO",
        type="trailing_stop",
        qty=Decimal(45),
        limit_price=None,
        trail_percent=Decimal("6.50"),
        stop_price=Decimal("55.01"),  # where the broker has trailed it to
    )
    assert mismatch(stop, broker_stop) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"symbol": "KO240315P00060000"}, "is for KO240315P00060000, approved was KO240315P0005"),
        ({"symbol": None}, "is for None"),
        ({"side": "buy"}, "to buy, approved was sell"),
        ({"qty": Decimal(2)}, "over 2, approved was 1"),
        ({"qty": None}, "over None"),
        ({"qty": Decimal("NaN")}, "over NaN"),
        ({"limit_price": Decimal("0.37")}, "limit is 0.37, approved was 0.38"),
        ({"limit_price": None, "type": "market"}, "limit is None, approved was 0.38"),
        ({"trail_percent": Decimal(5)}, "trail is 5, approved was None"),
    ],
)
def test_another_order_under_our_id_is_named(changes: dict[str, Any], words: str) -> None:
    assert words in (mismatch(row(), shown(**changes)) or "")


def test_the_brokers_order_becomes_a_change_with_the_brokers_words_and_time() -> None:
    filled_at = MARKET + dt.timedelta(seconds=90)
    order = shown(
        status="filled",
        filled_qty=Decimal(1),
        filled_avg_price=Decimal("0.39"),
        filled_at=filled_at,
    )
    change = change_from(order, WALL)
    assert (change.state, change.broker_status) == (OrderState.FILLED, "filled")
    assert (change.ts, change.changed_at) == (filled_at, filled_at)
    assert (change.filled_qty, change.filled_avg_price) == (1, Decimal("0.39"))
    assert change.doubt_since is None


def test_without_any_time_of_the_broker_ours_is_taken() -> None:
    change = change_from(shown(submitted_at=None, filled_qty=None), WALL)
    assert (change.ts, change.changed_at, change.filled_qty) == (WALL, None, 0)


def test_news_is_another_status_quantity_or_order() -> None:
    known = row(OrderState.ACCEPTED, broker_status="new", order_id="61e69015")
    assert not is_news(known, shown())
    assert not is_news(known, shown(filled_qty=None))
    assert is_news(known, shown(status="pending_cancel"))
    assert is_news(known, shown(filled_qty=Decimal("0.5")))
    assert is_news(known, shown(id="another"))
    assert is_news(row(), shown())


# --- approvals ---------------------------------------------------------------------------------


def refusal(approval: IntentApproved, **changes: Any) -> tuple[OrderState, str] | None:
    terms: dict[str, Any] = {
        "verify_key": KEYS.public,
        "account_number": ACCOUNT,
        "alpaca_env": AlpacaEnv.PAPER,
        "now": after(1),
    }
    found = refusal_of_approval(approval, **(terms | changes))
    return None if found is None else (found.state, found.reason)


def test_an_approval_of_risk_is_carried_out() -> None:
    assert refusal(approved()) is None
    assert refusal(approved(), account_number=None) is None  # dry: not known
    received = msgspec.json.decode(msgspec.json.encode(approved()), type=IntentApproved)
    assert refusal(received) is None


@pytest.mark.parametrize(
    "forged",
    [
        msgspec.structs.replace(approved(), signature=""),
        msgspec.structs.replace(approved(), signature="not base64 ü"),
        msgspec.structs.replace(approved(), signature=approved(put_intent(qty=2)).signature),
        msgspec.structs.replace(approved(), expires_at=after(3600)),
        msgspec.structs.replace(approved(), account_number="PA2"),
        msgspec.structs.replace(approved(), alpaca_env=AlpacaEnv.LIVE),
        msgspec.structs.replace(approved(), collateral=Decimal(0)),
        msgspec.structs.replace(approved(), expires_at=EXPIRES.replace(tzinfo=None)),
        msgspec.structs.replace(approved(), collateral=Decimal("NaN")),
        *(
            msgspec.structs.replace(approved(), intent=put_intent(**change))
            for change in (
                {"qty": 10},
                {"side": Side.BUY},
                {"symbol": "KO240315P00060000"},
                {"limit_price": Decimal("0.01")},
                {"limit_price": None, "order_type": OrderType.MARKET},
                {"message_id": "intent-2"},
                {"trail_percent": Decimal(1)},
            )
        ),
    ],
)
def test_an_approval_that_was_changed_on_the_way_is_an_error(forged: IntentApproved) -> None:
    found = refusal(forged, alpaca_env=forged.alpaca_env, account_number=forged.account_number)
    assert found == (OrderState.ERROR, "the approval's signature is not risk's")


def test_an_approval_of_another_key_account_environment_or_time_is_not_sent() -> None:
    stranger = generate_keypair()
    assert refusal(approved(), verify_key=stranger.public) == (
        OrderState.ERROR,
        "the approval's signature is not risk's",
    )
    assert refusal(approved(), account_number="PA2") == (
        OrderState.ERROR,
        "the approval is for another account",
    )
    assert refusal(approved(), alpaca_env=AlpacaEnv.LIVE) == (
        OrderState.ERROR,
        "the approval is for paper",
    )
    expired = (OrderState.EXPIRED, "the approval expired before it could be sent")
    assert refusal(approved(), now=EXPIRES) == expired
    assert refusal(approved(), now=EXPIRES - dt.timedelta(microseconds=1)) is None
    made_at = approved().at
    assert refusal(approved(), now=made_at - dt.timedelta(seconds=1)) is None
    assert refusal(approved(), now=made_at - dt.timedelta(seconds=30)) == (
        OrderState.EXPIRED,
        "the approval is from 30.0 s ahead: risk's clock and ours differ, set them",
    )


def test_a_broken_verify_key_is_said_rather_than_taken_for_a_forgery() -> None:
    with pytest.raises(ValueError, match="public signing key"):
        refusal(approved(), verify_key="")


def test_an_order_the_broker_said_it_has_is_waited_for_and_never_sent_again() -> None:
    """422 "must be unique" proves that it arrived, however long the look-up finds nothing."""
    proved = row(OrderState.UNKNOWN, doubt_since=after(10), broker_status="pending_new")
    assert step_when_not_found(proved, after(86_400), settle_seconds=5) is Step.WAIT


def test_a_general_refusal_with_the_code_of_duplicates_is_a_refusal() -> None:
    error = BrokerRefusedError(422, 40010001, "qty must be integer")
    assert verdict_of(error) is Verdict.REJECTED
