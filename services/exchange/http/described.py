"""How an endpoint is described: its parameters, what it answers; and the parameters many share."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["text", "symbols", "words", "whole", "number", "flag", "date", "instant", "uuid"]
Method = str
Path = str


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of the query, or of the path where the path has its name in braces."""

    name: str
    kind: Kind = "text"
    required: bool = False
    default: str | int | bool | None = None
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None  # exclusive minimum
    choices: tuple[str, ...] = ()
    items_max: int | None = None
    example: str | None = None
    text: str = ""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """`answer` and `body` are types in the notation of records; None: empty."""

    summary: str
    answer: str | None
    parameters: tuple[Parameter, ...] = ()
    body: str | None = None
    body_required: bool = True
    status: int = 200
    media_type: str = "application/json"
    refusals: tuple[int, ...] = ()  # besides those that any endpoint like it has
    keys: bool = True  # whether the two key headers are needed


def whole(name: str, default: int | None, maximum: int, text: str = "") -> Parameter:
    return Parameter(
        name=name, kind="whole", default=default, minimum=1, maximum=maximum, text=text
    )


def choice(name: str, *choices: str, default: str | None = None, text: str = "") -> Parameter:
    return Parameter(name=name, choices=choices, default=default, text=text)


def symbols(name: str = "symbols", *, required: bool = False, most: int = 1000) -> Parameter:
    return Parameter(name=name, kind="symbols", required=required, items_max=most, example="AAPL")


PAGE_TOKEN = Parameter(name="page_token", text="next_page_token of the page before.")
DIRECTION = choice("direction", "asc", "desc", default="desc")
SORT = choice("sort", "asc", "desc", default="asc", text="By time, within each symbol.")
NESTED = Parameter(name="nested", kind="flag", text="Legs of advanced orders inside their entry.")
AFTER = Parameter(name="after", kind="instant", text="Exclusive.")
UNTIL = Parameter(name="until", kind="instant", text="Exclusive.")
START = Parameter(name="start", kind="instant", text="Inclusive; today's midnight when absent.")
END = Parameter(name="end", kind="instant", text="Inclusive; now when absent or later.")
START_DATE = Parameter(name="start", kind="date")
END_DATE = Parameter(name="end", kind="date")
STOCKS = symbols(required=True)
STOCK = Parameter(name="symbol", required=True, example="AAPL")
HISTORY_FEED = choice("feed", "sip", "iex", "otc", "boats", default="sip")
LATEST_FEED = choice(
    "feed", "sip", "iex", "otc", "boats", "delayed_sip", "overnight", default="sip"
)
OPTION_FEED = choice("feed", "opra", "indicative", default="indicative")
CURRENCY = choice("currency", "USD", default="USD")
ASOF = Parameter(name="asof", example="2020-01-31", text="A date or -; no symbol changes here.")
ADJUSTMENT = Parameter(
    name="adjustment",
    default="raw",
    example="split",
    text="Of raw, split, dividend, spin-off, all; several separated by commas.",
)
UPDATED_SINCE = Parameter(name="updated_since", kind="instant", text="Of the quote or the trade.")
WATCHLIST_ID = Parameter(name="watchlist_id", kind="uuid", required=True)
WATCHLIST_NAME = Parameter(name="name", required=True, example="Primary")
TICK_TYPE = Parameter(name="ticktype", required=True, choices=("trade", "quote"), example="trade")
CONTRACTS = Parameter(
    name="symbols", kind="symbols", required=True, items_max=100, example="AAPL200221C00080000"
)
TIMEFRAME = Parameter(
    name="timeframe",
    required=True,
    example="1Day",
    text="1Min to 59Min, 1Hour to 23Hour, 1Day, 1Week, 1, 2, 3, 4, 6 or 12Month.",
)
HISTORY_LIMIT = whole("limit", 1000, 10_000, "Rows of a page, all symbols together.")
HISTORY = (START, END, HISTORY_LIMIT, SORT, PAGE_TOKEN)
STOCK_HISTORY = (*HISTORY, HISTORY_FEED, CURRENCY, ASOF)
ORDER_ID = Parameter(name="order_id", kind="uuid", required=True)
SYMBOL_OR_ID = Parameter(name="symbol", required=True, example="AAPL", text="Symbol or asset id.")
ACCOUNT_KEY = Parameter(name="key", required=True, text="The account's key id.")
CONTRACT_OR_ID = Parameter(
    name="symbol", required=True, example="AAPL200221C00080000", text="Symbol or contract id."
)
CONTRACT_FILTER = (
    Parameter(name="expiration_date", kind="date"),
    Parameter(name="expiration_date_gte", kind="date"),
    Parameter(name="expiration_date_lte", kind="date"),
    Parameter(name="strike_price_gte", kind="number", maximum=10**9),
    Parameter(name="strike_price_lte", kind="number", maximum=10**9),
    choice("type", "call", "put"),
    Parameter(name="root_symbol", example="AAPL"),
)
