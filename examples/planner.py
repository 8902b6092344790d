"""A planner of your own: a short put on every stock, with plain nats-py and docs/bus.md.

NATS_URL says where the bus is, NATS_NKEY_SEED_FILE where the key of the account `guest`."""

import asyncio
import json
import os
from contextlib import suppress

import nats


def wish_for(seen: dict) -> dict | None:
    held = [each["symbol"] for each in seen.get("positions", []) + seen.get("open_orders", [])]
    puts = [c for c in seen.get("contracts", []) if c["right"] == "put" and c.get("bid", 0) > 0.05]
    if not puts or any(len(symbol) > 15 for symbol in held):
        return None  # an option of this stock is held or on its way
    put = min(puts, key=lambda put: abs(put.get("delta", 0) + 0.30))
    wish = {name: seen[name] for name in ("at", "as_of", "tick_id", "schema")}
    wish |= {"message_id": f"guest-{seen['tick_id']}-{put['symbol']}", "symbol": put["symbol"]}
    wish |= {"strategy": "guest:cash_secured_put", "underlying": seen["symbol"], "qty": 1}
    wish |= {"side": "sell", "position_intent": "sell_to_open", "time_in_force": "day"}
    return wish | {"order_type": "limit", "limit_price": f"{put['bid']:.2f}"}


async def main() -> None:
    key = {"nkeys_seed": os.environ["NATS_NKEY_SEED_FILE"], "inbox_prefix": "_INBOX.guest"}
    bus = (await nats.connect(os.environ["NATS_URL"], **key)).jetstream(prefix="core.api")
    snapshots = await bus.pull_subscribe_bind(consumer="guest", stream="MARKET")
    while True:
        with suppress(TimeoutError):
            (snapshot,) = await snapshots.fetch(1, timeout=5)
            if wish := wish_for(json.loads(snapshot.data)):
                subject = "intents.guest_cash_secured_put." + snapshot.subject.split(".")[-1]
                once = {"Nats-Msg-Id": wish["message_id"]}
                await bus.publish(subject, json.dumps(wish).encode(), headers=once)
            await snapshot.ack()


asyncio.run(main())
