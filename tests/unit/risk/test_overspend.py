"""Whatever is wished for, however late and torn the news: nothing is ever promised twice."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import event
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from libs.common.contracts import IntentApproved, IntentBlocked, OrderChanged, PortfolioObserved
from libs.common.order_ids import client_order_id
from libs.common.symbols import Right, parse_option_symbol
from services.risk.state import RiskState
from tests.unit.risk.books import ACCOUNT, SETTINGS, ask, broker_time, covered_call, csp, stop
from tests.unit.risk.model_broker import STOCK_PRICE, ModelBroker, Pass, Working

NAMES = ("AA", "BB", "CC")
RULES = msgspec.structs.replace(
    SETTINGS,
    cash_buffer=Decimal(500),
    max_position_pct=40.0,
    max_short_puts=4,
    halt_daily_loss_pct=0.0,
    reduce_daily_loss_pct=0.0,
    halt_drawdown_pct=0.0,
    reduce_drawdown_pct=0.0,
)
EQUITY = 16_000


def is_entry(order: Working) -> bool:
    return parse_option_symbol(order.intent.symbol) is not None


class Trading(RuleBasedStateMachine):
    """Risk decides on what it was told; the model broker knows what is so."""

    @initialize(
        cash=st.integers(0, 10_000), a=st.integers(0, 320), b=st.sampled_from([0, 100, 150])
    )
    def open(self, cash: int, a: int, b: int) -> None:
        self.broker = ModelBroker(cash, EQUITY, {"AA": a, "BB": b, "CC": 0})
        self.start_bound = {n: self.broker.shares[n] * STOCK_PRICE for n in NAMES}
        self.state = RiskState()
        self.wished = 0
        self.reading: Pass | None = None
        self.decisions: list[IntentApproved | IntentBlocked] = []
        self.news: deque[OrderChanged] = deque()
        self.told: list[OrderChanged] = []
        self.looks: deque[PortfolioObserved] = deque()
        self.look: PortfolioObserved | None = None

    # --- wishes ---

    @rule(
        name=st.sampled_from(NAMES),
        kind=st.sampled_from(["put", "call", "stop"]),
        strike=st.integers(10, 25),
        qty=st.integers(1, 3),
        shares=st.integers(1, 200),
        seen=st.booleans(),
    )
    def wish(self, name: str, kind: str, strike: int, qty: int, shares: int, seen: bool) -> None:
        self.wished += 1
        fresh: Any = self.state.portfolio.as_of if seen and self.state.portfolio else None
        as_of = fresh or broker_time(self.broker.now)
        label = f"w{self.wished}"
        if kind == "put":
            intent = csp(label, strike, stock=name, qty=qty, as_of=as_of)
        elif kind == "call":
            intent = covered_call(label, strike, stock=name, qty=qty, as_of=as_of)
        else:
            intent = stop(label, shares, stock=name, as_of=as_of)
        message = ask(self.state, intent, RULES)
        self.decisions.append(message)
        if isinstance(message, IntentApproved):
            self.broker.approved.append(message)

    @precondition(lambda self: any(map(is_entry, self.broker.orders)))
    @rule(data=st.data(), seen=st.booleans(), tells_buying_power=st.booleans())
    def walk(self, data: st.DataObject, seen: bool, tells_buying_power: bool) -> None:
        """A wish for the place of one that works, most often as a new look shows it."""
        old = data.draw(st.sampled_from([*filter(is_entry, self.broker.orders)])).intent
        if seen:
            self.reading = None
            for _ in range(3):
                self.go_on_reading(tells_buying_power)
            while self.looks:
                self.hear_portfolio()
        self.wished += 1
        as_of = self.state.portfolio.as_of if self.state.portfolio else broker_time(0)
        wish = msgspec.structs.replace(
            old,
            message_id=f"w{self.wished}",
            as_of=as_of,
            replaces=client_order_id(ACCOUNT, old.message_id),
        )
        message = ask(self.state, wish, RULES)
        self.decisions.append(message)
        if isinstance(message, IntentApproved):
            event("replacement approved")
            self.broker.approved.append(message)

    # --- what happens at the broker ---

    @precondition(lambda self: self.broker.approved)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        self._tick()
        approval = data.draw(st.sampled_from(self.broker.approved))
        for changed in self.broker.receive(approval):
            self._tell(changed)

    @precondition(lambda self: self.broker.approved)
    @rule(data=st.data(), status=st.sampled_from(["rejected", "expired", "error", "dry_run"]))
    def refuse(self, data: st.DataObject, status: str) -> None:
        self._tick()
        approval = data.draw(st.sampled_from(self.broker.approved))
        self._tell(self.broker.refuse(approval, status))

    @precondition(lambda self: self.broker.orders)
    @rule(data=st.data(), whole=st.booleans())
    def fill(self, data: st.DataObject, whole: bool) -> None:
        self._tick()
        order = data.draw(st.sampled_from(self.broker.orders))
        self._tell(self.broker.fill(order, order.open_qty if whole else 1))

    @precondition(lambda self: self.broker.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self._tick()
        self._tell(self.broker.cancel(data.draw(st.sampled_from(self.broker.orders))))

    @precondition(lambda self: any(self.broker.short.values()))
    @rule(data=st.data())
    def assign(self, data: st.DataObject) -> None:
        self._tick()
        symbols = [symbol for symbol, qty in self.broker.short.items() if qty]
        self.broker.assign(data.draw(st.sampled_from(symbols)))

    # --- what market reads and what risk hears ---

    @rule(tells_buying_power=st.booleans())
    def go_on_reading(self, tells_buying_power: bool) -> None:
        if self.reading is None:
            self._tick()
            self.reading = self.broker.begin_pass()
        elif self.reading.positions is None:
            self.broker.read_positions(self.reading)
        else:
            look = self.broker.end_pass(self.reading, tells_buying_power=tells_buying_power)
            self.looks.append(look)
            self.look, self.reading = look, None

    @precondition(lambda self: self.looks)
    @rule()
    def hear_portfolio(self) -> None:
        self.state.observe_portfolio(self.looks.popleft())

    @precondition(lambda self: self.news)
    @rule(again=st.booleans())
    def hear_news(self, again: bool) -> None:
        changed = self.news[0] if again else self.news.popleft()
        self.state.observe_order(changed)

    @rule(news_first=st.booleans())
    def restart(self, news_first: bool) -> None:
        self.state = self._replayed(news_first=news_first)
        self.news.clear()
        self.looks.clear()

    # --- what must hold ---

    @invariant()
    def cash_is_never_overspent(self) -> None:
        bound = self.broker.put_collateral(approved=True)
        assert not bound or self.broker.cash - bound >= RULES.cash_buffer

    @invariant()
    def puts_are_never_too_many(self) -> None:
        assert self.broker.puts() <= RULES.max_short_puts

    @invariant()
    def no_name_binds_more_than_its_share(self) -> None:
        most = EQUITY * 0.4
        for name in NAMES:
            stock = self.broker.shares[name] * STOCK_PRICE
            bound = stock + self.broker.put_collateral(name, approved=True)
            assert bound <= max(most, self.start_bound[name])

    @invariant()
    def no_share_is_promised_twice(self) -> None:
        for name in NAMES:
            assert self.broker.shares_bound(name, approved=True) <= self.broker.shares[name]

    def teardown(self) -> None:
        """All heard, a restarted risk holds the same reservations as the one that lived on."""
        if not hasattr(self, "state"):
            return
        for changed in self.news:
            self.state.observe_order(changed)
        for look in self.looks:
            self.state.observe_portfolio(look)
        for news_first in (True, False):
            replayed = self._replayed(news_first=news_first)
            assert replayed.reservations == self.state.reservations
            assert replayed.portfolio == self.state.portfolio

    def _replayed(self, *, news_first: bool) -> RiskState:
        state = RiskState()
        for changed in self.told if news_first else ():
            state.observe_order(changed)
        for decision in self.decisions:
            state.observe_decision(decision)
        for changed in () if news_first else self.told:
            state.observe_order(changed)
        if self.look is not None:
            state.observe_portfolio(self.look)
        return state

    def _tell(self, changed: OrderChanged) -> None:
        self.news.append(changed)
        self.told.append(changed)

    def _tick(self) -> None:
        self.broker.now += 1


TestTrading = Trading.TestCase
TestTrading.settings = hypothesis_settings(max_examples=120, stateful_step_count=60, deadline=None)


def test_the_model_can_trade() -> None:
    """Guards the machine above against passing because nothing is ever approved."""
    trading = Trading()
    trading.open(cash=10_000, a=250, b=0)
    for _ in range(3):
        trading.go_on_reading(tells_buying_power=True)
    trading.hear_portfolio()
    for name, kind in (("BB", "put"), ("CC", "put"), ("AA", "call"), ("AA", "stop")):
        trading.wish(name, kind, strike=20, qty=2, shares=50, seen=True)
    symbols = [approval.intent.symbol for approval in trading.broker.approved]
    options = [parse_option_symbol(symbol) for symbol in symbols]
    assert [o.right if o else None for o in options] == [Right.PUT, Right.PUT, Right.CALL, None]
    trading.cash_is_never_overspent()
    trading.no_share_is_promised_twice()
    trading.teardown()


def test_the_model_can_walk() -> None:
    """The same for orders that take another's place, on an account with nothing to spare."""
    trading = Trading()
    trading.open(cash=2500, a=0, b=100)
    trading_sees(trading)
    trading.wish("CC", "put", strike=20, qty=1, shares=1, seen=True)
    trading.wish("BB", "call", strike=20, qty=1, shares=1, seen=True)
    for approval in [*trading.broker.approved]:
        trading.broker.receive(approval)
    trading_sees(trading)
    for order in [*trading.broker.orders]:
        name = client_order_id(ACCOUNT, order.intent.message_id)
        as_of = trading.state.portfolio.as_of if trading.state.portfolio else None
        wish = msgspec.structs.replace(
            order.intent, message_id=f"r-{name}", as_of=as_of, replaces=name
        )
        message = ask(trading.state, wish, RULES)
        assert isinstance(message, IntentApproved), message.reason
        trading.broker.approved.append(message)
        said = [changed.status for changed in trading.broker.receive(message)]
        assert said == ["accepted", "replaced"]
    assert len(trading.broker.orders) == 2
    trading.cash_is_never_overspent()
    trading.no_share_is_promised_twice()


def trading_sees(trading: Trading) -> None:
    trading.broker.now += 1
    for _ in range(3):
        trading.go_on_reading(tells_buying_power=True)
    trading.hear_portfolio()
