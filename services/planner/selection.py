"""Filter, rank and choose one contract of a chain to sell, with a reason for every one left.

Rules, in the order they are asked; the first that fails is the reason given:
strike readable; root standard and the underlying's own; out of the money (at the money counts as
out); strike at or above the lowest allowed; not expired and not on its last day; within the DTE
window; a bid, an ask, not crossed; spread; open interest; the symbol says what the fields say;
yield at the limit price that would be sent.

Ranking of those that pass: contracts with greeks first, by distance of |delta| from the target;
then those without, by distance of the strike from OTM_PCT out of the money. Ties: higher annual
yield, narrower spread, higher open interest, earlier expiration, strike farther out of the
money, symbol.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

from libs.common.contracts import Candidate, ContractQuote
from libs.common.sessions import days_to_expiration
from libs.common.settings import WheelSettings
from libs.common.symbols import Right, option_root, parse_option_symbol
from services.planner.pricing import annual_yield_pct, as_float, sell_limit_price, spread_pct

CANDIDATES_MAX = 40
"""Candidates recorded for each choice: the chosen, the next in rank, then the nearest left."""

_OCC_TAIL = 15  # yymmdd, right, eight digits of strike: what follows the root
_BY_DELTA, _BY_STRIKE = 0, 1  # contracts with greeks rank before those without
_ROUNDING = 1e-9  # a spread or yield that equals its limit but for float noise passes


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for on one underlying's chain. Prices in dollars per share."""

    underlying: str
    root: str
    """The root of the underlying's standard contracts: `symbols.option_root`."""
    right: Right
    session: dt.date
    spot: Decimal
    settings: WheelSettings
    strike_min: Decimal | None = None
    yield_min_pct: float | None = None

    @property
    def strike_aim(self) -> float:
        """The strike OTM_PCT out of the money."""
        away = self.settings.otm_pct / 100
        return float(self.spot) * (1 - away if self.right is Right.PUT else 1 + away)


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A contract that passed every rule, priced."""

    contract: ContractQuote
    days: int
    delta: float | None
    limit_price: Decimal
    annual_yield_pct: float
    spread_pct: float


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The contract to sell, if any passed, and the candidates worth recording."""

    taken: Offer | None
    candidates: tuple[Candidate, ...]
    candidates_left_out: int


def choose(contracts: Sequence[ContractQuote], search: Search) -> Choice:
    """The best contract of the right searched for. The order of `contracts` never matters."""
    asked_for = [contract for contract in contracts if contract.right is search.right]
    hopeful, left = _sifted(asked_for, search)
    offers, failed = _examined(hopeful, search)
    left += failed
    offers.sort(key=lambda offer: rank(offer, search))
    recorded = [_offer_record(offer, place, search) for place, offer in _places(offers)]
    room = CANDIDATES_MAX - len(recorded)
    if room:
        recorded += [_left_record(c, search) for c in _nearest_strikes(left, room, search)]
    return Choice(
        taken=offers[0] if offers else None,
        candidates=tuple(recorded),
        candidates_left_out=len(asked_for) - len(recorded),
    )


def _sifted(
    contracts: Sequence[ContractQuote], search: Search
) -> tuple[list[ContractQuote], list[ContractQuote]]:
    """Those that may pass and those that cannot, by the cheapest rules and without reasons.

    Most of a long chain ends here. `examine` still decides about the former, and gives the latter
    their reason where they are near enough to be recorded.
    """
    first = search.session + dt.timedelta(days=max(1, search.settings.dte_min))
    last = search.session + dt.timedelta(days=search.settings.dte_max)
    put, spot = search.right is Right.PUT, search.spot
    hopeful: list[ContractQuote] = []
    hopeless: list[ContractQuote] = []
    for contract in contracts:
        bid, ask, strike = contract.bid, contract.ask, contract.strike
        may_pass = (
            bid is not None
            and ask is not None
            and 0 < bid <= ask
            and strike.is_finite()
            and (strike <= spot if put else strike >= spot)
            and first <= contract.expiration <= last
        )
        (hopeful if may_pass else hopeless).append(contract)
    return hopeful, hopeless


def _examined(
    contracts: Sequence[ContractQuote], search: Search
) -> tuple[list[Offer], list[ContractQuote]]:
    """The offers and the contracts left, as far as they can matter.

    Contracts come nearest the target first. Once there are as many offers as are recorded, all
    those farther away would rank behind them whatever they earn, so they are not priced.
    """
    offers: list[Offer] = []
    failed: list[ContractQuote] = []
    reached: tuple[int, float] | None = None
    for distance, contract in _nearest_first(contracts, search):
        if len(offers) >= CANDIDATES_MAX and distance != reached:
            break
        found = examine(contract, search)
        if isinstance(found, Offer):
            offers.append(found)
            reached = distance
        else:
            failed.append(contract)
    return offers, failed


def _nearest_first(
    contracts: Sequence[ContractQuote], search: Search
) -> Iterator[tuple[tuple[int, float], ContractQuote]]:
    """Each contract after what `rank` puts first: the kind of its distance and the distance."""
    target, aim = search.settings.target_delta, search.strike_aim
    with_greeks = [
        (abs(abs(delta) - target), place)
        for place, contract in enumerate(contracts)
        if (delta := usable_delta(contract.delta)) is not None
    ]
    for distance, place in sorted(with_greeks):
        yield (_BY_DELTA, round(distance, 6)), contracts[place]
    without = [
        (_strike_distance(contract, aim), place)
        for place, contract in enumerate(contracts)
        if usable_delta(contract.delta) is None
    ]
    for distance, place in sorted(without):
        yield (_BY_STRIKE, round(distance, 6)), contracts[place]


def examine(
    contract: ContractQuote, search: Search, limit_price: Decimal | None = None
) -> Offer | str:
    """The priced offer, or the reason the contract is left. `limit_price` is what it would be
    sold at instead of the price a new order would have.
    """
    return (
        _strike_trouble(contract, search)
        or _date_trouble(contract, search)
        or _quote_trouble(contract, search)
        or _open_interest_trouble(contract, search.settings)
        or _symbol_trouble(contract)
        or _priced(contract, search, limit_price)
    )


def rank(offer: Offer, search: Search) -> tuple[float | str, ...]:
    """Sorts better offers first; equal only for equal symbols."""
    strike = as_float(offer.contract.strike)
    if offer.delta is not None:
        kind, distance = _BY_DELTA, abs(abs(offer.delta) - search.settings.target_delta)
    else:
        kind, distance = _BY_STRIKE, abs(strike - search.strike_aim)
    return (
        kind,
        round(distance, 6),
        -round(offer.annual_yield_pct, 6),
        round(offer.spread_pct, 6),
        -(offer.contract.open_interest or 0),
        offer.days,
        strike if search.right is Right.PUT else -strike,
        offer.contract.symbol,
    )


def usable_price(value: float | None) -> float | None:
    """The value if it can be a price: finite and above zero."""
    return value if value is not None and math.isfinite(value) and value > 0 else None


def usable_delta(value: float | None) -> float | None:
    """The value if it can be an option's delta: a number from -1 to 1."""
    return value if value is not None and abs(value) <= 1 else None  # NaN compares false


# --- rules: each answers with the trouble it found, or nothing ------------------------------


def _strike_trouble(contract: ContractQuote, search: Search) -> str:
    strike = contract.strike
    if not strike.is_finite() or strike <= 0:
        return "strike is not a price"
    if contract.symbol[:-_OCC_TAIL] != search.root:
        trouble = _root_trouble(contract.symbol[:-_OCC_TAIL], search)
        if trouble:
            return trouble
    put = search.right is Right.PUT
    if strike > search.spot if put else strike < search.spot:
        return "in the money"
    if search.strike_min is not None and strike < search.strike_min:
        return f"strike below cost basis {search.strike_min}"
    return ""


def _root_trouble(root: str, search: Search) -> str:
    if option_root(root) == search.root:
        return ""
    if option_root(root).rstrip("0123456789") == search.root:
        return f"adjusted root {root}"
    return f"not an option on {search.underlying}"


def _date_trouble(contract: ContractQuote, search: Search) -> str:
    days = days_to_expiration(contract.expiration, search.session)
    if days < 0:
        return "expired"
    if days == 0:
        return "expires today"
    low, high = search.settings.dte_min, search.settings.dte_max
    if not low <= days <= high:
        return f"{days} days to expiration, outside {low} to {high}"
    return ""


def _quote_trouble(contract: ContractQuote, search: Search) -> str:
    bid, ask = usable_price(contract.bid), usable_price(contract.ask)
    if bid is None:
        return "no bid"
    if ask is None:
        return "no ask"
    if bid > ask:
        return f"crossed market: bid {bid:g} above ask {ask:g}"
    width = spread_pct(bid, ask)
    if width > search.settings.max_spread_pct + _ROUNDING:
        return f"spread {width:.1f} % above {search.settings.max_spread_pct:g} %"
    return ""


def _open_interest_trouble(contract: ContractQuote, settings: WheelSettings) -> str:
    if settings.min_open_interest <= 0:
        return ""
    if contract.open_interest is None:
        return "open interest unknown"
    if contract.open_interest < settings.min_open_interest:
        return f"open interest {contract.open_interest} below {settings.min_open_interest}"
    return ""


def _symbol_trouble(contract: ContractQuote) -> str:
    option = parse_option_symbol(contract.symbol)
    if option is None:
        return "not an option symbol"
    said = (option.right, option.strike, option.expiration)
    if said != (contract.right, contract.strike, contract.expiration):
        return "symbol and fields disagree"
    return ""


def _priced(contract: ContractQuote, search: Search, limit_price: Decimal | None) -> Offer | str:
    bid, ask = contract.bid, contract.ask
    if bid is None or ask is None:  # _quote_trouble has seen to it; this tells the type checker
        return "no quote"
    days = days_to_expiration(contract.expiration, search.session)
    limit = limit_price or sell_limit_price(bid, ask, penny=contract.penny)
    earned = annual_yield_pct(limit, contract.strike, days)
    if search.yield_min_pct is not None and earned < search.yield_min_pct - _ROUNDING:
        return f"yield {earned:.1f} % a year at {limit} below {search.yield_min_pct:g} %"
    return Offer(
        contract=contract,
        days=days,
        delta=usable_delta(contract.delta),
        limit_price=limit,
        annual_yield_pct=earned,
        spread_pct=spread_pct(bid, ask),
    )


# --- records --------------------------------------------------------------------------------


def _places(offers: Sequence[Offer]) -> list[tuple[int, Offer]]:
    return list(enumerate(offers[:CANDIDATES_MAX], start=1))


def _nearest_strikes(
    contracts: Sequence[ContractQuote], count: int, search: Search
) -> list[ContractQuote]:
    """By the distance of the strike from the aim, then by symbol."""
    aim = search.strike_aim
    distances = [_strike_distance(contract, aim) for contract in contracts]
    limit = max(sorted(distances)[:count], default=math.inf)
    near = [
        (distance, contract.symbol, place)
        for place, (distance, contract) in enumerate(zip(distances, contracts, strict=True))
        if distance <= limit
    ]
    return [contracts[place] for _, _, place in sorted(near)[:count]]


def _strike_distance(contract: ContractQuote, aim: float) -> float:
    """In dollars; strikes that cannot be read are farthest."""
    strike = contract.strike
    return abs(as_float(strike) - aim) if strike.is_finite() else math.inf


def _offer_record(offer: Offer, place: int, search: Search) -> Candidate:
    if offer.delta is not None:
        what = f"delta {offer.delta:.3f} (aim {search.settings.target_delta:g})"
    else:
        what = f"no greeks, strike {offer.contract.strike} (aim {search.strike_aim:.2f})"
    taken = place == 1
    standing = "nearest" if taken else f"rank {place}"
    return Candidate(
        symbol=offer.contract.symbol,
        taken=taken,
        reason=f"{standing}: {what}",
        limit_price=offer.limit_price,
        delta=offer.delta,
        annual_yield=round(offer.annual_yield_pct, 2),
    )


def _left_record(contract: ContractQuote, search: Search) -> Candidate:
    """Expects a contract that `examine` leaves."""
    found = examine(contract, search)
    return Candidate(
        symbol=contract.symbol,
        taken=False,
        reason=found if isinstance(found, str) else "",
        delta=usable_delta(contract.delta),
    )
