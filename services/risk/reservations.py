"""What is bound: by the portfolio as last observed, and by approvals not yet visible in it.

An approval reserves its collateral, shares and put count from the moment it is given until the
portfolio shows them or the order ends. What a reservation still counts for is a pure function of
itself and the latest portfolio:

- its order is among the portfolio's open orders: nothing, the portfolio counts it;
- no end is known: all of it (also when an earlier portfolio showed the order and this one does
  not: it may have filled between two looks);
- it ended unfilled (rejected, canceled, expired, error, dry_run): nothing, at once;
- it ended partly filled: the filled part, until visible;
- it filled, or ended with a word we do not know: all of it, until visible.

Visible means that the order's end, by the broker's clock, lies strictly before the moment the
portfolio's pass began. An end without a broker's time counts as visible in a portfolio whose pass
ended PASS_SECONDS_MAX of wall time after the news of it: no pass takes so long, so it began later.
Either way it is a function of the end and of the latest portfolio alone, so that a restart, which
sees only the latest, comes to the same.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from libs.common.contracts import (
    IntentApproved,
    OrderChanged,
    OrderIntended,
    OrderView,
    PortfolioObserved,
    PositionIntent,
    PositionView,
    Side,
)
from libs.common.money import ZERO, decimal_of
from libs.common.order_ids import client_order_id
from libs.common.symbols import (
    SHARES_PER_CONTRACT,
    OptionSymbol,
    Right,
    option_root,
    parse_option_symbol,
)

PASS_TIME_MAX = dt.timedelta(minutes=5)
"""Longer than market may take to read orders, positions and figures (three requests)."""
UNFILLED_ENDS = frozenset({"rejected", "canceled", "expired", "error", "dry_run"})
"""Final statuses whose unfilled part is free at once; any other may stand for more to come."""


class Commitment(msgspec.Struct, frozen=True, kw_only=True):
    """What one contract (or one share, for stock orders) of an order binds."""

    collateral: Decimal = ZERO
    shares: int = 0
    puts: int = 0


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an order ended: how much of it may sit in positions, since when."""

    qty_held: Decimal
    changed_at: dt.datetime | None
    told_at: dt.datetime


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """One approval's claim on cash, shares and the count of puts."""

    intent_id: str
    client_order_id: str
    strategy: str
    underlying: str
    symbol: str
    side: Side
    qty: int
    each: Commitment
    expires_at: dt.datetime
    replaces: str | None = None
    """The client_order_id of the order whose place it takes."""
    answered: bool = False
    """Whether the executor has said anything about it yet."""
    ending: Ending | None = None


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """The latest portfolio with the reservations it has not settled."""

    portfolio: PortfolioObserved
    reservations: tuple[Reservation, ...] = ()

    def shows(self, reservation: Reservation) -> bool:
        """Whether the reservation's order is among the portfolio's open orders."""
        wanted = reservation.client_order_id
        return any(order.client_order_id == wanted for order in self.portfolio.open_orders)

    def outstanding(self, reservation: Reservation) -> Decimal:
        """Contracts or shares of the order that the portfolio does not count itself."""
        if self.shows(reservation):
            return ZERO
        ending = reservation.ending
        return Decimal(reservation.qty) if ending is None else ending.qty_held


# --- the life of a reservation ---------------------------------------------------------------


def commitment(symbol: str, side: Side, position_intent: str | None) -> Commitment:
    """What one unit of an order binds, read off the order itself and not off its strategy.

    Selling an option binds unless it says `sell_to_close`; selling stock always binds the stock.
    """
    if side is not Side.SELL:
        return Commitment()
    option = parse_option_symbol(symbol)
    if option is None:
        return Commitment(shares=1)
    if position_intent == PositionIntent.SELL_TO_CLOSE:
        return Commitment()
    if option.right is Right.CALL:
        return Commitment(shares=SHARES_PER_CONTRACT)
    return Commitment(collateral=put_collateral(option), puts=1)


def put_collateral(option: OptionSymbol) -> Decimal:
    """Dollars one short put binds: strike x 100."""
    return option.strike * SHARES_PER_CONTRACT


def commitment_of(intent: OrderIntended) -> Commitment:
    return commitment(intent.symbol, intent.side, intent.position_intent)


def reserve(approved: IntentApproved) -> Reservation:
    intent = approved.intent
    return Reservation(
        intent_id=intent.message_id,
        client_order_id=client_order_id(approved.account_number, intent.message_id),
        strategy=intent.strategy,
        underlying=intent.underlying,
        symbol=intent.symbol,
        side=intent.side,
        qty=intent.qty,
        each=commitment_of(intent),
        expires_at=approved.expires_at,
        replaces=intent.replaces,
    )


def after_order(reservation: Reservation, changed: OrderChanged) -> Reservation:
    """The reservation with what the executor said. An end stays; of two, the one holding more."""
    ending = _ending(reservation, changed) if changed.final else None
    known = reservation.ending
    if ending is None or (known is not None and known.qty_held >= ending.qty_held):
        ending = known
    return msgspec.structs.replace(reservation, answered=True, ending=ending)


def after_portfolio(reservation: Reservation, portfolio: PortfolioObserved) -> Reservation | None:
    """The reservation as this portfolio leaves it; None once nothing of it need be held."""
    ending = reservation.ending
    if ending is None:
        return reservation
    if ending.qty_held <= 0:
        return None
    if ending.changed_at is not None:
        return None if ending.changed_at < portfolio.as_of else reservation
    sure = portfolio.at > ending.told_at + PASS_TIME_MAX
    return None if sure else reservation


def _ending(reservation: Reservation, changed: OrderChanged) -> Ending:
    whole = Decimal(reservation.qty)
    filled = changed.filled_qty if changed.filled_qty.is_finite() else whole
    held = filled if changed.status in UNFILLED_ENDS else whole
    return Ending(
        qty_held=min(max(held, ZERO), whole),
        changed_at=changed.changed_at,
        told_at=changed.at,
    )


# --- what the portfolio binds and leaves free ------------------------------------------------


def unreadable(portfolio: PortfolioObserved) -> list[str]:
    """What in the portfolio is no number, so that nothing can be counted."""
    account = portfolio.account
    figures = {"equity": account.equity, "cash": account.cash}
    figures["options buying power"] = account.options_buying_power or ZERO
    for position in portfolio.positions:
        figures[f"{position.symbol} quantity"] = position.qty
        figures[f"{position.symbol} available"] = position.qty_available
        figures[f"{position.symbol} entry price"] = position.avg_entry_price
        figures[f"{position.symbol} market value"] = position.market_value or ZERO
    for order in portfolio.open_orders:
        figures[f"order {order.order_id} quantity"] = order.qty
        figures[f"order {order.order_id} filled"] = order.filled_qty
        figures[f"order {order.order_id} limit"] = order.limit_price or ZERO
        figures[f"order {order.order_id} stop"] = order.stop_price or ZERO
    return [name for name, value in figures.items() if not value.is_finite()]


def free_cash(book: Book) -> Decimal:
    """Dollars no position, order or approval has a claim on; may be negative.

    The smaller of the account's options buying power (where given) and cash less the collateral
    of short puts, held and in open orders, less what open buy orders cost, less the value of
    stock held short (its proceeds are in cash and are owed); then less what approvals bind that
    the portfolio does not show. A buy order without any price leaves nothing free.
    """
    account = book.portfolio.account
    cash = account.cash - sum((c for _, c in _put_claims(book.portfolio)), ZERO)
    cash -= sum((abs(stock_value(p)) for p in _stocks(book.portfolio) if p.qty < 0), ZERO)
    costs = [buy_cost(order, book.portfolio) for order in _buys(book.portfolio)]
    cash -= sum((cost for cost in costs if cost is not None), ZERO)
    if account.options_buying_power is not None:
        cash = min(cash, account.options_buying_power)
    if None in costs:
        cash = min(cash, ZERO)
    return cash - bound_cash(book)


def bound_cash(book: Book) -> Decimal:
    """The collateral, in dollars, of what was approved and the portfolio does not count itself."""
    return sum((book.outstanding(r) * r.each.collateral for r in book.reservations), ZERO)


def unpriced_buys(portfolio: PortfolioObserved) -> list[str]:
    """Symbols of open buy orders whose cost cannot be known."""
    return [order.symbol for order in _buys(portfolio) if buy_cost(order, portfolio) is None]


def bound_in(book: Book, underlying: str) -> Decimal:
    """Dollars in one underlying: its stock, short puts' collateral, open orders, reservations."""
    portfolio = book.portfolio
    stock = [abs(stock_value(p)) for p in _stocks(portfolio) if _on(p.symbol, underlying)]
    puts = [claim for symbol, claim in _put_claims(portfolio) if _on(symbol, underlying)]
    buys = [
        buy_cost(order, portfolio) or ZERO
        for order in _buys(portfolio)
        if parse_option_symbol(order.symbol) is None and _on(order.symbol, underlying)
    ]
    reserved = [
        book.outstanding(r) * r.each.collateral
        for r in book.reservations
        if _on(r.symbol, underlying)
    ]
    return sum((*stock, *puts, *buys, *reserved), ZERO)


def bound_in_all(book: Book) -> Decimal:
    """The same over all underlyings."""
    portfolio = book.portfolio
    stock = [abs(stock_value(p)) for p in _stocks(portfolio)]
    puts = [claim for _, claim in _put_claims(portfolio)]
    buys = [
        buy_cost(order, portfolio) or ZERO
        for order in _buys(portfolio)
        if parse_option_symbol(order.symbol) is None
    ]
    reserved = [book.outstanding(r) * r.each.collateral for r in book.reservations]
    return sum((*stock, *puts, *buys, *reserved), ZERO)


def short_puts(book: Book) -> Decimal:
    """Put contracts sold: held, in open orders, and approved but not visible yet."""
    visible = sum((qty for _, qty, _ in _put_sales(book.portfolio)), ZERO)
    return visible + sum((book.outstanding(r) * r.each.puts for r in book.reservations), ZERO)


def free_shares(book: Book, underlying: str) -> int:
    """Whole shares of the stock that back no call, rest in no sell and are not approved away."""
    position = stock_position(book.portfolio, underlying)
    if position is None or position.qty <= 0:
        return 0
    bound = sum((qty for symbol, qty in _share_claims(book) if _on(symbol, underlying)), ZERO)
    reserved = sum(
        (
            book.outstanding(r) * r.each.shares
            for r in book.reservations
            if _on(r.symbol, underlying)
        ),
        ZERO,
    )
    return max(0, math.floor(min(position.qty - bound, position.qty_available) - reserved))


def stock_position(portfolio: PortfolioObserved, underlying: str) -> PositionView | None:
    return next((p for p in _stocks(portfolio) if p.symbol == underlying), None)


def stock_value(position: PositionView) -> Decimal:
    """Dollars, negative when short: the broker's value, else at the last or the entry price."""
    if position.market_value is not None:
        return position.market_value
    price = position.current_price
    if price is not None and math.isfinite(price):
        return position.qty * decimal_of(price)
    return position.qty * position.avg_entry_price


def buy_cost(order: OrderView, portfolio: PortfolioObserved) -> Decimal | None:
    """Dollars an open buy order may take; None when it carries no price and nothing tells one."""
    price = order.limit_price or order.stop_price or _last_price(order.symbol, portfolio)
    if price is None:
        return None
    shares = 1 if parse_option_symbol(order.symbol) is None else SHARES_PER_CONTRACT
    return price * order.open_qty * shares


def _last_price(symbol: str, portfolio: PortfolioObserved) -> Decimal | None:
    for position in portfolio.positions:
        price = position.current_price
        if position.symbol == symbol and price is not None and math.isfinite(price):
            return decimal_of(price)
    return None


def _on(symbol: str, underlying: str) -> bool:
    option = parse_option_symbol(symbol)
    stock = symbol if option is None else option.underlying
    return option_root(stock) == option_root(underlying)


def _stocks(portfolio: PortfolioObserved) -> Iterator[PositionView]:
    return (p for p in portfolio.positions if parse_option_symbol(p.symbol) is None)


def _buys(portfolio: PortfolioObserved) -> Iterator[OrderView]:
    return (o for o in portfolio.open_orders if o.side is Side.BUY)


def _put_sales(portfolio: PortfolioObserved) -> Iterator[tuple[str, Decimal, Decimal]]:
    """Symbol, contracts and collateral of each put sold, held or in an open order."""
    for symbol, qty, each in _sales(portfolio):
        if each.puts:
            yield symbol, qty, qty * each.collateral


def _put_claims(portfolio: PortfolioObserved) -> Iterator[tuple[str, Decimal]]:
    return ((symbol, collateral) for symbol, _, collateral in _put_sales(portfolio))


def _share_claims(book: Book) -> Iterator[tuple[str, Decimal]]:
    """Symbol and shares that each short call or open sell of the portfolio binds."""
    return ((symbol, qty * each.shares) for symbol, qty, each in _sales(book.portfolio))


def _sales(portfolio: PortfolioObserved) -> Iterator[tuple[str, Decimal, Commitment]]:
    """What is held short in options and what open orders sell, with what one unit binds."""
    for position in portfolio.positions:
        if position.qty < 0 and parse_option_symbol(position.symbol) is not None:
            yield position.symbol, -position.qty, commitment(position.symbol, Side.SELL, None)
    for order in portfolio.open_orders:
        if order.side is Side.SELL:
            yield (
                order.symbol,
                order.open_qty,
                commitment(order.symbol, order.side, order.position_intent),
            )
