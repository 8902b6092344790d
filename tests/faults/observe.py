"""Reading all sides: the tables, the streams, the exchange, straight and past the proxies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
from nats.aio.client import Client
from nats.js import api
from psycopg.rows import dict_row

from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import IntentApproved, IntentBlocked, OrderChanged, OrderIntended
from libs.common.signing import verify
from libs.common.symbols import Right, parse_option_symbol
from services.executor.lifecycle import OrderState
from tests.faults.invariants import (
    BrokerOrder,
    Decided,
    Fact,
    Fill,
    Halt,
    Observation,
    Row,
)
from tests.faults.stand import Stand, now

PAGE = 500
ACTIVITIES_PAGE = 100
WAIT_SECONDS = 5.0


class Stream:
    """What a stream holds, read on from where the last reading ended."""

    def __init__(self, raw: Client, name: str, subject: str) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._raw = raw
        self._name = name
        self._subject = subject
        self._read_to = 0

    async def read_on(self) -> None:
        js = self._raw.jetstream(timeout=WAIT_SECONDS)
        last = (await js.stream_info(self._name)).state.last_seq
        if last <= self._read_to:
            return
        config = api.ConsumerConfig(
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._read_to + 1,
        )
        subscription = await js.subscribe(
            self._subject, stream=self._name, ordered_consumer=True, config=config
        )
        try:
            while self._read_to < last:
                msg = await subscription.next_msg(timeout=WAIT_SECONDS)
                self.messages.append((msg.subject, msg.data))
                self._read_to = int(msg.metadata.sequence.stream)
        finally:
            await subscription.unsubscribe()


class Observer:
    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._intents = Stream(stand.raw, "INTENTS", "intents.>")
        self._decisions = Stream(stand.raw, "DECISIONS", "decisions.>")
        self._facts = Stream(stand.raw, "ORDERS", "orders.>")
        self._account_number = ""
        self._verified: dict[int, Decided | None] = {}

    async def look(
        self,
        acknowledged: Iterable[str],
        *,
        halts: Iterable[Halt] = (),
        closed: Iterable[str] = (),
    ) -> Observation:
        """One look at everything. Raises whatever the servers answer while they come up."""
        for stream in (self._intents, self._decisions, self._facts):
            await stream.read_on()
        if not self._account_number:
            account = await self._stand.exchange("GET", "/v2/account")
            self._account_number = account["account_number"]
        tables = await asyncio.to_thread(read_tables, self._stand.postgres.url)
        orders = await self._orders()
        return Observation(
            account_number=self._account_number,
            at=now(),
            acknowledged=frozenset(acknowledged),
            stored=frozenset(_intent_ids(self._intents.messages)),
            decisions=tuple(self._decided()),
            rows=tuple(row_of(row) for row in tables["orders"]),
            orders=tuple(orders),
            facts=tuple(_facts(self._facts.messages)),
            sent=tuple(self._stand.sent),
            fills=tuple(fill_of(row) for row in tables["fills"]),
            broker_fills=tuple(await self._broker_fills()),
            ledger=tuple(moved_by(row) for row in tables["ledger"] if row["event"] != "dividend"),
            positions={
                position["symbol"]: Decimal(position["qty"])
                for position in await self._stand.exchange("GET", "/v2/positions")
            },
            halts=tuple(halts),
            gave_up=tuple(self._stand.gave_up),
            closed=frozenset(closed),
        )

    def _decided(self) -> Iterable[Decided]:
        """Each signature is verified once."""
        for place, (subject, payload) in enumerate(self._decisions.messages):
            if place not in self._verified:
                self._verified[place] = decided_of(subject, payload, self._stand.keys.public)
            found = self._verified[place]
            if found is not None:
                yield found

    async def _orders(self) -> list[BrokerOrder]:
        found: dict[str, BrokerOrder] = {}
        query: dict[str, Any] = {"status": "all", "direction": "asc", "limit": PAGE}
        while True:
            page = await self._stand.exchange("GET", "/v2/orders", params=query)
            fresh = [order for order in page if order["id"] not in found]
            found |= {order["id"]: broker_order(order) for order in fresh}
            if len(page) < PAGE:
                return list(found.values())
            assert fresh, "the exchange does not page on"
            query["after"] = page[-1]["submitted_at"]

    async def _broker_fills(self) -> list[Fill]:
        found: list[Fill] = []
        query: dict[str, Any] = {"page_size": ACTIVITIES_PAGE, "direction": "asc"}
        while True:
            page = await self._stand.exchange("GET", "/v2/account/activities/FILL", params=query)
            found += [
                Fill(
                    symbol=row["symbol"],
                    side=row["side"].partition("_")[0],
                    qty=Decimal(row["qty"]),
                )
                for row in page
            ]
            if len(page) < ACTIVITIES_PAGE:
                return found
            query["page_token"] = page[-1]["id"]


def _intent_ids(messages: Iterable[tuple[str, bytes]]) -> Iterable[str]:
    for subject, payload in messages:
        message = _decoded(subject, payload)
        if isinstance(message, OrderIntended):
            yield message.message_id


def _facts(messages: Iterable[tuple[str, bytes]]) -> Iterable[Fact]:
    for subject, payload in messages:
        message = _decoded(subject, payload)
        if isinstance(message, OrderChanged):
            yield Fact(
                client_order_id=message.client_order_id,
                revision=int(message.message_id.rpartition("-r")[2]),
                status=message.status,
                filled_qty=message.filled_qty,
            )


def decided_of(subject: str, payload: bytes, verify_key: str) -> Decided | None:
    """None for what does not decode: an attacker's."""
    message = _decoded(subject, payload)
    match message:
        case IntentApproved():
            return Decided(
                intent_id=message.intent.message_id,
                approved=True,
                genuine=verify(verify_key, message),
                expires_at=message.expires_at,
                replaces=message.intent.replaces,
            )
        case IntentBlocked():
            return Decided(intent_id=message.intent.message_id, approved=False)
        case _:
            return None


def _decoded(subject: str, payload: bytes) -> Any:
    try:
        return decode_message(subject, payload)
    except (UndecodableError, RecursionError):
        return None


def read_tables(url: str) -> dict[str, list[dict[str, Any]]]:
    """Orders, fills and ledger as of one moment. Raises psycopg.Error."""
    with psycopg.connect(url, row_factory=dict_row, connect_timeout=5) as connection:
        connection.execute("set transaction isolation level repeatable read")
        return {
            table: connection.execute(f"select * from {table}").fetchall()  # type: ignore[arg-type]  # noqa: S608
            for table in ("orders", "fills", "ledger")
        }


def row_of(row: dict[str, Any]) -> Row:
    names = {field.name for field in msgspec.structs.fields(Row)}
    return Row(
        **{key: value for key, value in row.items() if key in names - {"state"}},
        state=OrderState(row["state"]),
    )


def fill_of(row: dict[str, Any]) -> Fill:
    return Fill(
        symbol=row["symbol"],
        side=row["side"],
        qty=row["qty"],
        client_order_id=row["client_order_id"],
    )


def moved_by(row: dict[str, Any]) -> Fill:
    """How an option event moved the position in its symbol. What is short is bought back, what is
    long is sold; the trade in shares that goes with it (`other`) says its own direction.
    """
    qty = Decimal(row["qty"])
    if row["event"] == "other":
        return Fill(symbol=row["symbol"], side="buy" if qty > 0 else "sell", qty=abs(qty))
    option = parse_option_symbol(row["symbol"])
    assert option is not None
    assert option.right in (Right.PUT, Right.CALL)
    return Fill(symbol=row["symbol"], side="buy", qty=abs(qty))


def broker_order(order: dict[str, Any]) -> BrokerOrder:
    price = order["filled_avg_price"]
    return BrokerOrder(
        client_order_id=order["client_order_id"],
        order_id=order["id"],
        status=order["status"],
        symbol=order["symbol"],
        side=order["side"],
        qty=Decimal(order["qty"]),
        filled_qty=Decimal(order["filled_qty"]),
        filled_avg_price=None if price is None else Decimal(price),
        replaces=order["replaces"],
        replaced_by=order["replaced_by"],
    )
