"""From a snapshot's bytes to what risk wants of it: one contract's quote and the close. Pure.

A snapshot may hold thousands of contracts; only the fields that are looked at are decoded.
"""

from __future__ import annotations

import datetime as dt

import msgspec

from libs.common.contracts import Moment, OrderIntended
from services.risk.gates.case import Sight


class _Quoted(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    bid: float | None = None
    ask: float | None = None


class _Snapshot(msgspec.Struct, frozen=True):
    at: Moment
    as_of: Moment
    session: dt.date
    session_closes_at: Moment | None = None
    contracts: list[_Quoted] = []


_DECODER = msgspec.json.Decoder(_Snapshot)


def sight_of(payload: bytes | None, intent: OrderIntended) -> Sight | None:
    """None without a snapshot, or when it does not decode: the gates then say no."""
    if payload is None:
        return None
    try:
        snapshot = _DECODER.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    quoted = next((q for q in snapshot.contracts if q.symbol == intent.symbol), None)
    return Sight(
        at=snapshot.at,
        as_of=snapshot.as_of,
        session=snapshot.session,
        closes_at=snapshot.session_closes_at,
        bid=quoted.bid if quoted else None,
        ask=quoted.ask if quoted else None,
    )
