"""A client that plays an exchange for weeks through the unmodified alpaca-py, by a seed.

What it can do is a table from endpoint to deed. An endpoint that is mounted and not in the table is
one that nobody exercises; the session's test says so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
from alpaca.common.exceptions import APIError
from alpaca.data.historical import OptionHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import (
    CorporateActionsRequest,
    OptionBarsRequest,
    OptionChainRequest,
    OptionLatestQuoteRequest,
    OptionLatestTradeRequest,
    OptionSnapshotRequest,
    OptionTradesRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import (
    ContractType,
    OrderClass,
    OrderSide,
    QueryOrderStatus,
    TimeInForce,
)
from alpaca.trading.models import Order, Watchlist
from alpaca.trading.requests import (
    ClosePositionRequest,
    CreateWatchlistRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOptionContractsRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    OrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
    UpdateWatchlistRequest,
)

from tests.conformity.recorder import Endpoint, Recorder
from tests.conformity.served import KEY, SECRET, Served

SYMBOLS = ("AAPL", "KO", "MSFT")
BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC = TimeInForce.DAY, TimeInForce.GTC
IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK, TimeInForce.OPG, TimeInForce.CLS)
REFUSALS = (403, 404, 409, 422)  # what a player may be told; all else is a fault of the session


class Player:
    def __init__(self, served: Served, recorder: Recorder, seed: int) -> None:
        self.served = served
        self.rng = np.random.default_rng(seed)
        self.trading = TradingClient(KEY, SECRET, url_override=served.url)
        self.stocks = StockHistoricalDataClient(KEY, SECRET, url_override=served.url)
        self.options = OptionHistoricalDataClient(KEY, SECRET, url_override=served.url)
        self.actions = CorporateActionsClient(KEY, SECRET, url_override=served.url)
        clients = (self.trading, self.stocks, self.options, self.actions)
        sessions = [client._session for client in clients]
        for session in (*sessions, served.session):
            session.hooks["response"].append(recorder)
        self._sessions = sessions
        self.refused = 0

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    # --- time ----------------------------------------------------------------------------------

    def step(self, **how: Any) -> dt.datetime:
        answer = self.served.ask("POST", "/sim/step", json=how)
        assert answer.status_code == 200, answer.text
        return dt.datetime.fromisoformat(answer.json()["simulated_time"])

    def raw(self, method: str, path: str, **how: Any) -> Any:
        answer = self.served.ask(method, path, **how)
        return answer.json() if answer.content else None

    # --- choosing ------------------------------------------------------------------------------

    def symbol(self) -> str:
        return str(self.rng.choice(SYMBOLS))

    def mid(self, symbol: str) -> float:
        request = StockLatestQuoteRequest(symbol_or_symbols=symbol)
        quote = self.stocks.get_stock_latest_quote(request)[symbol]
        return (quote.bid_price + quote.ask_price) / 2

    def contract(self, kind: ContractType, *, moneyness: float, days: int = 40) -> str:
        """The symbol of a quoted contract near that share of the stock's price."""
        symbol = self.symbol()
        strike = self.mid(symbol) * moneyness
        today = self.trading.get_clock().timestamp.date()
        chain = self.options.get_option_chain(
            OptionChainRequest(
                underlying_symbol=symbol,
                type=kind,
                root_symbol=symbol,
                strike_price_gte=strike * 0.9,
                strike_price_lte=strike * 1.1,
                expiration_date_gte=today + dt.timedelta(days=1),
                expiration_date_lte=today + dt.timedelta(days=days),
            )
        )
        quoted = sorted(s for s, snapshot in chain.items() if snapshot.latest_quote)
        return str(self.rng.choice(quoted))

    # --- orders --------------------------------------------------------------------------------

    def submit(self, request: OrderRequest) -> Order | None:
        """None when it is refused, as some are meant to be."""
        placed: list[Order] = []
        self.attempt(lambda p: placed.append(p.trading.submit_order(request)))
        return placed[0] if placed else None

    def resting(self, **more: Any) -> Order:
        """A buy far below the market."""
        symbol = self.symbol()
        price = round(self.mid(symbol) * 0.6, 2)
        order = self.submit(
            LimitOrderRequest(
                symbol=symbol, qty=2, side=BUY, time_in_force=GTC, limit_price=price, **more
            )
        )
        if order is None:  # an order to sell rests: it would be a wash trade
            self.trading.cancel_orders()
            return self.resting(**more)
        return order

    def stock_order(self) -> None:
        symbol, qty = self.symbol(), int(self.rng.integers(1, 20))
        side = BUY if self.rng.random() < 0.6 else SELL
        tif = GTC if self.rng.random() < 0.5 else DAY
        mid, near = self.mid(symbol), float(self.rng.uniform(-0.02, 0.02))
        terms = {"symbol": symbol, "qty": qty, "side": side, "time_in_force": tif}
        price = round(mid * (1 + near), 2)
        stop = round(mid * (1.015 if side is BUY else 0.985), 2)
        kinds: list[Callable[[], OrderRequest]] = [
            lambda: MarketOrderRequest(**terms),
            lambda: LimitOrderRequest(**terms, limit_price=price),
            lambda: StopOrderRequest(**terms, stop_price=stop),
            lambda: StopLimitOrderRequest(**terms, stop_price=stop, limit_price=stop),
            lambda: TrailingStopOrderRequest(**terms, trail_percent=1.5),
            lambda: TrailingStopOrderRequest(**terms, trail_price=round(mid * 0.02, 2)),
            lambda: MarketOrderRequest(
                **(terms | {"time_in_force": IMMEDIATE[int(self.rng.integers(4))]})
            ),
            lambda: MarketOrderRequest(symbol=symbol, notional=100.5, side=side, time_in_force=DAY),
            lambda: MarketOrderRequest(**(terms | {"qty": 0.5, "time_in_force": DAY})),
            lambda: self.bracket(symbol, qty, mid),
        ]
        self.submit(kinds[int(self.rng.integers(len(kinds)))]())

    def bracket(self, symbol: str, qty: int, mid: float) -> OrderRequest:
        kind = (OrderClass.BRACKET, OrderClass.OTO, OrderClass.OCO)[int(self.rng.integers(3))]
        profit = TakeProfitRequest(limit_price=round(mid * 1.02, 2))
        loss = StopLossRequest(stop_price=round(mid * 0.98, 2))
        terms: dict[str, Any] = {"symbol": symbol, "qty": qty, "time_in_force": GTC}
        if kind is OrderClass.OTO:
            return MarketOrderRequest(**terms, side=BUY, order_class=kind, stop_loss=loss)
        terms |= {"order_class": kind, "take_profit": profit, "stop_loss": loss}
        if kind is OrderClass.OCO:
            return LimitOrderRequest(**terms, side=SELL, limit_price=profit.limit_price)
        return MarketOrderRequest(**terms, side=BUY)

    def option_order(self) -> None:
        kind = ContractType.PUT if self.rng.random() < 0.5 else ContractType.CALL
        sell = self.rng.random() < 0.6
        symbol = self.contract(kind, moneyness=float(self.rng.uniform(0.92, 1.08)))
        terms: dict[str, Any] = {"symbol": symbol, "qty": 1, "side": SELL if sell else BUY}
        if self.rng.random() < 0.3:
            latest = self.options.get_option_latest_quote(
                OptionLatestQuoteRequest(symbol_or_symbols=symbol)
            )
            price = round(max(latest[symbol].bid_price, 0.05) * 2, 1)
            self.submit(LimitOrderRequest(**terms, time_in_force=GTC, limit_price=price))
        else:
            self.submit(MarketOrderRequest(**terms, time_in_force=DAY))

    def bought_contract(self) -> str:
        """A call in the money that is now held long."""
        for _ in range(20):
            symbol = self.contract(ContractType.CALL, moneyness=0.95)
            self.submit(MarketOrderRequest(symbol=symbol, qty=1, side=BUY, time_in_force=DAY))
            self.step(minutes=2)
            held = {p.symbol: float(p.qty) for p in self.trading.get_all_positions()}
            if held.get(symbol, 0) > 0:
                return symbol
        raise AssertionError("no call could be bought")

    def held_stock(self) -> str:
        """A stock of which some shares are free to sell."""
        self.trading.cancel_orders()
        for position in self.trading.get_all_positions():
            if position.symbol in SYMBOLS and float(position.qty_available or 0) >= 2:
                return str(position.symbol)
        self.submit(MarketOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=DAY))
        self.step(minutes=2)
        return "KO"

    def submit_while_closed(self) -> None:
        symbol = self.symbol()
        self.submit(MarketOrderRequest(symbol=symbol, qty=1, side=BUY, time_in_force=DAY))

    def attempt(self, deed: Callable[[Player], object]) -> None:
        try:
            deed(self)
        except APIError as error:
            if error.status_code not in REFUSALS:
                raise
            self.refused += 1

    def all_activities(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        query: dict[str, Any] = {"direction": "asc"}
        while page := self.trading.get("/account/activities", query):
            rows += page
            query["page_token"] = page[-1]["id"]
        return rows

    def all_orders(self) -> list[Order]:
        """The last thousand."""
        found: list[Order] = []
        until = None
        for _ in range(2):
            request = GetOrdersRequest(status=QueryOrderStatus.ALL, limit=500, until=until)
            page = self.trading.get_orders(request)
            if not page:
                break
            found += page
            until = page[-1].created_at
        return found

    def an_order(self) -> Order:
        found = self.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, limit=500))
        return found[int(self.rng.integers(len(found)))] if found else self.resting()


# --- the table ---------------------------------------------------------------------------------


def _replace(p: Player) -> object:
    order = p.resting()
    request = ReplaceOrderRequest(qty=3, limit_price=round(float(order.limit_price) * 0.9, 2))
    return p.trading.replace_order_by_id(order.id, request)


def _by_client_id(p: Player) -> object:
    name = f"mine-{p.rng.integers(10**9)}"
    p.resting(client_order_id=name)
    return p.trading.get_order_by_client_id(name)


def _close_position(p: Player) -> object:
    symbol = p.held_stock()
    request = ClosePositionRequest(qty="1") if p.rng.random() < 0.5 else None
    return p.trading.close_position(symbol, request)


def _close_all(p: Player) -> object:
    p.trading.close_all_positions(cancel_orders=True)
    p.step(minutes=3)
    for symbol in SYMBOLS:  # begin again
        p.submit(MarketOrderRequest(symbol=symbol, qty=100, side=BUY, time_in_force=DAY))
    return p.step(minutes=3)


def _activities(p: Player) -> object:
    """All of them, in pages, by the last id."""
    query: dict[str, Any] = {"page_size": 7, "direction": "asc"}
    pages = 0
    while rows := p.trading.get("/account/activities", query):
        query["page_token"], pages = rows[-1]["id"], pages + 1
        if pages == 5:
            break
    return p.trading.get("/account/activities", {"activity_types": "FILL,OPASN,OPEXP,OPTRD"})


def _activities_of_a_type(p: Player) -> object:
    kinds = ("FILL", "OPASN", "OPEXP", "OPEXC", "OPTRD", "DIV")
    return [p.trading.get(f"/account/activities/{kind}") for kind in kinds]


def _history(p: Player) -> object:
    for period, timeframe in (("1W", "1D"), ("1D", "1Min"), ("1D", "15Min"), ("1M", None)):
        request = GetPortfolioHistoryRequest(period=period, timeframe=timeframe)
        p.trading.get_portfolio_history(request)
    return None


def _set_configurations(p: Player) -> object:
    return p.trading.set_account_configurations(p.trading.get_account_configurations())


def _contracts(p: Player) -> object:
    request = GetOptionContractsRequest(
        underlying_symbols=[p.symbol()],
        expiration_date_lte=p.trading.get_clock().timestamp.date() + dt.timedelta(days=60),
        limit=200,
    )
    page = p.trading.get_option_contracts(request)
    if page.next_page_token:
        request.page_token = page.next_page_token
        p.trading.get_option_contracts(request)
    return page.option_contracts


def _contract(p: Player) -> object:
    return p.trading.get_option_contract(p.contract(ContractType.PUT, moneyness=1.0))


def _bars(p: Player) -> object:
    now = p.trading.get_clock().timestamp
    for timeframe in (
        TimeFrame.Day, TimeFrame.Hour, TimeFrame.Minute, TimeFrame(15, TimeFrameUnit.Minute),
        TimeFrame.Week, TimeFrame(3, TimeFrameUnit.Month),
    ):  # fmt: skip
        p.stocks.get_stock_bars(
            StockBarsRequest(
                symbol_or_symbols=list(SYMBOLS[:2]),
                timeframe=timeframe,
                start=now - dt.timedelta(days=4),
                end=now,
                limit=700,
            )
        )
    return None


def _chain(p: Player) -> object:
    return p.options.get_option_chain(OptionChainRequest(underlying_symbol=p.symbol()))


def _some_contracts(p: Player) -> list[str]:
    return [p.contract(kind, moneyness=1.0) for kind in ContractType]


def _exercise(p: Player) -> object:
    return p.trading.exercise_options_position(p.bought_contract())


def _do_not_exercise(p: Player) -> object:
    return p.raw("POST", f"/v2/positions/{p.bought_contract()}/do-not-exercise")


def _other_account(p: Player) -> str:
    key = f"other-{p.rng.integers(10**9)}"
    p.raw("POST", "/sim/accounts", json={"key": key, "secret": "s", "cash": 1000})
    return key


def _reset_account(p: Player) -> object:
    return p.raw("POST", f"/sim/accounts/{_other_account(p)}/reset")


def _close_account(p: Player) -> object:
    return p.raw("DELETE", f"/sim/accounts/{_other_account(p)}")


def _announce(p: Player) -> object:
    ex_date = p.trading.get_clock().timestamp.date() + dt.timedelta(days=3)
    body = {"type": "cash_dividend", "symbol": p.symbol(), "ex_date": str(ex_date), "rate": 0.25}
    return p.raw("POST", "/sim/corporate-actions", json=body)


def _set_fault(p: Player) -> str:
    """One that nobody will meet."""
    rule = {"kind": "delay", "path": "/v2/nowhere", "rate": 0.5, "times": 1, "seconds": 0.1}
    return str(p.raw("POST", "/sim/faults", json=rule)["id"])


def _history_of(p: Player, request: Any, symbols: list[str], **more: Any) -> Any:
    """What there was of those symbols in the last days, as a request of the SDK."""
    now = p.trading.get_clock().timestamp
    return request(
        symbol_or_symbols=symbols, start=now - dt.timedelta(days=3), end=now, limit=900, **more
    )


def _alone(what: str, **query: Any) -> Callable[[Player], object]:
    """An endpoint of a single stock, which the SDK has no method for."""
    return lambda p: p.raw("GET", f"/v2/stocks/{p.symbol()}/{what}", params=query)


def _watchlist(p: Player) -> Watchlist:
    """One made for the occasion; an older one goes, for there may be only so many."""
    for old in p.trading.get_watchlists()[:-3]:
        p.trading.delete_watchlist_by_id(old.id)
    name = f"list {p.rng.integers(10**9)}"
    made = p.trading.create_watchlist(CreateWatchlistRequest(name=name, symbols=["KO"]))
    assert isinstance(made, Watchlist)
    return made


def _by_name(p: Player, method: str, **how: Any) -> object:
    name = _watchlist(p).name
    return p.raw(method, "/v2/watchlists:by_name", params={"name": name}, **how)


def _announcements(p: Player) -> Any:
    """Read as the SDK reads them; its method warns that it is deprecated."""
    _announce(p)
    today = p.trading.get_clock().timestamp.date()
    query = {"ca_types": "dividend,split", "since": today, "until": today + dt.timedelta(days=60)}
    return p.trading.get("/corporate_actions/announcements", query)


def _actions(p: Player) -> object:
    p.attempt(_announce)
    today = p.trading.get_clock().timestamp.date()
    request = CorporateActionsRequest(start=today, end=today + dt.timedelta(days=60))
    return p.actions.get_corporate_actions(request)


def _latest(request: Any) -> Any:
    return request(symbol_or_symbols=list(SYMBOLS))


EXERCISES: dict[Endpoint, Callable[[Player], object]] = {
    ("GET", "/v2/account"): lambda p: p.trading.get_account(),
    ("GET", "/v2/account/activities"): _activities,
    ("GET", "/v2/account/activities/{type}"): _activities_of_a_type,
    ("GET", "/v2/account/configurations"): lambda p: p.trading.get_account_configurations(),
    ("PATCH", "/v2/account/configurations"): _set_configurations,
    ("GET", "/v2/account/portfolio/history"): _history,
    ("GET", "/v2/clock"): lambda p: p.trading.get_clock(),
    ("GET", "/v2/calendar"): lambda p: p.trading.get_calendar(
        GetCalendarRequest(start=dt.date(2020, 11, 1), end=dt.date(2021, 1, 31))
    ),
    ("GET", "/v2/assets"): lambda p: p.trading.get_all_assets(GetAssetsRequest()),
    ("GET", "/v2/assets/{symbol}"): lambda p: p.trading.get_asset(p.symbol()),
    ("GET", "/v2/positions"): lambda p: p.trading.get_all_positions(),
    ("GET", "/v2/positions/{symbol}"): lambda p: p.trading.get_open_position(p.held_stock()),
    ("DELETE", "/v2/positions"): _close_all,
    ("DELETE", "/v2/positions/{symbol}"): _close_position,
    ("POST", "/v2/positions/{symbol}/exercise"): _exercise,
    ("POST", "/v2/positions/{symbol}/do-not-exercise"): _do_not_exercise,
    ("POST", "/v2/orders"): lambda p: p.resting(),
    ("GET", "/v2/orders"): lambda p: p.trading.get_orders(
        GetOrdersRequest(status=QueryOrderStatus.ALL, limit=100, nested=True)
    ),
    ("DELETE", "/v2/orders"): lambda p: (p.resting(), p.trading.cancel_orders()),
    ("GET", "/v2/orders:by_client_order_id"): _by_client_id,
    ("GET", "/v2/orders/{order_id}"): lambda p: p.trading.get_order_by_id(
        p.an_order().id, GetOrderByIdRequest(nested=True)
    ),
    ("PATCH", "/v2/orders/{order_id}"): _replace,
    ("DELETE", "/v2/orders/{order_id}"): lambda p: p.trading.cancel_order_by_id(p.resting().id),
    ("GET", "/v2/options/contracts"): _contracts,
    ("GET", "/v2/options/contracts/{symbol}"): _contract,
    ("GET", "/v2/stocks/snapshots"): lambda p: p.stocks.get_stock_snapshot(
        _latest(StockSnapshotRequest)
    ),
    ("GET", "/v2/stocks/quotes/latest"): lambda p: p.stocks.get_stock_latest_quote(
        _latest(StockLatestQuoteRequest)
    ),
    ("GET", "/v2/stocks/trades/latest"): lambda p: p.stocks.get_stock_latest_trade(
        _latest(StockLatestTradeRequest)
    ),
    ("GET", "/v2/stocks/bars/latest"): lambda p: p.stocks.get_stock_latest_bar(
        _latest(StockLatestBarRequest)
    ),
    ("GET", "/v2/stocks/bars"): _bars,
    ("GET", "/v2/watchlists"): lambda p: p.trading.get_watchlists(),
    ("POST", "/v2/watchlists"): _watchlist,
    ("GET", "/v2/watchlists/{watchlist_id}"): lambda p: p.trading.get_watchlist_by_id(
        _watchlist(p).id
    ),
    ("PUT", "/v2/watchlists/{watchlist_id}"): lambda p: p.trading.update_watchlist_by_id(
        _watchlist(p).id, UpdateWatchlistRequest(symbols=["AAPL", "MSFT"])
    ),
    ("POST", "/v2/watchlists/{watchlist_id}"): lambda p: p.trading.add_asset_to_watchlist_by_id(
        _watchlist(p).id, "AAPL"
    ),
    ("DELETE", "/v2/watchlists/{watchlist_id}"): lambda p: p.trading.delete_watchlist_by_id(
        _watchlist(p).id
    ),
    ("DELETE", "/v2/watchlists/{watchlist_id}/{symbol}"): lambda p: (
        p.trading.remove_asset_from_watchlist_by_id(_watchlist(p).id, "KO")
    ),
    ("GET", "/v2/watchlists:by_name"): lambda p: _by_name(p, "GET"),
    ("PUT", "/v2/watchlists:by_name"): lambda p: _by_name(p, "PUT", json={"symbols": ["MSFT"]}),
    ("POST", "/v2/watchlists:by_name"): lambda p: _by_name(p, "POST", json={"symbol": "AAPL"}),
    ("DELETE", "/v2/watchlists:by_name"): lambda p: _by_name(p, "DELETE"),
    ("GET", "/v2/corporate_actions/announcements"): _announcements,
    ("GET", "/v2/corporate_actions/announcements/{id}"): lambda p: (
        p.trading.get_corporate_announcement_by_id(_announcements(p)[0]["id"])
    ),
    ("GET", "/v1/corporate-actions"): _actions,
    ("GET", "/v2/stocks/quotes"): lambda p: p.stocks.get_stock_quotes(
        _history_of(p, StockQuotesRequest, list(SYMBOLS))
    ),
    ("GET", "/v2/stocks/trades"): lambda p: p.stocks.get_stock_trades(
        _history_of(p, StockTradesRequest, list(SYMBOLS))
    ),
    ("GET", "/v2/stocks/{symbol}/snapshot"): _alone("snapshot", currency="USD"),
    ("GET", "/v2/stocks/{symbol}/quotes/latest"): _alone("quotes/latest"),
    ("GET", "/v2/stocks/{symbol}/trades/latest"): _alone("trades/latest"),
    ("GET", "/v2/stocks/{symbol}/bars/latest"): _alone("bars/latest", feed="iex"),
    ("GET", "/v2/stocks/{symbol}/quotes"): _alone("quotes", limit=50),
    ("GET", "/v2/stocks/{symbol}/trades"): _alone("trades", limit=50, sort="desc"),
    ("GET", "/v2/stocks/{symbol}/bars"): _alone("bars", timeframe="1Min", adjustment="all"),
    ("GET", "/v2/stocks/meta/exchanges"): lambda p: p.raw("GET", "/v2/stocks/meta/exchanges"),
    ("GET", "/v2/stocks/meta/conditions/{ticktype}"): lambda p: p.raw(
        "GET", "/v2/stocks/meta/conditions/trade", params={"tape": "C"}
    ),
    ("GET", "/v1beta1/options/bars"): lambda p: p.options.get_option_bars(
        _history_of(p, OptionBarsRequest, _some_contracts(p), timeframe=TimeFrame.Hour)
    ),
    ("GET", "/v1beta1/options/trades"): lambda p: p.options.get_option_trades(
        _history_of(p, OptionTradesRequest, _some_contracts(p))
    ),
    ("GET", "/v1beta1/options/meta/exchanges"): lambda p: p.options.get_option_exchange_codes(),
    ("GET", "/v1beta1/options/meta/conditions/{ticktype}"): lambda p: p.raw(
        "GET", "/v1beta1/options/meta/conditions/quote"
    ),
    ("GET", "/v1beta1/options/snapshots"): lambda p: p.options.get_option_snapshot(
        OptionSnapshotRequest(symbol_or_symbols=_some_contracts(p))
    ),
    ("GET", "/v1beta1/options/snapshots/{underlying}"): _chain,
    ("GET", "/v1beta1/options/quotes/latest"): lambda p: p.options.get_option_latest_quote(
        OptionLatestQuoteRequest(symbol_or_symbols=_some_contracts(p))
    ),
    ("GET", "/v1beta1/options/trades/latest"): lambda p: p.options.get_option_latest_trade(
        OptionLatestTradeRequest(symbol_or_symbols=_some_contracts(p))
    ),
    ("GET", "/sim/health"): lambda p: p.raw("GET", "/sim/health"),
    ("GET", "/sim/state"): lambda p: p.raw("GET", "/sim/state"),
    ("GET", "/sim/books/{key}"): lambda p: p.raw("GET", f"/sim/books/{KEY}"),
    ("GET", "/sim/quotes"): lambda p: p.raw("GET", "/sim/quotes"),
    ("GET", "/"): lambda p: p.served.ask("GET", "/").text,
    ("GET", "/sim/clock"): lambda p: p.raw("GET", "/sim/clock"),
    ("PATCH", "/sim/clock"): lambda p: p.raw("PATCH", "/sim/clock", json={"paused": True}),
    ("POST", "/sim/step"): lambda p: p.step(minutes=1),
    ("GET", "/sim/accounts"): lambda p: p.raw("GET", "/sim/accounts"),
    ("POST", "/sim/accounts"): _other_account,
    ("POST", "/sim/accounts/{key}/reset"): _reset_account,
    ("DELETE", "/sim/accounts/{key}"): _close_account,
    ("GET", "/sim/corporate-actions"): lambda p: p.raw("GET", "/sim/corporate-actions"),
    ("POST", "/sim/corporate-actions"): _announce,
    ("GET", "/sim/faults"): lambda p: p.raw("GET", "/sim/faults"),
    ("POST", "/sim/faults"): _set_fault,
    ("DELETE", "/sim/faults"): lambda p: p.raw("DELETE", "/sim/faults"),
    ("DELETE", "/sim/faults/{id}"): lambda p: p.raw("DELETE", f"/sim/faults/{_set_fault(p)}"),
    ("GET", "/sim/requests"): lambda p: p.raw("GET", "/sim/requests", params={"limit": 20}),
    ("DELETE", "/sim/requests"): lambda p: p.raw("DELETE", "/sim/requests"),
    ("GET", "/openapi.json"): lambda p: p.raw("GET", "/openapi.json"),
}
