"""One request as the endpoints see it: plain values, no HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from services.exchange.engine.account import Account
from services.exchange.engine.books import Books
from services.exchange.engine.refusals import malformed
from services.exchange.http.query import Query
from services.exchange.prices.market import Market, Moment
from services.exchange.venue import Tenant, Venue


class MultiStatus(msgspec.Struct, frozen=True):
    """An answer of status 207: what became of each part of the request."""

    parts: list[Any]


class Encoded(msgspec.Struct, frozen=True):
    """An answer that is bytes already."""

    body: bytes
    media_type: str = "application/json"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """`tenant` is whose keys came with the request; requests under /sim need none."""

    venue: Venue
    moment: Moment
    query: Query
    path: dict[str, Any]
    body: bytes
    holder: Tenant | None = None

    @property
    def market(self) -> Market:
        return self.venue.market

    @property
    def tenant(self) -> Tenant:
        if self.holder is None:
            raise LookupError("this endpoint is called without an account")
        return self.holder

    @property
    def account(self) -> Account:
        return self.tenant.account

    @property
    def books(self) -> Books:
        return self.tenant.account.books

    def json(self) -> object:
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise malformed(f"request body format is invalid: {error}") from None


Endpoint = Callable[[Call], Any]
Endpoints = dict[tuple[str, str], Endpoint]
