"""A planner that never rests: many small puts on several stocks, at varied limits, and now and then
a lower limit for one that rests, made from the snapshots that market publishes, so that risk can
hold them against real quotes.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from decimal import Decimal

import nats.errors

from libs.common.bus import BusError
from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import (
    OrderIntended,
    OrderType,
    OrderView,
    PositionIntent,
    Side,
    SnapshotTaken,
    Strategy,
    TimeInForce,
)
from libs.common.money import CENT
from libs.common.order_ids import is_ours
from libs.common.symbols import Right
from tests.faults.stand import SYMBOLS, Stand, now

PAUSE_SECONDS = (0.05, 0.35)
TRIES = 12
REPLACING_SHARE = 0.5
"""Of the wishes on a stock on which something of ours rests."""
TOO_OLD = dt.timedelta(seconds=30)


class Planner:
    def __init__(self, stand: Stand, seed: int) -> None:
        self.made: dict[str, OrderIntended] = {}
        """Everything it tried to publish."""
        self.acknowledged: set[str] = set()
        self._stand = stand
        self._seed = seed
        self._draw = random.Random(seed)
        self._wished_in: dict[str, str] = {}
        """The last tick that something was wished in, by symbol: risk takes a second wish before
        the portfolio shows the first for a repeat.
        """

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            intent = await self._next()
            if intent is not None:
                await self._publish(intent)
            await asyncio.sleep(self._draw.uniform(*PAUSE_SECONDS))

    async def make(self, count: int) -> None:
        """So many, and no longer."""
        while len(self.acknowledged) < count:
            intent = await self._next()
            if intent is not None:
                await self._publish(intent)
            await asyncio.sleep(self._draw.uniform(*PAUSE_SECONDS))

    async def _publish(self, intent: OrderIntended) -> None:
        """Tried again under the same id, as a message that a planner did not acknowledge; now and
        then given up, as by a planner that died.
        """
        self.made[intent.message_id] = intent
        for _ in range(TRIES):
            try:
                await self._stand.bus.publish(intent, patience_seconds=0.5)
            except BusError:
                if self._draw.random() < 0.1:
                    return
            else:
                self.acknowledged.add(intent.message_id)
                return

    async def _next(self) -> OrderIntended | None:
        symbol = self._draw.choice(SYMBOLS)
        snapshot = await self._snapshot(symbol)
        if (
            snapshot is None
            or now() - snapshot.at > TOO_OLD
            or self._wished_in.get(symbol) == snapshot.tick_id
        ):
            return None
        self._wished_in[symbol] = snapshot.tick_id
        resting = [order for order in snapshot.open_orders if self._may_replace(order)]
        if resting and self._draw.random() < REPLACING_SHARE:
            return self._replacement(snapshot, self._draw.choice(resting))
        return self._intent(snapshot)

    def _may_replace(self, order: OrderView) -> bool:
        """Now and then also one that risk must refuse: it has filled in part."""
        limit = order.limit_price
        return is_ours(order.client_order_id) and limit is not None and limit > 2 * CENT

    def _replacement(self, snapshot: SnapshotTaken, order: OrderView) -> OrderIntended:
        """One grid point lower, or two."""
        was = order.limit_price or CENT
        lower = [price for price in (was - CENT, was - 2 * CENT) if price > 0]
        return self._wish(
            snapshot,
            symbol=order.symbol,
            qty=int(order.qty),
            limit_price=self._draw.choice(lower),
            replaces=order.client_order_id,
        )

    async def _snapshot(self, symbol: str) -> SnapshotTaken | None:
        subject = f"market.snapshot.{symbol}"
        js = self._stand.raw.jetstream(timeout=1)
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError, UndecodableError):
            found = await js.get_msg("MARKET", subject=subject, direct=True)
            message = decode_message(subject, found.data or b"")
            return message if isinstance(message, SnapshotTaken) else None
        return None

    def _intent(self, snapshot: SnapshotTaken) -> OrderIntended | None:
        working = {order.symbol for order in snapshot.open_orders}
        puts = [
            quote
            for quote in snapshot.contracts
            if quote.right is Right.PUT
            and (quote.bid or 0) >= 0.05
            and quote.ask is not None
            and quote.symbol not in working
        ]
        if not puts:
            return None
        put = self._draw.choice(puts)
        bid, ask = put.bid or 0.0, put.ask or 0.0
        # At the bid it fills soon, at the ask it rests for a while.
        price = self._draw.choice((bid, bid, (bid + ask) / 2, ask))
        return self._wish(
            snapshot,
            symbol=put.symbol,
            qty=self._draw.choice((1, 1, 2, 3)),
            limit_price=Decimal(repr(price)).quantize(CENT),
        )

    def _wish(
        self,
        snapshot: SnapshotTaken,
        *,
        symbol: str,
        qty: int,
        limit_price: Decimal,
        replaces: str | None = None,
    ) -> OrderIntended:
        return OrderIntended(
            message_id=f"intent-faults-{self._seed}-{len(self.made) + 1}",
            at=now(),
            tick_id=snapshot.tick_id,
            strategy=Strategy.CASH_SECURED_PUT.value,
            underlying=snapshot.symbol,
            symbol=symbol,
            side=Side.SELL,
            qty=qty,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.DAY,
            as_of=snapshot.as_of,
            position_intent=PositionIntent.SELL_TO_OPEN,
            limit_price=limit_price,
            reason="the harness wants it",
            replaces=replaces,
        )
