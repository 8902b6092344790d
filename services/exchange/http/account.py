"""The account: its figures, settings, activities and history. Base path /v2/account."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from services.exchange.config import LEVEL_MAX
from services.exchange.engine.books import Configurations
from services.exchange.engine.positions import Activity
from services.exchange.engine.refusals import malformed, unprocessable
from services.exchange.http import query as q
from services.exchange.http.call import Call, Endpoints
from services.exchange.http.portfolio import portfolio_history
from services.exchange.http.views import View, account_view, activity_view

ACTIVITIES_MAX = 100
ACTIVITY_TYPES = (
    "FILL",
    "TRANS",
    "MISC",
    "ACATC",
    "ACATS",
    "CFEE",
    "CGD",
    "CSD",
    "CSW",
    "DIV",
    "DIVCGL",
    "DIVCGS",
    "DIVFEE",
    "DIVFT",
    "DIVNRA",
    "DIVROC",
    "DIVTW",
    "DIVTXEX",
    "FEE",
    "INT",
    "INTNRA",
    "INTTW",
    "JNL",
    "JNLC",
    "JNLS",
    "MA",
    "NC",
    "OPASN",
    "OPCA",
    "OPCSH",
    "OPEXC",
    "OPEXP",
    "OPTRD",
    "PTC",
    "PTR",
    "REO",
    "REORG",
    "SPIN",
    "SPLIT",
    "FOPT",
    "OCT",
)
_ACTIVITY_ID = re.compile(r"\d{17}::[0-9a-f-]{36}", re.ASCII)
_CONFIGURATION_CHOICES = {
    "trade_confirm_email": ("all", "none"),
    "max_margin_multiplier": ("1", "2", "4"),
}


def account(call: Call) -> Any:
    return account_view(call.books, call.market, call.moment)


def configurations(call: Call) -> Any:
    return _configurations_view(call)


def set_configurations(call: Call) -> Any:
    """What the body does not name stays as it was."""
    body = call.json()
    if not isinstance(body, dict):
        raise malformed("request body must be a JSON object")
    given = {name: value for name, value in body.items() if value is not None}
    given.pop("dtbp_check", None)  # of the pattern-day-trader rules, which ended in 2026
    given.pop("pdt_check", None)
    for name, allowed in _CONFIGURATION_CHOICES.items():
        if name in given and given[name] not in allowed:
            raise unprocessable(f"invalid {name}, allowed: {', '.join(allowed)}")
    try:
        wished = msgspec.convert(
            msgspec.structs.asdict(call.books.configurations) | given, Configurations
        )
    except msgspec.ValidationError as error:
        raise unprocessable(f"invalid configuration: {error}") from None
    level = wished.max_options_trading_level
    if level is not None and not 0 <= level <= LEVEL_MAX:
        raise unprocessable(f"max_options_trading_level must be 0 to {LEVEL_MAX}")
    if wished != call.books.configurations:
        call.books.configurations = wished
        call.books.touch()
    return _configurations_view(call)


def _configurations_view(call: Call) -> View:
    view: View = msgspec.structs.asdict(call.books.configurations)
    if view["max_options_trading_level"] is None:
        view["max_options_trading_level"] = call.books.options_level
    return view


def activities(call: Call) -> Any:
    """Rows known by now; page_token is the id of the last row of the page before."""
    kinds = [call.path["type"]] if "type" in call.path else _kinds(call)
    unknown = [kind for kind in kinds if kind not in ACTIVITY_TYPES]
    if unknown:
        raise unprocessable(f"invalid activity type {unknown[0][:40]!r}")
    direction = q.choice(call.query, "direction", ("asc", "desc"), "desc")
    size = q.whole(call.query, "page_size", default=ACTIVITIES_MAX, maximum=ACTIVITIES_MAX)
    rows = [a for a in call.books.activities if a.known_at <= call.moment.now]
    if kinds:
        rows = [a for a in rows if a.activity_type in kinds]
    rows = sorted(_within(call, rows), key=lambda a: a.id, reverse=direction == "desc")
    last = call.query.get("page_token")
    if last and not _ACTIVITY_ID.fullmatch(last):
        raise unprocessable("page_token must be the id of an activity")
    if last:
        rows = [a for a in rows if (a.id < last if direction == "desc" else a.id > last)]
    return [activity_view(row) for row in rows[:size]]


def _kinds(call: Call) -> list[str]:
    kinds = q.symbols(call.query, "activity_types")
    category = q.choice(call.query, "category", ("trade_activity", "non_trade_activity", ""), "")
    if category and kinds:
        raise unprocessable("only one of activity_types or category is accepted")
    if category == "trade_activity":
        return ["FILL"]
    if category == "non_trade_activity":
        return [kind for kind in ACTIVITY_TYPES if kind != "FILL"]
    return kinds


def _within(call: Call, rows: list[Activity]) -> list[Activity]:
    """`date` is the row's own date; `after` and `until` bound when the row became known."""
    date = q.date(call.query, "date")
    if date is not None:
        return [a for a in rows if a.date == date]
    after, until = q.instant(call.query, "after"), q.instant(call.query, "until")
    if after is not None:
        rows = [a for a in rows if a.known_at > after]
    if until is not None:
        rows = [a for a in rows if a.known_at < until]
    return rows


ENDPOINTS: Endpoints = {
    ("GET", "/v2/account"): account,
    ("GET", "/v2/account/configurations"): configurations,
    ("PATCH", "/v2/account/configurations"): set_configurations,
    ("GET", "/v2/account/portfolio/history"): portfolio_history,
    ("GET", "/v2/account/activities"): activities,
    ("GET", "/v2/account/activities/{type}"): activities,
}
