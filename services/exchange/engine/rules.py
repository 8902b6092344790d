"""What the exchange refuses before an order reaches the books.

Each rule is a function that returns or raises a Refusal; `check` runs them in Alpaca's order:
form, market, wash trades, then what the account may do and can pay. Nothing here changes
anything.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from libs.common.money import CENT, ZERO, decimal_of, on_grid, option_tick, stock_tick
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, Right
from services.exchange.engine.books import Books
from services.exchange.engine.orders import Intent, Order, OrderRequest, OrderType, Side
from services.exchange.engine.refusals import duplicate_client_id, forbidden, unprocessable
from services.exchange.prices.market import Market, Moment


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """An order that passed every rule: its intent, and the quote it met."""

    intent: Intent
    reference_price: Decimal


def check(request: OrderRequest, books: Books, market: Market, moment: Moment) -> Admitted:
    """Raises Refusal; the order may go to the books when it returns."""
    if request.client_order_id in books.client_ids:
        raise duplicate_client_id()
    option = request.option
    if option is None:
        return _check_stock(request, books, market, moment)
    return _check_option(request, option, books, market, moment)


# --- stocks ------------------------------------------------------------------------------------


def _check_stock(request: OrderRequest, books: Books, market: Market, moment: Moment) -> Admitted:
    if request.symbol not in market.history:
        raise unprocessable(f'asset "{request.symbol}" not found')
    if request.qty != request.qty.to_integral_value():
        raise unprocessable("fractional shares are not offered: qty must be whole")
    for name, price in (("limit", request.limit_price), ("stop", request.stop_price)):
        if price is not None and not on_grid(price, stock_tick(price)):
            raise unprocessable(
                f"invalid {name}_price {price}. sub-penny increment does not fulfill minimum "
                "pricing criteria"
            )
    quote = market.stock_quote(request.symbol, moment)
    _check_wash(request, books)
    reference = decimal_of(quote.ask if request.side is Side.BUY else quote.bid)
    if request.side is Side.SELL:
        _check_shares(request, books)
        return Admitted(intent=Intent.SELL_TO_CLOSE, reference_price=reference)
    price = request.limit_price or request.stop_price or reference
    _check_buying_power(price * request.qty, books.buying_power())
    return Admitted(intent=Intent.BUY_TO_OPEN, reference_price=reference)


def _check_shares(request: OrderRequest, books: Books) -> None:
    available = max(ZERO, books.shares_free(request.symbol))
    if request.qty > available:
        raise forbidden(
            f"insufficient qty available for order (requested: {request.qty}, "
            f"available: {available})",
            symbol=request.symbol,
            existing_qty=str(books.held(request.symbol)),
            held_for_orders=str(books.shares_locked(request.symbol)),
            available=str(available),
        )


# --- options -----------------------------------------------------------------------------------


def _check_option(
    request: OrderRequest, option: OptionSymbol, books: Books, market: Market, moment: Moment
) -> Admitted:
    _check_option_form(request)
    contract = market.contract(request.symbol, moment)
    if contract is None or option.adjusted:
        raise unprocessable(f"asset {request.symbol} is not found or not tradable")
    if option.expiration < moment.now.date() or (
        option.expiration == moment.session.date and not moment.is_open
    ):
        raise unprocessable(f"contract {request.symbol} is expired")
    if request.type is OrderType.MARKET and not moment.is_open:
        raise unprocessable("options market orders are only allowed during market hours")
    for price in (request.limit_price, request.stop_price):
        if price is not None:
            _check_option_price(price, penny=contract.penny)
    intent = _intent(request, books)
    _check_wash(request, books)
    quotes = market.option_quotes(contract, moment.session, moment.minute, moment.minute)
    side = quotes.ask if request.side is Side.BUY else quotes.bid
    reference = decimal_of(float(side[0]))
    _check_account(request, option, intent, books, reference)
    return Admitted(intent=intent, reference_price=reference)


def _check_option_form(request: OrderRequest) -> None:
    if request.type is OrderType.TRAILING_STOP:
        raise unprocessable("trailing_stop orders are not supported for options")
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
    if books.options_level < 1:
        raise forbidden("account not eligible to trade options")
    price = request.limit_price or request.stop_price or reference
    cost = price * request.qty * SHARES_PER_CONTRACT
    match intent:
        case Intent.SELL_TO_OPEN if option.right is Right.PUT:
            _check_cash_secured(request, option, books)
        case Intent.SELL_TO_OPEN:
            _check_covered(request, option, books)
        case Intent.BUY_TO_OPEN:
            if books.options_level < 2:
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
            f"(required: {required}, available: {available})"
        )


def _check_contracts(request: OrderRequest, books: Books) -> None:
    available = books.contracts_free(request.symbol)
    if request.qty > available:
        raise forbidden(
            f"insufficient qty available for order (requested: {request.qty}, "
            f"available: {available})",
            symbol=request.symbol,
            available=str(available),
        )


# --- both --------------------------------------------------------------------------------------


def _check_buying_power(cost: Decimal, available: Decimal) -> None:
    if cost > available:
        raise forbidden(
            "insufficient buying power",
            cost_basis=f"{cost:.2f}",
            buying_power=f"{available:.2f}",
        )


def _check_wash(request: OrderRequest, books: Books) -> None:
    """An order that could trade against the account's own resting one is refused."""
    for resting in books.open_on(request.symbol):
        if resting.side is not request.side and _could_meet(request, resting):
            raise forbidden(
                "potential wash trade detected. use complex orders",
                reject_reason="opposite side order exists",
                existing_order_id=resting.id,
            )


def _could_meet(request: OrderRequest, resting: Order) -> bool:
    if request.type is not OrderType.LIMIT or resting.type is not OrderType.LIMIT:
        return True
    ours, theirs = request.limit_price or ZERO, resting.limit_price or ZERO
    return ours >= theirs if request.side is Side.BUY else ours <= theirs
