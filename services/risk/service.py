"""The risk room's shell: rebuild the state, then one intent at a time.

A decision is observed by the state before it is published. If publishing fails, the same decision
is published when the intent comes again; if the process dies first, the intent is decided anew,
and nothing was signed that anybody saw.

Decisions are appended after the last one this process knows of, and the server refuses anything
else: of two risks that run at once, the one that has not seen the other's decision writes none.
It then stands by, or, being the elder, reads everything anew and goes on.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import secrets

import msgspec

from libs.common.bus import BusError, Delivery, SequenceConflictError
from libs.common.codec import UndecodableError
from libs.common.contracts import (
    EquityMarked,
    IntentApproved,
    IntentBlocked,
    Message,
    OrderChanged,
    OrderIntended,
    PortfolioObserved,
    Severity,
    SnapshotTaken,
    TradingState,
    TradingStateSet,
    subject_token,
)
from libs.common.promises import BrokenPromiseError
from libs.common.runtime import Context, run_service, utc_now
from libs.common.signing import public_key_of, verify
from libs.common.topology import RISK_DECISIONS, RISK_INTENTS, RISK_ORDERS
from libs.common.trading_log import BusTradingLog
from libs.common.trading_state import Standing, move, standing_of, tightens
from services.risk.approvals import decision_message
from services.risk.losses import Mark, trip_of
from services.risk.peers import Peers
from services.risk.reservations import Book, bound_cash
from services.risk.sights import sight_of
from services.risk.state import RiskState, decide

log = logging.getLogger(__name__)

OVERDUE_MARGIN = dt.timedelta(seconds=60)
OVERDUE_SECONDS = 30.0
WATCH_SECONDS = 1.0
DECISIONS = "decisions.*.*"
TRADING_STATES = tuple(state.value for state in TradingState)


class OutOfStepError(Exception):
    """What this process knows is not what the streams say: it has to be read anew."""


class RiskService:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.bus = context.bus
        self.settings = context.settings
        self.state = RiskState()
        self.unpublished: dict[str, IntentApproved | IntentBlocked] = {}
        self.peers = Peers(context)
        self._trading = BusTradingLog(context.bus)
        self._verify_key = ""
        self._decisions_seen = 0
        self._orders_seen = 0
        self._upset = asyncio.Event()
        self._upset_by = ""
        self._unreadable = ""
        self._published_mark: Mark | None = None
        context.begin("decisions", "outcome", ("approved", "blocked"))

    async def run(self) -> None:
        try:
            self._verify_key = public_key_of(self.settings.risk.signing_key or "")
        except ValueError as error:
            raise BrokenPromiseError(f"RISK_SIGNING_KEY: {error}") from error
        await self.peers.listen()
        while True:
            await self.peers.until_first()
            self.context.vitals.rereading = "it reads decisions and orders anew"
            await self._rebuild()
            self.context.ready()
            try:
                await self._live()
            except* OutOfStepError as group:
                log.warning("%s; reading everything anew", group.exceptions[0])

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._until_upset())
            group.create_task(self.bus.consume(RISK_ORDERS, self._on_order))
            group.create_task(self._watch_overdue())
            group.create_task(self._watch())
            group.create_task(
                self.bus.consume(RISK_INTENTS, self._on_intent, on_poison=self._on_poison)
            )

    async def _until_upset(self) -> None:
        await self._upset.wait()
        raise OutOfStepError(self._upset_by)

    def _be_upset(self, why: str) -> None:
        """Has everything read anew: from where errors are only answered by another delivery."""
        self._upset_by = why
        self._upset.set()

    # --- rebuilding ----------------------------------------------------------------------------

    async def _rebuild(self) -> None:
        """Decisions first: they are what the orders' fates refer to."""
        while True:
            self.state = RiskState()
            try:
                decisions = await self.bus.replay(RISK_DECISIONS, self._observe)
                orders = await self.bus.replay(RISK_ORDERS, self._observe)
                await self._read_mark()
                await self._read_portfolio()
            except BrokenPromiseError:  # a refusal is a BusError too, and no patience mends it
                raise
            except BusError as error:
                log.warning("%s; trying again", error)
                await asyncio.sleep(1)
                continue
            self._decisions_seen = decisions.last_sequence
            self._orders_seen = orders.last_sequence
            self.unpublished.clear()  # stored ones were read; the others nobody saw
            self._upset.clear()
            log.info(
                "rebuilt from %d decisions and %d order changes: %d reservations",
                decisions.count,
                orders.count,
                len(self.state.reservations),
            )
            return

    def _observe(self, message: Message) -> None:
        match message:
            case IntentApproved() if not verify(self._verify_key, message):
                log.error("an approval of %s that risk did not sign is left out", message.intent)
            case IntentApproved() | IntentBlocked():
                self.state.observe_decision(message)
            case OrderChanged():
                self.state.observe_order(message)
            case _:
                log.error("an unexpected %s in a replay was left out", type(message).__name__)

    async def _read_mark(self) -> None:
        """A mark that does not decode counts as none: losses are then counted from now on."""
        try:
            marked = await self.bus.last("EQUITY", EquityMarked.SUBJECT, EquityMarked)
        except UndecodableError as error:
            await self.context.alert(Severity.ERROR, "equity", str(error))
            return
        if marked is not None:
            self.state.observe_mark(marked)

    async def _read_portfolio(self) -> None:
        """A portfolio that does not decode counts as none seen: the age gate then blocks."""
        try:
            book = await self.bus.last("MARKET", PortfolioObserved.SUBJECT, PortfolioObserved)
        except UndecodableError as error:
            if self._unreadable != str(error):  # it is looked at every second
                self._unreadable = str(error)
                await self.context.alert(Severity.ERROR, "portfolio", self._unreadable)
            return
        if book is not None:
            self.state.observe_portfolio(book)

    # --- orders --------------------------------------------------------------------------------

    async def _on_order(self, delivery: Delivery) -> None:
        """Nothing of this stream is deleted, so a sequence that is left out was lost on the way."""
        if delivery.sequence > self._orders_seen + 1 and self._orders_seen:
            self._be_upset(f"order changes before {delivery.sequence} never arrived")
        self._orders_seen = max(self._orders_seen, delivery.sequence)
        self._observe(delivery.decode())

    async def _watch(self) -> None:
        """Losses trip by themselves; what the bus sent and never arrived is noticed; an elder
        risk that is back is given way.
        """
        behind = 0
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self.peers.elder_is_active():
                raise OutOfStepError("another risk is active and older; standing by")
            try:
                await self._read_portfolio()
                await self._mind_losses(await self._standing())
                sent = await self.bus.delivered(RISK_ORDERS)
            except BusError as error:
                log.debug("%s", error)
                continue
            behind = behind + 1 if sent > self._orders_seen else 0
            if behind > 1:
                raise OutOfStepError(f"an order change up to {sent} was sent and never arrived")

    # --- the trading state ---------------------------------------------------------------------

    async def _standing(self) -> Standing:
        return standing_of({"bus": await self._trading.read()})

    async def _mind_losses(self, standing: Standing) -> Standing:
        """The standing after losses were looked at: they may have tripped."""
        if not standing.problem:
            self.state.observe_standing(standing)
        self._measure(standing)
        mark, portfolio = self.state.mark, self.state.portfolio
        if mark is None or portfolio is None:
            return standing
        await self._publish_mark(mark)
        trip = trip_of(mark, portfolio.account.equity, self.settings.risk)
        if trip is None or not tightens(move(standing, trip.verb), standing):
            return standing
        trip_id = f"{trip.verb}-{mark.session}-{mark.reset_by or 'begin'}"
        if trip_id in standing.lifted:  # an operator who has seen it loosened it, to get out
            return standing
        record = TradingStateSet(
            message_id=trip_id,
            at=utc_now(),
            state=move(standing, trip.verb).state,
            verb=trip.verb,
            who="risk",
            why=trip.why,
        )
        await self.bus.publish(record)
        await self.context.alert(Severity.ERROR, "trip", f"trading is {record.state}: {trip.why}")
        return await self._standing()

    def _measure(self, standing: Standing) -> None:
        self.context.vitals.choose("trading_state", standing.state.value, TRADING_STATES)
        self.context.measure("reservations", len(self.state.reservations))
        mark, portfolio = self.state.mark, self.state.portfolio
        if portfolio is not None:
            book = Book(portfolio=portfolio, reservations=self.state.reservations)
            self.context.measure("reserved_dollars", float(bound_cash(book)))
        if mark is not None:
            self.context.measure("equity_day_base_dollars", float(mark.day_base))
            self.context.measure("equity_peak_dollars", float(mark.peak))

    async def _publish_mark(self, mark: Mark) -> None:
        known = self._published_mark
        if known is not None and msgspec.structs.replace(known, as_of=mark.as_of) == mark:
            return
        await self.bus.publish(
            EquityMarked(
                message_id=self.context.unique_id("equity"),
                at=utc_now(),
                as_of=mark.as_of,
                session=mark.session,
                day_base=mark.day_base,
                peak=mark.peak,
                reset_by=mark.reset_by,
            )
        )
        self._published_mark = mark

    # --- intents -------------------------------------------------------------------------------

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
        await self._publish(waiting)
        del self.unpublished[intent.message_id]
        self._count(waiting)
        await delivery.ack()

    def _count(self, decision: IntentApproved | IntentBlocked) -> None:
        approved = isinstance(decision, IntentApproved)
        self.context.count("decisions", outcome="approved" if approved else "blocked")
        if not approved:
            for check in decision.checks:
                if not check.ok:
                    self.context.count("gate_blocks", gate=check.gate)
        took = utc_now() - decision.intent.at
        self.context.observe("decision_seconds", took.total_seconds())

    async def _publish(self, decision: IntentApproved | IntentBlocked) -> None:
        """Raises BusError. After a conflict the decision is void: it was made without knowing of
        the other's.
        """
        try:
            self._decisions_seen = await self.bus.append(decision, DECISIONS, self._decisions_seen)
        except SequenceConflictError as error:
            self._be_upset(str(error))
            raise

    async def _decide(self, intent: OrderIntended) -> IntentApproved | IntentBlocked:
        subject = SnapshotTaken.SUBJECT.format(subject_token(intent.underlying))
        standing, snapshot, _ = await asyncio.gather(
            self._standing(),
            self.bus.last_payload("MARKET", subject),
            self._read_portfolio(),
        )
        standing = await self._mind_losses(standing)
        decision = decide(
            self.state,
            intent,
            self.settings.risk,
            alpaca_env=self.settings.alpaca.env,
            at=utc_now(),
            standing=standing,
            sight=sight_of(snapshot, intent),
            clock_speed=self.settings.alpaca.clock_speed,
        )
        nonce = secrets.token_hex(16)
        message = decision_message(intent, decision, self.settings.risk, nonce=nonce)
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
