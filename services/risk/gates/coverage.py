"""The gates of the strategies: what backs the order. Pure."""

from __future__ import annotations

from decimal import Decimal

from libs.common.contracts import OrderIntended, Side
from libs.common.money import ZERO, plain
from libs.common.settings import RiskSettings
from libs.common.symbols import SHARES_PER_CONTRACT, OptionSymbol, parse_option_symbol
from services.risk.gates.case import CheckResult, all_of
from services.risk.reservations import (
    Book,
    bound_in,
    commitment_of,
    free_cash,
    free_shares,
    short_puts,
    stock_position,
    unpriced_buys,
)


def check_csp(intent: OrderIntended, book: Book, settings: RiskSettings) -> CheckResult:
    """Cash, concentration and number of puts. Expects a well-formed cash-secured put.

    Collateral is strike x 100 x contracts; the premium to come is not counted on.
    """
    collateral = commitment_of(intent).collateral * intent.qty
    free = free_cash(book)
    spendable = free - settings.cash_buffer
    faults = []
    if collateral > spendable:
        unpriced = unpriced_buys(book.portfolio)
        why = f"; open buys without a price: {', '.join(unpriced)}" if unpriced else ""
        faults.append(
            f"collateral {plain(collateral)} above free cash {plain(free)} less buffer "
            f"{plain(settings.cash_buffer)}{why}"
        )
    equity = book.portfolio.account.equity
    most = equity * Decimal(repr(settings.max_position_pct)) / 100
    bound = bound_in(book, intent.underlying) + collateral
    if bound > most:
        faults.append(
            f"{intent.underlying} would bind {plain(bound)}, above "
            f"{settings.max_position_pct:g} % of equity {plain(equity)}"
        )
    puts = short_puts(book) + intent.qty
    if puts > settings.max_short_puts:
        faults.append(f"would be short put {puts}, at most {settings.max_short_puts}")
    return all_of(faults, f"collateral {plain(collateral)} of {plain(spendable)} spendable")


def check_covered_call(intent: OrderIntended, book: Book) -> CheckResult:
    """Strike and coverage. Expects a well-formed covered call."""
    option = parse_option_symbol(intent.symbol)
    position = stock_position(book.portfolio, intent.underlying)
    needed = intent.qty * SHARES_PER_CONTRACT
    free = free_shares(book, intent.underlying)
    if option is None or position is None or position.qty <= 0:
        return CheckResult(ok=False, reason=f"no long position in {intent.underlying}")
    faults = _basis_faults(option, position.avg_entry_price)
    if needed > free:
        faults.append(f"needs {needed} shares, {free} of {position.qty} are free")
    return all_of(faults, f"{needed} of {free} free shares, basis {position.avg_entry_price}")


def check_trailing_stop(intent: OrderIntended, book: Book) -> CheckResult:
    """Whether a long position has that many shares free. Expects a well-formed trailing stop."""
    position = stock_position(book.portfolio, intent.underlying)
    if position is None or position.qty <= 0:
        return CheckResult(ok=False, reason=f"no long position in {intent.underlying}")
    free = free_shares(book, intent.underlying)
    return CheckResult(
        ok=intent.qty <= free,
        reason=f"{intent.qty} shares, {free} of {position.qty} are free",
    )


def _basis_faults(option: OptionSymbol, basis: Decimal) -> list[str]:
    if option.strike >= basis:
        return []
    return [f"strike {option.strike} below cost basis {basis}"]


def check_flatten(intent: OrderIntended, book: Book) -> CheckResult:
    """Whether so much is held the other way, and not on its way out already."""
    held = sum((p.qty for p in book.portfolio.positions if p.symbol == intent.symbol), start=ZERO)
    closable = -held if intent.side is Side.BUY else held
    if closable <= 0:
        return CheckResult(ok=False, reason=f"no {intent.symbol} is held to {intent.side}")
    option = parse_option_symbol(intent.symbol)
    if option is None and intent.side is Side.SELL:
        free = Decimal(free_shares(book, intent.symbol))
    else:
        free = closable - _closing(intent, book)
    return CheckResult(
        ok=intent.qty <= free, reason=f"{intent.qty} of {closable}, {free} are free to close"
    )


def _closing(intent: OrderIntended, book: Book) -> Decimal:
    """What open orders and approvals close of it already."""
    alike = (intent.symbol, intent.side)
    orders = [o.open_qty for o in book.portfolio.open_orders if (o.symbol, o.side) == alike]
    pending = [book.outstanding(r) for r in book.reservations if (r.symbol, r.side) == alike]
    return sum((*orders, *pending), start=ZERO)
