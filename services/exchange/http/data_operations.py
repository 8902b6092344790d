"""What the endpoints of the market-data API take and answer."""

from __future__ import annotations

from services.exchange.http.described import (
    ADJUSTMENT,
    CONTRACT_FILTER,
    CONTRACTS,
    CURRENCY,
    END_DATE,
    HISTORY,
    LATEST_FEED,
    OPTION_FEED,
    PAGE_TOKEN,
    SORT,
    START_DATE,
    STOCK,
    STOCK_HISTORY,
    STOCKS,
    TICK_TYPE,
    TIMEFRAME,
    UPDATED_SINCE,
    Method,
    Operation,
    Parameter,
    Path,
    choice,
    symbols,
    whole,
)

MARKET_DATA: dict[tuple[Method, Path], Operation] = {
    ("GET", "/v2/stocks/snapshots"): Operation(
        summary="Snapshots by symbol",
        answer="{Snapshot}",
        parameters=(STOCKS, LATEST_FEED, CURRENCY),
    ),
    ("GET", "/v2/stocks/quotes/latest"): Operation(
        summary="Latest quotes",
        answer="LatestQuotes",
        parameters=(STOCKS, LATEST_FEED, CURRENCY),
    ),
    ("GET", "/v2/stocks/trades/latest"): Operation(
        summary="Latest trades",
        answer="LatestTrades",
        parameters=(STOCKS, LATEST_FEED, CURRENCY),
    ),
    ("GET", "/v2/stocks/bars/latest"): Operation(
        summary="Bars of the last whole minute",
        answer="LatestBars",
        parameters=(STOCKS, LATEST_FEED, CURRENCY),
    ),
    ("GET", "/v2/stocks/quotes"): Operation(
        summary="Historical quotes, one a minute",
        answer="Quotes",
        parameters=(STOCKS, *STOCK_HISTORY),
    ),
    ("GET", "/v2/stocks/trades"): Operation(
        summary="Historical trades, one a minute",
        answer="Trades",
        parameters=(STOCKS, *STOCK_HISTORY),
    ),
    ("GET", "/v2/stocks/bars"): Operation(
        summary="Historical bars",
        answer="Bars",
        parameters=(STOCKS, TIMEFRAME, ADJUSTMENT, *STOCK_HISTORY),
    ),
    ("GET", "/v2/stocks/{symbol}/snapshot"): Operation(
        summary="One stock's snapshot",
        answer="NamedSnapshot",
        parameters=(STOCK, LATEST_FEED, CURRENCY),
    ),
    ("GET", "/v2/stocks/{symbol}/quotes/latest"): Operation(
        summary="One stock's latest quote",
        answer="LatestQuote",
        parameters=(STOCK, LATEST_FEED, CURRENCY),
    ),
    ("GET", "/v2/stocks/{symbol}/trades/latest"): Operation(
        summary="One stock's latest trade",
        answer="LatestTrade",
        parameters=(STOCK, LATEST_FEED, CURRENCY),
    ),
    ("GET", "/v2/stocks/{symbol}/bars/latest"): Operation(
        summary="One stock's bar of the last whole minute",
        answer="LatestBar",
        parameters=(STOCK, LATEST_FEED, CURRENCY),
    ),
    ("GET", "/v2/stocks/{symbol}/quotes"): Operation(
        summary="One stock's historical quotes",
        answer="QuotesOfOne",
        parameters=(STOCK, *STOCK_HISTORY),
    ),
    ("GET", "/v2/stocks/{symbol}/trades"): Operation(
        summary="One stock's historical trades",
        answer="TradesOfOne",
        parameters=(STOCK, *STOCK_HISTORY),
    ),
    ("GET", "/v2/stocks/{symbol}/bars"): Operation(
        summary="One stock's historical bars",
        answer="BarsOfOne",
        parameters=(STOCK, TIMEFRAME, ADJUSTMENT, *STOCK_HISTORY),
    ),
    ("GET", "/v2/stocks/meta/exchanges"): Operation(
        summary="Exchange codes of stocks", answer="{text}"
    ),
    ("GET", "/v2/stocks/meta/conditions/{ticktype}"): Operation(
        summary="Condition codes of stock trades or quotes",
        answer="{text}",
        parameters=(
            TICK_TYPE,
            Parameter(name="tape", required=True, choices=("A", "B", "C"), example="A"),
        ),
    ),
    ("GET", "/v1beta1/options/snapshots"): Operation(
        summary="Snapshots of contracts, by symbol",
        answer="OptionSnapshots",
        parameters=(CONTRACTS, OPTION_FEED, UPDATED_SINCE, whole("limit", 100, 1000), PAGE_TOKEN),
    ),
    ("GET", "/v1beta1/options/snapshots/{underlying}"): Operation(
        summary="A page of an underlying's chain",
        answer="OptionSnapshots",
        parameters=(
            Parameter(name="underlying", required=True, example="AAPL"),
            *CONTRACT_FILTER,
            OPTION_FEED,
            UPDATED_SINCE,
            whole("limit", 100, 1000),
            PAGE_TOKEN,
        ),
    ),
    ("GET", "/v1beta1/options/quotes/latest"): Operation(
        summary="Latest quotes of contracts",
        answer="LatestOptionQuotes",
        parameters=(CONTRACTS, OPTION_FEED),
    ),
    ("GET", "/v1beta1/options/trades/latest"): Operation(
        summary="Latest trades of contracts",
        answer="LatestOptionTrades",
        parameters=(CONTRACTS, OPTION_FEED),
    ),
    ("GET", "/v1beta1/options/bars"): Operation(
        summary="Historical bars of contracts",
        answer="Bars",
        parameters=(CONTRACTS, TIMEFRAME, *HISTORY),
    ),
    ("GET", "/v1beta1/options/trades"): Operation(
        summary="Historical trades of contracts",
        answer="OptionTrades",
        parameters=(CONTRACTS, *HISTORY),
    ),
    ("GET", "/v1beta1/options/meta/exchanges"): Operation(
        summary="Exchange codes of options", answer="{text}"
    ),
    ("GET", "/v1beta1/options/meta/conditions/{ticktype}"): Operation(
        summary="Condition codes of option trades or quotes",
        answer="{text}",
        parameters=(TICK_TYPE,),
    ),
    ("GET", "/v1/corporate-actions"): Operation(
        summary="Dividends and splits by process date; today's when no date is given",
        answer="CorporateActions",
        parameters=(
            symbols(),
            Parameter(name="cusips"),
            Parameter(name="types", example="cash_dividend", text="Between commas; all if absent."),
            choice("region", "us", "non_us", "all", default="us"),
            START_DATE,
            END_DATE,
            Parameter(name="ids", text="Between commas; not with another filter."),
            whole("limit", 100, 1000),
            choice("data_quality", "complete", "all", default="complete"),
            SORT,
            PAGE_TOKEN,
        ),
    ),
}
