"""Option contracts (/v2/options/contracts): what is listed, with open interest and last close."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.money import decimal_of
from services.exchange.engine.refusals import not_found
from services.exchange.http import query as q
from services.exchange.http.call import Call
from services.exchange.http.views import View, asset_id, contract_view, deliverables_view
from services.exchange.prices.calendar import friday_of
from services.exchange.prices.listing import Listing

CONTRACTS_DEFAULT, CONTRACTS_MAX = 100, 10_000
_WEEKEND = dt.timedelta(days=2)


class ContractFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What chain and contract queries have in common; None admits everything."""

    expiration: dt.date | None
    expiration_from: dt.date | None
    expiration_to: dt.date | None
    strike_from: float | None
    strike_to: float | None
    right: str | None
    root: str | None

    def rows(self, listing: Listing) -> NDArray[np.bool_]:
        keep = np.ones(len(listing), dtype=bool)
        if self.expiration is not None:
            keep &= listing.expiration == self.expiration.toordinal()
        if self.expiration_from is not None:
            keep &= listing.expiration >= self.expiration_from.toordinal()
        if self.expiration_to is not None:
            keep &= listing.expiration <= self.expiration_to.toordinal()
        if self.strike_from is not None:
            keep &= listing.strike >= self.strike_from
        if self.strike_to is not None:
            keep &= listing.strike <= self.strike_to
        if self.right is not None:
            keep &= listing.call == (self.right == "call")
        if self.root is not None:
            keep &= np.array([c.parts.root == self.root for c in listing.contracts], dtype=bool)
        return keep


def contract_filter(query: q.Query) -> ContractFilter:
    return ContractFilter(
        expiration=q.date(query, "expiration_date"),
        expiration_from=q.date(query, "expiration_date_gte"),
        expiration_to=q.date(query, "expiration_date_lte"),
        strike_from=q.number(query, "strike_price_gte"),
        strike_to=q.number(query, "strike_price_lte"),
        right=q.choice(query, "type", ("call", "put"), "call") if query.get("type") else None,
        root=query.get("root_symbol") or None,
    )


def contracts(call: Call) -> Any:
    query = call.query
    limit = q.whole(query, "limit", default=CONTRACTS_DEFAULT, maximum=CONTRACTS_MAX)
    status = q.choice(query, "status", ("active", "inactive"), "active")
    style = q.choice(query, "style", ("american", "european"), "american")
    ppind, last = q.flag(query, "ppind"), q.page_token(query)
    deliverables = bool(q.flag(query, "show_deliverables"))
    wanted = contract_filter(query)
    if wanted.expiration is None and wanted.expiration_to is None:
        wanted = msgspec.structs.replace(wanted, expiration_to=_next_weekend(call))
    found: list[tuple[Listing, int]] = []
    for underlying in _underlyings(call) if (status, style) == ("active", "american") else []:
        listing = call.market.listing(underlying, call.moment)
        for row in np.flatnonzero(wanted.rows(listing)).tolist():
            contract = listing.contracts[row]
            if ppind in (None, contract.penny) and (last is None or contract.symbol > last):
                found.append((listing, row))
        if len(found) > limit:
            break
    page = found[:limit]
    more = len(found) > limit
    return {
        "option_contracts": _views(call, page, deliverables=deliverables),
        "next_page_token": q.token(_symbol(*page[-1])) if more else None,
    }


def contract(call: Call) -> Any:
    wanted = call.path["symbol"]
    found = call.market.contract(wanted, call.moment)
    if found is None:
        found = _by_id(call, wanted)
    listing = call.market.listing(found.underlying, call.moment)
    return _views(call, [(listing, listing.row_of[found.symbol])], deliverables=True)[0]


def _by_id(call: Call, wanted: str) -> Any:
    if len(wanted) == 36:  # a UUID; the search is slow and rare
        for underlying in call.market.history.symbols:
            for row in call.market.listing(underlying, call.moment).contracts:
                if asset_id(row.symbol) == wanted:
                    return row
    raise not_found(f"option contract not found for {wanted[:40]}")


def _underlyings(call: Call) -> list[str]:
    asked = q.symbols(call.query, "underlying_symbols")
    return sorted(s for s in call.market.history.symbols if not asked or s in asked)


def _next_weekend(call: Call) -> dt.date:
    return friday_of(call.moment.session.date) + _WEEKEND


def _symbol(listing: Listing, row: int) -> str:
    return listing.contracts[row].symbol


def _views(call: Call, page: list[tuple[Listing, int]], *, deliverables: bool) -> list[View]:
    before = call.market.calendar.session(call.moment.session.index - 1)
    numbers: dict[str, tuple[list[int], list[Decimal]]] = {}
    views = []
    for listing, row in page:
        if listing.underlying not in numbers:
            interest = call.market.open_interest(listing, call.moment).tolist()
            closes = call.market.closing_values(listing, call.moment).tolist()
            numbers[listing.underlying] = interest, [decimal_of(close) for close in closes]
        interest, closes = numbers[listing.underlying]
        view = contract_view(
            listing.contracts[row],
            open_interest=interest[row],
            close=closes[row],
            close_date=before.date,
        )
        if deliverables:
            view["deliverables"] = deliverables_view(listing.contracts[row])
        views.append(view)
    return views
