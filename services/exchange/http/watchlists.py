"""Watchlists: named, ordered lists of stocks that the account's owner keeps. /v2/watchlists."""

from __future__ import annotations

from typing import Any

import msgspec

from services.exchange.engine.books import Watchlist
from services.exchange.engine.refusals import malformed, not_found, unprocessable
from services.exchange.http.call import Call, Endpoints
from services.exchange.http.views import View, asset_id, asset_view, rfc3339

NAME_LENGTH_MAX = 64
WATCHLISTS_MAX = 200
SYMBOLS_MAX = 1000
NO_CONTENT = None


class _New(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    symbols: list[str] | None = None


class _Changes(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None
    symbols: list[str] | None = None


class _Addition(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str


# --- one and all -------------------------------------------------------------------------------


def watchlists(call: Call) -> Any:
    return [_bare(call, one) for one in call.books.watchlists.values()]


def create(call: Call) -> Any:
    wanted: _New = _read(call, _New)
    _check_name(call, wanted.name)
    symbols = _symbols(call, wanted.symbols or [])
    if len(call.books.watchlists) >= WATCHLISTS_MAX:
        raise unprocessable(f"at most {WATCHLISTS_MAX} watchlists")
    now = call.moment.now
    made = Watchlist(
        id=call.books.new_id(),
        name=wanted.name,
        created_at=now,
        updated_at=now,
        symbols=symbols,
    )
    call.books.watchlists[made.id] = made
    call.books.touch()
    return _view(call, made)


def watchlist(call: Call) -> Any:
    return _view(call, _found(call))


def update(call: Call) -> Any:
    """A new name, new contents, or both; what is not named stays."""
    name = _asked_name(call)
    changes: _Changes = _read(call, _Changes)
    if changes.name is None and changes.symbols is None:
        raise unprocessable("name or symbols is required")
    found = _found(call, name)
    if changes.name is not None and changes.name != found.name:
        _check_name(call, changes.name)
    symbols = None if changes.symbols is None else _symbols(call, changes.symbols)
    found.name = changes.name or found.name
    found.symbols = found.symbols if symbols is None else symbols
    return _changed(call, found)


def add(call: Call) -> Any:
    name = _asked_name(call)
    addition: _Addition = _read(call, _Addition)
    found = _found(call, name)
    (symbol,) = _symbols(call, [addition.symbol], "symbol")
    if symbol in found.symbols:
        raise unprocessable(f"symbol {symbol} is in the watchlist already")
    if len(found.symbols) >= SYMBOLS_MAX:
        raise unprocessable(f"symbol: at most {SYMBOLS_MAX} in a watchlist")
    found.symbols = [*found.symbols, symbol]
    return _changed(call, found)


def remove(call: Call) -> Any:
    found, wanted = _found(call), call.path["symbol"]
    gone = [symbol for symbol in found.symbols if wanted in (symbol, asset_id(symbol))]
    if not gone:
        raise not_found(f"asset not found in the watchlist for {wanted[:40]}")
    found.symbols = [symbol for symbol in found.symbols if symbol not in gone]
    return _changed(call, found)


def delete(call: Call) -> Any:
    del call.books.watchlists[_found(call).id]
    call.books.touch()
    return NO_CONTENT


# --- what is asked, and the answer -------------------------------------------------------------


def _asked_name(call: Call) -> str | None:
    """Of the endpoints by name; raises Refusal without one."""
    if "watchlist_id" in call.path:
        return None
    name = call.query.get("name")
    if not name:
        raise unprocessable("name is required")
    return name


def _found(call: Call, name: str | None = None) -> Watchlist:
    name = name or _asked_name(call)
    if name is None:
        wanted = call.path["watchlist_id"]
        found = call.books.watchlists.get(wanted)
    else:
        wanted = name
        found = next((one for one in call.books.watchlists.values() if one.name == name), None)
    if found is None:
        raise not_found(f"watchlist not found for {wanted[:40]}")
    return found


def _check_name(call: Call, name: str) -> None:
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise unprocessable(f"name: 1 to {NAME_LENGTH_MAX} characters")
    if any(one.name == name for one in call.books.watchlists.values()):
        raise unprocessable("watchlist name must be unique")


def _symbols(call: Call, asked: list[str], field: str = "symbols") -> list[str]:
    """Without doubles, in the order given."""
    if len(asked) > SYMBOLS_MAX:
        raise unprocessable(f"{field}: at most {SYMBOLS_MAX}")
    for symbol in asked:
        if symbol not in call.market.history:
            raise unprocessable(f"{field}: asset not found for {symbol[:40]!r}")
    return list(dict.fromkeys(asked))


def _read(call: Call, kind: type[Any]) -> Any:
    body = call.json()
    if not isinstance(body, dict):
        raise malformed("request body must be a JSON object")
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise unprocessable(f"invalid body: {error}") from None


def _changed(call: Call, found: Watchlist) -> View:
    found.updated_at = call.moment.now
    call.books.touch()
    return _view(call, found)


def _view(call: Call, found: Watchlist) -> View:
    return _bare(call, found) | {"assets": [asset_view(symbol) for symbol in found.symbols]}


def _bare(call: Call, found: Watchlist) -> View:
    return {
        "id": found.id,
        "account_id": call.books.account_id,
        "created_at": rfc3339(found.created_at),
        "updated_at": rfc3339(found.updated_at),
        "name": found.name,
    }


ENDPOINTS: Endpoints = {
    ("GET", "/v2/watchlists"): watchlists,
    ("POST", "/v2/watchlists"): create,
    ("GET", "/v2/watchlists/{watchlist_id}"): watchlist,
    ("PUT", "/v2/watchlists/{watchlist_id}"): update,
    ("POST", "/v2/watchlists/{watchlist_id}"): add,
    ("DELETE", "/v2/watchlists/{watchlist_id}"): delete,
    ("DELETE", "/v2/watchlists/{watchlist_id}/{symbol}"): remove,
    ("GET", "/v2/watchlists:by_name"): watchlist,
    ("PUT", "/v2/watchlists:by_name"): update,
    ("POST", "/v2/watchlists:by_name"): add,
    ("DELETE", "/v2/watchlists:by_name"): delete,
}
