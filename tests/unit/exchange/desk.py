"""A desk at the simulated exchange: the engine alone, driven by simulated times."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from services.exchange.engine.account import Account, open_books
from services.exchange.engine.marks import equity
from services.exchange.engine.orders import Order
from services.exchange.prices.market import Market, Moment
from services.exchange.terms import Terms


class Desk:
    """What a client of the engine does, in few words. `day` counts sessions from the start."""

    def __init__(self, market: Market, start: dt.date, **account: Any) -> None:
        self.market = market
        self.start = market.calendar.session(market.calendar.first_from(start))
        fields = {"cash": Decimal(50_000), "stocks": {}, "options_level": 3} | account
        stocks = fields.pop("stocks")
        terms = Terms(**{"early_assignment_rate": 0.0} | fields.pop("terms", {}))
        books = open_books(
            market,
            at=self.start.open,
            positions={symbol: (qty, None) for symbol, qty in stocks.items()},
            seed=market.seed,
            **fields,
        )
        self.exchange = Account(market, books, terms)
        self.books = books
        self.now = self.start.open

    def goto(self, day: int, minute: int = 0) -> Moment:
        session = self.market.calendar.session(self.start.index + day)
        self.now = session.open + dt.timedelta(minutes=minute)
        return self.exchange.advance(self.now)

    def send(self, symbol: str, side: str, qty: object, **terms: object) -> Order:
        """The order as it stands after its first match."""
        body = {"symbol": symbol, "side": side, "qty": qty, "type": "market"}
        body |= {"time_in_force": "day"} | terms
        if "limit_price" in terms:
            body["type"] = terms.get("type", "limit")
        admitted = self.exchange.submit(body, self.now)
        return self.exchange.order(admitted.id)

    def bid_ask(self, symbol: str) -> tuple[float, float]:
        moment = self.market.moment(self.now)
        if symbol in self.market.history:
            quote = self.market.stock_quote(symbol, moment)
            return quote.bid, quote.ask
        quotes = self.market.option_quote(symbol, moment)
        assert quotes is not None
        return float(quotes.bid[0]), float(quotes.ask[0])

    def equity(self) -> Decimal:
        return equity(self.market, self.books, self.market.moment(self.now))

    def activities(self) -> list[tuple[str, str, Decimal]]:
        """(type, symbol, qty) of the rows a client may see by now."""
        rows = [a for a in self.books.activities if a.known_at <= self.now]
        return [(a.activity_type, a.symbol, a.qty) for a in rows]
