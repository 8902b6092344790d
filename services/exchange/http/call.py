"""One request as the endpoints see it: plain values, no HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from services.exchange.engine.books import Books
from services.exchange.engine.refusals import malformed
from services.exchange.http.query import Query
from services.exchange.prices.market import Market, Moment
from services.exchange.venue import Venue


class MultiStatus(msgspec.Struct, frozen=True):
    """An answer of status 207: what became of each part of the request."""

    parts: list[Any]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    venue: Venue
    moment: Moment
    query: Query
    path: dict[str, Any]
    body: bytes

    @property
    def market(self) -> Market:
        return self.venue.market

    @property
    def books(self) -> Books:
        return self.venue.exchange.books

    def json(self) -> object:
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise malformed(f"request body format is invalid: {error}") from None
