"""The only door to alpaca-py in this room: submitting, looking up and listing orders, activities.

Nothing here tries twice: alpaca-py's own repetition of POST requests is switched off, and what a
missing answer means is decided by submit.py.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import msgspec
from alpaca.trading import enums, requests
from alpaca.trading.client import TradingClient

from libs.common import wire
from libs.common.broker import BrokerRefusedError, PacedClock, tame
from libs.common.broker_clock import BrokerClock
from libs.common.contracts import AlpacaEnv, OrderIntended, OrderType
from libs.common.runtime import utc_now
from libs.common.settings import AlpacaSettings
from services.executor.ledger import OPTION_AND_CASH_TYPES

ORDERS_PAGE = 500
ACTIVITIES_PAGE = 100
PAGES_MAX = 50

T = TypeVar("T")


class ApprovalExpiredError(Exception):
    """The approval ended before its order could be sent; nothing was sent."""


class ClocksApartError(Exception):
    """Our clock is not the broker's, so no approval's end can be trusted; nothing was sent."""


class _Clients(threading.local):
    def __init__(self, settings: AlpacaSettings, pace: PacedClock, clock: BrokerClock) -> None:
        self.trading = _client(settings, pace, clock)
        self.submitting = _client(settings, None, clock)


def _client(settings: AlpacaSettings, pace: PacedClock | None, clock: BrokerClock) -> TradingClient:
    client = TradingClient(
        settings.api_key,
        settings.secret_key,
        paper=settings.env is not AlpacaEnv.LIVE,
        url_override=settings.base_url,
        raw_data=True,
    )
    tame(client, settings, pace, lambda date, took: clock.hear(date, utc_now(), took))
    return client


class OrderDesk:
    """Blocking calls. Each raises BrokerRefusedError, BrokerUnreachableError or WireError."""

    def __init__(self, settings: AlpacaSettings, pace: PacedClock) -> None:
        self._clock = BrokerClock()
        self._clients = _Clients(settings, pace, self._clock)
        self._pace = pace

    def _get(self, path: str, type_: type[T], what: str, params: dict[str, Any]) -> T:
        found: T = wire.decode(self._clients.trading.get(path, params), type_, what)  # type: ignore[assignment,arg-type]
        return found

    def account(self) -> wire.WireAccount:
        return self._get("/account", wire.WireAccount, "account", {})

    def positions(self) -> list[wire.WirePosition]:
        return self._get("/positions", list[wire.WirePosition], "positions", {})

    def wait_for_room(self) -> None:
        """Until one more request keeps to the limit: before `submit`, so that the approval's end
        is looked at after the waiting and not before it.
        """
        self._pace.wait_for_room()

    def takes_room_now(self) -> bool:
        """The same where nothing has to be waited for; False when something does."""
        return self._pace.takes_room_now()

    def submit(
        self,
        intent: OrderIntended,
        client_order_id: str,
        expires_at: dt.datetime,
        last_look: Callable[[], None],
        in_place_of: str | None = None,
    ) -> wire.WireOrder:
        """One POST through the SDK's own request models, at once; or, with the broker's id of the
        order whose place it takes, one PATCH of that.

        Raises what `last_look` raises, ClocksApartError, or ApprovalExpiredError when the
        approval's time is over, by our clock or by the broker's, with nothing sent: all looked at
        here, after every queue that a call may have stood in.
        """
        client = self._clients.submitting
        if in_place_of is None:
            send = partial(client.submit_order, order_request(intent, client_order_id))
        else:
            asked = replacement_request(intent, client_order_id)
            send = partial(client.replace_order_by_id, in_place_of, asked)
        last_look()
        if problem := self._clock.problem():
            raise ClocksApartError(problem)
        if self._clock.latest(utc_now()) >= expires_at:
            raise ApprovalExpiredError
        return _order(send())

    def by_client_order_id(self, client_order_id: str) -> wire.WireOrder | None:
        """None when the broker does not know it now, which does not prove it never will."""
        try:
            params = {"client_order_id": client_order_id}
            return _order(self._clients.trading.get("/orders:by_client_order_id", params))
        except BrokerRefusedError as error:
            if error.status == 404:
                return None
            raise

    def by_id(self, order_id: str) -> wire.WireOrder:
        return _order(self._clients.trading.get(f"/orders/{order_id}", {}))

    def cancel(self, order_id: str) -> None:
        """Asks for it; whether it was in time shows in the order itself."""
        self._clients.trading.delete(f"/orders/{order_id}")

    def open_orders(self) -> list[wire.WireOrder]:
        """The open orders, newest first. Those whose figures are no numbers are left out; they are
        looked up singly, where an error concerns only them.
        """
        return [order for page in self._order_pages("open") for order in page]

    def ended_orders(self, wanted: AbstractSet[str], pages_most: int) -> list[wire.WireOrder]:
        """Orders that have ended, by their client_order_ids: what is found of them among the
        newest, in a few requests instead of one for each.
        """
        found: dict[str, wire.WireOrder] = {}
        for page in islice(self._order_pages("closed"), pages_most):
            found |= {o.client_order_id: o for o in page if o.client_order_id in wanted}
            if len(found) == len(wanted):
                break
        return list(found.values())

    def _order_pages(self, status: str) -> Iterator[list[wire.WireOrder]]:
        """Pages of orders, newest first, each order once: one that is made meanwhile comes before
        all of them, and one that ends meanwhile moves no other.
        """
        params = {"status": status, "limit": ORDERS_PAGE, "nested": "false", "direction": "desc"}
        seen: set[str] = set()
        for _ in range(PAGES_MAX):
            page = self._get("/orders", list[wire.WireOrder], f"{status} orders", params)
            new = [order for order in page if order.id not in seen]
            yield [order for order in new if _counts(order)]
            if len(page) < ORDERS_PAGE or not new:
                return
            seen.update(order.id for order in new)
            params["before_order_id"] = page[-1].id

    def activities_after(self, date: dt.date | None) -> list[wire.WireActivity]:
        """Option events and dividends later than `date` (None: all there are), oldest first."""
        found: list[wire.WireActivity] = []
        params: dict[str, Any] = {
            "activity_types": ",".join(OPTION_AND_CASH_TYPES),
            "direction": "asc",
            "page_size": ACTIVITIES_PAGE,
        }
        if date is not None:
            params["after"] = date.isoformat()
        for _ in range(PAGES_MAX):
            page = self._get(
                "/account/activities", list[wire.WireActivity], "account activities", params
            )
            found += page
            if len(page) < ACTIVITIES_PAGE:
                break
            params["page_token"] = page[-1].id
        return found


def _order(answer: Any) -> wire.WireOrder:
    return wire.counted(wire.decode(answer, wire.WireOrder, "order"))  # type: ignore[arg-type]


def _counts(order: wire.WireOrder) -> bool:
    try:
        wire.counted(order)
    except wire.WireError:
        return False
    return True


def order_request(intent: OrderIntended, client_order_id: str) -> requests.OrderRequest:
    """Prices lie on the grid already, so a float says them exactly enough for JSON."""
    common: dict[str, Any] = {
        "symbol": intent.symbol,
        "qty": intent.qty,
        "side": enums.OrderSide(intent.side.value),
        "time_in_force": enums.TimeInForce(intent.time_in_force.value),
        "client_order_id": client_order_id,
    }
    if intent.position_intent is not None:
        common["position_intent"] = enums.PositionIntent(intent.position_intent.value)
    match intent.order_type:
        case OrderType.LIMIT:
            return requests.LimitOrderRequest(limit_price=_float(intent.limit_price), **common)
        case OrderType.TRAILING_STOP:
            percent = _float(intent.trail_percent)
            return requests.TrailingStopOrderRequest(trail_percent=percent, **common)
        case OrderType.STOP:
            return requests.StopOrderRequest(stop_price=_float(intent.stop_price), **common)
        case OrderType.STOP_LIMIT:
            return requests.StopLimitOrderRequest(
                stop_price=_float(intent.stop_price),
                limit_price=_float(intent.limit_price),
                **common,
            )
        case OrderType.MARKET:
            return requests.MarketOrderRequest(**common)


def replacement_request(
    intent: OrderIntended, client_order_id: str
) -> requests.ReplaceOrderRequest:
    """Everything but the price stays as it is with the order whose place it takes."""
    price = _float(intent.limit_price)
    return requests.ReplaceOrderRequest(limit_price=price, client_order_id=client_order_id)


def _float(value: Decimal | None) -> float:
    if value is None:
        raise msgspec.ValidationError("the order lacks a price its type needs")
    return float(value)
