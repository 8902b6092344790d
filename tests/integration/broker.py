"""The broker of these tests: the simulated exchange, at noon of one day, with faults on request.

Time stands still unless a test steps it. What a test does itself (place an order by hand, look at
the orders) goes through the same door as the loop's requests and is among those asked.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import requests

from services.exchange.http.views import account_view
from services.exchange.service import Running
from tests.conformity.served import Served, config

SESSION = dt.date(2020, 2, 12)
MIDDAY = dt.datetime(2020, 2, 12, 17, 0, tzinfo=dt.UTC)
FILL_MINUTES_MAX = 240
CONFIG = config(symbols=[], stocks={}, cash=Decimal(100_000), start_date=SESSION, paused=True)


def _account_number() -> str:
    """A function of the seed, and stories need it before there is any exchange."""
    venue = Running(CONFIG).venue
    (tenant,) = venue.tenants.values()
    view = account_view(tenant.books, venue.market, venue.advance())
    return str(view["account_number"])


ACCOUNT_NUMBER = _account_number()

Fault = dict[str, Any]
"""A rule as /sim/faults takes it, but for where and how often."""


def refusal(
    status: int, code: int = 0, message: str = "no", *, after_accepting: bool = False
) -> Fault:
    kind = "error_after" if after_accepting else "error"
    return {"kind": kind, "status": status, "code": code, "message": message}


def malformed(body: str = '{"id": "abc', *, after_accepting: bool = False) -> Fault:
    return {"kind": "malformed_after" if after_accepting else "malformed", "body": body}


def hang(*, after_accepting: bool = False) -> Fault:
    return {"kind": "hang_after" if after_accepting else "hang"}


def reset(*, after_accepting: bool = False) -> Fault:
    return {"kind": "reset_after" if after_accepting else "reset"}


def altered(**fields: Any) -> Fault:
    return {"kind": "altered", "fields": fields}


def with_rows(*rows: dict[str, Any]) -> Fault:
    return {"kind": "altered", "rows": list(rows)}


class Broker:
    def __init__(self) -> None:
        self._served = Served(CONFIG)
        self._own("POST", "/sim/step", json={"to": MIDDAY.isoformat()})

    @property
    def url(self) -> str:
        return self._served.url

    def close(self) -> None:
        self._served.close()

    def _own(self, method: str, path: str, **how: Any) -> Any:
        answer = self._served.ask(method, path, **how)
        assert answer.status_code in (200, 204), answer.text
        return answer.json() if answer.content else None

    # --- faults --------------------------------------------------------------------------------

    def next(self, method: str, path: str, *faults: Fault) -> None:
        """The next requests to a path meet these faults, one each."""
        for fault in faults:
            self._fault(method, path, fault, times=1)

    def after(self, method: str, path: str, good: int, fault: Fault) -> None:
        """So many requests to a path are answered, then one meets this fault."""
        self._fault(method, path, fault, skip=good, times=1)

    def always(self, method: str, path: str, fault: Fault) -> None:
        self._fault(method, path, fault)

    def _fault(self, method: str, path: str, fault: Fault, **how_often: int) -> None:
        rule = fault | {"method": method, "path": path} | how_often
        self._own("POST", "/sim/faults", json=rule)

    def heal(self) -> None:
        """From now on every request is answered; those that hang are let go without an answer."""
        self._own("DELETE", "/sim/faults")

    # --- what was asked ------------------------------------------------------------------------

    def asked(self, **which: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._own("GET", "/sim/requests", params=which)
        return found

    @property
    def posted(self) -> list[str]:
        """The client_order_id of every POST that arrived, whatever it was answered."""
        orders = self.asked(method="POST", path="/v2/orders")
        return [str(json.loads(order["body"])["client_order_id"]) for order in orders]

    # --- the account ---------------------------------------------------------------------------

    def reset(self, **account: Any) -> None:
        """The account begins anew, with another number, and with what is given."""
        (known,) = self._own("GET", "/sim/accounts")
        self._own("POST", f"/sim/accounts/{known['key']}/reset", json=account)

    def get(self, path: str, **params: Any) -> Any:
        return self._served.get(path, **params)

    def ask(self, method: str, path: str, **how: Any) -> requests.Response:
        return self._served.ask(method, path, **how)

    @property
    def orders(self) -> dict[str, dict[str, Any]]:
        """By client_order_id, in the order of their acceptance."""
        found = self.get("/v2/orders", status="all", direction="asc", limit=500)
        return {order["client_order_id"]: order for order in found}

    def place(self, **terms: Any) -> dict[str, Any]:
        """An order by hand."""
        answer = self.ask("POST", "/v2/orders", json=terms)
        assert answer.status_code == 200, answer.text
        order: dict[str, Any] = answer.json()
        return order

    def pass_minutes(self, minutes: int) -> None:
        self._own("POST", "/sim/step", json={"minutes": minutes})

    def fill(self, client_order_id: str) -> Decimal:
        """Lets time pass until the market has taken an order; at what price."""
        for _ in range(FILL_MINUTES_MAX):
            self._own("POST", "/sim/step", json={"minutes": 1})
            order = self.get("/v2/orders:by_client_order_id", client_order_id=client_order_id)
            if order["status"] == "filled":
                return Decimal(order["filled_avg_price"])
        raise AssertionError(f"{client_order_id} is {order['status']} at the end of the day")
