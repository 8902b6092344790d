"""Corporate actions as both of Alpaca's APIs show them: what was injected (prices/actions.py).

`/v1/corporate-actions` is the market-data API's; `/v2/corporate_actions/announcements` the trading
API's older one. Of the many types there are cash dividends and splits.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from typing import Any

import msgspec

from services.exchange.engine.refusals import malformed, not_found, unprocessable
from services.exchange.http import query as q
from services.exchange.http.call import Call, Endpoints
from services.exchange.http.views import View, plain
from services.exchange.prices.actions import Action, CashDividend
from services.exchange.prices.calendar import NEW_YORK

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
TYPES = (
    "reverse_split",
    "forward_split",
    "unit_split",
    "cash_dividend",
    "stock_dividend",
    "spin_off",
    "cash_merger",
    "stock_merger",
    "stock_and_cash_merger",
    "redemption",
    "name_change",
    "worthless_removal",
    "rights_distribution",
    "partial_call",
    "reorganization",
    "capital_gains_distribution",
)
REGIONS = ("us", "non_us", "all")
QUALITIES = ("complete", "all")
ANNOUNCED_TYPES = ("dividend", "merger", "spinoff", "split", "reorg")
DATE_TYPES = ("declaration_date", "ex_date", "record_date", "payable_date")
ANNOUNCED_DAYS_MAX = 90
_IDS = uuid.UUID("6f1d0a52-4d4f-5d0e-9a35-2a3b1de4f0c1")


class _Filter(msgspec.Struct, frozen=True, kw_only=True):
    symbols: frozenset[str]
    cusips: frozenset[str]
    types: frozenset[str]
    start: dt.date
    end: dt.date

    def admits(self, action: Action) -> bool:
        return (
            (not self.symbols or action.symbol in self.symbols)
            and (not self.cusips or cusip_of(action.symbol) in self.cusips)
            and (not self.types or type_of(action) in self.types)
            and self.start <= process_date(action) <= self.end
        )


# --- the market-data API -----------------------------------------------------------------------


def corporate_actions(call: Call) -> Any:
    """By process date: of a dividend the day it is paid, of a split its ex-date."""
    limit = q.whole(call.query, "limit", default=LIMIT_DEFAULT, maximum=LIMIT_MAX)
    descending = q.choice(call.query, "sort", ("asc", "desc"), "asc") == "desc"
    token = q.page_token(call.query)
    found = sorted(_wanted(call), key=_order, reverse=descending)
    if token is not None:
        found = [a for a in found if (_order(a) < token if descending else _order(a) > token)]
    page = found[:limit]
    grouped: dict[str, list[View]] = {}
    for action in page:
        grouped.setdefault(f"{type_of(action)}s", []).append(_view(action))
    more = len(found) > limit
    return {
        "corporate_actions": grouped,
        "next_page_token": q.token(_order(page[-1])) if more else None,
    }


def _wanted(call: Call) -> list[Action]:
    query, actions = call.query, call.market.actions.all
    ids = q.symbols(query, "ids")
    wanted = _filter(call)
    region = q.choice(query, "region", REGIONS, "us")
    q.choice(query, "data_quality", QUALITIES, "complete")
    if ids:
        others = ("symbols", "cusips", "types", "start", "end", "region", "data_quality")
        given = [name for name in others if query.get(name)]
        if given:
            raise malformed(f"ids does not go with {given[0]}")
        return [action for action in actions if id_of(action) in ids]
    if region == "non_us":
        return []
    return [action for action in actions if wanted.admits(action)]


def _filter(call: Call) -> _Filter:
    today = call.moment.now.astimezone(NEW_YORK).date()
    types = q.symbols(call.query, "types")
    unknown = [kind for kind in types if kind not in TYPES]
    if unknown:
        raise malformed(f"invalid types {unknown[0][:40]!r}: of " + ", ".join(TYPES))
    start, end = q.date(call.query, "start"), q.date(call.query, "end")
    return _Filter(
        symbols=frozenset(q.symbols(call.query)),
        cusips=frozenset(q.symbols(call.query, "cusips")),
        types=frozenset(types),
        start=start or today,
        end=end or today,
    )


def _order(action: Action) -> str:
    return f"{process_date(action)}|{id_of(action)}"


def _view(action: Action) -> View:
    view: View = {
        "id": id_of(action),
        "symbol": action.symbol,
        "process_date": str(process_date(action)),
        "ex_date": str(action.ex_date),
    }
    cusip = cusip_of(action.symbol)
    if isinstance(action, CashDividend):
        return view | {
            "cusip": cusip,
            "rate": float(action.rate),
            "special": action.special,
            "foreign": False,
            "record_date": str(action.record_date),
            "payable_date": str(action.payable_date),
        }
    rates = {"new_rate": float(action.new_rate), "old_rate": float(action.old_rate)}
    if action.factor > 1:
        return view | rates | {"cusip": cusip}
    return view | rates | {"old_cusip": cusip, "new_cusip": cusip}


# --- the trading API ---------------------------------------------------------------------------


def announcements(call: Call) -> Any:
    query = call.query
    kinds = [kind.lower() for kind in q.symbols(query, "ca_types")]
    since, until = q.date(query, "since"), q.date(query, "until")
    symbol, cusip = query.get("symbol"), query.get("cusip")
    date_type = q.choice(query, "date_type", DATE_TYPES, "ex_date")
    for name, value in (("ca_types", kinds), ("since", since), ("until", until)):
        if not value:
            raise unprocessable(f"{name} is required")
    unknown = [kind for kind in kinds if kind not in ANNOUNCED_TYPES]
    if unknown:
        raise unprocessable(
            f"invalid ca_types {unknown[0][:40]!r}: of " + ", ".join(ANNOUNCED_TYPES)
        )
    if since is None or until is None or not 0 <= (until - since).days <= ANNOUNCED_DAYS_MAX:
        raise unprocessable(f"since and until: in order, {ANNOUNCED_DAYS_MAX} days apart at most")
    views = [_announcement(action) for action in call.market.actions.all]
    return [
        view
        for view in views
        if view["ca_type"] in kinds
        and str(since) <= view.get(date_type, "") <= str(until)
        and (not symbol or symbol == view["initiating_symbol"])
        and (not cusip or cusip == view["initiating_original_cusip"])
    ]


def announcement(call: Call) -> Any:
    wanted = call.path["id"]
    for action in call.market.actions.all:
        if id_of(action) == wanted:
            return _announcement(action)
    raise not_found(f"announcement not found for {wanted[:40]}")


def _announcement(action: Action) -> View:
    """Without a declaration date: when an action was injected is not kept."""
    cusip = cusip_of(action.symbol)
    view: View = {
        "id": id_of(action),
        "corporate_action_id": f"{cusip}_{action.id}",
        "initiating_symbol": action.symbol,
        "initiating_original_cusip": cusip,
        "target_symbol": action.symbol,
        "target_original_cusip": cusip,
        "effective_date": str(action.ex_date),
        "ex_date": str(action.ex_date),
    }
    if isinstance(action, CashDividend):
        return view | {
            "ca_type": "dividend",
            "ca_sub_type": "cash",
            "record_date": str(action.record_date),
            "payable_date": str(action.payable_date),
            "cash": plain(action.rate),
            "old_rate": "1",
            "new_rate": "1",
        }
    return view | {
        "ca_type": "split",
        "ca_sub_type": "stock_split" if action.factor > 1 else "reverse_split",
        "record_date": str(action.ex_date),
        "payable_date": str(action.ex_date),
        "cash": "0",
        "old_rate": plain(action.old_rate),
        "new_rate": plain(action.new_rate),
    }


# --- what both show ----------------------------------------------------------------------------


def type_of(action: Action) -> str:
    if isinstance(action, CashDividend):
        return "cash_dividend"
    return "forward_split" if action.factor > 1 else "reverse_split"


def process_date(action: Action) -> dt.date:
    return action.payable_date if isinstance(action, CashDividend) else action.ex_date


def id_of(action: Action) -> str:
    return str(uuid.uuid5(_IDS, action.id))


def cusip_of(symbol: str) -> str:
    """Nine characters that stand for the stock: no real issuer's number."""
    return hashlib.blake2b(symbol.encode(), digest_size=5).hexdigest()[:9].upper()


TRADING: Endpoints = {
    ("GET", "/v2/corporate_actions/announcements"): announcements,
    ("GET", "/v2/corporate_actions/announcements/{id}"): announcement,
}
MARKET_DATA: Endpoints = {("GET", "/v1/corporate-actions"): corporate_actions}
