"""The only door to alpaca-py in this room: reading account, clock, calendar, quotes and chains.

alpaca-py's clients carry the hosts, the versions and the keys; answers come as bytes and are
decoded by libs.common.wire. One client set per thread, since a requests session is not made for
sharing.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from typing import Any

from alpaca.data.historical.option import OptionHistoricalDataClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.trading.client import TradingClient

from libs.common import wire
from libs.common.broker import BrokerRefusedError, PacedClock, tame
from libs.common.contracts import AlpacaEnv
from libs.common.settings import AlpacaSettings
from services.market.chain_pages import chain_page
from services.market.coverage import ChainFilter

SYMBOLS_PER_REQUEST = 100
CHAIN_PAGE = 1000
CONTRACTS_PAGE = 10_000
ORDERS_PAGE = 500
PAGES_MAX = 50


class _Clients(threading.local):
    def __init__(self, settings: AlpacaSettings, pace: PacedClock) -> None:
        key, secret = settings.api_key, settings.secret_key
        paper = settings.env is not AlpacaEnv.LIVE
        data_url = settings.data_url
        self.trading = TradingClient(key, secret, paper=paper, url_override=settings.base_url)
        self.stocks = StockHistoricalDataClient(key, secret, url_override=data_url)
        self.options = OptionHistoricalDataClient(key, secret, url_override=data_url)
        for client in (self.trading, self.stocks, self.options):
            tame(client, settings, pace)


class MarketReader:
    """Blocking reads. Each raises BrokerRefusedError, BrokerUnreachableError or WireError."""

    def __init__(self, settings: AlpacaSettings, pace: PacedClock) -> None:
        self._settings = settings
        self._clients = _Clients(settings, pace)
        self._pace = pace

    @property
    def requests(self) -> int:
        return self._pace.requests

    def _trading(self, path: str, type_: object, what: str, params: dict[str, Any]) -> Any:
        return wire.decode(self._clients.trading.get(path, params), type_, what)  # type: ignore[arg-type]

    def clock(self) -> wire.WireClock:
        clock: wire.WireClock = self._trading("/clock", wire.WireClock, "clock", {})
        return clock

    def calendar(self, first: dt.date, last: dt.date) -> list[wire.WireCalendarDay]:
        params = {"start": first.isoformat(), "end": last.isoformat()}
        days: list[wire.WireCalendarDay] = self._trading(
            "/calendar", list[wire.WireCalendarDay], "calendar", params
        )
        return days

    def account(self) -> wire.WireAccount:
        account: wire.WireAccount = self._trading("/account", wire.WireAccount, "account", {})
        return account

    def positions(self) -> list[wire.WirePosition]:
        positions: list[wire.WirePosition] = self._trading(
            "/positions", list[wire.WirePosition], "positions", {}
        )
        return positions

    def open_orders(self) -> list[wire.WireOrder]:
        """All of them, oldest first, by pages of 500."""
        found: dict[str, wire.WireOrder] = {}
        after: str | None = None
        for _ in range(PAGES_MAX):
            params = {"status": "open", "limit": ORDERS_PAGE, "direction": "asc", "nested": "false"}
            if after:
                params["after"] = after
            page: list[wire.WireOrder] = self._trading(
                "/orders", list[wire.WireOrder], "open orders", params
            )
            fresh = [order for order in page if order.id not in found]
            found |= {order.id: order for order in fresh}
            if len(page) < ORDERS_PAGE or not fresh or fresh[-1].submitted_at is None:
                break
            # `after` excludes its own moment, so step back to keep orders of the same moment.
            after = (fresh[-1].submitted_at - dt.timedelta(microseconds=1)).isoformat()
        return list(found.values())

    def stock_snapshots(self, symbols: Sequence[str]) -> dict[str, wire.WireStockSnapshot | None]:
        """One batch of at most 100; symbols the broker does not know are absent."""
        params = {"symbols": ",".join(symbols), "feed": self._settings.stock_feed}
        snapshots: dict[str, wire.WireStockSnapshot | None] = wire.decode(  # type: ignore[assignment]
            self._clients.stocks.get("/stocks/snapshots", params),  # type: ignore[arg-type]
            dict[str, wire.WireStockSnapshot | None],
            "stock snapshots",
        )
        return snapshots

    def chain(
        self, underlying: str, part: ChainFilter
    ) -> tuple[dict[str, wire.WireOptionSnapshot], list[str]]:
        """The part of the chain, by pages, and the contracts of it that do not decode."""
        params: dict[str, Any] = {
            "feed": self._settings.option_feed,
            "type": part.right.value,
            "expiration_date_gte": part.expiration_first.isoformat(),
            "expiration_date_lte": part.expiration_last.isoformat(),
            "strike_price_gte": part.strike_low,
            "strike_price_lte": part.strike_high,
            "limit": CHAIN_PAGE,
        }
        found: dict[str, wire.WireOptionSnapshot] = {}
        broken: list[str] = []
        for _ in range(PAGES_MAX):
            raw = self._clients.options.get(f"/options/snapshots/{underlying}", params)
            page = chain_page(raw, part)  # type: ignore[arg-type]
            found |= page.snapshots
            broken += page.broken
            if not page.next_page_token:
                break
            params["page_token"] = page.next_page_token
        return found, broken

    def contracts(
        self, underlyings: Sequence[str], first: dt.date, last: dt.date
    ) -> list[wire.WireContract]:
        """Open interest and the penny flag, which only this endpoint tells."""
        params: dict[str, Any] = {
            "underlying_symbols": ",".join(underlyings),
            "status": "active",
            "expiration_date_gte": first.isoformat(),
            "expiration_date_lte": last.isoformat(),
            "limit": CONTRACTS_PAGE,
        }
        found: list[wire.WireContract] = []
        for _ in range(PAGES_MAX):
            page: wire.WireContractsPage = self._trading(
                "/options/contracts", wire.WireContractsPage, "option contracts", params
            )
            found += page.option_contracts or []
            if not page.next_page_token:
                break
            params["page_token"] = page.next_page_token
        return found


def is_unknown_symbol(error: BrokerRefusedError) -> bool:
    """Whether a refusal says that a symbol of the request does not exist."""
    return error.status in (400, 404, 422) and "symbol" in error.message.lower()
