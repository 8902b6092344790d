"""The stream of trade_updates without its socket: what a frame says, and whether to trust it. Pure.

Alpaca replays nothing after a reconnect, and a socket may stay open and tell nothing any more.
Pings find a dead connection. A deaf one is found by the orders themselves: what polling finds
out first and the stream does not tell soon afterwards, it should have told.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from libs.common.wire import WireError, WireOrder, counted
from services.executor.lifecycle import TRANSITIONS, state_of
from services.executor.orders import OrderRow

GRACE_SECONDS = 2.0
"""How much later than polling the stream may tell of the same thing."""
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class _Data(msgspec.Struct, frozen=True):
    status: str | None = None
    streams: list[str] = []
    event: str | None = None
    order: WireOrder | None = None


class _Frame(msgspec.Struct, frozen=True):
    stream: str
    data: _Data = _Data()


class Said(StrEnum):
    AUTHORIZED = "authorized"
    REFUSED = "refused"
    LISTENING = "listening"
    UPDATE = "update"
    NOTHING = "nothing"
    """Something else, which concerns nobody."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    said: Said
    order: WireOrder | None = None


def heard_in(frame: bytes) -> Heard:
    """What a frame says. Raises WireError for one that is not what the documents promise."""
    try:
        found = msgspec.json.decode(frame, type=_Frame, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"a frame of trade_updates does not decode: {error}") from error
    match found.stream:
        case "authorization":
            authorized = found.data.status == "authorized"
            return Heard(said=Said.AUTHORIZED if authorized else Said.REFUSED)
        case "listening":
            listens = "trade_updates" in found.data.streams
            return Heard(said=Said.LISTENING if listens else Said.REFUSED)
        case "trade_updates" if found.data.order is not None:
            return Heard(said=Said.UPDATE, order=counted(found.data.order))
    return Heard(said=Said.NOTHING)


def leads_on(row: OrderRow, order: WireOrder) -> bool:
    """Whether a told order is later than the row, as far as can be seen. Told twice or late it is
    not, and that is as normal as the order of events is not.
    """
    if row.order_id is not None and row.order_id != order.id:
        return False
    if (order.filled_qty or 0) < row.filled_qty:
        return False
    changed_at = order.changed_at
    if changed_at is not None and row.changed_at is not None and changed_at < row.changed_at:
        return False
    state = state_of(order.status, order.filled_qty)
    return state is row.state or state in TRANSITIONS[row.state]


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the stream. Times are seconds of a monotonic clock."""

    connected: bool = False
    connected_at: float = 0.0
    doubted: bool = False
    """It proved deaf, and has told nothing since."""
    missed: dict[str, float] = {}
    """Orders of which polling found news before the stream did, and when."""
    failures: int = 0
    """Connections in a row that told nothing."""

    @property
    def healthy(self) -> bool:
        return self.connected and not self.doubted and not self.missed

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next connection."""
        return (
            BACKOFF_SECONDS[min(self.failures, len(BACKOFF_SECONDS)) - 1] if self.failures else 0.0
        )


def after_connect(trust: Trust, now_seconds: float) -> Trust:
    return msgspec.structs.replace(trust, connected=True, connected_at=now_seconds, missed={})


def after_loss(trust: Trust) -> Trust:
    return msgspec.structs.replace(trust, connected=False, missed={}, failures=trust.failures + 1)


def after_update(trust: Trust, client_order_id: str) -> Trust:
    """It told of an order: it is not deaf, and what it was late with is forgiven."""
    missed = {key: at for key, at in trust.missed.items() if key != client_order_id}
    return msgspec.structs.replace(trust, doubted=False, missed=missed, failures=0)


def after_polled_news(trust: Trust, client_order_id: str, now_seconds: float) -> Trust:
    """Polling found what the stream has not told. What comes out just after a connection happened
    before it, and nobody is to blame.
    """
    if now_seconds - trust.connected_at < GRACE_SECONDS:
        return trust
    if not trust.connected or trust.doubted or client_order_id in trust.missed:
        return trust
    return msgspec.structs.replace(trust, missed=trust.missed | {client_order_id: now_seconds})


def is_deaf(trust: Trust, now_seconds: float) -> bool:
    """Whether something it should have told stayed untold for longer than GRACE_SECONDS."""
    return any(now_seconds - at > GRACE_SECONDS for at in trust.missed.values())


def after_deaf(trust: Trust) -> Trust:
    return msgspec.structs.replace(trust, doubted=True, missed={})


def poll_seconds(trust: Trust, *, in_doubt: bool, often: float, seldom: float) -> float:
    """The pause before the next poll: seldom only while the stream is trusted and no order waits
    for an answer, which no stream may ever tell.
    """
    return seldom if trust.healthy and not in_doubt else often


def stream_url(base_url: str | None, *, live: bool) -> str:
    """The address of the stream that belongs to a trading address (https://docs.alpaca.markets)."""
    host = base_url or (
        "https://api.alpaca.markets" if live else "https://paper-api.alpaca.markets"
    )
    return host.replace("http", "ws", 1).rstrip("/") + "/stream"
