"""Every endpoint there is, by the table it comes from; docs/exchange.md is made from this."""

from __future__ import annotations

from typing import Any

from services.exchange.engine.refusals import Refusal, malformed
from services.exchange.http import (
    account,
    corporate_actions,
    market_meta,
    option_contracts,
    option_data,
    sim,
    sim_faults,
    stock_data,
    trading,
    watchlists,
)
from services.exchange.http.app import DATA, SIM
from services.exchange.http.call import Call, Endpoint, Endpoints
from services.exchange.http.openapi import OPENAPI_PATH, openapi_endpoint
from services.exchange.http.routes import Route, Routes

TRADING: Endpoints = trading.ENDPOINTS | account.ENDPOINTS | trading.REFERENCE
TRADING |= {
    ("GET", "/v2/options/contracts"): option_contracts.contracts,
    ("GET", "/v2/options/contracts/{symbol}"): option_contracts.contract,
}
TRADING |= watchlists.ENDPOINTS | corporate_actions.TRADING


def _of_market_data(endpoint: Endpoint) -> Endpoint:
    """That API answers a wrong parameter with 400 where the trading API answers with 422."""

    def answer(call: Call) -> Any:
        try:
            return endpoint(call)
        except Refusal as refusal:
            if refusal.status == 422:
                raise malformed(refusal.message) from None
            raise

    return answer


MARKET_DATA: Endpoints = {
    where: _of_market_data(endpoint)
    for where, endpoint in (
        stock_data.ENDPOINTS
        | option_data.ENDPOINTS
        | market_meta.ENDPOINTS
        | corporate_actions.MARKET_DATA
    ).items()
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
