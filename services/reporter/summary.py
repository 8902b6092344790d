"""A trading day from the books. Pure: rows in, `DaySummary` out; render.py makes text of it.

How profit and loss are counted
- Basis is the average price per symbol, as the broker shows it: buying more moves the average,
  selling leaves it. Options count 100 shares a contract.
- Realised today is what today's rows closed: (price - average) x quantity, with the sign of the
  position. The whole of an order's fills of the day counts at its average price.
- An option's premium is realised when the option ends, not when it is sold. A short option that
  expires, is assigned or is called away ends at 0, so its whole premium is realised that day.
- Assignment and calling away move the shares at the strike: the premium does not touch their
  basis. The option's ledger row alone moves them; the row of the shares that Alpaca books beside
  it (OPTRD) is the same fact again and moves nothing.
- Dividends are realised when paid. Other rows of the ledger (deposits, transfers, interest) are
  no profit and are left out.
- What ends without having begun on the books (shares bought before them, say) has no known basis:
  it counts for nothing and is named in `without_basis`. `DayBooks.opening_positions` gives a basis
  to what was there first.
- Within a day, fills come before the ledger: options end after the close.
- Unrealised is the broker's, position by position, at the latest portfolio.
- So realised, summed over days, plus unrealised is the change of equity, but for deposits and
  what has no known basis. tests/unit/reporter holds this as a property.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

from libs.common.contracts import (
    AlpacaEnv,
    AssetClass,
    BotMode,
    LedgerEvent,
    PositionView,
    Severity,
    Side,
)
from libs.common.money import ZERO
from libs.common.symbols import SHARES_PER_CONTRACT, Right, parse_option_symbol

NEW_YORK = ZoneInfo("America/New_York")
_FAILED = frozenset({"error", "rejected"})
_ENDS_OPTION = frozenset(
    {LedgerEvent.ASSIGNED, LedgerEvent.CALLED_AWAY, LedgerEvent.EXERCISED, LedgerEvent.EXPIRED}
)


# --- what comes in ---------------------------------------------------------------------------


class TickRow(msgspec.Struct, frozen=True, kw_only=True):
    ts: dt.datetime
    equity: Decimal
    cash: Decimal


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """One order that changed today, as it stood last."""

    strategy: str
    symbol: str
    side: Side
    qty: Decimal
    order_type: str
    status: str
    changed_at: dt.datetime
    filled_qty: Decimal = ZERO
    filled_avg_price: Decimal | None = None
    filled_qty_before: Decimal = ZERO
    """What of `filled_qty` had filled before today (orders that work for days)."""
    filled_avg_price_before: Decimal | None = None
    note: str = ""


class FillRow(msgspec.Struct, frozen=True, kw_only=True):
    """One fill, or an order's fills of one day at their average price."""

    at: dt.datetime
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """`qty` is a number of contracts or shares; its sign is not read."""

    event: LedgerEvent
    underlying: str
    symbol: str
    qty: Decimal
    price: Decimal | None = None
    net_amount: Decimal | None = None
    date: dt.date | None = None


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    severity: Severity
    text: str


class DayBooks(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one session and what stood before it.

    `ticks`, `orders`, `ledger`, `blocks` (reason to count) and `events` are the session's; each
    row of the ledger belongs to one session only. `previous_equity` is the last tick's before it.
    `fills_before` and `ledger_before` are everything before it. `positions` are the latest
    portfolio's, `opening_positions` those before the first fill on the books, where known.
    """

    session: dt.date
    mode: BotMode
    env: AlpacaEnv
    ticks: list[TickRow] = []
    previous_equity: Decimal | None = None
    orders: list[OrderRow] = []
    ledger: list[LedgerRow] = []
    approved: int = 0
    blocked: int | None = None
    """Intents blocked; None where each has one reason, so that `blocks` adds up to it."""
    blocks: dict[str, int] = {}
    events: list[EventRow] = []
    positions: list[PositionView] = []
    fills_before: list[FillRow] = []
    ledger_before: list[LedgerRow] = []
    opening_positions: list[PositionView] = []
    trading: str = ""  # the trading state with who and why; empty while it is active


# --- what comes out --------------------------------------------------------------------------


class FillLine(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    strategy: str
    realised: Decimal
    """Dollars that this fill closed; 0 for an opening one."""


class LedgerLine(msgspec.Struct, frozen=True, kw_only=True):
    event: LedgerEvent
    symbol: str
    qty: Decimal
    realised: Decimal


class ShortOption(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    underlying: str
    right: Right
    strike: Decimal
    expiration: dt.date
    contracts: Decimal
    days_left: int
    """Calendar days from the session to the expiration; 0 on its day."""
    unrealised: Decimal | None


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    count: int


class DaySummary(msgspec.Struct, frozen=True, kw_only=True):
    """Money in dollars; None is not known (no tick that day, or no day before)."""

    session: dt.date
    mode: BotMode
    env: AlpacaEnv
    equity: Decimal | None
    equity_change: Decimal | None
    """Against the last equity before the session; deposits are not taken out."""
    equity_change_pct: Decimal | None
    cash: Decimal | None
    realised: Decimal
    unrealised: Decimal
    premium_collected: Decimal
    """Of options sold to open today, before any of it is realised."""
    fills: list[FillLine]
    ledger: list[LedgerLine]
    """Assignments, shares called away, expirations, exercises and dividends."""
    short_options: list[ShortOption]
    """Nearest expiration first."""
    approved: int
    blocked: int
    blocks: list[Counted]
    errors: list[Counted]
    warnings: int
    dry_runs: int
    without_basis: list[str]
    unpriced: list[str]
    """Positions without a price, left out of `unrealised`."""
    trading: str = ""  # as in DayBooks

    @property
    def synthetic(self) -> bool:
        return self.env is AlpacaEnv.SIM  # which makes up the prices of option chains


def summarise(books: DayBooks) -> DaySummary:
    basis = basis_before(books)
    fills, premium = _fill_lines(books, basis)
    ledger = _ledger_lines(books, basis)
    last = max(books.ticks, key=lambda tick: tick.ts, default=None)
    change = percent = None
    if last is not None and books.previous_equity is not None:
        change = last.equity - books.previous_equity
        if books.previous_equity > 0:
            percent = (change / books.previous_equity * 100).quantize(Decimal("0.0001"))
    marks = {position.symbol: unrealised_of(position) for position in books.positions}
    return DaySummary(
        session=books.session,
        mode=books.mode,
        env=books.env,
        trading=books.trading,
        equity=last.equity if last else None,
        equity_change=change,
        equity_change_pct=percent,
        cash=last.cash if last else None,
        realised=sum((it.realised for it in fills), ZERO)
        + sum((it.realised for it in ledger), ZERO),
        unrealised=sum((mark for mark in marks.values() if mark is not None), ZERO),
        premium_collected=premium,
        fills=fills,
        ledger=ledger,
        short_options=_short_options(books),
        approved=books.approved,
        blocked=sum(books.blocks.values()) if books.blocked is None else books.blocked,
        blocks=_counted(books.blocks),
        errors=_errors(books),
        warnings=sum(event.severity is Severity.WARNING for event in books.events),
        dry_runs=sum(order.status == "dry_run" for order in books.orders),
        without_basis=sorted(basis.without_basis),
        unpriced=sorted(symbol for symbol, mark in marks.items() if mark is None),
    )


# --- basis -----------------------------------------------------------------------------------


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """`qty` is negative when short; `average` is dollars per share, as prices are quoted."""

    qty: Decimal
    average: Decimal


class Traded(msgspec.Struct, frozen=True, kw_only=True):
    """What one trade did: dollars it realised, and the quantity that it opened."""

    realised: Decimal
    opened_qty: Decimal


class BasisBook:
    """Average prices, symbol by symbol, as trades come in."""

    def __init__(self, opening: list[PositionView]) -> None:
        self.holdings = {
            position.symbol: Holding(qty=position.qty, average=position.avg_entry_price)
            for position in opening
            if position.qty
        }
        self.without_basis: set[str] = set()
        """Symbols of which more ended than had begun."""

    def trade(
        self, symbol: str, signed_qty: Decimal, price: Decimal, *, may_open: bool = True
    ) -> Traded:
        """Buy (positive) or sell (negative): first what closes, then what opens."""
        held = self.holdings.get(symbol, Holding(qty=ZERO, average=ZERO))
        closing = ZERO
        if held.qty * signed_qty < 0:
            closing = signed_qty if abs(signed_qty) <= abs(held.qty) else -held.qty
        opening = signed_qty - closing
        if opening and not may_open:
            self.without_basis.add(symbol)
            opening = ZERO
        kept, qty = held.qty + closing, held.qty + closing + opening
        if qty:
            average = (kept * held.average + opening * price) / qty if opening else held.average
            self.holdings[symbol] = Holding(qty=qty, average=average)
        else:
            self.holdings.pop(symbol, None)
        realised = -closing * (price - held.average) * multiplier_of(symbol)
        return Traded(realised=realised, opened_qty=abs(opening))

    def fill(self, fill: FillRow) -> Traded:
        """The bot sells no stock short: a sale of more shares than are known opens nothing."""
        buys = fill.side is Side.BUY
        is_option = parse_option_symbol(fill.symbol) is not None
        signed_qty = fill.qty if buys else -fill.qty
        return self.trade(fill.symbol, signed_qty, fill.price, may_open=buys or is_option)

    def end_option(self, row: LedgerRow) -> Decimal | None:
        """Dollars realised by an option that ended at 0 and the shares it moved at the strike.

        None where the row is not of an option: the shares' own row beside an assignment.
        """
        option = parse_option_symbol(row.symbol)
        if option is None:
            return None
        contracts = abs(row.qty)
        short = row.event in {LedgerEvent.ASSIGNED, LedgerEvent.CALLED_AWAY}
        if row.event is LedgerEvent.EXPIRED:
            held = self.holdings.get(row.symbol)
            short = held is None or held.qty < 0
        signed_qty = contracts if short else -contracts
        realised = self.trade(row.symbol, signed_qty, ZERO, may_open=False).realised
        if row.event is LedgerEvent.EXPIRED:
            return realised
        receives = short is (option.right is Right.PUT)
        shares = contracts * SHARES_PER_CONTRACT * (1 if receives else -1)
        moved = self.trade(option.underlying, shares, option.strike, may_open=receives)
        return realised + moved.realised


def multiplier_of(symbol: str) -> int:
    return SHARES_PER_CONTRACT if parse_option_symbol(symbol) else 1


def basis_before(books: DayBooks) -> BasisBook:
    """The average prices as the session began, from every row before it in order of time."""
    basis = BasisBook(books.opening_positions)
    rows: list[tuple[dt.date, int, dt.datetime, FillRow | LedgerRow]] = [
        (fill.at.astimezone(NEW_YORK).date(), 0, fill.at, fill) for fill in books.fills_before
    ]
    for row in books.ledger_before:
        day = row.date or books.session - dt.timedelta(days=1)
        rows.append((day, 1, dt.datetime.combine(day, dt.time(), tzinfo=NEW_YORK), row))
    for *_, entry in sorted(rows, key=lambda row: row[:3]):
        if isinstance(entry, FillRow):
            basis.fill(entry)
        elif entry.event in _ENDS_OPTION:
            basis.end_option(entry)
    basis.without_basis.clear()  # told on their own days
    return basis


def filled_today(order: OrderRow) -> FillRow | None:
    """The part of an order that filled today, at that part's own average price."""
    qty = order.filled_qty - order.filled_qty_before
    if qty <= 0 or order.filled_avg_price is None:
        return None
    paid = order.filled_qty * order.filled_avg_price
    paid -= order.filled_qty_before * (order.filled_avg_price_before or ZERO)
    return FillRow(
        at=order.changed_at, symbol=order.symbol, side=order.side, qty=qty, price=paid / qty
    )


def unrealised_of(position: PositionView) -> Decimal | None:
    """The broker's figure, else value less cost; None without a price."""
    if position.unrealized_pl is not None:
        return position.unrealized_pl
    factor = SHARES_PER_CONTRACT if position.asset_class is AssetClass.OPTION else 1
    cost = position.qty * position.avg_entry_price * factor
    if position.market_value is not None:
        return position.market_value - cost
    if position.current_price is None:
        return None
    return position.qty * Decimal(repr(position.current_price)) * factor - cost


# --- lines -----------------------------------------------------------------------------------


def _fill_lines(books: DayBooks, basis: BasisBook) -> tuple[list[FillLine], Decimal]:
    """Today's fills in order of time, and the premium of options sold to open."""
    lines: list[FillLine] = []
    premium = ZERO
    for order in sorted(books.orders, key=lambda order: order.changed_at):
        fill = filled_today(order)
        if fill is None:
            continue
        traded = basis.fill(fill)
        if fill.side is Side.SELL and parse_option_symbol(fill.symbol):
            premium += traded.opened_qty * fill.price * SHARES_PER_CONTRACT
        lines.append(
            FillLine(
                symbol=fill.symbol,
                side=fill.side,
                qty=fill.qty,
                price=fill.price,
                strategy=order.strategy,
                realised=traded.realised,
            )
        )
    return lines, premium


def _ledger_lines(books: DayBooks, basis: BasisBook) -> list[LedgerLine]:
    """Today's ends of options, and dividends."""
    lines: list[LedgerLine] = []
    for row in books.ledger:
        realised: Decimal | None = None
        if row.event is LedgerEvent.DIVIDEND:
            realised = row.net_amount
        elif row.event in _ENDS_OPTION:
            realised = basis.end_option(row)
        if realised is not None:
            lines.append(
                LedgerLine(event=row.event, symbol=row.symbol, qty=abs(row.qty), realised=realised)
            )
    return lines


def _short_options(books: DayBooks) -> list[ShortOption]:
    shorts = [
        ShortOption(
            symbol=position.symbol,
            underlying=option.underlying,
            right=option.right,
            strike=option.strike,
            expiration=option.expiration,
            contracts=-position.qty,
            days_left=(option.expiration - books.session).days,
            unrealised=unrealised_of(position),
        )
        for position in books.positions
        if position.qty < 0 and (option := parse_option_symbol(position.symbol))
    ]
    return sorted(shorts, key=lambda short: (short.expiration, short.symbol))


def _errors(books: DayBooks) -> list[Counted]:
    """Events of severity error and orders that failed, repeats counted."""
    texts = [
        f"{event.kind}: {event.text}" for event in books.events if event.severity is Severity.ERROR
    ]
    texts += [
        f"order {order.side} {order.symbol} {order.status}" + (f": {order.note}" * bool(order.note))
        for order in books.orders
        if order.status in _FAILED
    ]
    return _counted(Counter(texts))


def _counted(counts: dict[str, int]) -> list[Counted]:
    """Most frequent first, then by text."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Counted(text=text, count=count) for text, count in ordered]
