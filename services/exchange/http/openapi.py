"""Our own OpenAPI 3.1 document: a pure function of what is mounted.

The tables are in `operations` (parameters, answers) and `records` (their schemas); here they become
a document. An endpoint that is mounted but not described is in it too, without parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from services.exchange.http.call import Encoded, Endpoint
from services.exchange.http.described import Operation, Parameter
from services.exchange.http.operations import OPERATIONS
from services.exchange.http.records import Schema, schema_of, schemas

OPENAPI_PATH = "/openapi.json"
OPENAPI_VERSION = "3.1.0"
DOCUMENT_VERSION = "1"
KEY_HEADER, SECRET_HEADER = "APCA-API-KEY-ID", "APCA-API-SECRET-KEY"  # their names
JSON = "application/json"

# What a client may open as a WebSocket; OpenAPI has no words for it, so it stands in the text.
STREAMS: dict[str, str] = {
    "/stream": "`trade_updates`: what happens to the account's orders, JSON in binary frames.",
    "/v2/{feed}": "Stock quotes, trades and bars; feed iex, sip, delayed_sip, boats, overnight or "
    "test; JSON, or msgpack when the handshake's Content-Type is application/msgpack.",
    "/v1beta1/{feed}": "Option quotes and trades; feed indicative or opra; msgpack.",
}
DESCRIPTION = (
    "A simulated Alpaca. Trading, stock data and option data are answered on the same paths as "
    "Alpaca's, on one host. Prices within a day and all option prices are synthetic. "
    "Whatever is not described here is answered with 404 or 422, and the message says "
    '"not offered".'
)
REFUSALS = {
    400: "What was sent cannot be read",
    401: "Keys missing or wrong",
    403: "Forbidden by the account's state: buying power, level, held quantity, wash trade; "
    "under /sim: to other sites' web pages",
    404: "Not found",
    409: "In conflict with what there is",
    422: "A value is missing or not allowed; the message names it",
    429: "Too many requests in a minute",
}
REFUSALS_OF_ALL = (400, 422)
REFUSALS_WITH_KEYS = (401, 429)
FORBIDDEN_TO_OTHER_SITES = 403  # of what needs no keys and changes something
RATE_LIMIT_HEADERS = ("X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset")

_FORMATS: dict[str, Schema] = {
    "text": {"type": "string"},
    "symbols": {"type": "array", "items": {"type": "string", "pattern": "^[A-Z0-9.]{1,21}$"}},
    "words": {"type": "array", "items": {"type": "string", "pattern": "^[A-Z]{1,10}$"}},
    "whole": {"type": "integer"},
    "number": {"type": "number"},
    "flag": {"type": "boolean"},
    "date": {
        "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]
    },
    "instant": {
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]
    },
    "uuid": {"type": "string", "format": "uuid"},
}
_NOTES = {
    "date": "A date, or a time whose New York date counts.",
    "instant": "An RFC 3339 time; a bare date is its New York midnight.",
}


def document(mounted: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The document of those (method, path); a pure function, to be made once."""
    paths: dict[str, Any] = {}
    for method, path in mounted:
        described = OPERATIONS.get((method, path)) or Operation(
            summary=f"{method} {path}", answer="any"
        )
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, described)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Simulated Alpaca",
            "version": DOCUMENT_VERSION,
            "description": _description(),
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "headers": {
                name: {"schema": {"type": "integer"}, "required": True}
                for name in RATE_LIMIT_HEADERS
            },
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
                "secret": {"type": "apiKey", "in": "header", "name": SECRET_HEADER},
            },
        },
    }


def openapi_endpoint(mounted: Iterable[tuple[str, str]]) -> Endpoint:
    """`GET /openapi.json` for those endpoints and itself; the document is made once."""
    body = msgspec.json.encode(document([*mounted, ("GET", OPENAPI_PATH)]))
    return lambda _call: Encoded(body)


def _description() -> str:
    rows = [f"- `{path}` {text}" for path, text in STREAMS.items()]
    return "\n".join([DESCRIPTION, "", "WebSockets:", *rows])


def _operation(method: str, path: str, described: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation_id(method, path),
        "summary": described.summary,
        "tags": [_tag(path)],
        "security": [{"key": [], "secret": []}] if described.keys else [],
        "parameters": [_parameter(each, path) for each in described.parameters],
        "responses": _responses(described, method, path),
    }
    if described.body is not None:
        made["requestBody"] = {
            "required": described.body_required,
            "content": {JSON: {"schema": schema_of(described.body)}},
        }
    return made


def operation_id(method: str, path: str) -> str:
    """get_v2_orders_order_id: the method and the path's words."""
    return "_".join([method.lower(), *re.findall(r"\w+", path)])


def _tag(path: str) -> str:
    if path.startswith("/sim/") or path in ("/", OPENAPI_PATH):
        return "simulation"
    return "market data" if path.startswith(("/v2/stocks", "/v1")) else "trading"


def _parameter(parameter: Parameter, path: str) -> dict[str, Any]:
    in_path = f"{{{parameter.name}}}" in path
    made: dict[str, Any] = {
        "name": parameter.name,
        "in": "path" if in_path else "query",
        "required": in_path or parameter.required,
        "schema": _parameter_schema(parameter),
    }
    text = " ".join(filter(None, (parameter.text, _NOTES.get(parameter.kind))))
    if text:
        made["description"] = text
    if parameter.kind in ("symbols", "words"):
        made |= {"style": "form", "explode": False}  # one value, separated by commas
    if parameter.example is not None:
        listed = parameter.kind in ("symbols", "words")
        made["example"] = [parameter.example] if listed else parameter.example
    return made


def _parameter_schema(parameter: Parameter) -> Schema:
    schema = dict(_FORMATS[parameter.kind])
    bounds = {
        "default": parameter.default,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "exclusiveMinimum": parameter.above,
        "maxItems": parameter.items_max,
        "enum": list(parameter.choices) or None,
    }
    if parameter.items_max is not None and parameter.required:
        schema["minItems"] = 1
    return schema | {name: value for name, value in bounds.items() if value is not None}


def _responses(described: Operation, method: str, path: str) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Success"}
    if described.answer is not None:
        success["content"] = {described.media_type: {"schema": schema_of(described.answer)}}
    refusals = {*REFUSALS_OF_ALL, *described.refusals}
    if "{" in path:
        refusals.add(404)
    if described.keys:
        success["headers"] = _rate_limit_headers()
        refusals |= set(REFUSALS_WITH_KEYS)
    elif method != "GET":
        refusals.add(FORBIDDEN_TO_OTHER_SITES)
    return {str(described.status): success} | {
        str(status): _refusal(status) for status in sorted(refusals)
    }


def _refusal(status: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": REFUSALS[status],
        "content": {JSON: {"schema": schema_of("Error")}},
    }
    if status == 429:
        made["headers"] = _rate_limit_headers()
    return made


def _rate_limit_headers() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in RATE_LIMIT_HEADERS}
