"""The risk room's shell: rebuild the state, then one intent at a time.

A decision is observed by the state before it is published. If publishing fails, the same decision
is published when the intent comes again; if the process dies first, the intent is decided anew,
and nothing was signed that anybody saw.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging

from libs.common.bus import BusError, Delivery
from libs.common.codec import UndecodableError
from libs.common.contracts import (
    IntentApproved,
    IntentBlocked,
    Message,
    OrderChanged,
    OrderIntended,
    PortfolioObserved,
    Severity,
)
from libs.common.promises import BrokenPromiseError
from libs.common.runtime import Context, run_service, utc_now
from libs.common.signing import public_key_of
from libs.common.topology import RISK_DECISIONS, RISK_INTENTS, RISK_ORDERS
from services.risk.approvals import decision_message
from services.risk.state import RiskState, decide

log = logging.getLogger(__name__)

OVERDUE_MARGIN = dt.timedelta(seconds=60)
OVERDUE_SECONDS = 30.0


class RiskService:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.bus = context.bus
        self.settings = context.settings
        self.state = RiskState()
        self.unpublished: dict[str, IntentApproved | IntentBlocked] = {}

    async def run(self) -> None:
        try:
            public_key_of(self.settings.risk.signing_key or "")
        except ValueError as error:
            raise BrokenPromiseError(f"RISK_SIGNING_KEY: {error}") from error
        await self._rebuild()
        self.context.ready()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.bus.consume(RISK_ORDERS, self._on_order))
            group.create_task(self._watch_overdue())
            group.create_task(
                self.bus.consume(RISK_INTENTS, self._on_intent, on_poison=self._on_poison)
            )

    async def _rebuild(self) -> None:
        """Decisions first: they are what the orders' fates refer to."""
        while True:
            try:
                decisions = await self.bus.replay(RISK_DECISIONS, self._observe)
                orders = await self.bus.replay(RISK_ORDERS, self._observe)
                await self._read_portfolio()
            except BrokenPromiseError:  # a refusal is a BusError too, and no patience mends it
                raise
            except BusError as error:
                log.warning("%s; trying again", error)
                await asyncio.sleep(1)
                continue
            log.info(
                "rebuilt from %d decisions and %d order changes: %d reservations",
                decisions,
                orders,
                len(self.state.reservations),
            )
            return

    def _observe(self, message: Message) -> None:
        match message:
            case IntentApproved() | IntentBlocked():
                self.state.observe_decision(message)
            case OrderChanged():
                self.state.observe_order(message)
            case _:
                log.error("an unexpected %s in a replay was left out", type(message).__name__)

    async def _read_portfolio(self) -> None:
        """A portfolio that does not decode counts as none seen: the age gate then blocks."""
        try:
            book = await self.bus.last("MARKET", PortfolioObserved.SUBJECT, PortfolioObserved)
        except UndecodableError as error:
            await self.context.alert(Severity.ERROR, "portfolio", str(error))
            return
        if book is not None:
            self.state.observe_portfolio(book)

    async def _on_order(self, delivery: Delivery) -> None:
        self._observe(delivery.decode())

    async def _on_intent(self, delivery: Delivery) -> None:
        intent = delivery.decode()
        if not isinstance(intent, OrderIntended):
            raise UndecodableError(f"{delivery.subject}: not an intent")
        waiting = self.unpublished.get(intent.message_id)
        if waiting is None:
            if self.state.decided(intent.message_id):
                await delivery.ack()
                return
            waiting = await self._decide(intent)
            self.unpublished[intent.message_id] = waiting
        await self.bus.publish(waiting)
        del self.unpublished[intent.message_id]
        self.context.count("approved" if isinstance(waiting, IntentApproved) else "blocked")
        await delivery.ack()

    async def _decide(self, intent: OrderIntended) -> IntentApproved | IntentBlocked:
        await self._read_portfolio()
        decision = decide(
            self.state,
            intent,
            self.settings.risk,
            alpaca_env=self.settings.alpaca.env,
            at=utc_now(),
        )
        message = decision_message(intent, decision, self.settings.risk)
        self.state.observe_decision(message)
        return message

    async def _watch_overdue(self) -> None:
        """Says once of each approval that the executor never answered for."""
        told: set[str] = set()
        while True:
            await asyncio.sleep(OVERDUE_SECONDS)
            for reservation in self.state.overdue(utc_now(), margin=OVERDUE_MARGIN):
                if reservation.intent_id not in told:
                    told.add(reservation.intent_id)
                    await self.context.alert(
                        Severity.WARNING,
                        "overdue",
                        f"no word from the executor on {reservation.symbol}"
                        f" ({reservation.intent_id}); it stays reserved",
                        symbol=reservation.symbol,
                    )

    async def _on_poison(self, delivery: Delivery) -> None:
        text = f"{delivery.subject}: {delivery.payload[:200]!r}"
        await self.context.alert(Severity.ERROR, "poison", text)


async def serve(context: Context) -> None:
    await RiskService(context).run()


def main() -> int:
    return run_service("risk", serve)
