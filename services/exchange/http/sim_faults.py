"""Faults on request, and what was asked: /sim/faults and /sim/requests. They need no keys."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from services.exchange.engine.refusals import malformed, unprocessable
from services.exchange.faults.asked import REQUESTS_MAX, Asked
from services.exchange.faults.board import Counted
from services.exchange.faults.rules import Fault
from services.exchange.http import query as q
from services.exchange.http.call import Call, Endpoints
from services.exchange.http.views import View


def faults(call: Call) -> Any:
    """In the order they are asked."""
    return [_fault(counted) for counted in call.venue.faults.rules.values()]


def add_fault(call: Call) -> Any:
    body = call.json() if call.body.strip() else {}
    if not isinstance(body, dict):
        raise malformed("request body must be a JSON object")
    try:
        fault = msgspec.convert(body, Fault, strict=False)
    except msgspec.ValidationError as error:
        raise unprocessable(f"invalid fault: {error}") from None
    return _fault(call.venue.faults.add(fault))


def remove_fault(call: Call) -> Any:
    call.venue.faults.remove(call.path["id"])


def heal(call: Call) -> Any:
    call.venue.faults.heal()


def _fault(counted: Counted) -> View:
    told = {n: v for n, v in msgspec.to_builtins(counted.rule).items() if v is not None}
    return told | {"matched": counted.matched, "injected": counted.injected}


def requests(call: Call) -> Any:
    """The newest `limit` of those that fit, oldest first."""
    limit = q.whole(call.query, "limit", default=1000, maximum=REQUESTS_MAX)
    method, path = call.query.get("method"), call.query.get("path")
    fitting = [
        (number, asked)
        for number, asked in call.venue.asked.numbered()
        if (not method or asked.method == method) and (not path or asked.path == path)
    ]
    return [_request(number, asked) for number, asked in fitting[-limit:]]


def _request(number: int, asked: Asked) -> View:
    return {
        "number": number,
        "method": asked.method,
        "path": asked.path,
        "query": dict(parse_qsl(asked.query.decode("latin-1"), keep_blank_values=True)),
        "body": asked.body.decode("utf-8", "replace"),
        "body_bytes": asked.body_bytes,
        "key": asked.key,
        "status": asked.status,
        "fault": asked.fault,
    }


def forget_requests(call: Call) -> Any:
    call.venue.asked.clear()


ENDPOINTS: Endpoints = {
    ("GET", "/sim/faults"): faults,
    ("POST", "/sim/faults"): add_fault,
    ("DELETE", "/sim/faults"): heal,
    ("DELETE", "/sim/faults/{id}"): remove_fault,
    ("GET", "/sim/requests"): requests,
    ("DELETE", "/sim/requests"): forget_requests,
}
