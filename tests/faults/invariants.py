"""What must hold after every schedule, from what was read of all sides. Pure.

Each check is given the observation and returns violations that show both sides, so that a failed
run can be understood from its report alone.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

import msgspec

from libs.common.order_ids import client_order_id
from services.executor.lifecycle import FINAL, OrderState

SEND_SLACK = dt.timedelta(seconds=1)
"""From the executor's last look at the clock to the bytes at the proxy, on a busy machine."""
HALT_SLACK = dt.timedelta(seconds=2)
"""A halt is read from two logs before a POST; one that was looked at just before still leaves."""
IN_BETWEEN = frozenset({OrderState.APPROVED, OrderState.SUBMITTING, OrderState.UNKNOWN})
SHOWN_MAX = 5


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as the stream holds it; `genuine` is whether risk's key signed it."""

    intent_id: str
    approved: bool
    genuine: bool = True
    expires_at: dt.datetime | None = None
    replaces: str | None = None
    """The client_order_id of the order whose place it may take, and no other's."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An order as our table has it."""

    client_order_id: str
    intent_id: str
    state: OrderState
    symbol: str
    side: str
    qty: Decimal
    expires_at: dt.datetime
    revision: int
    published_revision: int
    broker_status: str | None = None
    order_id: str | None = None
    filled_qty: Decimal = Decimal(0)
    filled_avg_price: Decimal | None = None
    replaces: str | None = None
    """A client_order_id."""


class BrokerOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the exchange has it."""

    client_order_id: str
    order_id: str
    status: str
    symbol: str
    side: str
    qty: Decimal
    filled_qty: Decimal = Decimal(0)
    filled_avg_price: Decimal | None = None
    replaces: str | None = None
    """The exchange's ids."""
    replaced_by: str | None = None


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One `orders.<status>` message, in the stream's order."""

    client_order_id: str
    revision: int
    status: str
    filled_qty: Decimal


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    side: str
    qty: Decimal
    client_order_id: str = ""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A POST of an order as it passed the proxy, by wall time."""

    client_order_id: str
    at: dt.datetime


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """From when no entry may leave (the command's confirmation) until when."""

    begun_at: dt.datetime
    ended_at: dt.datetime


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """All sides, read when everything ran again and nothing moved any more."""

    account_number: str
    at: dt.datetime
    acknowledged: frozenset[str] = frozenset()
    """Intents whose publishing the bus confirmed."""
    stored: frozenset[str] = frozenset()
    """Intents the stream holds."""
    decisions: tuple[Decided, ...] = ()
    rows: tuple[Row, ...] = ()
    orders: tuple[BrokerOrder, ...] = ()
    facts: tuple[Fact, ...] = ()
    sent: tuple[Sent, ...] = ()
    fills: tuple[Fill, ...] = ()
    broker_fills: tuple[Fill, ...] = ()
    ledger: tuple[Fill, ...] = ()
    """Option events of our books: `side` says which way the position moved."""
    positions: dict[str, Decimal] = {}
    halts: tuple[Halt, ...] = ()
    gave_up: tuple[str, ...] = ()
    """Services that ended for good, with their last words."""
    closed: frozenset[str] = frozenset()
    """Orders whose session was played to its close, so that they cannot rest any more."""


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    invariant: str
    text: str


def violations(seen: Observation) -> list[Violation]:
    """Everything that does not hold; empty when all is well."""
    return [
        Violation(invariant=name, text=text)
        for name, check in CHECKS.items()
        for text in check(seen)
    ]


# --- at most one order per intent ----------------------------------------------------------------


def one_order_per_intent(seen: Observation) -> Iterator[str]:
    """Every order belongs to one approval; of those that took one another's place one may live."""
    yield from _each_approved_once(seen)
    yield from _each_in_its_place(seen)


def _each_in_its_place(seen: Observation) -> Iterator[str]:
    approved = {
        client_order_id(seen.account_number, decided.intent_id): decided.replaces
        for decided in _approvals(seen)
    }
    by_id = {order.order_id: order for order in seen.orders}
    followers = Counter(order.replaces for order in seen.orders if order.replaces)
    for order in seen.orders:
        name, before = order.client_order_id, by_id.get(order.replaces or "")
        wanted, took = approved.get(name), before.client_order_id if before else order.replaces
        if wanted != took:
            yield f"{name} took the place of {took}, approved was {wanted}"
        if before is not None and before.status != "replaced":
            yield f"{name} took the place of {took}, which is {before.status}: both may live"
        if followers[order.order_id] > 1:
            yield f"{followers[order.order_id]} orders took the place of {name}"
        after = by_id.get(order.replaced_by or "")
        if (order.status == "replaced") is not (after is not None):
            yield f"{name} is {order.status}, replaced by {order.replaced_by}"


def _each_approved_once(seen: Observation) -> Iterator[str]:
    counts = Counter(order.client_order_id for order in seen.orders)
    for order_id, count in counts.items():
        if count > 1:
            yield f"the exchange has {count} orders {order_id}"
    allowed = {
        client_order_id(seen.account_number, decided.intent_id) for decided in _approvals(seen)
    }
    for order_id in counts.keys() - allowed:
        yield f"the exchange has {order_id}, which no approval of risk's leads to"


def one_verdict_per_intent(seen: Observation) -> Iterator[str]:
    verdicts: dict[str, set[bool]] = defaultdict(set)
    for decided in seen.decisions:
        if decided.genuine:
            verdicts[decided.intent_id].add(decided.approved)
    for intent_id, said in verdicts.items():
        if len(said) > 1:
            yield f"{intent_id} was approved and blocked"


# --- every approval ends -------------------------------------------------------------------------


def every_approval_ends(seen: Observation) -> Iterator[str]:
    for row in seen.rows:
        if row.state in IN_BETWEEN:
            yield f"{row.client_order_id} ({row.intent_id}) is still {row.state}"
        elif row.client_order_id in seen.closed and row.state not in FINAL:
            yield f"{row.client_order_id} is {row.state} after the close"


# --- database = broker ---------------------------------------------------------------------------


def orders_agree(seen: Observation) -> Iterator[str]:
    ours = {row.client_order_id: row for row in seen.rows}
    theirs = {order.client_order_id: order for order in seen.orders}
    for order_id in sorted(theirs.keys() - ours.keys()):
        yield f"{order_id}: ours nothing, theirs {theirs[order_id].status}"
    for order_id, row in ours.items():
        order = theirs.get(order_id)
        if order is None:
            if row.order_id is not None or row.filled_qty:
                yield f"{order_id}: ours {row.state} {row.order_id}, theirs nothing"
            continue
        before = theirs.get(row.replaces or "")
        qty = row.qty - (before.filled_qty if before else 0)  # it took over what was left of it
        mine = (row.order_id, row.broker_status, row.symbol, row.side, qty, row.filled_qty)
        its = (order.order_id, order.status, order.symbol, order.side, order.qty, order.filled_qty)
        if mine != its:
            yield f"{order_id}: ours {_shown(mine)}, theirs {_shown(its)}"
        elif row.filled_qty and row.filled_avg_price != order.filled_avg_price:
            yield f"{order_id}: ours at {row.filled_avg_price}, theirs {order.filled_avg_price}"


def fills_agree(seen: Observation) -> Iterator[str]:
    """Ours add up to each row; by symbol and side they are the exchange's."""
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for fill in seen.fills:
        filled[fill.client_order_id] += fill.qty
    for row in seen.rows:
        if filled[row.client_order_id] != row.filled_qty:
            yield (
                f"{row.client_order_id}: filled {row.filled_qty}, its fills add up to"
                f" {filled[row.client_order_id]}"
            )
    ours, theirs = _by_symbol(seen.fills), _by_symbol(seen.broker_fills)
    yield from _differences(ours, theirs, "fills of")


def positions_agree(seen: Observation) -> Iterator[str]:
    """What our fills and option events leave is what the exchange holds."""
    held: dict[str, Decimal] = defaultdict(Decimal)
    for moved in (*seen.fills, *seen.ledger):
        held[moved.symbol] += moved.qty if moved.side == "buy" else -moved.qty
    yield from _differences(held, seen.positions, "position in")


# --- nothing submitted after expiry or halt ------------------------------------------------------


def nothing_late(seen: Observation) -> Iterator[str]:
    ends: dict[str, dt.datetime] = {}
    for decided in _approvals(seen):
        if decided.expires_at is not None:
            order_id = client_order_id(seen.account_number, decided.intent_id)
            ends[order_id] = max(decided.expires_at, ends.get(order_id, decided.expires_at))
    for sent in seen.sent:
        ends_at = ends.get(sent.client_order_id)
        if ends_at is None:
            yield f"{sent.client_order_id} was sent without an approval"
        elif sent.at > ends_at + SEND_SLACK:
            yield f"{sent.client_order_id} was sent at {sent.at}, its approval ended {ends_at}"


def nothing_while_halted(seen: Observation) -> Iterator[str]:
    for halt in seen.halts:
        for sent in seen.sent:
            if halt.begun_at + HALT_SLACK < sent.at < halt.ended_at:
                yield f"{sent.client_order_id} was sent at {sent.at}, halted since {halt.begun_at}"


# --- nothing acknowledged is lost ----------------------------------------------------------------


def nothing_lost(seen: Observation) -> Iterator[str]:
    for intent_id in sorted(seen.acknowledged - seen.stored):
        yield f"{intent_id} was acknowledged and the stream does not hold it"
    decided = {one.intent_id for one in seen.decisions if one.genuine}
    for intent_id in sorted((seen.stored | seen.acknowledged) - decided):
        yield f"{intent_id} is in the stream and was never decided"
    carried_out = {row.intent_id for row in seen.rows}
    approved = {one.intent_id for one in _approvals(seen)}
    for intent_id in sorted(approved - carried_out):
        yield f"{intent_id} was approved and has no row"
    for service in seen.gave_up:
        yield f"ended for good: {service}"


# --- rows and published facts agree --------------------------------------------------------------


def facts_agree(seen: Observation) -> Iterator[str]:
    last: dict[str, Fact] = {}
    times: Counter[tuple[str, int]] = Counter()
    for fact in seen.facts:
        last[fact.client_order_id] = fact
        times[fact.client_order_id, fact.revision] += 1
    rows = {row.client_order_id: row for row in seen.rows}
    for order_id in last.keys() - rows.keys():
        yield f"{order_id}: a fact says {last[order_id].status}, and there is no row"
    for order_id, row in rows.items():
        told_last = last.get(order_id)
        ours = (row.revision, row.broker_status or row.state.value, row.filled_qty)
        if row.published_revision != row.revision:
            yield f"{order_id}: at revision {row.revision}, published {row.published_revision}"
        elif told_last is None:
            yield f"{order_id}: ours {_shown(ours)}, and no fact was published"
        elif ours != (told_last.revision, told_last.status, told_last.filled_qty):
            told = (told_last.revision, told_last.status, told_last.filled_qty)
            yield f"{order_id}: ours {_shown(ours)}, the last fact {_shown(told)}"
    for (order_id, revision), count in times.items():
        if count > 1:
            yield f"{order_id}: revision {revision} was published {count} times"


CHECKS: dict[str, Callable[[Observation], Iterator[str]]] = {
    "at most one order per intent": one_order_per_intent,
    "one verdict per intent": one_verdict_per_intent,
    "every approval ends": every_approval_ends,
    "orders: database = broker": orders_agree,
    "fills: database = broker": fills_agree,
    "positions: database = broker": positions_agree,
    "nothing sent after expiry": nothing_late,
    "nothing sent while halted": nothing_while_halted,
    "nothing acknowledged is lost": nothing_lost,
    "rows and facts agree": facts_agree,
}

FOR_GOOD = frozenset(
    {
        "at most one order per intent",
        "one verdict per intent",
        "nothing sent after expiry",
        "nothing sent while halted",
    }
)
"""What no waiting mends."""


def _approvals(seen: Observation) -> Iterator[Decided]:
    return (one for one in seen.decisions if one.genuine and one.approved)


def _by_symbol(fills: Iterable[Fill]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for fill in fills:
        found[f"{fill.symbol} {fill.side}"] += fill.qty
    return found


def _differences(ours: dict[str, Decimal], theirs: dict[str, Decimal], what: str) -> Iterator[str]:
    for key in sorted(ours.keys() | theirs.keys()):
        mine, its = ours.get(key, Decimal(0)), theirs.get(key, Decimal(0))
        if mine != its:
            yield f"{what} {key}: ours {mine:f}, theirs {its:f}"


def _shown(values: tuple[object, ...]) -> str:
    return "(" + ", ".join(str(value) for value in values) + ")"


def report(found: list[Violation]) -> str:
    """For a person: the first few of each kind, with how many there are."""
    lines: list[str] = []
    for name in dict.fromkeys(one.invariant for one in found):
        texts = [one.text for one in found if one.invariant == name]
        lines += [f"{name} ({len(texts)}):", *(f"  {text}" for text in texts[:SHOWN_MAX])]
    return "\n".join(lines)
