"""ACTIVE, REDUCING, HALTED. Rule 1: everything that moves the trading state stands in this file.

The state is not a cell that is overwritten but a log of records, kept in two places (a stream and
a table). A record that restricts stays in force until a later one names it as lifted; a lift
counts only when every log that is read has it. So a halt needs one path, a resume needs both, two
logs are merged by taking their union, and a resume that did not see a halt does not lift it.
A log that is missing or empty means that nobody knows, and then no order leaves.

The whole table is NEXT; docs/risk.md draws it from there. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from libs.common.contracts import (
    OrderIntended,
    PositionIntent,
    Side,
    Strategy,
    TradingState,
    TradingStateSet,
    TradingVerb,
)
from libs.common.symbols import parse_option_symbol

BEGINNING = "trading-begins"
"""The id of the first record of each log, made with the log itself."""

_A, _R, _H = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED
RESTRICTIVENESS = {_A: 0, _R: 1, _H: 2}

NEXT: dict[TradingVerb, dict[TradingState, TradingState]] = {
    TradingVerb.BEGIN: {_A: _A},
    TradingVerb.HALT: {_A: _H, _R: _H, _H: _H},
    TradingVerb.REDUCE: {_A: _R, _R: _R, _H: _R},
    TradingVerb.RESUME: {_A: _A, _R: _A, _H: _A},
    TradingVerb.FLATTEN: {_A: _R, _R: _R},
    TradingVerb.TRIP_REDUCE: {_A: _R, _R: _R, _H: _H},
    TradingVerb.TRIP_HALT: {_A: _H, _R: _H, _H: _H},
}
"""What each verb makes of each state. Absent: refused, and the state is as it was."""


BEGAN_AT = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def beginning(who: str) -> TradingStateSet:
    """The first record of a log, by whoever makes the log: older than all that follow."""
    return TradingStateSet(
        message_id=BEGINNING,
        at=BEGAN_AT,
        state=TradingState.ACTIVE,
        verb=TradingVerb.BEGIN,
        who=who,
        why="the log was made",
    )


class IllegalVerbError(ValueError):
    """A pair that is not in the table."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The state as the logs that were read have it, and the records that make it so."""

    state: TradingState
    in_force: tuple[TradingStateSet, ...] = ()
    lifted: frozenset[str] = frozenset()
    """The ids of what was in force once and is no more."""
    resumed_by: str = ""
    """The id of the newest resume, the empty text before the first."""
    problem: str = ""
    """Why nobody knows; the state is then HALTED."""
    worst_known: TradingState = TradingState.ACTIVE
    """The most restrictive that a log which can be read says by itself."""

    @property
    def flattening(self) -> bool:
        return any(record.verb is TradingVerb.FLATTEN for record in self.in_force)

    @property
    def words(self) -> str:
        """The state with who and why, for a screen or a reason."""
        if self.problem:
            return f"{self.state}: {self.problem}"
        worst = [record for record in self.in_force if record.state is self.state]
        if not worst:
            return str(self.state)
        said = "; ".join(
            f"{record.verb} by {record.who} at {record.at:%Y-%m-%d %H:%M} UTC: {record.why}"
            for record in worst
        )
        return f"{self.state} ({said})"


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb does to a standing: the new state, and the records it lifts."""

    state: TradingState
    lifts: tuple[str, ...] = ()

    @property
    def loosens(self) -> bool:
        return bool(self.lifts)


def standing_of(logs: Mapping[str, Sequence[TradingStateSet] | None]) -> Standing:
    """The most restrictive of what the logs say. None stands for a log that cannot be read."""
    gone = [name for name, log in logs.items() if log is None]
    empty = [name for name, log in logs.items() if log is not None and not log]
    records = {record.message_id: record for log in logs.values() for record in log or ()}
    lifted_in = [{i for record in log or () for i in record.lifts} for log in logs.values()]
    lifted = frozenset(set.intersection(*lifted_in)) if lifted_in else frozenset[str]()
    in_force = tuple(
        record
        for _, record in sorted(records.items(), key=lambda item: (item[1].at, item[0]))
        if record.state is not TradingState.ACTIVE and record.message_id not in lifted
    )
    resumes = [r for r in records.values() if r.verb is TradingVerb.RESUME]
    newest = max(resumes, key=lambda record: (record.at, record.message_id), default=None)
    resumed_by = newest.message_id if newest else ""
    if gone or empty or not logs:
        said = [f"the {name} cannot be read" for name in gone]
        said += [f"the {name} holds no trading state" for name in empty]
        return Standing(
            state=_H,
            in_force=in_force,
            lifted=lifted,
            resumed_by=resumed_by,
            problem="; ".join(said) or "nothing was read",
            worst_known=_worst_known(logs.values()),
        )
    state = most_restrictive(record.state for record in in_force)
    return Standing(state=state, in_force=in_force, lifted=lifted, resumed_by=resumed_by)


def _worst_known(logs: Iterable[Sequence[TradingStateSet] | None]) -> TradingState:
    """Each log by itself: what another one lifts or says cannot be seen now."""
    found = []
    for log in logs:
        lifted = {i for record in log or () for i in record.lifts}
        found += [record.state for record in log or () if record.message_id not in lifted]
    return most_restrictive(found)


def most_restrictive(states: Iterable[TradingState]) -> TradingState:
    """The worst of some states; ACTIVE of none."""
    return max(states, key=RESTRICTIVENESS.__getitem__, default=_A)


def move(standing: Standing, verb: TradingVerb) -> Move:
    """What the verb makes of it. Raises IllegalVerbError for a pair that is not in the table."""
    if standing.state not in NEXT[verb]:
        raise IllegalVerbError(
            f"{verb} is not possible while trading is {standing.state}"
            + ("; `alpaclaudia reduce` first" if verb is TradingVerb.FLATTEN else "")
        )
    state = NEXT[verb][standing.state]
    ours = RESTRICTIVENESS[state]
    lifts = tuple(
        record.message_id for record in standing.in_force if RESTRICTIVENESS[record.state] > ours
    )
    return Move(state=state, lifts=lifts)


def tightens(move_: Move, standing: Standing) -> bool:
    """Whether the move would say anything new that restricts: what a trip asks before it speaks."""
    return RESTRICTIVENESS[move_.state] > RESTRICTIVENESS[standing.state]


def missing_from(log: Sequence[TradingStateSet], standing: Standing) -> tuple[TradingStateSet, ...]:
    """Restricting records in force that a log has not: only these may be copied to it, and none
    that lifts something as well, since a copy would make the lift count.
    """
    known = {record.message_id for record in log}
    return tuple(
        record
        for record in standing.in_force
        if record.message_id not in known and not record.lifts
    )


def lowers_risk(intent: OrderIntended) -> bool:
    """Whether an order can only close something: what REDUCING lets pass.

    Buying or selling to close, and selling stock (which risk lets happen only out of what is
    held). Everything that opens is refused, a covered call included.
    """
    if intent.position_intent in (PositionIntent.BUY_TO_CLOSE, PositionIntent.SELL_TO_CLOSE):
        return True
    is_stock = parse_option_symbol(intent.symbol) is None
    return is_stock and intent.side is Side.SELL and intent.position_intent is None


def permits(standing: Standing, intent: OrderIntended) -> bool:
    """Whether the order may leave. While it is flattened only what flattens may: a new stop would
    hold the shares that are to be sold.
    """
    if standing.flattening and intent.strategy != Strategy.FLATTEN:
        return False
    match standing.state:
        case TradingState.ACTIVE:
            return True
        case TradingState.REDUCING:
            return lowers_risk(intent)
        case TradingState.HALTED:
            return False


def diagram() -> str:
    """The table as a mermaid state diagram; docs/risk.md holds it, a test compares."""
    moves = [
        f"    {before} --> {after}: {verb}"
        for verb, table in NEXT.items()
        for before, after in table.items()
        if before is not after
    ]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {_A}", *moves])
