"""Answers that are spoilt: pure functions of the fault and the answer's bytes."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec

from services.exchange.faults.rules import Fault

CUT_JSON = b'{"id": "61e69015-8549-4bfd-b9c3-01e7'
_encode = msgspec.json.Encoder().encode


def error_of(fault: Fault) -> tuple[int, bytes]:
    """Status and body of a refusal in Alpaca's shape, or the body that was asked for."""
    status = 500 if fault.status is None else fault.status
    if fault.body is not None:
        return status, fault.body.encode()
    message = _phrase(status) if fault.message is None else fault.message
    content: dict[str, Any] = {} if fault.code is None else {"code": fault.code}
    return status, _encode(content | {"message": message})


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "error"


def malformed_of(fault: Fault, body: bytes | None) -> bytes:
    """The body asked for, else half of the proper one, else the beginning of an order."""
    if fault.body is not None:
        return fault.body.encode()
    return body[: len(body) // 2] if body else CUT_JSON


def spoilt(fault: Fault, number: int, body: bytes) -> bytes:
    """A successful answer as a fault that touches only its content leaves it.

    `number` counts the faults of that rule, so that each answer misses something else.
    """
    if not body:
        return body
    content = msgspec.json.decode(body)
    if fault.kind == "altered":
        return _encode(_altered(fault, content))

    def missing(symbol: str) -> bool:
        return fault.draw(number, symbol) < (1.0 if fault.share is None else fault.share)

    names = ("greeks", "impliedVolatility") if fault.kind == "missing_greeks" else ("latestQuote",)
    return _encode(_without(content, names, missing))


def _altered(fault: Fault, content: Any) -> Any:
    if isinstance(content, dict) and fault.fields is not None:
        return content | fault.fields
    if isinstance(content, list) and fault.rows is not None:
        return content + fault.rows
    return content


def _without(content: Any, names: tuple[str, ...], missing: Callable[[str], bool]) -> Any:
    """Snapshots by symbol lose the fields `names`; a map of quotes loses whole symbols."""
    if not isinstance(content, dict):
        return content
    if isinstance(content.get("snapshots"), dict):
        return content | {"snapshots": _without(content["snapshots"], names, missing)}
    if isinstance(content.get("quotes"), dict) and "latestQuote" in names:
        return content | {"quotes": {s: q for s, q in content["quotes"].items() if not missing(s)}}
    return {
        symbol: {name: value for name, value in view.items() if name not in names}
        if isinstance(view, dict) and missing(symbol)
        else view
        for symbol, view in content.items()
    }
