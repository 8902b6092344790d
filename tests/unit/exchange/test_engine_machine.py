"""Whatever clients do and whatever the market does: nothing is lost, promised twice or forgotten.

A hypothesis state machine plays two accounts of one market. Each account is kept twice: one is
played straight through, the other is restarted from its encoded books and gets its time cut into
other steps; both must stay the same, byte for byte. `EXCHANGE_PROOF_EXAMPLES` sets how many runs
(120 without it), `EXCHANGE_PROOF_STEPS` how long they are.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from libs.common.symbols import SHARES_PER_CONTRACT, Right, parse_option_symbol
from services.exchange.engine.account import Account, open_books
from services.exchange.engine.books import Books
from services.exchange.engine.refusals import Refusal
from services.exchange.prices.actions import CashDividend, Split
from services.exchange.prices.calendar import Session, load_calendar
from services.exchange.prices.history import load_history
from services.exchange.prices.listing import Contract
from services.exchange.prices.market import Market, Moment
from services.exchange.terms import Terms
from tests.unit.exchange import audit

EXAMPLES = int(os.environ.get("EXCHANGE_PROOF_EXAMPLES", "120"))
STEPS = int(os.environ.get("EXCHANGE_PROOF_STEPS", "30"))
SYMBOLS = ["AAPL", "KO", "RRC"]
CALENDAR = load_calendar()
HISTORY = load_history().only(SYMBOLS)
QUIET = {seed: Market(CALENDAR, HISTORY, seed=seed) for seed in (7, 8)}  # without actions
# Before a weekly and a monthly expiration, a half day and a holiday, a crash.
STARTS = [dt.date(2020, 2, 5), dt.date(2019, 11, 26), dt.date(2020, 3, 16), dt.date(2018, 12, 20)]

ACCOUNTS = st.fixed_dictionaries(
    {
        "cash": st.sampled_from([Decimal(40_000), Decimal(9_000), Decimal("120.57")]),
        "options_level": st.sampled_from([3, 3, 3, 2, 1, 0]),
        "stocks": st.sampled_from(
            [
                {"AAPL": Decimal(230), "KO": Decimal(100), "RRC": Decimal(500)},
                {"RRC": Decimal(1001), "KO": Decimal("7.123456789")},
                {"AAPL": Decimal("301.5")},
                {},
            ]
        ),
    }
)
TERMS = st.builds(
    Terms,
    partial_fill_rate=st.sampled_from([0.0, 0.7, 0.9]),
    slippage_bps=st.sampled_from([0.0, 50.0]),
    fee_per_contract=st.sampled_from([Decimal(0), Decimal("0.65"), Decimal(30)]),
    fee_per_share_sold=st.sampled_from([Decimal(0), Decimal("0.01"), Decimal(5)]),
    early_assignment_rate=st.sampled_from([0.0, 0.3, 1.0]),
)
ACCOUNT = st.sampled_from([0, 0, 0, 1])
QTYS = st.sampled_from(["1", "2", "5", "30", "100", "0.5", "33.333333333"])
AWAY = st.sampled_from([-0.3, -0.02, -0.003, 0.0, 0.003, 0.02, 0.3])
TIFS = st.sampled_from(["day", "gtc", "day", "gtc", "opg", "cls", "ioc", "fok"])
CUTS = st.lists(st.floats(0.01, 0.99), max_size=3)
TYPES = st.sampled_from(["market", "limit", "stop", "stop_limit", "trailing_stop"])
CONTRACT = st.tuples(
    st.sampled_from(SYMBOLS),
    st.integers(0, 3),
    st.sampled_from([-20, -5, -2, -1, 0, 1, 2, 5, 20]),
    st.booleans(),
)

FEW = {"min_size": 1, "max_size": 4}
STOCK_ORDER = st.fixed_dictionaries(
    {
        "side": st.sampled_from(["buy", "sell"]),
        "qty": QTYS | st.just("all"),
        "type": TYPES,
        "time_in_force": TIFS,
        "away": AWAY,
        "notional": st.sampled_from([None, None, None, "1", "250.55", "3000"]),
    }
)
OPTION_ORDER = st.fixed_dictionaries(
    {
        "side": st.sampled_from(["buy", "sell", "sell"]),
        "qty": st.sampled_from(["1", "2", "5", "all"]),
        "type": st.sampled_from(["market", "limit", "market", "limit", "stop", "stop_limit"]),
        "time_in_force": st.sampled_from(["day", "gtc"]),
        "away": AWAY,
    }
)


class Kept:
    """One account, kept twice."""

    def __init__(self, market: Market, session: Session, terms: Terms, account: dict[str, Any]):
        self.market, self.terms = market, terms
        fields = dict(account)
        stocks: dict[str, Decimal] = fields.pop("stocks")
        self.opening_cash = fields["cash"]
        self.opening = dict(stocks)
        books = open_books(
            market,
            at=session.open,
            positions={symbol: (qty, None) for symbol, qty in stocks.items()},
            seed=market.seed,
            **fields,
        )
        self.straight = Account(market, books, terms)
        self.other = Account(market, copy_of(books), terms)
        self.telling = audit.Telling()

    @property
    def books(self) -> Books:
        return self.straight.books

    def restart(self) -> None:
        self.other.books.outbox.clear()
        self.other = Account(self.market, copy_of(self.other.books), self.terms)

    def ask(self, request: Callable[[Account], object]) -> object:
        """The same request to both; a refusal changes nothing."""
        answers = [answer(account, request) for account in (self.straight, self.other)]
        assert answers[0] == answers[1]
        return answers[0]

    def hear(self) -> None:
        told = self.straight.books.outbox
        assert told == self.other.books.outbox
        for update in told:
            self.telling.hear(update)
        for account in (self.straight, self.other):
            account.books.outbox.clear()


def answer(account: Account, request: Callable[[Account], object]) -> object:
    before = encoded(account.books), account.books.revision, len(account.books.outbox)
    try:
        return request(account)
    except Refusal as answered:
        refusal = answered
    after = encoded(account.books), account.books.revision, len(account.books.outbox)
    assert before == after, f"refused, and the books changed: {refusal}"
    return refusal.status, refusal.code, refusal.message, refusal.details


def copy_of(books: Books) -> Books:
    return msgspec.json.decode(msgspec.json.encode(books), type=Books)


def encoded(books: Books) -> bytes:
    """Without the revision, which counts saves and so depends on the steps."""
    return msgspec.json.encode(msgspec.structs.replace(books, revision=0))


class ExchangeMachine(RuleBasedStateMachine):
    @initialize(
        start=st.sampled_from(STARTS),
        seed=st.sampled_from([7, 8]),
        terms=TERMS,
        accounts=st.tuples(ACCOUNTS, ACCOUNTS),
        actions=st.booleans(),
    )
    def open(
        self,
        start: dt.date,
        seed: int,
        terms: Terms,
        accounts: tuple[dict[str, Any], dict[str, Any]],
        actions: bool,
    ) -> None:
        self.with_actions = actions
        self.market = Market(CALENDAR, HISTORY, seed=seed) if actions else QUIET[seed]
        self.start = CALENDAR.session(CALENDAR.first_from(start))
        self.now = self.start.open
        self.kept = [Kept(self.market, self.start, terms, account) for account in accounts]
        self.count = 0

    # --- what is asked for ---------------------------------------------------------------------

    @property
    def moment(self) -> Moment:
        return self.market.moment(self.now)

    def contract(self, pick: tuple[str, int, int, bool]) -> Contract:
        underlying, expiration, offset, call = pick
        listing = self.market.listing(underlying, self.moment)
        dates = sorted({c.parts.expiration for c in listing.contracts})
        row = [
            c
            for c in listing.contracts
            if c.parts.expiration == dates[min(expiration, len(dates) - 1)]
            and c.is_call == call
            and not c.parts.adjusted
        ]
        spot = Decimal(repr(self.market.last(underlying, self.moment)))
        middle = min(range(len(row)), key=lambda i: abs(row[i].parts.strike - spot))
        return row[min(max(middle + offset, 0), len(row) - 1)]

    def price(self, symbol: str, away: float) -> str:
        """A price that far from the middle of the quote, on every grid."""
        if symbol in HISTORY:
            quote = self.market.stock_quote(symbol, self.moment)
            return f"{max(quote.last * (1 + away), 0.01):.2f}"
        quotes = self.market.option_quote(symbol, self.moment)
        middle = 1.0 if quotes is None else float(quotes.bid[0] + quotes.ask[0]) / 2
        return f"{max(1, round(middle * (1 + away) / 0.1)) * 0.1:.2f}"

    def send(self, account: int, symbol: str, side: str, body: dict[str, Any], away: float) -> None:
        self.count += 1
        body = {"symbol": symbol, "side": side, "client_order_id": f"c{self.count}"} | body
        if body.get("qty") == "all":
            body["qty"] = self.all_of(account, symbol, side)
        if "." in body.get("qty", "") or "notional" in body:
            body["time_in_force"] = "day"
        if body["type"] in ("limit", "stop_limit"):
            body["limit_price"] = self.price(symbol, away)
        if body["type"] in ("stop", "stop_limit"):
            body["stop_price"] = self.price(symbol, away / 2)
        self.ask(account, lambda at: at.submit(body, self.now))

    def all_of(self, account: int, symbol: str, side: str) -> str:
        """The most that may be bought, sold or written, about."""
        books, option = self.kept[account].books, parse_option_symbol(symbol)
        power = books.buying_power()
        if option is None and side == "sell":
            return str(max(1, int(books.shares_free(symbol))))
        if option is not None and side == "sell":
            calls = int(books.shares_free(option.underlying)) // SHARES_PER_CONTRACT
            puts = int(power / option.strike) // SHARES_PER_CONTRACT
            return str(max(1, calls if option.right is Right.CALL else puts))
        return str(max(1, int(power / Decimal(self.price(symbol, 0.0)) / audit.lot(symbol))))

    def ask(self, account: int, request: Callable[[Account], object]) -> None:
        self.kept[account].ask(request)

    @rule(account=ACCOUNT, symbol=st.sampled_from(SYMBOLS), orders=st.lists(STOCK_ORDER, **FEW))
    def trade_a_stock(self, account: int, symbol: str, orders: list[dict[str, Any]]) -> None:
        for order in orders:
            body = dict(order)
            side, away, notional = (body.pop(name) for name in ("side", "away", "notional"))
            if notional is not None:
                del body["qty"]
                body["notional"] = notional
            if body["type"] == "trailing_stop":
                body["trail_price" if away < 0 else "trail_percent"] = "1.5"
            self.send(account, symbol, side, body, away)

    @rule(account=ACCOUNT, picks=st.lists(st.tuples(CONTRACT, OPTION_ORDER), **FEW))
    def trade_options(
        self, account: int, picks: list[tuple[tuple[str, int, int, bool], dict[str, Any]]]
    ) -> None:
        for pick, order in picks:
            body = dict(order)
            side, away = body.pop("side"), body.pop("away")
            self.send(account, self.contract(pick).symbol, side, body, away)

    @rule(
        account=ACCOUNT,
        pick=CONTRACT,
        covered=st.booleans(),
        away=st.sampled_from([0, 0.02]),
        buy_back=st.booleans(),
    )
    def write_an_option(
        self,
        account: int,
        pick: tuple[str, int, int, bool],
        covered: bool,
        away: float,
        buy_back: bool,
    ) -> None:
        """A call on shares that are held when there are enough, a put otherwise."""
        held = [s for s in SYMBOLS if self.kept[account].books.held(s) >= SHARES_PER_CONTRACT]
        call = covered and bool(held)
        symbol, expiration, offset, _ = pick
        if call:
            symbol = held[SYMBOLS.index(symbol) % len(held)]
        contract = self.contract((symbol, expiration, offset, call))
        body = {"type": "limit" if away else "market", "time_in_force": "gtc", "qty": "1"}
        self.send(account, contract.symbol, "sell", body, away)
        if buy_back:
            body = {"type": "limit", "time_in_force": "gtc", "qty": "1"}
            self.send(account, contract.symbol, "buy", body, -0.3)

    @rule(account=ACCOUNT, which=st.integers(0, 5), qty=st.sampled_from(["1", "2"]), away=AWAY)
    def trade_out_of_a_position(self, account: int, which: int, qty: str, away: float) -> None:
        positions = [p for p in self.kept[account].books.positions.values() if p.option]
        if positions:
            position = positions[which % len(positions)]
            body = {"type": "limit", "time_in_force": "gtc", "qty": qty}
            side = "sell" if position.qty > 0 else "buy"
            self.send(account, position.symbol, side, body, away)

    @rule(
        account=ACCOUNT,
        symbol=st.sampled_from(SYMBOLS),
        order_class=st.sampled_from(["bracket", "oto", "oco", "bracket"]),
        side=st.sampled_from(["buy"] * 6 + ["sell"]),
        qty=st.sampled_from(["1", "7", "50", "all"]),
        entry=st.tuples(st.booleans(), st.sampled_from(["day", "gtc"])),
        width=st.sampled_from([0.0006, 0.002, 0.02]),
        stop_limit=st.booleans(),
    )
    def send_linked_orders(
        self,
        account: int,
        symbol: str,
        order_class: str,
        side: str,
        qty: str,
        entry: tuple[bool, str],
        width: float,
        stop_limit: bool,
    ) -> None:
        oco, (market, tif) = order_class == "oco", entry
        side = "sell" if oco else side
        up = 1 if (side == "buy") != oco else -1
        profit, stop = (self.price(symbol, up * width), self.price(symbol, -up * width))
        body: dict[str, Any] = {"qty": qty, "time_in_force": tif, "order_class": order_class}
        body["type"] = "market" if market and not oco else "limit"
        if order_class != "oto" or market:
            body["stop_loss"] = {"stop_price": stop} | ({"limit_price": stop} if stop_limit else {})
        if order_class != "oto" or not market:
            body["take_profit"] = {"limit_price": profit}
        self.send(account, symbol, side, body, width * up if oco else 0.0)

    @rule(
        account=ACCOUNT,
        which=st.integers(0, 9),
        wish=st.sampled_from(["qty", "price", "price", "trail", "time_in_force"]),
        qty=QTYS,
        away=st.sampled_from([-0.02, -0.003, 0.0, 0.003, 0.02]),
    )
    def replace(self, account: int, which: int, wish: str, qty: str, away: float) -> None:
        orders = list(self.kept[account].books.open_orders.values())
        if not orders:
            return
        order = orders[which % len(orders)]
        if wish == "price":
            wish = "stop_price" if order.limit_price is None else "limit_price"
        value = {"qty": qty, "trail": "2.5", "time_in_force": "gtc"}.get(wish)
        body = {wish: value or self.price(order.symbol, away)}
        self.ask(account, lambda at: at.replace(order.id, body, self.now))

    @rule(account=ACCOUNT, which=st.integers(0, 9), final=st.sampled_from([False, False, True]))
    def cancel(self, account: int, which: int, final: bool) -> None:
        books = self.kept[account].books
        orders = list(books.final_orders if final else books.open_orders)
        if not orders:
            return
        order_id = orders[which % len(orders)]
        answer = self.kept[account].ask(lambda at: at.cancel(order_id, self.now))
        if final:
            assert isinstance(answer, tuple)
            assert answer[:2] == (422, 42210000)

    @rule(
        account=ACCOUNT,
        which=st.integers(0, 5),
        qty=st.none() | QTYS.map(Decimal),
        percentage=st.none() | st.sampled_from([Decimal(100), Decimal("33.3"), Decimal("0.01")]),
    )
    def close_position(
        self, account: int, which: int, qty: Decimal | None, percentage: Decimal | None
    ) -> None:
        positions = list(self.kept[account].books.positions)
        if positions:
            symbol = positions[which % len(positions)]
            self.ask(account, lambda at: at.close_position(symbol, qty, percentage, self.now))

    @rule(account=ACCOUNT, cancel=st.booleans(), close=st.booleans())
    def cancel_and_close_all(self, account: int, cancel: bool, close: bool) -> None:
        if cancel:
            self.ask(account, lambda at: at.cancel_all(self.now))
        for symbol in list(self.kept[account].books.positions) if close else ():
            self.ask(account, lambda at, s=symbol: at.close_position(s, None, None, self.now))

    @rule(account=ACCOUNT, which=st.integers(0, 5), refuse=st.booleans())
    def exercise(self, account: int, which: int, refuse: bool) -> None:
        contracts = [p for p in self.kept[account].books.positions.values() if p.option]
        if contracts:
            symbol = contracts[which % len(contracts)].symbol
            if refuse:
                self.ask(account, lambda at: at.refuse_exercise(symbol, self.now))
            else:
                self.ask(account, lambda at: at.exercise(symbol, self.now))

    @rule(account=ACCOUNT)
    def restart(self, account: int) -> None:
        self.kept[account].restart()

    # --- time and the market -------------------------------------------------------------------

    @rule(minutes=st.integers(1, 200), seconds=st.integers(0, 59), cuts=CUTS)
    def wait(self, minutes: int, seconds: int, cuts: list[float]) -> None:
        self.go(self.now + dt.timedelta(minutes=minutes, seconds=seconds), cuts)

    @rule(
        sessions=st.sampled_from([0, 0, 1, 1, 2, 5, 20]),
        minute=st.sampled_from([-90, 0, 1, 200, 350, 380]),
        cuts=CUTS,
    )
    def wait_for_a_session(self, sessions: int, minute: int, cuts: list[float]) -> None:
        session = CALENDAR.session(self.moment.session.index + sessions)
        at = session.open + dt.timedelta(minutes=min(minute, session.minutes))
        self.go(max(at, self.now), cuts)

    @rule(sessions=st.sampled_from([0, 1, 3]), seconds=st.sampled_from([-30, 0, 1, 9000]))
    def wait_for_a_close(self, sessions: int, seconds: int) -> None:
        session = CALENDAR.session(self.moment.session.index + sessions)
        self.go(max(session.close + dt.timedelta(seconds=seconds), self.now), [])

    @rule(weeks=st.sampled_from([1, 1, 2, 5, 14]), minutes=st.sampled_from([-40, 60]), cuts=CUTS)
    def wait_for_an_expiration(self, weeks: int, minutes: int, cuts: list[float]) -> None:
        friday = self.now.date() + dt.timedelta(days=(4 - self.now.weekday()) % 7 + 7 * (weeks - 1))
        session = CALENDAR.session(CALENDAR.first_from(friday))
        self.go(max(session.close + dt.timedelta(minutes=minutes), self.now), cuts)

    def go(self, to: dt.datetime, cuts: list[float]) -> None:
        for kept in self.kept:
            kept.straight.advance(to)
            for cut in sorted(cuts):
                kept.other.advance(self.now + (to - self.now) * cut)
            kept.other.advance(to)
        self.now = to

    @precondition(lambda self: self.with_actions)
    @rule(
        symbol=st.sampled_from(SYMBOLS),
        sessions=st.integers(1, 6),
        what=st.sampled_from(["0.37", "2.5", "2:1", "3:1", "3:2", "1:4", "1:3", "7:1"]),
        later=st.integers(0, 10),
    )
    def inject(self, symbol: str, sessions: int, what: str, later: int) -> None:
        ex_date = CALENDAR.session(self.moment.session.index + sessions).date
        terms: dict[str, Any] = {"id": f"{symbol}-{ex_date}", "symbol": symbol, "ex_date": ex_date}
        action: CashDividend | Split
        if ":" in what:
            new, old = what.split(":")
            action = Split(**terms, new_rate=Decimal(new), old_rate=Decimal(old))
        else:
            payable = ex_date + dt.timedelta(days=later)
            action = CashDividend(
                **terms, rate=Decimal(what), record_date=ex_date, payable_date=payable
            )
        for kept in self.kept:  # what is to be injected must lie ahead of every account
            kept.straight.advance(self.now)
            kept.other.advance(self.now)
        try:
            self.market.inject(action, self.now)
        except ValueError:
            return

    # --- what must always hold -----------------------------------------------------------------

    @invariant()
    def the_books_are_sound(self) -> None:
        for kept in getattr(self, "kept", []):
            for account in (kept.straight, kept.other):
                account.advance(self.now)
            kept.hear()
            assert encoded(kept.straight.books) == encoded(kept.other.books)
            books, moment = kept.books, self.moment
            audit.check_conserved(books, kept.opening_cash, kept.opening)
            audit.check_equity(self.market, books, moment)
            audit.check_promises(books)
            audit.check_holds(books)
            audit.check_orders(books, moment)
            audit.check_dividends(self.market, books, kept.opening_cash, kept.opening)
            kept.telling.check(books)
            self.nothing_outlives_its_expiration(books)

    def nothing_outlives_its_expiration(self, books: Books) -> None:
        session, closed = self.moment.session, self.now >= self.moment.session.close
        for position in books.positions.values():
            option = position.option
            if option is not None:
                assert option.expiration > session.date or (
                    option.expiration == session.date and not closed
                )


TestExchangeMachine = ExchangeMachine.TestCase
TestExchangeMachine.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
