"""The order path's hops and commits and nothing else, in plain nats-py and psycopg.

`python -m benchmarks.order_path_bare ROLE` is one hop, as a process like ours, told by one line of
JSON on its input what to do: pull one message, then publish the next one and wait until it is
stored (planner, risk), or commit twice (executor); then acknowledge. The message is as large as
ours. A snapshot whose header says so has the look-ups done too that ours does on the way.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import nats
import psycopg
import uvloop
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from libs.common.bus_accounts import API_PREFIX

LOOK_UPS = "Look-Ups"
INSERT = """insert into orders (client_order_id, intent_id, state, strategy, underlying, symbol,
 side, qty, order_type, approval_json, expires_at, epoch)
 values (%s, %s, 'approved', 'wheel', 'KO', 'KO', 'sell', 1, 'limit', %s, now(), %s)"""
UPDATE = """update orders set state = 'submitting', revision = 1, epoch = %s
 where client_order_id = %s and revision = 0"""


class Hop:
    def __init__(self, told: dict[str, Any], js: JetStreamContext) -> None:
        self.told = told
        self.js = js
        self.body = b"x" * told.get("bytes", 0)
        self.count = 0
        self.books: psycopg.Connection | None = None
        self.epoch = 0
        if "address" in told:
            self.books = psycopg.connect(told["address"])
            row = self.books.execute("select epoch from executor_epoch").fetchone()
            self.epoch = row[0] if row else 0
            self.books.commit()

    async def run(self) -> None:
        told = self.told
        source = await self.js.pull_subscribe_bind(consumer=told["consumer"], stream=told["stream"])
        print("ready", flush=True)
        while True:
            try:
                (msg,) = await source.fetch(1, timeout=1.0)
            except TimeoutError:
                continue
            self.count += 1
            look_ups = (msg.headers or {}).get(LOOK_UPS) == "yes"
            if self.books is None:
                await self._pass_on(look_ups)
            else:
                await self._commit(self.books, msg, look_ups)
            await msg.ack_sync(timeout=2)

    async def _pass_on(self, look_ups: bool) -> None:
        if look_ups and "newest" in self.told:
            await self._look_up()
        headers = {"Nats-Msg-Id": f"{self.told['role']}-{self.count}"}
        if look_ups:
            headers[LOOK_UPS] = "yes"
        await self.js.publish(self.told["subject"], self.body, timeout=2, headers=headers)

    async def _look_up(self) -> None:
        """The newest of some subjects, and whether a log has grown, at once."""
        js = self.js
        newest = [js.get_msg(s, subject=t, direct=True) for s, t in self.told["newest"]]
        grown = js.get_msg("TRADING", seq=2, subject="trading.state", next=True, direct=True)
        await asyncio.gather(grown, *newest, return_exceptions=True)

    async def _commit(self, books: psycopg.Connection, msg: Msg, look_ups: bool) -> None:
        key = f"bare-{self.count}"
        books.execute(INSERT, (key, key, json.dumps({"x": len(msg.data) * "x"}), self.epoch))
        books.commit()
        books.execute(UPDATE, (self.epoch, key))
        books.commit()
        if look_ups:
            await self._look_up()
            books.execute("select * from trading_states order by id").fetchall()
            books.rollback()
            books.execute("select epoch from executor_epoch").fetchall()
            books.rollback()
        print(time.monotonic(), flush=True)


async def main() -> None:
    told = json.loads(sys.stdin.readline())
    client = await nats.connect(
        told["url"], nkeys_seed_str=told["seed"], inbox_prefix=told["inbox"]
    )
    await Hop(told, client.jetstream(prefix=API_PREFIX, timeout=2)).run()


if __name__ == "__main__":
    uvloop.run(main())
