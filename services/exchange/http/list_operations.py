"""What the trading API's endpoints of watchlists and announcements take and answer."""

from __future__ import annotations

from services.exchange.http.described import (
    SYMBOL_OR_ID,
    WATCHLIST_ID,
    WATCHLIST_NAME,
    Method,
    Operation,
    Parameter,
    Path,
    choice,
)

WATCHLISTS: dict[tuple[Method, Path], Operation] = {
    ("GET", "/v2/watchlists"): Operation(summary="The watchlists", answer="[NamedWatchlist]"),
    ("POST", "/v2/watchlists"): Operation(
        summary="Make a watchlist", answer="Watchlist", body="NewWatchlist"
    ),
    ("GET", "/v2/watchlists/{watchlist_id}"): Operation(
        summary="One watchlist", answer="Watchlist", parameters=(WATCHLIST_ID,)
    ),
    ("PUT", "/v2/watchlists/{watchlist_id}"): Operation(
        summary="Give a watchlist another name or other stocks",
        answer="Watchlist",
        parameters=(WATCHLIST_ID,),
        body="WatchlistChanges",
    ),
    ("POST", "/v2/watchlists/{watchlist_id}"): Operation(
        summary="Add a stock to a watchlist",
        answer="Watchlist",
        parameters=(WATCHLIST_ID,),
        body="WatchlistAddition",
    ),
    ("DELETE", "/v2/watchlists/{watchlist_id}"): Operation(
        summary="Delete a watchlist", answer=None, parameters=(WATCHLIST_ID,), status=204
    ),
    ("DELETE", "/v2/watchlists/{watchlist_id}/{symbol}"): Operation(
        summary="Take a stock out of a watchlist",
        answer="Watchlist",
        parameters=(WATCHLIST_ID, SYMBOL_OR_ID),
    ),
    ("GET", "/v2/watchlists:by_name"): Operation(
        summary="The watchlist of that name",
        answer="Watchlist",
        parameters=(WATCHLIST_NAME,),
        refusals=(404,),
    ),
    ("PUT", "/v2/watchlists:by_name"): Operation(
        summary="Give the watchlist of that name another name or other stocks",
        answer="Watchlist",
        parameters=(WATCHLIST_NAME,),
        body="WatchlistChanges",
        refusals=(404,),
    ),
    ("POST", "/v2/watchlists:by_name"): Operation(
        summary="Add a stock to the watchlist of that name",
        answer="Watchlist",
        parameters=(WATCHLIST_NAME,),
        body="WatchlistAddition",
        refusals=(404,),
    ),
    ("DELETE", "/v2/watchlists:by_name"): Operation(
        summary="Delete the watchlist of that name",
        answer=None,
        parameters=(WATCHLIST_NAME,),
        status=204,
        refusals=(404,),
    ),
    ("GET", "/v2/corporate_actions/announcements"): Operation(
        summary="Dividends and splits, at most 90 days of them",
        answer="[Announcement]",
        parameters=(
            Parameter(
                name="ca_types",
                required=True,
                example="dividend",
                text="Of dividend, merger, spinoff, split, reorg; between commas.",
            ),
            Parameter(name="since", kind="date", required=True, example="2020-01-31"),
            Parameter(name="until", kind="date", required=True, example="2020-03-31"),
            Parameter(name="symbol", example="AAPL"),
            Parameter(name="cusip"),
            choice(
                "date_type",
                "declaration_date",
                "ex_date",
                "record_date",
                "payable_date",
                default="ex_date",
                text="Which date is meant; declaration dates are not kept.",
            ),
        ),
    ),
    ("GET", "/v2/corporate_actions/announcements/{id}"): Operation(
        summary="One dividend or split",
        answer="Announcement",
        parameters=(Parameter(name="id", required=True),),
    ),
}

ANNOUNCEMENTS: dict[tuple[Method, Path], Operation] = {
    ("GET", "/v2/corporate_actions/announcements"): Operation(
        summary="Dividends and splits, at most 90 days of them",
        answer="[Announcement]",
        parameters=(
            Parameter(
                name="ca_types",
                required=True,
                example="dividend",
                text="Of dividend, merger, spinoff, split, reorg; between commas.",
            ),
            Parameter(name="since", kind="date", required=True, example="2020-01-31"),
            Parameter(name="until", kind="date", required=True, example="2020-03-31"),
            Parameter(name="symbol", example="AAPL"),
            Parameter(name="cusip"),
            choice(
                "date_type",
                "declaration_date",
                "ex_date",
                "record_date",
                "payable_date",
                default="ex_date",
                text="Which date is meant; declaration dates are not kept.",
            ),
        ),
    ),
    ("GET", "/v2/corporate_actions/announcements/{id}"): Operation(
        summary="One dividend or split",
        answer="Announcement",
        parameters=(Parameter(name="id", required=True),),
    ),
}
