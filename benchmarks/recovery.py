"""A start with 10,000 open orders: from the first question to the broker until it is ready.

The books hold what a busy account could leave behind a crash: orders that rest as they did, some
that ended meanwhile, some whose request was under way, known to the broker or not. What stands for
the broker answers at once. Afterwards the very requests that were made are made again by a plain
session that only reads the answers: those are the broker's own part.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import requests
import uvloop

from benchmarks.order_path import SESSION
from benchmarks.result import Result
from benchmarks.sink import ACCOUNT, ACCOUNT_NUMBER, Query, Sink
from benchmarks.stand import SYMBOL, Stand, stands, utc_now
from libs.common.contracts import (
    AlpacaEnv,
    IntentApproved,
    OrderIntended,
    OrderType,
    PositionIntent,
    Side,
    TimeInForce,
)
from libs.common.symbols import OptionSymbol, Right

RESTING = 9_000
ENDED = 400
UNDER_WAY = 400
"""`submitting` or `unknown` in the books, working at the broker."""
NEVER_ARRIVED = 200
TOTAL = RESTING + ENDED + UNDER_WAY + NEVER_ARRIVED
TARGET_SECONDS = 5.0
PAGE_MOST = 500
CHANGES = {"SETTLE_SECONDS": "1", "ALPACA_CLOCK_SPEED": "60"}
"""So fast a clock that the limit of requests, counted in the broker's minutes, does not bite."""
COLUMNS = (
    "client_order_id", "intent_id", "state", "strategy", "underlying", "symbol", "side", "qty",
    "order_type", "approval_json", "expires_at", "order_id", "broker_status", "revision",
    "published_revision", "epoch", "doubt_since",
)  # fmt: skip


def run() -> list[Result]:
    seconds, answers_seconds, asked = uvloop.run(_measured())
    return [
        Result(
            name=f"a start with {TOTAL:,} open orders",
            figure=seconds - answers_seconds,
            target=TARGET_SECONDS,
            unit="s beyond the broker",
            notes=f"{seconds:.2f} s in all, {answers_seconds:.2f} s of them the broker's answers"
            f" to {asked} requests; {RESTING:,} resting, {ENDED} ended, {UNDER_WAY} under way,"
            f" {NEVER_ARRIVED} that never arrived",
        )
    ]


async def _measured() -> tuple[float, float, int]:
    """Seconds in all, seconds of the broker's part, and the number of requests."""
    account = _Account()
    sink = Sink(account.answer)
    await sink.open()
    async with stands() as (stand,):
        _fill(stand)
        broker = {"ALPACA_BASE_URL": sink.url, "ALPACA_DATA_URL": sink.url}
        await stand.start(("executor",), broker | CHANGES)
        ready = time.monotonic()
        asked = [target for at, target in sink.asked if at <= ready]
        took = ready - sink.asked[0][0]
        _check(stand)
        stand.end("executor")
        answers = await asyncio.to_thread(_ask_again, sink.url, asked)
    await sink.close()
    return took, answers, len(asked)


def _ask_again(url: str, targets: list[str]) -> float:
    began = time.monotonic()
    with requests.Session() as session:
        for target in targets:
            session.get(url + target, timeout=30).content  # noqa: B018  # reads it
    return time.monotonic() - began


class _Account:
    """The broker's orders, newest first, and the two ways to ask for them that recovery has."""

    def __init__(self) -> None:
        shown = [_order(number, "new") for number in range(RESTING)]
        shown += [_order(RESTING + number, "canceled") for number in range(ENDED)]
        shown += [_order(RESTING + ENDED + number, "new") for number in range(UNDER_WAY)]
        shown.reverse()
        self._newest_first = shown
        self._by_id = {order["id"]: order for order in shown}
        self._by_client_id = {order["client_order_id"]: order for order in shown}

    def answer(self, path: str, query: Query) -> Any:
        if path == "/v2/orders":
            return self._page(query)
        if path == "/v2/orders:by_client_order_id":
            return self._by_client_id.get(query["client_order_id"])
        return self._by_id.get(path.removeprefix("/v2/orders/"))

    def _page(self, query: Query) -> list[dict[str, Any]]:
        is_open = {"open": ("new",), "closed": ("canceled",)}.get(query.get("status", "open"))
        rows = [order for order in self._newest_first if not is_open or order["status"] in is_open]
        before = query.get("before_order_id")
        if before is not None:
            rows = [order for order in rows if order["id"] < before]
        return rows[: min(int(query.get("limit", "50")), PAGE_MOST)]


def _order(number: int, status: str) -> dict[str, Any]:
    return {
        "id": f"order-{number:06}",
        "client_order_id": f"acl-{number:06}",
        "symbol": _symbol(number),
        "asset_class": "us_option",
        "side": "sell",
        "type": "limit",
        "order_class": "simple",
        "time_in_force": "day",
        "qty": "1",
        "filled_qty": "0",
        "filled_avg_price": None,
        "limit_price": "1.25",
        "status": status,
        "position_intent": "sell_to_open",
        "created_at": "2020-02-12T17:00:00Z",
        "updated_at": "2020-02-12T17:00:00Z",
        "submitted_at": "2020-02-12T17:00:00Z",
    }


def _symbol(number: int) -> str:
    return str(
        OptionSymbol(
            root=SYMBOL,
            expiration=SESSION + dt.timedelta(days=7),
            right=Right.PUT,
            strike=Decimal(20 + number % 40),
        )
    )


def _row(number: int, now: dt.datetime) -> tuple[Any, ...]:
    never = number >= RESTING + ENDED + UNDER_WAY
    in_doubt = number >= RESTING + ENDED
    state = "accepted" if not in_doubt else ("submitting" if number % 2 else "unknown")
    ends = now + dt.timedelta(hours=-1 if never else 1)
    intent = OrderIntended(
        message_id=f"intent-{number:06}",
        at=now,
        tick_id="tick-bench",
        strategy="wheel:cash_secured_put",
        underlying=SYMBOL,
        symbol=_symbol(number),
        side=Side.SELL,
        qty=1,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        as_of=now,
        position_intent=PositionIntent.SELL_TO_OPEN,
        limit_price=Decimal("1.25"),
        reason="a benchmark wants it",
    )
    approval = IntentApproved(
        message_id=f"ok-{intent.message_id}",
        at=now,
        tick_id=intent.tick_id,
        intent=intent,
        checks=[],
        account_number=ACCOUNT_NUMBER,
        alpaca_env=AlpacaEnv.SIM,
        collateral=Decimal(2_000),
        expires_at=ends,
        signature="x" * 88,
        session=SESSION,
        seen_price=Decimal("1.25"),
    )
    text = msgspec.json.encode(approval).decode()
    known = (None, None) if in_doubt else (f"order-{number:06}", "new")
    doubt_since = now - dt.timedelta(minutes=5) if state == "unknown" else None
    return (
        f"acl-{number:06}", intent.message_id, state, intent.strategy, SYMBOL, intent.symbol,
        "sell", 1, "limit", text, ends, *known, 2, 2, 0, doubt_since,
    )  # fmt: skip


def _fill(stand: Stand) -> None:
    """The books as a crash may leave them, written past the triggers of a running executor."""
    now = utc_now()
    with psycopg.connect(stand.address) as connection:
        connection.execute("set session_replication_role = replica")
        names = ", ".join(COLUMNS)
        with connection.cursor().copy(f"copy orders ({names}) from stdin") as copy:
            for number in range(TOTAL):
                copy.write_row(_row(number, now))
        opening = "insert into opening_balances (account_number, symbol, qty, cause)"
        values = (ACCOUNT_NUMBER, ACCOUNT["cash"])
        connection.execute(opening + " values (%s, '', %s, 'first read')", values)


def _check(stand: Stand) -> None:
    """Every order must stand in the books as at the broker."""
    with psycopg.connect(stand.address) as connection:
        found = dict(
            connection.execute("select state, count(*) from orders group by state").fetchall()
        )
    wanted = {"accepted": RESTING + UNDER_WAY, "canceled": ENDED, "expired": NEVER_ARRIVED}
    assert found == wanted, f"the books say {json.dumps(found)}"
