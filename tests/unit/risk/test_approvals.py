"""Decisions as messages, and signatures that stand for exactly one order."""

from __future__ import annotations

import base64
import datetime as dt
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts import (
    AlpacaEnv,
    IntentApproved,
    IntentBlocked,
    OrderIntended,
    OrderType,
    PositionIntent,
    Side,
    TimeInForce,
)
from libs.common.order_ids import client_order_id
from libs.common.risk_config import risk_config_version
from libs.common.settings import RiskSettings
from libs.common.signing import (
    generate_keypair,
    public_key_of,
    sign,
    signable_bytes,
    verify,
)
from services.risk.gates.table import GATES
from tests.unit.risk.books import KEYS, SETTINGS, WALL, ask, csp, knowing, portfolio


def approval() -> IntentApproved:
    message = ask(knowing(portfolio()), csp())
    assert isinstance(message, IntentApproved)
    return message


def test_an_approval_says_what_was_approved_until_when_and_for_whom() -> None:
    message = approval()
    assert message.message_id == "ok-p1"
    assert message.subject == "decisions.approved.KO"
    assert (message.account_number, message.alpaca_env) == ("PA1", AlpacaEnv.PAPER)
    assert message.collateral == 5000
    assert message.expires_at == WALL + dt.timedelta(seconds=60)
    assert (message.tick_id, message.at) == ("tick-1", WALL)
    assert all(check.ok for check in message.checks)
    assert verify(KEYS.public, message)


def test_a_block_says_why_with_every_gates_word() -> None:
    message = ask(knowing(portfolio(cash=Decimal(0))), csp())
    assert isinstance(message, IntentBlocked)
    assert message.message_id == "no-p1"
    assert message.subject == "decisions.blocked.KO"
    assert message.reason.startswith("cash_secured_put: collateral 5000 above free cash 0")
    assert [check.gate for check in message.checks if not check.ok] == ["cash_secured_put"]
    assert len(message.checks) == len(GATES) + 1


def test_without_a_key_nothing_is_approved() -> None:
    keyless = msgspec.structs.replace(SETTINGS, signing_key=None)
    with pytest.raises(ValueError, match="no signing key"):
        ask(knowing(portfolio()), csp(), keyless)


def test_a_signature_survives_the_bus() -> None:
    received = msgspec.json.decode(msgspec.json.encode(approval()), type=IntentApproved)
    assert verify(KEYS.public, received)


def test_a_signature_is_of_one_key() -> None:
    assert not verify(generate_keypair().public, approval())
    assert public_key_of(KEYS.private) == KEYS.public


@pytest.mark.parametrize(
    "changes",
    [
        {"message_id": "p2"},
        {"strategy": "wheel:covered_call"},
        {"underlying": "PEP"},
        {"symbol": "KO240315P00050500"},
        {"side": Side.BUY},
        {"qty": 2},
        {"qty": 10**30},
        {"order_type": OrderType.MARKET},
        {"time_in_force": TimeInForce.GTC},
        {"position_intent": PositionIntent.SELL_TO_CLOSE},
        {"position_intent": None},
        {"limit_price": Decimal("0.54")},
        {"limit_price": None},
        {"limit_price": Decimal("NaN")},
        {"limit_price": Decimal("1E+999999")},
        {"stop_price": Decimal("0.55")},
        {"trail_percent": Decimal("0.55")},
    ],
)
def test_an_order_changed_on_the_way_is_not_signed(changes: dict[str, Any]) -> None:
    message = approval()
    forged = msgspec.structs.replace(
        message, intent=msgspec.structs.replace(message.intent, **changes)
    )
    assert not verify(KEYS.public, forged)


@pytest.mark.parametrize(
    "changes",
    [
        {"account_number": "PA2"},
        {"alpaca_env": AlpacaEnv.LIVE},
        {"collateral": Decimal(0)},
        {"expires_at": WALL + dt.timedelta(seconds=61)},
        {"expires_at": WALL.replace(tzinfo=None)},
        {"signature": ""},
        {"signature": "not base64!"},
        {"signature": "é"},
        {"signature": base64.b64encode(bytes(64)).decode()},
        {"signature": base64.b64encode(b"short").decode()},
    ],
)
def test_an_approval_changed_on_the_way_is_not_signed(changes: dict[str, Any]) -> None:
    assert not verify(KEYS.public, msgspec.structs.replace(approval(), **changes))


def other(value: object) -> Any:
    """A value of the same kind that is not the same."""
    found: Any = Decimal(1)
    match value:
        case bool():
            found = not value
        case Enum():
            found = next(each for each in type(value) if each is not value)
        case str():
            found = value + "x"
        case int() | float() | Decimal():
            found = value + 1
        case dt.datetime() | dt.date():
            found = value + dt.timedelta(days=1)
        case list():
            found = value[1:]
        case dict():
            found = {**value, "more": 1}
    return found


@pytest.mark.parametrize("name", sorted({*IntentApproved.__struct_fields__} - {"intent"}))
def test_no_field_of_an_approval_can_be_altered(name: str) -> None:
    message = approval()
    altered = msgspec.structs.replace(message, **{name: other(getattr(message, name))})
    assert not verify(KEYS.public, altered)


@pytest.mark.parametrize("name", OrderIntended.__struct_fields__)
def test_no_field_of_the_intent_can_be_altered(name: str) -> None:
    message = approval()
    intent = msgspec.structs.replace(message.intent, **{name: other(getattr(message.intent, name))})
    assert not verify(KEYS.public, msgspec.structs.replace(message, intent=intent))


def test_no_gates_word_can_be_altered() -> None:
    message = approval()
    for field in ("gate", "ok", "reason"):
        first = message.checks[0]
        word = msgspec.structs.replace(first, **{field: other(getattr(first, field))})
        altered = msgspec.structs.replace(message, checks=[word, *message.checks[1:]])
        assert not verify(KEYS.public, altered)


DETAILS = st.dictionaries(
    st.text(max_size=5),
    st.none()
    | st.text(max_size=8)
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False),
    max_size=5,
)


@given(details=DETAILS)
def test_a_signature_survives_the_bus_and_a_column_of_json(
    details: dict[str, str | int | float | None],
) -> None:
    """A JSONB column keeps numbers by value: 1e22 comes back as an integer."""
    intent = msgspec.structs.replace(UNSIGNED.intent, details=details)
    signed = sign(KEYS.private, msgspec.structs.replace(UNSIGNED, intent=intent))
    received = msgspec.json.decode(msgspec.json.encode(signed), type=IntentApproved)
    assert verify(KEYS.public, received)
    by_value = {
        name: int(value) if isinstance(value, float) and value == int(value) else value
        for name, value in details.items()
    }
    kept = msgspec.structs.replace(intent, details=by_value)
    assert verify(KEYS.public, msgspec.structs.replace(signed, intent=kept))


def test_two_approvals_of_one_intent_have_two_signatures() -> None:
    message = approval()
    twin = sign(KEYS.private, msgspec.structs.replace(message, nonce="another"))
    assert twin.signature != message.signature
    assert verify(KEYS.public, twin)


def test_every_limit_has_a_part_in_the_version() -> None:
    """But for the key: it is no limit, and its hash is nobody's business."""
    version = risk_config_version(SETTINGS)
    assert approval().risk_config_version == version
    for name in RiskSettings.__struct_fields__:
        value = getattr(SETTINGS, name)
        changed: Any = frozenset({"KO"}) if isinstance(value, frozenset) else other(value)
        altered = risk_config_version(msgspec.structs.replace(SETTINGS, **{name: changed}))
        assert (altered == version) is (name == "signing_key")


@given(signature=st.text(max_size=100))
def test_no_signature_text_makes_verifying_fail(signature: str) -> None:
    forged = msgspec.structs.replace(UNSIGNED, signature=signature)
    assert not verify(KEYS.public, forged)


@pytest.mark.parametrize("key", ["", "not base64!", "c2hvcnQ=", "é"])
def test_a_malformed_key_is_an_error(key: str) -> None:
    with pytest.raises(ValueError, match="32 bytes in base64"):
        verify(key, UNSIGNED)
    with pytest.raises(ValueError, match="32 bytes in base64"):
        sign(key, UNSIGNED)


def test_signed_bytes_are_the_same_in_every_zone() -> None:
    elsewhere = UNSIGNED.expires_at.astimezone(dt.timezone(dt.timedelta(hours=-5)))
    moved = msgspec.structs.replace(UNSIGNED, expires_at=elsewhere)
    assert signable_bytes(moved) == signable_bytes(UNSIGNED)
    assert signable_bytes(UNSIGNED).startswith(b"alpaclaudia/approval/2\n{")


def test_what_was_signed_before_orders_could_replace_others_still_holds() -> None:
    assert b"replaces" not in signable_bytes(UNSIGNED)
    intent = msgspec.structs.replace(UNSIGNED.intent, replaces="acl-1")
    signed = sign(KEYS.private, msgspec.structs.replace(UNSIGNED, intent=intent))
    assert b'"replaces":"acl-1"' in signable_bytes(signed)
    assert verify(KEYS.public, signed)
    assert not verify(KEYS.public, msgspec.structs.replace(signed, intent=UNSIGNED.intent))


def test_a_key_pair_does_not_print_its_private_half() -> None:
    assert KEYS.private not in repr(KEYS)
    assert KEYS.private not in str(KEYS)


@given(account=st.text(max_size=20), intent=st.text(max_size=40))
def test_client_order_ids_are_short_and_pure(account: str, intent: str) -> None:
    text = client_order_id(account, intent)
    assert text == client_order_id(account, intent)
    assert len(text) == 36
    assert text.startswith("acl-")
    assert text.isascii()
    assert text == text.lower()
    assert text != client_order_id(account + intent[:1], intent[1:]) or not intent


UNSIGNED = msgspec.structs.replace(approval(), signature="")
