"""One page of an option chain to the contracts that were asked for. Pure.

The broker filters a chain by our bounds; what it sends beyond them is not decoded at all, and a
contract that does not decode is left out alone, not with its page.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from libs.common.symbols import parse_option_symbol
from libs.common.wire import WireChainPage, WireError, WireOptionSnapshot, WireRawChainPage
from services.market.coverage import ChainFilter

_RAW_PAGE = msgspec.json.Decoder(WireRawChainPage, strict=False)
_WHOLE_PAGE = msgspec.json.Decoder(WireChainPage, strict=False)
_ONE = msgspec.json.Decoder(WireOptionSnapshot, strict=False)


class ChainPage(msgspec.Struct, frozen=True, kw_only=True):
    """`broken` names the wanted contracts that do not decode."""

    snapshots: dict[str, WireOptionSnapshot]
    broken: list[str]
    next_page_token: str | None


def chain_page(payload: bytes, part: ChainFilter) -> ChainPage:
    """Raises WireError when the page as a whole is no page of a chain."""
    try:
        page = _RAW_PAGE.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"the broker's option chain does not decode: {error}") from error
    raw = page.snapshots or {}
    wanted = _wanted(raw, part)
    whole = _whole(payload) if 2 * len(wanted) > len(raw) else None
    if whole is not None:  # decoding all at once is the faster way to most of them
        found = {symbol: whole[symbol] for symbol in wanted} if len(wanted) < len(raw) else whole
        return ChainPage(snapshots=found, broken=[], next_page_token=page.next_page_token)
    snapshots: dict[str, WireOptionSnapshot] = {}
    broken: list[str] = []
    for symbol in wanted:
        try:
            snapshots[symbol] = _ONE.decode(raw[symbol])
        except (msgspec.DecodeError, ValueError, RecursionError):
            broken.append(symbol)
    return ChainPage(snapshots=snapshots, broken=broken, next_page_token=page.next_page_token)


def _wanted(raw: dict[str, msgspec.Raw], part: ChainFilter) -> list[str]:
    low, high = Decimal(repr(part.strike_low)), Decimal(repr(part.strike_high))
    first, last, right = part.expiration_first, part.expiration_last, part.right
    return [
        symbol
        for symbol in raw
        if (option := parse_option_symbol(symbol)) is not None
        and option.right is right
        and low <= option.strike <= high
        and first <= option.expiration <= last
    ]


def _whole(payload: bytes) -> dict[str, WireOptionSnapshot] | None:
    """None when some contract of the page does not decode."""
    try:
        return _WHOLE_PAGE.decode(payload).snapshots or {}
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
