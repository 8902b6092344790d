"""What the letters in quotes and trades mean: exchanges and conditions.

The codes are those of the consolidated tapes (CTA, UTP) and of OPRA, as their published
specifications and Alpaca's answers list them. The simulation itself uses few of them.
"""

from __future__ import annotations

from typing import Any

from services.exchange.engine.refusals import not_found
from services.exchange.http import query as q
from services.exchange.http.call import Call, Endpoints

STOCK_EXCHANGES = {
    "A": "NYSE American (AMEX)",
    "B": "NASDAQ OMX BX",
    "C": "National Stock Exchange",
    "D": "FINRA ADF",
    "E": "Market Independent",
    "H": "MIAX",
    "I": "International Securities Exchange",
    "J": "Cboe EDGA",
    "K": "Cboe EDGX",
    "L": "Long Term Stock Exchange",
    "M": "Chicago Stock Exchange",
    "N": "New York Stock Exchange",
    "P": "NYSE Arca",
    "Q": "NASDAQ OMX",
    "S": "NASDAQ Small Cap",
    "T": "NASDAQ Int",
    "U": "Members Exchange",
    "V": "IEX",
    "W": "CBOE",
    "X": "NASDAQ OMX PSX",
    "Y": "Cboe BYX",
    "Z": "Cboe BZX",
}
OPTION_EXCHANGES = {
    "A": "AMEX - NYSE American",
    "B": "BOX - Boston Options Exchange",
    "C": "CBOE - Cboe Options Exchange",
    "D": "EMERALD - Miami International Emerald",
    "E": "EDGX - Cboe EDGX Options",
    "H": "GEMX - Nasdaq GEMX",
    "I": "ISE - Nasdaq International Securities Exchange",
    "J": "MRX - Nasdaq MRX",
    "M": "MIAX - Miami International Securities Exchange",
    "N": "NYSE - NYSE Arca",
    "O": "OPRA - Options Price Reporting Authority",
    "P": "PEARL - Miami International Pearl",
    "Q": "NOM - Nasdaq Options Market",
    "T": "BX - Nasdaq BX Options",
    "U": "MEMX - Members Exchange Options",
    "W": "C2 - Cboe C2 Options",
    "X": "PHLX - Nasdaq PHLX",
    "Z": "BATS - Cboe BZX Options",
}
_TRADES_OF_BOTH = {
    "B": "Average Price Trade",
    "C": "Cash Sale",
    "F": "Intermarket Sweep",
    "I": "Odd Lot Trade",
    "L": "Sold Last",
    "M": "Market Center Official Close",
    "N": "Next Day",
    "O": "Opening Prints",
    "P": "Prior Reference Price",
    "Q": "Market Center Official Open",
    "R": "Seller",
    "T": "Extended Hours Trade",
    "U": "Extended Hours Sold (Out Of Sequence)",
    "V": "Contingent Trade",
    "X": "Cross Trade",
    "Z": "Sold (Out Of Sequence)",
    "4": "Derivatively Priced",
    "5": "Re-Opening Prints",
    "6": "Closing Prints",
    "7": "Qualified Contingent Trade",
    "9": "Corrected Consolidated Close",
}
STOCK_TRADES = {  # by tape
    "A": {" ": "Regular Sale", **_TRADES_OF_BOTH},
    "B": {" ": "Regular Sale", **_TRADES_OF_BOTH},
    "C": {"@": "Regular Sale", **_TRADES_OF_BOTH},
}
_QUOTES = {
    "A": "Slow Quote Offer Side",
    "B": "Slow Quote Bid Side",
    "H": "Slow Quote Bid And Offer Side",
    "L": "Market Maker Quotes Closed",
    "N": "Non Firm Quote",
    "O": "Opening Quote",
    "R": "Regular Market Maker Open",
    "W": "Slow Quote Set Slow List",
}
STOCK_QUOTES = {"A": _QUOTES, "B": _QUOTES, "C": _QUOTES}
OPTION_TRADES = {
    "A": "Cancel - Transaction previously reported is cancelled",
    "B": "Late and out of sequence",
    "D": "Late, in correct sequence",
    "E": "Opening trade, out of sequence",
    "I": "Electronic",
    "J": "Reopening after a halt",
    "S": "Intermarket sweep order",
    "a": "Single leg auction, not ISO",
    "b": "Single leg auction, ISO",
    "f": "Multi leg auto-electronic trade",
}
OPTION_QUOTES = {
    " ": "Regular trading",
    "A": "Eligible for automatic execution",
    "F": "Non-firm quote",
    "R": "Rotation",
    "T": "Trading halted",
}


def stock_exchanges(_: Call) -> Any:
    return STOCK_EXCHANGES


def option_exchanges(_: Call) -> Any:
    return OPTION_EXCHANGES


def stock_conditions(call: Call) -> Any:
    tape = q.needed(call.query, "tape", ("A", "B", "C"))
    return _of_ticks(call, {"trade": STOCK_TRADES[tape], "quote": STOCK_QUOTES[tape]})


def option_conditions(call: Call) -> Any:
    return _of_ticks(call, {"trade": OPTION_TRADES, "quote": OPTION_QUOTES})


def _of_ticks(call: Call, found: dict[str, dict[str, str]]) -> dict[str, str]:
    kind = call.path["ticktype"]
    if kind not in found:
        raise not_found(f"no conditions of {kind[:40]!r}: trade or quote")
    return found[kind]


ENDPOINTS: Endpoints = {
    ("GET", "/v2/stocks/meta/exchanges"): stock_exchanges,
    ("GET", "/v2/stocks/meta/conditions/{ticktype}"): stock_conditions,
    ("GET", "/v1beta1/options/meta/exchanges"): option_exchanges,
    ("GET", "/v1beta1/options/meta/conditions/{ticktype}"): option_conditions,
}
