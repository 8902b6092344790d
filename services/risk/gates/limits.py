"""How much, how dear and how often. Pure."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from libs.common.contracts import OrderIntended, Side, Strategy
from libs.common.money import plain
from libs.common.symbols import SHARES_PER_CONTRACT, parse_option_symbol
from services.risk.gates.case import Case, CheckResult, all_of, bad, fine
from services.risk.reservations import Book, Reservation, bound_in_all, commitment_of

COLLAR_DOLLARS_MIN = Decimal("0.05")
"""A few percent of a few cents would be less than one step of the price grid."""

CLOSES = "closes what is held, as an operator wants"


def seen_price(case: Case) -> Decimal | None:
    """Dollars a share the market gives: the middle of the quote, else what the portfolio shows.
    For what flattens it is the side it takes, which in a wide market is far from the middle.
    """
    if case.is_option and case.quote is not None:
        bid, ask = case.quote
        if case.is_flatten:
            return ask if case.intent.side is Side.BUY else bid
        return (bid + ask) / 2
    return case.mark_price


def notional(case: Case) -> Decimal | None:
    """Dollars the order may move: strike x 100 x contracts, or the shares at the price seen."""
    intent = case.intent
    option = parse_option_symbol(intent.symbol)
    if option is not None:
        return option.strike * SHARES_PER_CONTRACT * intent.qty
    price = seen_price(case)
    return None if price is None else price * intent.qty


def check_order_size(case: Case) -> CheckResult:
    settings, qty = case.settings, case.intent.qty
    most, unit = settings.max_order_shares, "shares"
    if case.is_option:
        most, unit = settings.max_order_contracts, "contracts"
    dollars = notional(case)
    faults = [f"{qty} {unit}, at most {most}"] if qty > most else []
    if dollars is None:
        faults.append("no price is known to value it")
    elif dollars > settings.max_order_notional:
        faults.append(f"worth {plain(dollars)}, at most {plain(settings.max_order_notional)}")
    return all_of(faults, f"{qty} {unit} worth {plain(dollars) if dollars is not None else '?'}")


def check_price_collar(case: Case) -> CheckResult:
    """Whether the limit lies between bid and ask, give or take PRICE_COLLAR_PCT of each."""
    limit = case.intent.limit_price
    if limit is None:
        return fine("sets no price")
    if case.quote is not None:
        bid, ask = case.quote
    elif case.is_flatten and case.mark_price is not None:
        bid = ask = case.mark_price
    else:
        return bad("no quote to hold the price against")
    width = Decimal(repr(case.settings.price_collar_pct)) / 100
    low = bid - max(bid * width, COLLAR_DOLLARS_MIN)
    high = ask + max(ask * width, COLLAR_DOLLARS_MIN)
    return CheckResult(
        ok=low <= limit <= high, reason=f"limit {limit}, allowed {low:.2f} to {high:.2f}"
    )


def check_capital(case: Case) -> CheckResult:
    """All that would be bound, against a sum in dollars and against equity."""
    new = commitment_of(case.intent).collateral * case.intent.qty
    if not new:
        return fine("binds no capital")
    settings, equity = case.settings, case.book.portfolio.account.equity
    bound = bound_in_all(case.book) + new
    share = equity * Decimal(repr(settings.max_total_pct)) / 100
    faults = []
    if bound > share:
        faults.append(
            f"would bind {plain(bound)} in all, above {settings.max_total_pct:g} % of equity"
            f" {plain(equity)}"
        )
    if settings.capital_limit is not None and bound > settings.capital_limit:
        faults.append(f"would bind {plain(bound)} in all, above {plain(settings.capital_limit)}")
    return all_of(faults, f"{plain(bound)} bound in all")


def _gets_out(case: Case) -> bool:
    """Whether it is of a flattening that an operator began: bound by what is held, and to pass
    when everything else ran wild. A strategy's name alone proves nothing: planners choose theirs.
    """
    standing = case.standing
    return case.intent.strategy == Strategy.FLATTEN and standing is not None and standing.flattening


def check_order_rate(case: Case) -> CheckResult:
    if _gets_out(case):
        return fine(CLOSES)
    made = case.tallies.orders_since(_minute_ago(case))
    most = case.settings.max_orders_per_minute
    return CheckResult(ok=made < most, reason=f"{made} approved in the last minute, at most {most}")


def check_message_rate(case: Case) -> CheckResult:
    """Whoever floods must not keep an operator from getting out."""
    if _gets_out(case):
        return fine(CLOSES)
    made = case.tallies.messages_since(_minute_ago(case))
    most = case.settings.max_messages_per_minute
    return CheckResult(ok=made < most, reason=f"{made} decided in the last minute, at most {most}")


def _minute_ago(case: Case) -> dt.datetime:
    return case.at - dt.timedelta(seconds=60 / max(case.clock_speed, 1.0))


def check_daily_count(case: Case) -> CheckResult:
    if _gets_out(case):
        return fine(CLOSES)
    made = case.tallies.orders_on(case.book.portfolio.session)
    most = case.settings.max_orders_per_day
    return CheckResult(ok=made < most, reason=f"{made} approved this session, at most {most}")


def check_repeats(case: Case) -> CheckResult:
    """Knight's fault: the same order over and over. What takes another's place adds none."""
    intent = case.intent
    if _gets_out(case):
        return fine(CLOSES)
    if intent.replaces is not None:
        return fine("takes the place of one that was counted")
    kin = (intent.strategy, intent.underlying, intent.side)
    made = case.tallies.repeats_on(case.book.portfolio.session, kin)
    most = case.settings.max_repeats_per_day
    return CheckResult(ok=made < most, reason=f"{made} like it this session, at most {most}")


def check_replacement(case: Case) -> CheckResult:
    """Whether the order that is to be replaced works, is ours and is the same but for its price."""
    match case.target:
        case None:
            return fine("takes no order's place")
        case str() as why_not:
            return bad(why_not)
        case target:
            return fine(f"in the place of {target.order.client_order_id}")


def check_duplicate(intent: OrderIntended, book: Book, *, decided: bool) -> CheckResult:
    """Whether the same wish is already on its way.

    A duplicate is: an intent already decided; a reservation of the same strategy on the same
    underlying that the planner cannot have seen (no portfolio up to the intent's own time shows
    its order); for options also an open order with the same symbol and side, whoever placed it.
    A trailing stop that rests and was seen is no duplicate of one for further shares: the shares
    it holds are not free. What takes another's place repeats only orders on the same contract; the
    book is without that other one.
    """
    if decided:
        return CheckResult(ok=False, reason="this intent was decided already")
    for reservation in book.reservations:
        if _repeats(intent, reservation, book):
            return CheckResult(ok=False, reason=f"repeats pending intent {reservation.intent_id}")
    if parse_option_symbol(intent.symbol) is not None:
        for order in book.portfolio.open_orders:
            if (order.symbol, order.side) == (intent.symbol, intent.side):
                return CheckResult(ok=False, reason=f"repeats open order {order.order_id}")
    return CheckResult(ok=True, reason="nothing like it is pending")


def _repeats(intent: OrderIntended, reservation: Reservation, book: Book) -> bool:
    kin = (reservation.strategy, reservation.underlying) == (intent.strategy, intent.underlying)
    if intent.strategy == Strategy.FLATTEN or intent.replaces is not None:
        kin = kin and reservation.symbol == intent.symbol  # those on one stock go out together
    known_to_planner = book.shows(reservation) and book.portfolio.as_of <= intent.as_of
    return kin and not known_to_planner
