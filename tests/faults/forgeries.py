"""What an attacker with a connection would publish, and messages that come twice."""

from __future__ import annotations

import datetime as dt
import os
from decimal import Decimal

import msgspec

from libs.common.contracts import AlpacaEnv, IntentApproved, OrderIntended
from libs.common.signing import generate_keypair, sign
from tests.faults.stand import Stand, now
from tests.integration.voices import raw_client

OVERSIZED_BYTES = 2_000_000
NESTED = 20_000
WAIT_SECONDS = 2.0


async def repeat(stand: Stand, intent: OrderIntended, *, same_id: bool) -> None:
    """The same intent once more from a planner, under its own id or under one nobody has seen."""
    message_id = intent.message_id if same_id else _unseen_id()
    await _publish(stand, "planner", intent.subject, msgspec.json.encode(intent), message_id)


async def forge(stand: Stand, kind: str, like: OrderIntended) -> None:
    """An approval of `kind`, made to look like one of `like`, by somebody who stole risk's key to
    the bus (anybody else's is refused there) but not the key it signs with.
    """
    subject = f"decisions.approved.{like.underlying}"
    for payload in await _payloads(stand, kind, like):
        await _publish(stand, "risk", subject, payload, _unseen_id())


async def _publish(
    stand: Stand, account: str, subject: str, payload: bytes, message_id: str
) -> None:
    client = await raw_client(stand.nats, account, connect_timeout=2, allow_reconnect=False)
    try:
        js = client.jetstream(timeout=WAIT_SECONDS)
        await js.publish(subject, payload, headers={"Nats-Msg-Id": message_id})
    finally:
        await client.close()


def _unseen_id() -> str:
    return f"again-{os.urandom(8).hex()}"


_RUBBISH: dict[str, list[bytes]] = {
    "poison": [b"\x00\xff not json", b"{}", b'{"message_id": 7}'],
    "oversized": [b'{"message_id": "' + b"x" * OVERSIZED_BYTES + b'"}'],
    "nested": [b'{"intent": ' + b"[" * NESTED + b"]" * NESTED + b"}"],
}


async def _payloads(stand: Stand, kind: str, like: OrderIntended) -> list[bytes]:
    if kind in _RUBBISH:
        return _RUBBISH[kind]
    if kind in ("replayed", "altered"):
        genuine = await _last_approval(stand, subject=f"decisions.approved.{like.underlying}")
        if genuine is None:
            return []
        return [msgspec.json.encode(genuine if kind == "replayed" else _altered(genuine))]
    approval = _approval(like, await _account_number(stand))
    if kind == "wrong_key":
        approval = sign(generate_keypair().private, approval)
    return [msgspec.json.encode(approval)]


def _altered(genuine: IntentApproved) -> IntentApproved:
    more = msgspec.structs.replace(genuine.intent, qty=genuine.intent.qty + 7)
    more = msgspec.structs.replace(more, message_id=f"intent-altered-{os.urandom(6).hex()}")
    return msgspec.structs.replace(genuine, intent=more)


def _approval(like: OrderIntended, account_number: str) -> IntentApproved:
    intent = msgspec.structs.replace(like, message_id=f"intent-forged-{os.urandom(6).hex()}")
    return IntentApproved(
        message_id=f"ok-{intent.message_id}",
        at=now(),
        tick_id=intent.tick_id,
        intent=intent,
        checks=[],
        account_number=account_number,
        alpaca_env=AlpacaEnv.SIM,
        collateral=Decimal(0),
        expires_at=now() + dt.timedelta(seconds=60),
        signature="",
    )


async def _account_number(stand: Stand) -> str:
    account = await stand.exchange("GET", "/sim/accounts")
    number: str = account[0]["account_number"]
    return number


async def _last_approval(stand: Stand, *, subject: str) -> IntentApproved | None:
    """The newest approval of a stock that decodes."""
    js = stand.raw.jetstream(timeout=WAIT_SECONDS)
    try:
        raw = await js.get_msg("DECISIONS", subject=subject, direct=True)
        return msgspec.json.decode(raw.data or b"", type=IntentApproved)
    except Exception:  # none yet, or a forgery: there will be others
        return None
