"""Every endpoint there is, by the table it comes from; docs/exchange.md is made from this."""

from __future__ import annotations

from services.exchange.http import account, market_data, option_contracts, sim, sim_faults, trading
from services.exchange.http.app import DATA, SIM
from services.exchange.http.call import Endpoints
from services.exchange.http.openapi import OPENAPI_PATH, openapi_endpoint
from services.exchange.http.routes import Route, Routes

TRADING: Endpoints = trading.ENDPOINTS | account.ENDPOINTS | trading.REFERENCE
TRADING |= {
    ("GET", "/v2/options/contracts"): option_contracts.contracts,
    ("GET", "/v2/options/contracts/{symbol}"): option_contracts.contract,
}
MARKET_DATA: Endpoints = {
    ("GET", "/v2/stocks/snapshots"): market_data.stock_snapshots,
    ("GET", "/v2/stocks/quotes/latest"): market_data.latest_quotes,
    ("GET", "/v2/stocks/trades/latest"): market_data.latest_trades,
    ("GET", "/v2/stocks/bars/latest"): market_data.latest_bars,
    ("GET", "/v2/stocks/bars"): market_data.bars,
    ("GET", "/v1beta1/options/snapshots"): market_data.symbol_snapshots,
    ("GET", "/v1beta1/options/snapshots/{underlying}"): market_data.chain_snapshots,
    ("GET", "/v1beta1/options/quotes/latest"): market_data.latest_option_quotes,
    ("GET", "/v1beta1/options/trades/latest"): market_data.latest_option_trades,
}


def all_routes() -> Routes:
    simulation = sim.ENDPOINTS | sim_faults.ENDPOINTS
    mounted = [*TRADING, *MARKET_DATA, *simulation]
    own = simulation | {("GET", OPENAPI_PATH): openapi_endpoint(mounted)}
    families = {"trading": TRADING, DATA: MARKET_DATA, SIM: own}
    return Routes(
        Route(method, path, endpoint, family)
        for family, endpoints in families.items()
        for (method, path), endpoint in endpoints.items()
    )
