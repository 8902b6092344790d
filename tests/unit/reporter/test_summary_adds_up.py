"""Realised over days plus unrealised is the change of equity: a property over whole histories.

The test keeps its own accounts by cash alone: each trade moves cash, and equity is cash plus the
market value of what is held. It knows nothing of averages, so it can tell when they are wrong.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts import (
    AlpacaEnv,
    AssetClass,
    BotMode,
    LedgerEvent,
    PositionView,
    Side,
)
from libs.common.symbols import parse_option_symbol
from services.reporter.summary import (
    DayBooks,
    FillRow,
    LedgerRow,
    OrderRow,
    TickRow,
    basis_before,
    multiplier_of,
    summarise,
)

FIRST_DAY = dt.date(2020, 2, 3)
STOCKS = ("KO", "AAPL")
OPTIONS = (
    "KO200320P00058000",
    "KO200320C00060000",
    "AAPL200320P00300000",
    "AAPL200320C00330000",
)
ENDS = {"P": LedgerEvent.ASSIGNED, "C": LedgerEvent.CALLED_AWAY}

prices = st.decimals("0.01", "400", places=2)
trades = st.tuples(st.sampled_from(STOCKS + OPTIONS), st.integers(-300, 300), prices)
ends = st.tuples(st.sampled_from(OPTIONS), st.booleans())
days = st.lists(
    st.tuples(st.lists(trades, max_size=5), st.lists(ends, max_size=2)), min_size=1, max_size=6
)


class Account:
    """Cash and quantities: the second opinion."""

    def __init__(self) -> None:
        self.cash = Decimal(0)
        self.held: dict[str, int] = {}

    def move(self, symbol: str, qty: int, price: Decimal) -> None:
        self.cash -= qty * price * multiplier_of(symbol)
        self.held[symbol] = self.held.get(symbol, 0) + qty

    def equity(self, marks: dict[str, Decimal]) -> Decimal:
        worth = sum(qty * marks[s] * multiplier_of(s) for s, qty in self.held.items())
        return self.cash + worth

    def allowed(self, symbol: str, qty: int) -> bool:
        """Stock is never sold short; all else is."""
        return bool(qty) and (symbol not in STOCKS or self.held.get(symbol, 0) + qty >= 0)


def play_trades(
    account: Account, session: dt.date, wanted: list[tuple[str, int, Decimal]]
) -> list[OrderRow]:
    orders = []
    for minute, (symbol, qty, price) in enumerate(wanted):
        if not account.allowed(symbol, qty):
            continue
        account.move(symbol, qty, price)
        orders.append(
            OrderRow(
                strategy="any",
                symbol=symbol,
                side=Side.BUY if qty > 0 else Side.SELL,
                qty=Decimal(abs(qty)),
                order_type="limit",
                status="filled",
                changed_at=dt.datetime.combine(session, dt.time(15, minute), tzinfo=dt.UTC),
                filled_qty=Decimal(abs(qty)),
                filled_avg_price=price,
            )
        )
    return orders


def play_ends(
    account: Account, session: dt.date, wanted: list[tuple[str, bool]]
) -> list[LedgerRow]:
    """Short options expire, or are assigned: shares come or go at the strike."""
    rows = []
    for symbol, expires in wanted:
        contracts = -account.held.get(symbol, 0)
        option = parse_option_symbol(symbol)
        assert option is not None
        letter = "P" if option.right == "put" else "C"
        shares = contracts * 100 * (1 if letter == "P" else -1)
        if contracts <= 0 or not (expires or account.allowed(option.underlying, shares)):
            continue
        account.move(symbol, contracts, Decimal(0))
        if not expires:
            account.move(option.underlying, shares, option.strike)
        rows.append(
            LedgerRow(
                event=LedgerEvent.EXPIRED if expires else ENDS[letter],
                underlying=option.underlying,
                symbol=symbol,
                qty=Decimal(contracts),
                date=session,
            )
        )
    return rows


def positions(books: DayBooks, account: Account, marks: dict[str, Decimal]) -> list[PositionView]:
    """What the broker would show: quantities from the account, averages from the books."""
    after = DayBooks(
        session=books.session,
        mode=books.mode,
        env=books.env,
        fills_before=books.fills_before + [as_fill(order) for order in books.orders],
        ledger_before=books.ledger_before + books.ledger,
    )
    holdings = basis_before(after).holdings
    assert {s: int(h.qty) for s, h in holdings.items()} == {
        s: q for s, q in account.held.items() if q
    }
    return [
        PositionView(
            symbol=symbol,
            asset_class=AssetClass.OPTION if symbol in OPTIONS else AssetClass.STOCK,
            qty=holding.qty,
            qty_available=holding.qty,
            avg_entry_price=holding.average,
            market_value=holding.qty * marks[symbol] * multiplier_of(symbol),
        )
        for symbol, holding in holdings.items()
    ]


def as_fill(order: OrderRow) -> FillRow:
    assert order.filled_avg_price is not None
    return FillRow(
        at=order.changed_at,
        symbol=order.symbol,
        side=order.side,
        qty=order.filled_qty,
        price=order.filled_avg_price,
    )


@settings(max_examples=80, deadline=None)
@given(history=days, marks=st.fixed_dictionaries(dict.fromkeys(STOCKS + OPTIONS, prices)))
def test_realised_over_days_and_unrealised_at_the_end_are_the_change_of_equity(
    history: list[tuple[list[tuple[str, int, Decimal]], list[tuple[str, bool]]]],
    marks: dict[str, Decimal],
) -> None:
    account = Account()
    fills_before: list[FillRow] = []
    ledger_before: list[LedgerRow] = []
    realised = Decimal(0)
    for number, (wanted_trades, wanted_ends) in enumerate(history):
        session = FIRST_DAY + dt.timedelta(days=number)
        orders = play_trades(account, session, wanted_trades)
        ledger = play_ends(account, session, wanted_ends)
        tick = TickRow(
            ts=dt.datetime.combine(session, dt.time(21), tzinfo=dt.UTC),
            equity=account.equity(marks),
            cash=account.cash,
        )
        books = DayBooks(
            session=session,
            mode=BotMode.LIVE,
            env=AlpacaEnv.SIM,
            ticks=[tick],
            previous_equity=Decimal(0),
            orders=orders,
            ledger=ledger,
            fills_before=list(fills_before),
            ledger_before=list(ledger_before),
        )
        books_with_positions = DayBooks(
            **{name: getattr(books, name) for name in books.__struct_fields__}
            | {"positions": positions(books, account, marks)}
        )
        summary = summarise(books_with_positions)
        realised += summary.realised
        fills_before += [as_fill(order) for order in orders]
        ledger_before += ledger
        assert summary.without_basis == []
        assert summary.equity_change is not None
        # Averages are divisions, so they are exact to 28 digits, not for ever.
        assert abs(realised + summary.unrealised - summary.equity_change) < Decimal("0.000001")
