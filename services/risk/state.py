"""What risk knows, moved by messages alone: no clock, no I/O. Its decisions are `decide`.

The same state comes of replaying the decisions and order changes in any order that keeps each
intent's own order changes in sequence, and then the latest portfolio: start-up is recovery.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from decimal import Decimal

import msgspec

from libs.common.contracts import (
    AlpacaEnv,
    EquityMarked,
    GateResult,
    IntentApproved,
    IntentBlocked,
    OrderChanged,
    OrderIntended,
    PortfolioObserved,
)
from libs.common.money import ZERO
from libs.common.settings import RiskSettings
from libs.common.trading_state import Standing
from services.risk import losses
from services.risk.gates.case import Case, Sight
from services.risk.gates.limits import seen_price
from services.risk.gates.table import run_gates
from services.risk.losses import Mark
from services.risk.reservations import (
    Reservation,
    after_order,
    after_portfolio,
    commitment_of,
    reserve,
)
from services.risk.tallies import Tallies

DECIDED_MAX = 50_000
"""Intent ids remembered as decided; far more than any stream redelivers."""
EARLY_MAX = 10_000
"""Order changes kept for intents whose decision was not seen yet (streams replay apart)."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Risk's word on one intent; `approvals.decision_message` makes the message of it."""

    ok: bool
    checks: list[GateResult]
    reason: str
    collateral: Decimal
    account_number: str
    alpaca_env: AlpacaEnv
    at: dt.datetime
    session: dt.date | None = None
    seen_price: Decimal | None = None


class Knowledge(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a RiskState that a decision can depend on, to be compared as a whole."""

    portfolio: PortfolioObserved | None
    reservations: tuple[Reservation, ...]
    decided: frozenset[str]
    tallies: tuple[object, ...]
    mark: Mark | None


class RiskState:
    """The latest portfolio, the reservations it has not settled, and what was decided."""

    def __init__(self) -> None:
        self._portfolio: PortfolioObserved | None = None
        self._reservations: dict[str, Reservation] = {}
        self._decided: OrderedDict[str, None] = OrderedDict()
        self._early: OrderedDict[str, list[OrderChanged]] = OrderedDict()
        self._tallies = Tallies()
        self._mark: Mark | None = None

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge(
            portfolio=self._portfolio,
            reservations=self.reservations,
            decided=frozenset(self._decided),
            tallies=self._tallies.facts,
            mark=self._mark,
        )

    @property
    def tallies(self) -> Tallies:
        return self._tallies

    @property
    def mark(self) -> Mark | None:
        return self._mark

    @property
    def portfolio(self) -> PortfolioObserved | None:
        return self._portfolio

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """Every approval still held, by intent id, visible in the portfolio or not."""
        return tuple(self._reservations[key] for key in sorted(self._reservations))

    def decided(self, intent_id: str) -> bool:
        return intent_id in self._decided

    def overdue(self, at: dt.datetime, *, margin: dt.timedelta) -> tuple[Reservation, ...]:
        """Approvals that ended at least `margin` ago (wall time) without a word from the executor.

        They stay reserved, since their order may be at the broker; someone should know of them.
        """
        return tuple(r for r in self.reservations if not r.answered and at >= r.expires_at + margin)

    def observe_portfolio(self, portfolio: PortfolioObserved) -> None:
        """Take a newer portfolio, and let go of what it shows. An older one changes nothing."""
        if self._portfolio is not None and portfolio.as_of <= self._portfolio.as_of:
            return
        self._portfolio = portfolio
        self._mark = losses.after_portfolio(self._mark, portfolio)
        for intent_id, reservation in list(self._reservations.items()):
            self._keep(intent_id, after_portfolio(reservation, portfolio))

    def observe_mark(self, marked: EquityMarked) -> None:
        """Take what losses are counted from, as it was kept before a restart."""
        if self._mark is None or marked.as_of >= self._mark.as_of:
            self._mark = losses.mark_of(marked)

    def observe_standing(self, standing: Standing) -> None:
        """Begin counting losses anew when somebody resumed."""
        self._mark = losses.after_standing(self._mark, standing, self._portfolio)

    def observe_decision(self, decision: IntentApproved | IntentBlocked) -> None:
        """Remember a decision, and reserve for an approval. A repeat changes nothing."""
        intent_id = decision.intent.message_id
        if intent_id in self._decided:
            return
        self._decided[intent_id] = None
        _shrink(self._decided, DECIDED_MAX)
        self._tallies.count(decision)
        early = self._early.pop(intent_id, [])
        if isinstance(decision, IntentBlocked):
            return
        self._reservations[intent_id] = reserve(decision)
        for changed in early:
            self.observe_order(changed)

    def observe_order(self, changed: OrderChanged) -> None:
        """Take the executor's word on an order. Repeats and late news change nothing."""
        intent_id = changed.intent_id
        reservation = self._reservations.get(intent_id)
        if reservation is not None:
            self._keep(intent_id, self._settled(after_order(reservation, changed)))
        elif intent_id not in self._decided:
            known = self._early.setdefault(intent_id, [])
            if not known or (changed.final and not known[-1].final):
                known.append(changed)
            _shrink(self._early, EARLY_MAX)

    def _settled(self, reservation: Reservation) -> Reservation | None:
        """The reservation against the portfolio at hand, which may show its end already."""
        ending = reservation.ending
        if ending is None:
            return reservation
        if ending.qty_held <= 0:
            return None
        if self._portfolio is None:
            return reservation
        return after_portfolio(reservation, self._portfolio)

    def _keep(self, intent_id: str, reservation: Reservation | None) -> None:
        if reservation is None:
            del self._reservations[intent_id]
        else:
            self._reservations[intent_id] = reservation


def decide(
    state: RiskState,
    intent: OrderIntended,
    settings: RiskSettings,
    *,
    alpaca_env: AlpacaEnv,
    at: dt.datetime,
    standing: Standing | None = None,
    sight: Sight | None = None,
    clock_speed: float = 1.0,
) -> Decision:
    """Risk's word on an intent, from the state as it stands; changes nothing.

    `at` is wall time. The caller makes the message, lets the state observe it, then publishes.
    """
    case = Case(
        intent=intent,
        portfolio=state.portfolio,
        reservations=state.reservations,
        settings=settings,
        at=at,
        decided=state.decided(intent.message_id),
        standing=standing,
        sight=sight,
        tallies=state.tallies,
        mark=state.mark,
        clock_speed=clock_speed,
    )
    checks = run_gates(case)
    ok = all(check.ok for check in checks)
    portfolio = state.portfolio
    return Decision(
        ok=ok,
        checks=checks,
        reason=_reason(checks),
        collateral=commitment_of(intent).collateral * intent.qty if ok else ZERO,
        account_number=portfolio.account.account_number if portfolio else "",
        alpaca_env=alpaca_env,
        at=at,
        session=portfolio.session if portfolio else None,
        seen_price=seen_price(case) if ok else None,
    )


def _reason(checks: list[GateResult]) -> str:
    failed = [check for check in checks if not check.ok]
    if not failed:
        return checks[-1].reason
    looked = [check for check in failed if not check.reason.startswith("not checked")]
    return "; ".join(f"{check.gate}: {check.reason}" for check in looked or failed)


def _shrink(
    memory: OrderedDict[str, None] | OrderedDict[str, list[OrderChanged]], most: int
) -> None:
    while len(memory) > most:
        memory.popitem(last=False)
