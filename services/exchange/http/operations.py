"""What each endpoint takes and answers: the one table that our OpenAPI document is made from.

An endpoint of the mounted tables that is not described here fails a test, and so does a parameter
that an endpoint reads and this table does not have, or has and the endpoint does not read.
"""

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


def _whole(name: str, default: int | None, maximum: int, text: str = "") -> Parameter:
    return Parameter(
        name=name, kind="whole", default=default, minimum=1, maximum=maximum, text=text
    )


def _choice(name: str, *choices: str, default: str | None = None, text: str = "") -> Parameter:
    return Parameter(name=name, choices=choices, default=default, text=text)


def _symbols(name: str = "symbols", *, required: bool = False, most: int = 1000) -> Parameter:
    return Parameter(name=name, kind="symbols", required=required, items_max=most, example="AAPL")


PAGE_TOKEN = Parameter(name="page_token", text="next_page_token of the page before.")
DIRECTION = _choice("direction", "asc", "desc", default="desc")
SORT = _choice("sort", "asc", "desc", default="asc", text="By time, within each symbol.")
NESTED = Parameter(name="nested", kind="flag", text="Legs of advanced orders inside their entry.")
AFTER = Parameter(name="after", kind="instant", text="Exclusive.")
UNTIL = Parameter(name="until", kind="instant", text="Exclusive.")
START = Parameter(name="start", kind="instant", text="Inclusive; today's midnight when absent.")
END = Parameter(name="end", kind="instant", text="Inclusive; now when absent or later.")
START_DATE = Parameter(name="start", kind="date")
END_DATE = Parameter(name="end", kind="date")
STOCKS = _symbols(required=True)
CONTRACTS = Parameter(
    name="symbols", kind="symbols", required=True, items_max=100, example="AAPL200221C00080000"
)
TIMEFRAME = Parameter(
    name="timeframe", required=True, example="1Day", text="1Min to 59Min, 1Hour to 23Hour or 1Day."
)
HISTORY_LIMIT = _whole("limit", 1000, 10_000, "Rows of a page, all symbols together.")
ORDER_ID = Parameter(name="order_id", kind="uuid", required=True)
SYMBOL_OR_ID = Parameter(name="symbol", required=True, example="AAPL", text="Symbol or asset id.")
ACCOUNT_KEY = Parameter(name="key", required=True, text="The account's key id.")
FAULT_ID = Parameter(name="id", required=True, text="As given or answered when it was set.")
CONTRACT_OR_ID = Parameter(
    name="symbol", required=True, example="AAPL200221C00080000", text="Symbol or contract id."
)
PORTFOLIO_HISTORY = (
    Parameter(name="period", example="1M", text="A number and D, W, M or A."),
    _choice("timeframe", "1Min", "5Min", "15Min", "1H", "1D"),
    _choice("intraday_reporting", "market_hours", "extended_hours", "continuous"),
    Parameter(name="start", kind="instant"),
    Parameter(name="end", kind="instant"),
    Parameter(name="date_end", kind="date"),
    _choice("pnl_reset", "no_reset", "per_day"),
    Parameter(name="extended_hours", kind="flag"),
    Parameter(name="cashflow_types"),
)
CONTRACT_FILTER = (
    Parameter(name="expiration_date", kind="date"),
    Parameter(name="expiration_date_gte", kind="date"),
    Parameter(name="expiration_date_lte", kind="date"),
    Parameter(name="strike_price_gte", kind="number", maximum=10**9),
    Parameter(name="strike_price_lte", kind="number", maximum=10**9),
    _choice("type", "call", "put"),
    Parameter(name="root_symbol", example="AAPL"),
)
ACTIVITY_FILTER = (
    Parameter(name="date", kind="date", text="Of the row; excludes after and until."),
    Parameter(name="after", kind="instant", text="When the row became visible; exclusive."),
    Parameter(name="until", kind="instant", text="When the row became visible; exclusive."),
    DIRECTION,
    _whole("page_size", 100, 100),
    Parameter(name="page_token", text="Id of the last row of the page before."),
)

TRADING: dict[tuple[Method, Path], Operation] = {
    ("GET", "/v2/account"): Operation(summary="The account", answer="Account"),
    ("GET", "/v2/account/activities"): Operation(
        summary="Fills, assignments, exercises, expirations and other bookings",
        answer="[Activity]",
        parameters=(
            Parameter(name="activity_types", kind="words", text="All when absent."),
            _choice("category", "trade_activity", "non_trade_activity"),
            *ACTIVITY_FILTER,
        ),
    ),
    ("GET", "/v2/account/activities/{type}"): Operation(
        summary="Activities of one type",
        answer="[Activity]",
        parameters=(Parameter(name="type", required=True, example="FILL"), *ACTIVITY_FILTER),
    ),
    ("GET", "/v2/account/configurations"): Operation(
        summary="The account's settings", answer="Configurations"
    ),
    ("PATCH", "/v2/account/configurations"): Operation(
        summary="Change settings; what the body does not name stays",
        answer="Configurations",
        body="NewConfigurations",
    ),
    ("GET", "/v2/account/portfolio/history"): Operation(
        summary="Equity and profit over time",
        answer="PortfolioHistory",
        parameters=PORTFOLIO_HISTORY,
        refusals=(501,),
    ),
    ("GET", "/v2/clock"): Operation(summary="Simulated time and session", answer="Clock"),
    ("GET", "/v2/calendar"): Operation(
        summary="Sessions, half days included",
        answer="[Session]",
        parameters=(START_DATE, END_DATE),
    ),
    ("GET", "/v2/assets"): Operation(
        summary="The stocks that exist",
        answer="[Asset]",
        parameters=(
            _choice("status", "active", "inactive", default="active"),
            Parameter(name="asset_class", default="us_equity"),
        ),
    ),
    ("GET", "/v2/assets/{symbol}"): Operation(
        summary="One stock", answer="Asset", parameters=(SYMBOL_OR_ID,)
    ),
    ("GET", "/v2/positions"): Operation(summary="Open positions", answer="[Position]"),
    ("GET", "/v2/positions/{symbol}"): Operation(
        summary="One position", answer="Position", parameters=(SYMBOL_OR_ID,)
    ),
    ("DELETE", "/v2/positions"): Operation(
        summary="Close every position",
        answer="[ClosedPosition]",
        parameters=(
            Parameter(name="cancel_orders", kind="flag", text="Cancel open orders before."),
        ),
        status=207,
    ),
    ("DELETE", "/v2/positions/{symbol}"): Operation(
        summary="Close a position, or a part of it: qty or percentage",
        answer="Order",
        parameters=(
            SYMBOL_OR_ID,
            Parameter(name="qty", kind="number", above=0, example="1"),
            Parameter(name="percentage", kind="number", above=0, maximum=100, example="50"),
        ),
        refusals=(403, 404),
    ),
    ("POST", "/v2/positions/{symbol}/exercise"): Operation(
        summary="Exercise all contracts of a long option position",
        answer=None,
        parameters=(CONTRACT_OR_ID,),
        refusals=(403, 404),
    ),
    ("POST", "/v2/positions/{symbol}/do-not-exercise"): Operation(
        summary="Let a long option position expire even in the money",
        answer=None,
        parameters=(CONTRACT_OR_ID,),
        refusals=(403, 404),
    ),
    ("POST", "/v2/orders"): Operation(
        summary="Submit an order", answer="Order", body="NewOrder", refusals=(403, 404, 501)
    ),
    ("GET", "/v2/orders"): Operation(
        summary="Orders, newest first",
        answer="[Order]",
        parameters=(
            _choice("status", "open", "closed", "all", default="open"),
            _whole("limit", 50, 500),
            AFTER,
            UNTIL,
            DIRECTION,
            NESTED,
            _symbols(),
            _choice("side", "buy", "sell"),
            Parameter(name="asset_class", kind="words", text="us_equity, us_option or all."),
            Parameter(name="after_order_id", kind="uuid", text="Orders newer than this one."),
            Parameter(name="before_order_id", kind="uuid", text="Orders older than this one."),
        ),
        refusals=(404,),
    ),
    ("DELETE", "/v2/orders"): Operation(
        summary="Cancel every open order", answer="[CancelledOrder]", status=207
    ),
    ("GET", "/v2/orders:by_client_order_id"): Operation(
        summary="One order by the client's id",
        answer="Order",
        parameters=(Parameter(name="client_order_id", required=True, example="mine-1"),),
        refusals=(404,),
    ),
    ("GET", "/v2/orders/{order_id}"): Operation(
        summary="One order", answer="Order", parameters=(ORDER_ID, NESTED)
    ),
    ("PATCH", "/v2/orders/{order_id}"): Operation(
        summary="Replace an order; the answer is a new order",
        answer="Order",
        parameters=(ORDER_ID,),
        body="Replacement",
        refusals=(403, 404),
    ),
    ("DELETE", "/v2/orders/{order_id}"): Operation(
        summary="Cancel an order", answer=None, parameters=(ORDER_ID,), status=204
    ),
    ("GET", "/v2/options/contracts"): Operation(
        summary="Listed contracts, by symbol; up to next weekend unless a bound is given",
        answer="Contracts",
        parameters=(
            _symbols("underlying_symbols"),
            _choice("status", "active", "inactive", default="active"),
            *CONTRACT_FILTER,
            _choice("style", "american", "european", default="american"),
            Parameter(name="ppind", kind="flag", text="In the penny programme."),
            _whole("limit", 100, 10_000),
            PAGE_TOKEN,
        ),
    ),
    ("GET", "/v2/options/contracts/{symbol}"): Operation(
        summary="One contract",
        answer="Contract",
        parameters=(CONTRACT_OR_ID,),
    ),
}

MARKET_DATA: dict[tuple[Method, Path], Operation] = {
    ("GET", "/v2/stocks/snapshots"): Operation(
        summary="Snapshots by symbol", answer="{Snapshot}", parameters=(STOCKS,)
    ),
    ("GET", "/v2/stocks/quotes/latest"): Operation(
        summary="Latest quotes", answer="LatestQuotes", parameters=(STOCKS,)
    ),
    ("GET", "/v2/stocks/trades/latest"): Operation(
        summary="Latest trades", answer="LatestTrades", parameters=(STOCKS,)
    ),
    ("GET", "/v2/stocks/bars/latest"): Operation(
        summary="Bars of the last whole minute", answer="LatestBars", parameters=(STOCKS,)
    ),
    ("GET", "/v2/stocks/bars"): Operation(
        summary="Historical bars",
        answer="Bars",
        parameters=(STOCKS, TIMEFRAME, START, END, HISTORY_LIMIT, SORT, PAGE_TOKEN),
        refusals=(501,),
    ),
    ("GET", "/v1beta1/options/snapshots"): Operation(
        summary="Snapshots of contracts", answer="OptionSnapshots", parameters=(CONTRACTS,)
    ),
    ("GET", "/v1beta1/options/snapshots/{underlying}"): Operation(
        summary="A page of an underlying's chain",
        answer="OptionSnapshots",
        parameters=(
            Parameter(name="underlying", required=True, example="AAPL"),
            *CONTRACT_FILTER,
            Parameter(name="updated_since", kind="instant"),
            _whole("limit", 100, 1000),
            PAGE_TOKEN,
        ),
    ),
    ("GET", "/v1beta1/options/quotes/latest"): Operation(
        summary="Latest quotes of contracts", answer="LatestOptionQuotes", parameters=(CONTRACTS,)
    ),
    ("GET", "/v1beta1/options/trades/latest"): Operation(
        summary="Latest trades of contracts", answer="LatestOptionTrades", parameters=(CONTRACTS,)
    ),
}

SIMULATION: dict[tuple[Method, Path], Operation] = {
    ("GET", "/sim/health"): Operation(summary="Whether it answers", answer="Health", keys=False),
    ("GET", "/sim/state"): Operation(
        summary="Simulated time and what is in the books", answer="State", keys=False
    ),
    ("GET", "/sim/books/{key}"): Operation(
        summary="An account's figures, positions and latest happenings, for the page",
        answer="SimulatedBooks",
        parameters=(ACCOUNT_KEY,),
        keys=False,
    ),
    ("GET", "/sim/quotes"): Operation(
        summary="Last price, bid and ask of every stock", answer="[SimulatedQuote]", keys=False
    ),
    ("GET", "/"): Operation(
        summary="A page of the exchange's state, for a browser",
        answer="text",
        media_type="text/html; charset=utf-8",
        keys=False,
    ),
    ("GET", "/sim/clock"): Operation(
        summary="Simulated time and how fast it runs", answer="SimulatedClock", keys=False
    ),
    ("PATCH", "/sim/clock"): Operation(
        summary="Pause, resume or change the speed",
        answer="SimulatedClock",
        body="ClockSettings",
        body_required=False,
        keys=False,
    ),
    ("POST", "/sim/step"): Operation(
        summary="Move time on by minutes, to the n-th next open, or to open, close or a time; "
        "one minute without a body",
        answer="SimulatedClock",
        body="Step",
        body_required=False,
        keys=False,
    ),
    ("GET", "/sim/accounts"): Operation(
        summary="The accounts", answer="[SimulatedAccount]", keys=False
    ),
    ("POST", "/sim/accounts"): Operation(
        summary="Open an account",
        answer="SimulatedAccount",
        body="NewAccount",
        refusals=(409,),
        keys=False,
    ),
    ("POST", "/sim/accounts/{key}/reset"): Operation(
        summary="Begin an account anew, now",
        answer="SimulatedAccount",
        parameters=(ACCOUNT_KEY,),
        body="AccountReset",
        body_required=False,
        keys=False,
    ),
    ("DELETE", "/sim/accounts/{key}"): Operation(
        summary="Remove an account",
        answer=None,
        parameters=(ACCOUNT_KEY,),
        status=204,
        keys=False,
    ),
    ("GET", "/sim/corporate-actions"): Operation(
        summary="Every dividend and split there is", answer="[SimulatedAction]", keys=False
    ),
    ("POST", "/sim/corporate-actions"): Operation(
        summary="Announce a dividend or a split of the future",
        answer="SimulatedAction",
        body="NewAction",
        keys=False,
    ),
    ("GET", "/sim/faults"): Operation(
        summary="The faults that are set, with how often they struck", answer="[Fault]", keys=False
    ),
    ("POST", "/sim/faults"): Operation(
        summary="Set a fault that requests or streams may meet",
        answer="Fault",
        body="NewFault",
        refusals=(409,),
        keys=False,
    ),
    ("DELETE", "/sim/faults"): Operation(
        summary="Remove every fault and let go what hangs", answer=None, status=204, keys=False
    ),
    ("DELETE", "/sim/faults/{id}"): Operation(
        summary="Remove a fault and let go what hangs because of it",
        answer=None,
        parameters=(FAULT_ID,),
        status=204,
        keys=False,
    ),
    ("GET", "/sim/requests"): Operation(
        summary="What was asked lately (not of /sim), oldest first",
        answer="[AskedRequest]",
        parameters=(
            Parameter(name="method", example="POST"),
            Parameter(name="path", example="/v2/orders", text="As it was asked."),
            _whole("limit", 1000, 5000, "The newest so many."),
        ),
        keys=False,
    ),
    ("DELETE", "/sim/requests"): Operation(
        summary="Forget what was asked", answer=None, status=204, keys=False
    ),
    ("GET", "/openapi.json"): Operation(summary="This document", answer="{any}", keys=False),
}

OPERATIONS = TRADING | MARKET_DATA | SIMULATION
