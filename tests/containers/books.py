"""Our books in the stack's Postgres, held against the simulated broker's."""

from __future__ import annotations

import json

from tests.containers.engine import EngineError, Stack

ALL_ORDERS = """
import json, os
from pathlib import Path
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import GetOrdersRequest

key, secret = (Path(f"/run/secrets/alpaca_{name}_key").read_text() for name in ("api", "secret"))
client = TradingClient(key, secret, url_override=os.environ["ALPACA_BASE_URL"])
orders = client.get_orders(GetOrdersRequest(status="all", limit=500))
print(json.dumps([order.client_order_id for order in orders]))
"""


def books_agree(stack: Stack) -> bool:
    """By our own reconciliation, which stops entries while they do not."""
    try:
        stack.alpaclaudia("reconcile")
    except EngineError:
        return False
    return True


def strangers_at_the_broker(stack: Stack) -> set[str]:
    """Orders there that are not of our books. An intent has one row and one id there, so with none
    of these nothing was sent twice.
    """
    at_broker = set(json.loads(stack.python("executor", ALL_ORDERS).splitlines()[-1]))
    assert at_broker
    return at_broker - {row[0] for row in stack.sql("select client_order_id from orders")}
