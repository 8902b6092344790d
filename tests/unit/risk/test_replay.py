"""Start-up is recovery: what risk knows after reading the streams is what it knew before."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import hypothesis.strategies as st
import msgspec
from hypothesis import event, given
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from libs.common.contracts import (
    EquityMarked,
    IntentApproved,
    IntentBlocked,
    OrderChanged,
    OrderIntended,
    PortfolioObserved,
)
from libs.common.order_ids import client_order_id
from libs.common.symbols import Right
from services.risk.losses import Mark
from services.risk.state import RiskState
from tests.unit.risk.books import (
    ACCOUNT,
    QUOTE,
    SETTINGS,
    ask,
    broker_time,
    covered_call,
    csp,
    held,
    occ,
    portfolio,
    resting,
    stop,
    told,
)

NAMES = ("KO", "PEP", "F")
ROOMY = msgspec.structs.replace(
    SETTINGS,
    max_position_pct=100.0,
    max_short_puts=100,
    max_total_pct=1000.0,
    halt_daily_loss_pct=0.0,
    reduce_daily_loss_pct=0.0,
    halt_drawdown_pct=0.0,
    reduce_drawdown_pct=0.0,
)
ENDS = ("filled", "canceled", "expired", "rejected", "error", "dry_run", "replaced")


class Streams(RuleBasedStateMachine):
    """A live risk hears everything at once, twice, late or out of order; what was said stands in
    streams; a risk that reads the streams in any order of the two knows the same.
    """

    @initialize(cash=st.integers(20_000, 200_000))
    def begin(self, cash: int) -> None:
        self.live = RiskState()
        self.cash = Decimal(cash)
        self.clock = 0.0
        self.decisions: list[IntentApproved | IntentBlocked] = []
        self.changes: list[OrderChanged] = []
        self.unheard: list[OrderChanged] = []
        self.working: dict[str, OrderIntended] = {}
        self.latest: PortfolioObserved | None = None
        self.kept_mark: Mark | None = None
        self.look(set(), 0)

    def _tick(self) -> float:
        self.clock += 30
        return self.clock

    @rule(
        name=st.sampled_from(NAMES),
        kind=st.sampled_from(["put", "call", "stop"]),
        strike=st.integers(10, 80),
        qty=st.integers(1, 2),
    )
    def wish(self, name: str, kind: str, strike: int, qty: int) -> None:
        label = f"w{len(self.decisions)}"
        as_of = broker_time(self._tick())
        make = {"put": csp, "call": covered_call}.get(kind)
        if make is None:
            intent = stop(label, qty, stock=name, as_of=as_of)
        else:
            intent = make(label, strike, stock=name, qty=qty, as_of=as_of)
        quote = msgspec.structs.replace(QUOTE, as_of=as_of)
        decision = ask(self.live, intent, ROOMY, sight=quote)
        self.decisions.append(decision)
        if isinstance(decision, IntentApproved):
            self.working[label] = intent

    @precondition(lambda self: self.working)
    @rule(data=st.data(), shown=st.booleans())
    def walk(self, data: st.DataObject, shown: bool) -> None:
        """One in the place of another, most often one that the portfolio shows; which of the two
        ends first, and as what, is left to `end`.
        """
        if shown:
            self.look(set(range(6)), 0)
        old = self.working[data.draw(st.sampled_from(sorted(self.working)))]
        as_of = broker_time(self._tick())
        label = f"w{len(self.decisions)}"
        intent = msgspec.structs.replace(
            old, message_id=label, as_of=as_of, replaces=client_order_id(ACCOUNT, old.message_id)
        )
        decision = ask(self.live, intent, ROOMY, sight=msgspec.structs.replace(QUOTE, as_of=as_of))
        self.decisions.append(decision)
        if isinstance(decision, IntentApproved):
            event("replaced")
            self.working[label] = intent

    @precondition(lambda self: self.working)
    @rule(
        data=st.data(),
        end=st.sampled_from(ENDS),
        timed=st.booleans(),
        share=st.integers(0, 2),
        heard=st.booleans(),
    )
    def end(self, data: st.DataObject, end: str, timed: bool, share: int, heard: bool) -> None:
        """An order ends once; the executor may say more than once that it did."""
        label = data.draw(st.sampled_from(sorted(self.working)))
        intent = self.working.pop(label)
        moment = self._tick()
        filled = intent.qty if end == "filled" else min(share, intent.qty - 1)
        self._say(told(intent, "accepted", final=False, wall=moment), heard=heard)
        self._say(
            told(intent, end, filled=filled, changed=moment if timed else None, wall=moment),
            heard=heard,
        )

    def _say(self, changed: OrderChanged, *, heard: bool) -> None:
        self.changes.append(changed)
        if heard:
            self.live.observe_order(changed)
        else:
            self.unheard.append(changed)

    @rule(data=st.data())
    def catch_up(self, data: st.DataObject) -> None:
        """What was late arrives, in whatever order."""
        for changed in data.draw(st.permutations(self.unheard)):
            self.live.observe_order(changed)
        self.unheard = []

    @precondition(lambda self: self.changes)
    @rule(data=st.data())
    def hear_again(self, data: st.DataObject) -> None:
        if not self.unheard:
            self.live.observe_order(data.draw(st.sampled_from(self.changes)))
        self.live.observe_decision(self.decisions[0])

    @rule(shows=st.sets(st.integers(0, 5)), pause=st.sampled_from([0, 0, 400]))
    def look(self, shows: set[int], pause: int) -> None:
        self.clock += pause
        moment = self._tick()
        orders = [resting(i) for n, i in enumerate(self.working.values()) if n in shows]
        self.latest = portfolio(
            *(held(name, 300, entry="10", market_value=Decimal(3000)) for name in NAMES),
            held(occ(45, Right.PUT, stock="PEP"), -1),
            orders=tuple(orders),
            as_of=moment,
            wall=moment,
            cash=self.cash,
            equity=self.cash + int(self.clock) % 700,
        )
        self.live.observe_portfolio(self.latest)
        self.kept_mark = self.live.mark

    @rule(seconds=st.integers(1, 200))
    def hear_an_older_look(self, seconds: int) -> None:
        if self.latest is not None:
            self.live.observe_portfolio(portfolio(as_of=self.clock - seconds - 1000))

    @invariant()
    def a_replay_comes_to_the_same(self) -> None:
        if not hasattr(self, "live") or self.unheard:
            return
        for orders_first in (False, True):
            replayed = RiskState()
            streams = [
                lambda to: [to.observe_decision(d) for d in [*self.decisions, *self.decisions]],
                lambda to: [to.observe_order(c) for c in self.changes],
            ]
            for stream in reversed(streams) if orders_first else streams:
                stream(replayed)
            if self.kept_mark is not None:
                replayed.observe_mark(marked(self.kept_mark))
            if self.latest is not None:
                replayed.observe_portfolio(self.latest)
            assert replayed.knowledge == self.live.knowledge


def marked(mark: Mark) -> EquityMarked:
    return EquityMarked(
        message_id="m",
        at=mark.as_of,
        as_of=mark.as_of,
        session=mark.session,
        day_base=mark.day_base,
        peak=mark.peak,
        reset_by=mark.reset_by,
    )


TestStreams = Streams.TestCase
TestStreams.settings = hypothesis_settings(max_examples=250, stateful_step_count=30, deadline=None)


@given(order=st.permutations(range(6)), again=st.lists(st.integers(0, 5), max_size=4))
def test_tallies_are_the_same_in_any_order(order: list[int], again: list[int]) -> None:
    """Decisions of three sessions and three minutes."""
    source = RiskState()
    source.observe_portfolio(portfolio(held("KO", 300), cash=Decimal(10**6), equity=Decimal(10**6)))
    made = []
    for number in range(6):
        decision = ask(source, csp(f"w{number}", 10 + number, stock=NAMES[number % 3]), ROOMY)
        made.append(
            msgspec.structs.replace(
                decision,
                at=decision.at + dt.timedelta(seconds=25 * number),
                **(
                    {"session": decision.session + dt.timedelta(days=number // 3)}
                    if isinstance(decision, IntentApproved) and decision.session
                    else {}
                ),
            )
        )
    straight, shuffled = RiskState(), RiskState()
    for decision in made:
        straight.observe_decision(decision)
    for number in [*order, *again]:
        shuffled.observe_decision(made[number])
    assert shuffled.tallies.facts == straight.tallies.facts
    assert shuffled.knowledge == straight.knowledge
