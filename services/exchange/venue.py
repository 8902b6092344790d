"""One running exchange: its market, its accounts and its clock. No I/O of its own.

Wall time comes in as a function; what changed goes out through functions the shell sets.
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Callable

import msgspec

from libs.common.symbols import parse_option_symbol
from services.exchange.clock import SimulatedClock
from services.exchange.config import AccountConfig
from services.exchange.engine.account import Account, open_books
from services.exchange.engine.books import Books
from services.exchange.engine.refusals import conflict, not_found, unprocessable
from services.exchange.engine.updates import OrderUpdate
from services.exchange.faults.asked import RequestLog
from services.exchange.faults.board import Faults
from services.exchange.prices.draws import key_of
from services.exchange.prices.market import Market, Moment
from services.exchange.terms import Terms

SYNTHETIC_NOTE = (
    "Option prices are synthetic: modelled from daily stock closes, not market data. "
    "Stock prices within a day are simulated unless the source has intraday bars."
)
ACCOUNTS_MAX = 1000


class Tenant(msgspec.Struct, kw_only=True):
    """An account with the keys that open it."""

    key: str
    secret: str
    account: Account

    @property
    def books(self) -> Books:
        return self.account.books


class Venue:
    def __init__(
        self,
        *,
        market: Market,
        clock: SimulatedClock,
        terms: Terms,
        elapsed_seconds: Callable[[], float],
        waiting: bool,
    ) -> None:
        self.market = market
        self.clock = clock
        self.terms = terms
        self.tenants: dict[str, Tenant] = {}
        self._elapsed_seconds = elapsed_seconds
        self._started_at: float | None = None if waiting else elapsed_seconds()
        self._now = clock.at(0.0)
        self._played: Moment | None = None
        self.changes = 0  # of the accounts there are, of the market, of the clock
        self.faults = Faults()  # no state: neither they nor what was asked survive a restart
        self.asked = RequestLog()
        self.tell_orders: Callable[[str, list[OrderUpdate]], None] = _untold_orders
        self.tell_time: Callable[[Moment, Moment], None] = _untold_time

    # --- time ----------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        return self._started_at is None

    def begin(self) -> None:
        """The first client came: simulated time starts to run."""
        if self._started_at is None:
            self._started_at = self._elapsed_seconds()

    @property
    def elapsed(self) -> float:
        """Wall seconds since time began to run."""
        return 0.0 if self._started_at is None else self._elapsed_seconds() - self._started_at

    def now(self) -> dt.datetime:
        now = self.clock.at(self.elapsed)
        self._now = max(self._now, now)
        return self._now

    @property
    def ended(self) -> bool:
        return self.clock.ended(self._now)

    def play(self, tenant: Tenant) -> Moment:
        """One account up to now; the others follow with the next `advance`."""
        return tenant.account.advance(self.now())

    def advance(self) -> Moment:
        """Every account up to now, and those who listen are told."""
        return self.advance_to(self.now())

    def advance_to(self, now: dt.datetime) -> Moment:
        self._now = max(now, self._now)
        for tenant in self.tenants.values():
            tenant.account.advance(self._now)
            self.tell(tenant)
        moment = self.market.moment(self._now)
        before, self._played = self._played, moment
        if before is not None and _later(before, moment):
            self.tell_time(before, moment)
        return moment

    def earlier(self, seconds: float) -> Moment:
        """The moment so long before now; at the earliest the first one there are prices for."""
        first = self.market.calendar.session(self.market.first_day).open
        return self.market.moment(max(self._now - dt.timedelta(seconds=seconds), first))

    def step_to(self, at: dt.datetime) -> Moment:
        """Move the clock by hand; raises Refusal when that is not ahead."""
        if at < self.now():
            raise unprocessable(f"time does not go back: it is {self.now().isoformat()}")
        self.clock.step_to(at, self.elapsed)
        return self.advance()

    def tell(self, tenant: Tenant) -> None:
        """Hand on what happened to the account's orders since the last time."""
        outbox = tenant.books.outbox
        if outbox:
            updates = list(outbox)
            outbox.clear()
            self.tell_orders(tenant.books.account_id, updates)

    def revision_of(self, tenant: Tenant | None) -> int:
        """Grows with every change of that account; without one, of any and of the clock."""
        if tenant is not None:
            return tenant.books.revision
        accounts = sum(one.books.revision for one in self.tenants.values())
        return accounts + self.changes

    @property
    def pace_seconds(self) -> float:
        """What requests are counted against: simulated time, and the wall's while it stands."""
        seconds = self._now.timestamp()
        return seconds + self.elapsed if self.clock.paused else seconds

    # --- accounts ------------------------------------------------------------------------------

    def tenant(self, key: str) -> Tenant:
        tenant = self.tenants.get(key)
        if tenant is None:
            raise not_found(f"no account has the key {key[:40]!r}")
        return tenant

    def holder(self, key: str, secret: str) -> Tenant | None:
        """The account those keys open."""
        tenant = self.tenants.get(key)
        if tenant is None or not hmac.compare_digest(secret.encode(), tenant.secret.encode()):
            return None
        return tenant

    def open_account(self, config: AccountConfig) -> Tenant:
        """A new account at the present moment; raises Refusal."""
        if config.key in self.tenants:
            raise conflict(f"the key {config.key!r} is in use")
        if len(self.tenants) >= ACCOUNTS_MAX:
            raise unprocessable(f"at most {ACCOUNTS_MAX} accounts")
        tenant = Tenant(
            key=config.key, secret=config.secret, account=self._account(config, self._now)
        )
        self.tenants[config.key] = tenant
        self.changes += 1
        return tenant

    def reset_account(self, key: str, config: AccountConfig | None = None) -> Tenant:
        """The account begins anew, at the present moment; its keys stay. Raises Refusal."""
        tenant = self.tenant(key)
        first = AccountConfig(
            key=key,
            secret=tenant.secret,
            cash=tenant.books.opening_cash,
            options_level=tenant.books.options_level,
        )
        tenant.account = self._account(config or first, self._now)
        self.changes += 1
        return tenant

    def close_account(self, key: str) -> None:
        """Remove an account and its books; raises Refusal."""
        self.tenant(key)
        if len(self.tenants) == 1:
            raise unprocessable("the last account cannot be removed; reset it instead")
        del self.tenants[key]
        self.changes += 1

    def restore_account(self, key: str, secret: str, books: Books) -> None:
        """An account as it was saved."""
        account = Account(self.market, books, self.terms)
        self.tenants[key] = Tenant(key=key, secret=secret, account=account)

    def _account(self, config: AccountConfig, at: dt.datetime) -> Account:
        moment = self.market.moment(at)
        for symbol in config.positions:
            if not self._exists(symbol, moment):
                raise unprocessable(f"position {symbol}: no such stock or listed contract")
        positions = {
            symbol: (holding.qty, holding.avg_entry_price)
            for symbol, holding in config.positions.items()
        }
        # The first account draws from the market's seed, others from seeds of their own.
        seed = self.market.seed if not self.tenants else key_of(self.market.seed, config.key)
        books = open_books(
            self.market,
            at=at,
            cash=config.cash,
            positions=positions,
            options_level=config.options_level,
            seed=seed,
        )
        trouble = _uncovered(books)
        if trouble:
            raise unprocessable(trouble)
        return Account(self.market, books, self.terms)

    def _exists(self, symbol: str, moment: Moment) -> bool:
        if parse_option_symbol(symbol) is None:
            return symbol in self.market.history
        return self.market.contract(symbol, moment) is not None


def _uncovered(books: Books) -> str | None:
    """Why an account could not have come by these positions."""
    if books.cash < books.put_collateral():
        return f"cash {books.cash} does not secure short puts of {books.put_collateral()}"
    for stock, shares in books.holds.covering.items():
        if shares > books.held(stock):
            return f"{books.held(stock)} shares of {stock} do not cover calls on {shares}"
    for position in books.positions.values():
        if position.option is None and position.qty < 0:
            return f"position {position.symbol}: selling short is not offered"
        if position.option is not None and position.qty != position.qty.to_integral_value():
            return f"position {position.symbol}: contracts are whole"
    return None


def _later(before: Moment, after: Moment) -> bool:
    return (before.session.index, before.minute) < (after.session.index, after.minute)


def _untold_orders(_account: str, _updates: list[OrderUpdate]) -> None:
    """Nobody listens."""


def _untold_time(_before: Moment, _after: Moment) -> None:
    """Nobody listens."""
