"""The drop copy: the broker is read beside all that trades, and held against the books.

A read is a moment: what was under way in it is no difference. So a difference counts only when
it is found again, the same, after orders were followed and activities read once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from zoneinfo import ZoneInfo

from libs.common.broker import BrokerRefusedError
from libs.common.contracts import Severity
from libs.common.runtime import Context, utc_now
from libs.common.wire import WireError, WireOrder
from services.executor.alpaca import OrderDesk
from services.executor.bookkeeping import Bookkeeper
from services.executor.reconcile import (
    Books,
    BrokerState,
    Difference,
    Kind,
    confirmed,
    differences,
    opening_of,
)
from services.executor.reconcile_store import ReconcileStore

READS = 3
AGAIN_SECONDS = 0.3
NEW_YORK = ZoneInfo("America/New_York")


class Reconciling:
    def __init__(
        self,
        context: Context,
        store: ReconcileStore,
        broker: OrderDesk,
        books: Bookkeeper,
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        """`catch_up` brings our books to what the broker says of orders and activities now."""
        self._context = context
        self._store = store
        self._broker = broker
        self._books = books
        self._catch_up = catch_up

    async def reconcile(self, account_number: str) -> None:
        """One read of everything. Raises BrokerError, WireError."""
        await self._begin(account_number)
        found: list[Difference] = []
        for attempt in range(READS):
            theirs = await self._read_the_broker()
            await self._catch_up()
            ours = await self._our_books(account_number, theirs)
            theirs = await self._look_up_the_rest(theirs, ours)
            tolerance = self._context.settings.executor.reconcile_cash_tolerance
            now = differences(ours, theirs, cash_tolerance=tolerance)
            found = now if attempt == 0 else confirmed(found, now)
            if not found:
                break
            await asyncio.sleep(AGAIN_SECONDS)
        await self._note(account_number, found)

    async def _read_the_broker(self) -> BrokerState:
        orders = await asyncio.to_thread(self._broker.open_orders)
        positions = await asyncio.to_thread(self._broker.positions)
        account = await asyncio.to_thread(self._broker.account)
        for position in positions:
            if not position.qty.is_finite():
                raise WireError(f"the position in {position.symbol} is {position.qty}")
        cash = account.cash
        return BrokerState(
            orders=tuple(orders),
            positions={position.symbol: position.qty for position in positions if position.qty},
            cash=cash if cash is not None and cash.is_finite() else None,
            today=self._context.market_time().astimezone(NEW_YORK).date(),
        )

    async def _begin(self, account_number: str) -> None:
        """The first read of an account is what its books begin with. Fills must not come between
        the two, so it is read again until none does.
        """
        if await self._books.patiently(partial(self._store.books, account_number, ())) is not None:
            return
        bare = partial(self._store.bare_books, account_number)
        await self._catch_up()
        while True:
            before = await self._books.patiently(bare)
            theirs = await self._read_the_broker()
            await self._catch_up()
            if await self._books.patiently(bare) == before:
                break
        opening = opening_of(before, theirs)
        await self._books.patiently(partial(self._store.open_with, account_number, opening))
        text = f"the books of {account_number} begin with {len(opening) - 1} positions"
        await self._context.alert(Severity.INFO, "reconcile", text)

    async def _our_books(self, account_number: str, theirs: BrokerState) -> Books:
        shown = [order.client_order_id for order in theirs.orders]
        read = partial(self._store.books, account_number, shown)
        return await self._books.patiently(read) or Books()

    async def _look_up_the_rest(self, theirs: BrokerState, ours: Books) -> BrokerState:
        """Orders that are open in our books and not among the broker's open ones, singly."""
        shown = {order.id for order in theirs.orders}
        found: list[WireOrder] = []
        for mine in ours.open_orders:
            if mine.order_id is None or mine.order_id in shown:
                continue
            try:
                found.append(await asyncio.to_thread(self._broker.by_id, mine.order_id))
            except BrokerRefusedError as error:
                if error.status != 404:
                    raise
        return BrokerState(
            orders=(*theirs.orders, *found),
            positions=theirs.positions,
            cash=theirs.cash,
            today=theirs.today,
        )

    async def _note(self, account_number: str, found: list[Difference]) -> None:
        note = partial(self._store.note, account_number, found, utc_now())
        noted = await self._books.patiently(note)
        for number, difference in noted.found:
            await self._context.alert(
                _severity(difference),
                "reconcile",
                f"difference {number}, {difference.kind} {difference.subject}: our books say"
                f" {difference.ours}, the broker {difference.theirs}"
                + ("; new entries stop" if difference.stops_entries else ""),
            )
        for number in noted.explained:
            await self._context.alert(Severity.INFO, "reconcile", f"difference {number} is no more")


def _severity(difference: Difference) -> Severity:
    if difference.stops_entries:
        return Severity.ERROR
    return Severity.INFO if difference.kind is Kind.UNSETTLED else Severity.WARNING
