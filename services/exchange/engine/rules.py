"""What the exchange refuses before an order reaches the books.

Each rule is a function that returns or raises a Refusal; `check` runs them in Alpaca's order:
form, market, wash trades, then what the account may do and can pay. Nothing here changes
anything.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from libs.common.money import CENT, ZERO, decimal_of, on_grid, option_tick, plain, stock_tick
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right
from services.exchange.engine.books import Books
from services.exchange.engine.order_states import OrderStatus
from services.exchange.engine.orders import (
    AUCTIONS,
    IMMEDIATE,
    OPPOSITE,
    Intent,
    Order,
    OrderClass,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from services.exchange.engine.refusals import duplicate_client_id, forbidden, unprocessable
from services.exchange.prices.calendar import NEW_YORK
from services.exchange.prices.market import Market, Moment
from services.exchange.terms import Terms

NOTIONAL_MIN = Decimal(1)
SIMPLE_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT})
_DAY_OR_GTC = frozenset({TimeInForce.DAY, TimeInForce.GTC})
# Auction orders are taken until minutes before the auction, and again from the evening [Alpaca].
_OPENING_CUTOFF = dt.time(9, 28)
_CLOSING_CUTOFF = dt.timedelta(minutes=10)
_EVENING = dt.time(19)
_OPENING = frozenset({Intent.BUY_TO_OPEN, Intent.SELL_TO_OPEN})


class Admitted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order that passed every rule: its intent, and the quote it met."""

    intent: Intent
    reference_price: Decimal


def check(
    request: OrderRequest, books: Books, market: Market, moment: Moment, terms: Terms
) -> Admitted:
    """Raises Refusal; the order may go to the books when it returns."""
    if request.client_order_id in books.client_ids:
        raise duplicate_client_id()
    if books.configurations.suspend_trade:
        raise forbidden("new orders are rejected by user request")
    option = request.option
    if option is None:
        return _check_stock(request, books, market, moment)
    return _check_option(request, option, books, market, moment, terms)


# --- stocks ------------------------------------------------------------------------------------


def _check_stock(request: OrderRequest, books: Books, market: Market, moment: Moment) -> Admitted:
    if request.symbol not in market.history:
        raise unprocessable(f'asset "{request.symbol}" not found')
    _check_fractions(request, books)
    _check_time_in_force(request, market, moment)
    for name, price in (("limit", request.limit_price), ("stop", request.stop_price)):
        if price is not None and not on_grid(price, stock_tick(price)):
            raise unprocessable(
                f"invalid {name}_price {price}. sub-penny increment does not fulfill minimum "
                "pricing criteria"
            )
    reference = _reference(request, market, moment)
    check_exits(request, reference)
    _check_wash(request, books)
    if request.side is Side.SELL:
        _check_shares(request, books, reference)
        return Admitted(intent=Intent.SELL_TO_CLOSE, reference_price=reference)
    price = request.limit_price or request.stop_price or reference
    cost = request.notional or price * request.qty
    _check_buying_power(cost, books.buying_power())
    return Admitted(intent=Intent.BUY_TO_OPEN, reference_price=reference)


def _check_fractions(request: OrderRequest, books: Books) -> None:
    whole = request.qty == request.qty.to_integral_value()
    if whole and request.notional is None:
        return
    if not books.configurations.fractional_trading:
        raise forbidden("fractional trading is not enabled for this account")
    if request.time_in_force is not TimeInForce.DAY:
        raise unprocessable("fractional orders must be DAY orders")
    if request.type is OrderType.TRAILING_STOP:
        raise unprocessable("fractional orders cannot be trailing_stop orders")
    if request.order_class is not OrderClass.SIMPLE:
        raise unprocessable("fractional orders must be simple orders")
    if request.notional is not None and request.notional < NOTIONAL_MIN:
        raise forbidden(f"cost basis must be >= minimal amount of order {NOTIONAL_MIN}")


def _check_time_in_force(request: OrderRequest, market: Market, moment: Moment) -> None:
    tif = request.time_in_force
    if tif in _DAY_OR_GTC:
        return
    if request.type not in SIMPLE_TYPES:
        raise unprocessable(f"time_in_force {tif} goes with market and limit orders only")
    if request.order_class is not OrderClass.SIMPLE:
        raise unprocessable(f"time_in_force {tif} goes with simple orders only")
    if tif in IMMEDIATE and not moment.is_open:
        raise unprocessable(f"{tif} orders are only accepted during market hours")
    if tif in AUCTIONS:
        _check_auction(tif, market, moment)


def _check_auction(tif: TimeInForce, market: Market, moment: Moment) -> None:
    at = moment.now.astimezone(NEW_YORK)
    session = market.calendar.on(at.date())
    if session is None or at.time() >= _EVENING:
        return
    if tif is TimeInForce.OPG and at.time() >= _OPENING_CUTOFF:
        raise unprocessable("opg orders are not accepted between 9:28am and 7:00pm ET")
    if tif is TimeInForce.CLS and moment.now >= session.close - _CLOSING_CUTOFF:
        raise unprocessable(
            "cls orders are not accepted from 10 minutes before the close to 7:00pm ET"
        )


def check_exits(request: OrderRequest, reference: Decimal) -> None:
    """The prices of take-profit and stop-loss must lie on their sides of the entry's [Alpaca]."""
    if request.order_class is OrderClass.SIMPLE:
        return
    exits = request.exits
    if request.order_class is not OrderClass.OCO and request.side is Side.SELL:
        raise forbidden(
            f"account is not allowed to short: {request.order_class} orders must be buys"
        )
    if request.order_class is OrderClass.OCO and request.type is not OrderType.LIMIT:
        raise unprocessable("oco orders must be limit orders")
    base = request.limit_price or request.stop_price or reference
    entry_is_buy = (request.side is Side.BUY) != (request.order_class is OrderClass.OCO)
    up = 1 if entry_is_buy else -1
    if request.order_class is OrderClass.OCO:
        base = reference
    profit, stop = exits.take_profit, exits.stop
    for price in (profit, stop, exits.stop_limit):
        if price is not None and not on_grid(price, stock_tick(price)):
            raise unprocessable(f"invalid price {price}. sub-penny increment")
    sign = (">=", "+") if up > 0 else ("<=", "-")
    if profit is not None and (profit - base) * up < CENT:
        raise unprocessable(
            f"take_profit.limit_price must be {sign[0]} base_price {sign[1]} 0.01", base_price=base
        )
    sign = ("<=", "-") if up > 0 else (">=", "+")
    if stop is not None and (base - stop) * up < CENT:
        raise unprocessable(
            f"stop_loss.stop_price must be {sign[0]} base_price {sign[1]} 0.01", base_price=base
        )


def _check_shares(request: OrderRequest, books: Books, reference: Decimal) -> None:
    available = max(ZERO, books.shares_free(request.symbol))
    wanted = request.qty if request.notional is None else request.notional / reference
    if wanted > available:
        raise forbidden(
            f"insufficient qty available for order (requested: {request.qty}, "
            f"available: {plain(available)})",
            symbol=request.symbol,
            existing_qty=str(plain(books.held(request.symbol))),
            held_for_orders=str(plain(books.shares_locked(request.symbol))),
            available=str(plain(available)),
        )


# --- options -----------------------------------------------------------------------------------


def _check_option(
    request: OrderRequest,
    option: OptionSymbol,
    books: Books,
    market: Market,
    moment: Moment,
    terms: Terms,
) -> Admitted:
    _check_option_form(request)
    contract = market.contract(request.symbol, moment)
    if contract is None or (option.adjusted and not books.held(request.symbol)):
        raise unprocessable(f"asset {request.symbol} is not found or not tradable")
    _check_alive(option, moment)
    if request.type is OrderType.MARKET and not moment.is_open:
        raise unprocessable("options market orders are only allowed during market hours")
    for price in (request.limit_price, request.stop_price):
        if price is not None:
            _check_option_price(price, penny=contract.penny)
    intent = _intent(request, books)
    if option.expiration == moment.session.date and intent in _OPENING:
        left = moment.session.minutes - moment.minute
        if left <= terms.expiry_opening_cutoff_minutes:
            raise unprocessable(
                f"contract {request.symbol} expires today: no opening orders in the last "
                f"{terms.expiry_opening_cutoff_minutes} minutes"
            )
    _check_wash(request, books)
    reference = _reference(request, market, moment)
    _check_account(request, option, intent, books, reference)
    return Admitted(intent=intent, reference_price=reference)


def _check_alive(option: OptionSymbol, moment: Moment) -> None:
    today = moment.now.astimezone(NEW_YORK).date()
    ended = option.expiration == moment.session.date and moment.now >= moment.session.close
    if option.expiration < today or ended:
        raise unprocessable(f"contract {option} is expired")


def _check_option_form(request: OrderRequest) -> None:
    if request.type is OrderType.TRAILING_STOP:
        raise unprocessable("trailing_stop orders are not supported for options")
    if request.time_in_force not in _DAY_OR_GTC:
        raise unprocessable("options orders must have time_in_force day or gtc")
    if request.order_class is not OrderClass.SIMPLE:
        raise unprocessable(f"order_class {request.order_class} does not go with options")
    if request.notional is not None:
        raise unprocessable("notional orders are not supported for options")
    if request.qty != request.qty.to_integral_value():
        raise unprocessable("options qty must be a whole number of contracts")


def _check_option_price(price: Decimal, *, penny: bool) -> None:
    if not on_grid(price, CENT):
        raise unprocessable("limit price must be limited to 2 decimal places")
    tick = option_tick(price, penny=penny)
    if not on_grid(price, tick):
        raise unprocessable(f"price {price} is not a multiple of the contract's tick {tick}")


def _intent(request: OrderRequest, books: Books) -> Intent:
    """What the order does to the position; a stated intent must say the same [Alpaca]."""
    held = books.held(request.symbol)
    if request.side is Side.SELL:
        inferred = Intent.SELL_TO_CLOSE if held > 0 else Intent.SELL_TO_OPEN
    else:
        inferred = Intent.BUY_TO_CLOSE if held < 0 else Intent.BUY_TO_OPEN
    if request.position_intent not in (None, inferred):
        raise unprocessable(
            f"position intent mismatch, inferred: {inferred}, specified: {request.position_intent}"
        )
    return inferred


def _check_account(
    request: OrderRequest, option: OptionSymbol, intent: Intent, books: Books, reference: Decimal
) -> None:
    if books.level < 1:
        raise forbidden("account not eligible to trade options")
    price = request.limit_price or request.stop_price or reference
    cost = price * request.qty * SHARES_PER_CONTRACT
    match intent:
        case Intent.SELL_TO_OPEN if option.right is Right.PUT:
            _check_cash_secured(request, option, books)
        case Intent.SELL_TO_OPEN:
            _check_covered(request, option, books)
        case Intent.BUY_TO_OPEN:
            if books.level < 2:
                raise forbidden("account not eligible to trade long option contracts")
            _check_buying_power(cost, books.buying_power())
        case Intent.BUY_TO_CLOSE | Intent.SELL_TO_CLOSE:
            _check_contracts(request, books)
            if intent is Intent.BUY_TO_CLOSE:
                released = option.strike * request.qty * SHARES_PER_CONTRACT
                owed = cost - released if option.right is Right.PUT else cost
                _check_buying_power(max(ZERO, owed), books.buying_power())


def _check_cash_secured(request: OrderRequest, option: OptionSymbol, books: Books) -> None:
    required = option.strike * SHARES_PER_CONTRACT * request.qty
    available = books.buying_power()
    if required > available:
        raise forbidden(
            "insufficient options buying power for cash-secured put "
            f"(required: {required:.2f}, available: {available:.2f})",
            required_options_buying_power=f"{required:.2f}",
            buying_power=f"{available:.2f}",
        )


def _check_covered(request: OrderRequest, option: OptionSymbol, books: Books) -> None:
    required = request.qty * SHARES_PER_CONTRACT
    available = max(ZERO, books.shares_free(option.underlying))
    if required > available:
        raise forbidden(
            "insufficient underlying qty available for covered call "
            f"(required: {required}, available: {plain(available)})"
        )


def _check_contracts(request: OrderRequest, books: Books) -> None:
    available = books.contracts_free(request.symbol)
    if request.qty > available:
        raise forbidden(
            f"insufficient qty available for order (requested: {request.qty}, "
            f"available: {plain(available)})",
            symbol=request.symbol,
            available=str(plain(available)),
        )


# --- both --------------------------------------------------------------------------------------


def _reference(request: OrderRequest, market: Market, moment: Moment) -> Decimal:
    """The quote that the order meets, dollars a share."""
    quotes = market.session_quotes(request.symbol, moment.session)
    side = quotes.ask if request.side is Side.BUY else quotes.bid
    return decimal_of(float(side[moment.minute]))


def _check_buying_power(cost: Decimal, available: Decimal) -> None:
    if cost > available:
        raise forbidden(
            "insufficient buying power",
            cost_basis=f"{cost:.2f}",
            buying_power=f"{available:.2f}",
        )


def _check_wash(request: OrderRequest, books: Books) -> None:
    """An order that could trade against the account's own resting one is refused."""
    met = [
        resting
        for resting in books.resting(request.symbol, OPPOSITE[request.side])
        if resting.status is not OrderStatus.HELD and _could_meet(request, resting)
    ]
    if met:
        raise forbidden(
            "potential wash trade detected. use complex orders",
            reject_reason="opposite side order exists",
            existing_order_id=min(met, key=lambda order: order.number).id,
        )


def _could_meet(request: OrderRequest, resting: Order) -> bool:
    if request.type is not OrderType.LIMIT or resting.type is not OrderType.LIMIT:
        return True
    ours, theirs = request.limit_price or ZERO, resting.limit_price or ZERO
    return ours >= theirs if request.side is Side.BUY else ours <= theirs
