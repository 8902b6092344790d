"""Three pages of a chain to one put: our path against alpaca-py's models.

Ours is what the product runs, from market's reader (its answers handed in as bytes) through the
contracts of a snapshot to the wheel's choice. Theirs is `OptionHistoricalDataClient` with its
`response.json()`, its pydantic models, and the same rules over them in plain floats. Symbols are
parsed once a day in life and stay cached; both sides use that one cache, warm.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from alpaca.data.historical.option import OptionHistoricalDataClient
from alpaca.data.models.snapshots import OptionsSnapshot
from alpaca.data.requests import OptionChainRequest

from benchmarks.chains import SESSION, SPOT, UNDERLYING, Chain, puts_asked_for, whole_chain
from benchmarks.result import Result, interleaved
from libs.common.broker import PacedClock
from libs.common.settings import AlpacaSettings, WheelSettings
from libs.common.symbols import Right, parse_option_symbol
from services.market.alpaca import MarketReader
from services.market.coverage import ChainFilter
from services.market.snapshot import ContractFacts, contract_quotes
from services.planner.selection import Search, choose

ROUNDS = 9
OURS_PER_ROUND = 10
THEIRS_PER_ROUND = 2
TARGET = 25.0
RULES = WheelSettings()
SEARCH = Search(
    underlying=UNDERLYING,
    root=UNDERLYING,
    right=Right.PUT,
    session=SESSION,
    spot=Decimal(str(SPOT)),
    settings=RULES,
    yield_min_pct=RULES.min_annual_yield,
)
PART = ChainFilter(
    right=Right.PUT,
    expiration_first=SESSION + dt.timedelta(days=RULES.dte_min),
    expiration_last=SESSION + dt.timedelta(days=RULES.dte_max),
    strike_low=SPOT * 0.7,
    strike_high=SPOT,
)


def run() -> list[Result]:
    return [
        _compared("a whole chain of {:,} to one put", whole_chain(), TARGET),
        _compared("the same, {:,} puts within the window", puts_asked_for(), None),
    ]


def _compared(name: str, chain: Chain, target: float | None) -> Result:
    ours, theirs = our_path(chain), their_path(chain)
    mine, other = ours(), theirs()
    assert mine is not None, "no put was chosen"
    assert mine == other, f"ours chose {mine}, theirs {other}"
    ours_ms, theirs_ms = interleaved(
        ours,
        theirs,
        rounds=ROUNDS,
        ours_per_round=OURS_PER_ROUND,
        theirs_per_round=THEIRS_PER_ROUND,
    )
    return Result(
        name=name.format(len(chain.facts)),
        ours_ms=ours_ms,
        theirs_ms=theirs_ms,
        ratio=theirs_ms / ours_ms,
        target=target,
        notes=f"against alpaca-py; {chain.size / 1e6:.2f} MB in {len(chain.pages)} pages; {mine}",
    )


# --- ours ------------------------------------------------------------------------------------


def our_path(chain: Chain) -> Callable[[], str | None]:
    settings = AlpacaSettings(api_key="key", secret_key="secret")
    reader = MarketReader(settings, PacedClock(1_000_000_000, speed=1))
    answers = _Pages(chain.pages)
    reader._clients.options._one_request = answers.next_bytes  # type: ignore[method-assign]

    def path() -> str | None:
        quotes = contract_quotes(reader.chain(UNDERLYING, PART)[0], chain.facts)
        taken = choose(quotes, SEARCH).taken
        return taken.contract.symbol if taken else None

    return path


class _Pages:
    """The pages in turn, over and over, in place of the network."""

    def __init__(self, pages: list[bytes]) -> None:
        self._pages = _forever(pages)

    def next_bytes(self, *_request: Any) -> bytes:
        return next(self._pages)

    def next_json(self, *_request: Any) -> Any:
        return json.loads(next(self._pages))


def _forever(pages: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from pages


# --- theirs ----------------------------------------------------------------------------------


def their_path(chain: Chain) -> Callable[[], str | None]:
    client = OptionHistoricalDataClient("key", "secret")
    client._one_request = _Pages(chain.pages).next_json  # type: ignore[method-assign]
    request = OptionChainRequest(underlying_symbol=UNDERLYING)

    def path() -> str | None:
        return _best_put(client.get_option_chain(request), chain.facts)

    return path


def _best_put(snapshots: dict[str, OptionsSnapshot], facts: dict[str, ContractFacts]) -> str | None:
    """The wheel's rules (services.planner.selection) over alpaca-py's models, in plain floats."""
    best: tuple[Any, ...] | None = None
    for symbol, snapshot in snapshots.items():
        option = parse_option_symbol(symbol)
        quote = snapshot.latest_quote
        if option is None or option.right is not Right.PUT or quote is None:
            continue
        days = (option.expiration - SESSION).days
        strike = float(option.strike)
        if strike > SPOT or not RULES.dte_min <= days <= RULES.dte_max:
            continue
        bid, ask = quote.bid_price, quote.ask_price
        if not 0 < bid <= ask:
            continue
        spread = (ask - bid) / ((ask + bid) / 2) * 100
        known = facts.get(symbol)
        open_interest = known.open_interest if known else None
        if spread > RULES.max_spread_pct or (open_interest or 0) < RULES.min_open_interest:
            continue
        earned = _on_grid(bid, ask) / strike * 365 / max(days, 1) * 100
        if earned < RULES.min_annual_yield:
            continue
        greeks = snapshot.greeks
        aim = SPOT * (1 - RULES.otm_pct / 100)
        distance = abs(strike - aim) if greeks is None else abs(-greeks.delta - RULES.target_delta)
        kept = (
            greeks is None,
            round(distance, 6),
            -round(earned, 6),
            round(spread, 6),
            -(open_interest or 0),
            days,
            strike,
            symbol,
        )
        if best is None or kept < best:
            best = kept
    return best[-1] if best else None


def _on_grid(bid: float, ask: float) -> float:
    """The highest point of the penny grid not above the mid, in dollars; never below the bid."""
    mid = (bid + ask) / 2
    step = 0.01 if mid < 3 else 0.05
    price = math.floor(mid / step + 1e-9) * step
    return price if price >= bid - 1e-9 else math.ceil(bid / step - 1e-9) * step
