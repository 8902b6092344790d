"""Whatever a client sends by mistake is answered clearly, and the books stay as they were.

The values come from the table of parameters (`services.exchange.http.operations`) and from the
records of what may be sent: a new endpoint is tried here as soon as it is described there.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests

from services.exchange.http.described import Operation, Parameter
from services.exchange.http.endpoints import all_routes
from services.exchange.http.operations import OPERATIONS
from services.exchange.http.records import RECORDS
from tests.conformity.judge import wrong_error
from tests.conformity.recorder import Endpoint, Recorder
from tests.conformity.served import KEYS, Served, serving

pytestmark = pytest.mark.integration

ENDPOINTS: list[Endpoint] = [
    (route.method, route.path)
    for route in all_routes().all
    if (route.method, route.path) in OPERATIONS
]
LONG = "9" * 400
NOT_ASCII = "\u0663\u00e4"
NUMBERS = [
    "NaN", "Infinity", "-Infinity", "1e999999", "1e99999999", "-9e9999999999", LONG, NOT_ASCII,
    "abc", "1,5", "0x10", "- 1", "1_000", "\uff11\uff12",
]  # fmt: skip
BAD_TEXTS: dict[str, list[str]] = {
    "whole": ["0", "-1", "1.5", "1e3", "true", *NUMBERS],
    "number": ["--1", "true", *NUMBERS],
    "flag": ["maybe", "2", "yes", NOT_ASCII, LONG],
    "date": ["yesterday", "2020-13-01", "20", "-1", LONG, NOT_ASCII, "NaN"],
    "instant": ["yesterday", "2020-13-01", "2020-02-30T10:00:00Z", "1e9", LONG, NOT_ASCII],
    "uuid": ["1", "not-a-uuid", LONG, NOT_ASCII],
}
# Of these any text is a value, if only one that nothing is found for.
FREE_TEXTS = ["", " ", "\x00", NOT_ASCII, "NaN", "A" * 3000, "%", "../..", "'; drop table", "-1"]
EDGES = {  # dates that conversions between zones cannot hold
    "date": ["0001-01-01", "9999-12-31", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"],
    "instant": ["0001-01-01", "9999-12-31", "9999-12-31T23:59:59-14:00"],
}


RECORDER = Recorder(ENDPOINTS)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Served]:
    """With something in the books: an order that rests, one that is filled."""
    with serving(paused=True) as served:
        order = {"symbol": "KO", "qty": 3, "side": "buy", "time_in_force": "gtc"}
        for terms in ({"type": "market"}, {"type": "limit", "limit_price": 20}):
            assert served.ask("POST", "/v2/orders", json=order | terms).status_code == 200
        served.ask("POST", "/sim/accounts", json={"key": "spare", "secret": "spare"})
        served.ask("POST", "/sim/step", json={"minutes": 1})
        served.session.hooks["response"].append(RECORDER)
        yield served


@pytest.fixture(autouse=True)
def nothing_fails_inside(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    errors = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert errors == []


def world(served: Served) -> dict[str, Any]:
    simulated = {path: served.get(path) for path in ("/sim/clock", "/sim/accounts")}
    return served.books() | simulated


def path_of(path: str, operation: Operation, **given: str) -> str:
    """The path with its parameters filled in, by their examples unless given."""
    examples = {p.name: p.example or "0" * 36 for p in operation.parameters} | given
    return re.sub(r"\{(\w+)\}", lambda m: quote(examples[m[1]], safe=""), path)


def required_query(path: str, operation: Operation) -> dict[str, str]:
    return {
        p.name: str(p.example)
        for p in operation.parameters
        if p.required and f"{{{p.name}}}" not in path
    }


def assert_refused(answer: requests.Response, name: str | None, what: object) -> None:
    """An error in Alpaca's shape. Its message must name the parameter `name`, or what was not
    found.
    """
    text = f"{answer.request.method} {answer.url[:200]} {str(what)[:80]!r}: {answer.text[:200]}"
    assert answer.status_code in (400, 403, 404, 409, 422), f"{answer.status_code} {text}"
    assert wrong_error(answer.json()) == [], text
    message = answer.json()["message"]
    if name is not None:
        told = name in message or (answer.status_code == 404 and str(what)[:40] in message)
        assert told, text


def assert_clear(answer: requests.Response, what: object) -> None:
    """A success, or a refusal in Alpaca's shape."""
    if answer.status_code >= 300:
        assert_refused(answer, None, what)


def queried(*, kinds: bool) -> list[tuple[Endpoint, Parameter]]:
    """Parameters of queries whose values are of a kind that can be wrong, or free texts."""
    found = []
    for endpoint in ENDPOINTS:
        for parameter in OPERATIONS[endpoint].parameters:
            in_query = f"{{{parameter.name}}}" not in endpoint[1]
            can_be_wrong = parameter.kind in BAD_TEXTS or bool(parameter.choices)
            if in_query and can_be_wrong == kinds:
                found.append((endpoint, parameter))
    return found


def named(value: Any) -> str:
    return f"{value[0]} {value[1]}" if isinstance(value, tuple) else getattr(value, "name", "")


# --- queries -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("endpoint", "parameter"), queried(kinds=True), ids=named)
def test_a_wrong_value_is_refused_and_named(
    exchange: Served, endpoint: Endpoint, parameter: Parameter
) -> None:
    (method, path), operation = endpoint, OPERATIONS[endpoint]
    before = world(exchange)
    required = required_query(path, operation)
    where = path_of(path, operation, order_id=exchange.get("/v2/orders")[0]["id"])
    wrong = ["sideways", "NaN", NOT_ASCII, LONG] if parameter.choices else []
    for value in [*wrong, *BAD_TEXTS.get(parameter.kind, [])]:
        answer = exchange.ask(method, where, params=required | {parameter.name: value})
        assert_refused(answer, parameter.name, value)
    for value in EDGES.get(parameter.kind, []):
        assert_clear(exchange.ask(method, where, params=required | {parameter.name: value}), value)
    if parameter.maximum is not None:
        value = str(int(parameter.maximum) + 1)
        answer = exchange.ask(method, where, params=required | {parameter.name: value})
        assert_refused(answer, parameter.name, value)
    assert world(exchange) == before


@pytest.mark.parametrize(("endpoint", "parameter"), queried(kinds=False), ids=named)
def test_any_text_is_answered_clearly(
    exchange: Served, endpoint: Endpoint, parameter: Parameter
) -> None:
    (method, path), operation = endpoint, OPERATIONS[endpoint]
    before = world(exchange)
    required = required_query(path, operation)
    for value in FREE_TEXTS:
        query = required | {parameter.name: value}
        assert_clear(exchange.ask(method, path_of(path, operation), params=query), value)
    if parameter.items_max is not None:
        query = required | {parameter.name: ",".join(["A" * 4] * 3 + ["B"] * 5)}
        assert_clear(exchange.ask(method, path_of(path, operation), params=query), "doubles")
        many = ",".join(f"AA{chr(65 + i // 26 % 26)}{chr(65 + i % 26)}" for i in range(3000))
        assert_clear(
            exchange.ask(
                method, path_of(path, operation), params=required | {parameter.name: many}
            ),
            "many",
        )
    assert world(exchange) == before


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
def test_what_is_required_and_missing_or_empty_is_named(
    exchange: Served, endpoint: Endpoint
) -> None:
    (method, path), operation = endpoint, OPERATIONS[endpoint]
    before = world(exchange)
    required = required_query(path, operation)
    for name in required:
        for query in ({k: v for k, v in required.items() if k != name}, required | {name: ""}):
            answer = exchange.ask(method, path_of(path, operation), params=query)
            assert_refused(answer, name, query)
    assert world(exchange) == before


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if e[0] == "GET"], ids=named)
def test_doubled_and_unknown_parameters_are_answered_clearly(
    exchange: Served, endpoint: Endpoint
) -> None:
    (method, path), operation = endpoint, OPERATIONS[endpoint]
    required = list(required_query(path, operation).items())
    where = path_of(path, operation)
    for parameter in operation.parameters:
        value = parameter.choices[0] if parameter.choices else (parameter.example or "1")
        pairs = [*required, (parameter.name, value), (parameter.name, "?")]
        assert_clear(exchange.ask(method, where, params=pairs), pairs)
    for query in ("?&&&=&=x", "?%", "?%ff%fe=%ff", "?a[]=1&a[]=2", "?" + "x=1&" * 2000):
        assert_clear(exchange.ask(method, where + query), query[:20])


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if "{" in e[1]], ids=named)
def test_a_path_that_names_nothing_is_refused(exchange: Served, endpoint: Endpoint) -> None:
    (method, path), operation = endpoint, OPERATIONS[endpoint]
    before = world(exchange)
    names = [p.name for p in operation.parameters if f"{{{p.name}}}" in path]
    query = required_query(path, operation)
    values = [v for v in FREE_TEXTS if v] + ["\x7f", "null", "AAPL ", "aapl", "..", LONG]
    for name, value in itertools.product(names, values):
        if "/" in value and path.startswith("/v2/watchlists"):
            continue  # a list and a symbol: another endpoint
        where = path_of(path, operation, **{name: value})
        answer = exchange.ask(method, where, params=query)
        if method == "GET" and path.endswith("{underlying}"):
            assert_clear(answer, value)  # a chain of an unknown stock is empty
        elif value == "..":
            assert_clear(answer, value)  # the client itself takes it for a step up
        else:
            assert_refused(answer, None, value)
    assert world(exchange) == before


# --- bodies ------------------------------------------------------------------------------------

WITH_BODY = [endpoint for endpoint in ENDPOINTS if OPERATIONS[endpoint].body]
UNREADABLE = {
    "an array": b"[]",
    "null": b"null",
    "a number": b"12",
    "a string": b'"symbol"',
    "no JSON": b"symbol=AAPL&qty=1",
    "truncated": b'{"symbol": "AAPL", "qty"',
    "two objects": b"{}{}",
    "NaN": b'{"qty": NaN}',
    "Infinity": b'{"qty": -Infinity}',
    "invalid UTF-8": b'{"symbol": "\xff\xfe\xfd"}',
    "UTF-16": '{"symbol": "AAPL"}'.encode("utf-16"),
    "a lone surrogate": b'{"symbol": "\\ud800"}',
    "deep arrays": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "closed deep arrays": b'{"symbol":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "zero bytes": b"\x00" * 100,
    "a bracket bomb": b'{"symbol": "' + b"A" * 900_000 + b'"}',
    "ten megabytes": b'{"symbol": "' + b"A" * 10_000_000 + b'"}',
}


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=named)
@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_body_that_cannot_be_read_is_refused(
    exchange: Served, endpoint: Endpoint, body: bytes
) -> None:
    (method, path), operation = endpoint, OPERATIONS[endpoint]
    before = world(exchange)
    answer = exchange.ask(method, path_of(path, operation), data=body)
    assert_refused(answer, None, body[:40])
    assert world(exchange) == before


@pytest.mark.parametrize("body", [b"", b"{}", b"   "], ids=repr)
@pytest.mark.parametrize(
    "endpoint", [e for e in WITH_BODY if OPERATIONS[e].body_required], ids=named
)
def test_an_empty_body_is_refused(exchange: Served, endpoint: Endpoint, body: bytes) -> None:
    (method, path), operation = endpoint, OPERATIONS[endpoint]
    if endpoint == ("PATCH", "/v2/account/configurations") and body == b"{}":
        return  # nothing is changed, as asked
    before = world(exchange)
    assert_refused(exchange.ask(method, path_of(path, operation), data=body), None, body)
    assert world(exchange) == before


GOOD_BODIES: dict[str, dict[str, Any]] = {
    "NewOrder": {
        "symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "limit_price": "10",
        "time_in_force": "gtc",
    },
    "NewAccount": {"key": "new", "secret": "new"},
    "AccountReset": {},
    "NewFault": {"kind": "hang"},
    "NewWatchlist": {"name": "mine"},
    "WatchlistChanges": {"name": "mine"},
    "WatchlistAddition": {"symbol": "KO"},
    "NewAction": {
        "type": "cash_dividend", "symbol": "KO", "ex_date": "2020-03-03", "rate": "0.4",
    },
}  # fmt: skip
A_SPLIT = {
    "type": "split", "symbol": "KO", "ex_date": "2020-03-03", "new_rate": "2", "old_rate": "1",
}  # fmt: skip
FIELD = re.compile(r"(\w+)(\??):(\S+)")
BAD_AMOUNTS: list[Any] = [
    "NaN", "Infinity", "-1", -1, 0, "0", "abc", "1e400", 1e300, LONG, 10**300, NOT_ASCII, True,
    [], {}, "1_000", "0x1", "1.0000000000001", 1e-12,
]  # fmt: skip
# The simulation's own endpoints have no price grid and read numbers as Python does.
LOOSE = {
    "amount": ("1_000", "1.0000000000001", 1e-12),
    "balance": ("1_000", "1.0000000000001", 1e-12, 0, "0"),
}
WRONG_TYPES: list[Any] = [[], {}, [["a"]], {"a": 1}]


def wrong_fields() -> list[tuple[Endpoint, str, list[Any]]]:
    """Per endpoint and field of its body: values that must not be accepted."""
    return [
        (endpoint, name, [*wrong_values(endpoint, kind.rstrip("?")), *([] if absent else [None])])
        for endpoint in WITH_BODY
        for name, absent, kind in FIELD.findall(RECORDS[str(OPERATIONS[endpoint].body)])
        if not kind.startswith("any")  # taken and left alone
    ]


def wrong_values(endpoint: Endpoint, kind: str) -> list[Any]:
    """By a type in the notation of the records."""
    if kind in ("amount", "balance") and endpoint[1].startswith("/sim/"):
        return [value for value in BAD_AMOUNTS if value not in LOOSE[kind]]
    if kind.startswith("="):
        return [*WRONG_TYPES, "sideways", "NaN", 1, True, NOT_ASCII, "B" * 1000]
    if kind.startswith(("{", "[")):
        return [[1], "text", 1]
    if kind[0].isupper():
        return ["text", 1, True, [1]]
    if kind in ("flag", "whole", "date", "number"):
        return [*WRONG_TYPES, "maybe", "NaN", NOT_ASCII, LONG]
    return BAD_AMOUNTS if kind == "amount" else WRONG_TYPES


@pytest.mark.parametrize(
    ("endpoint", "field", "values"),
    wrong_fields(),
    ids=lambda value: named(value) if isinstance(value, tuple) else str(value)[:20],
)
def test_a_field_with_a_wrong_value_is_refused(
    exchange: Served, endpoint: Endpoint, field: str, values: list[Any]
) -> None:
    (method, path), operation = endpoint, OPERATIONS[endpoint]
    good = GOOD_BODIES.get(str(operation.body), {})
    if field in ("new_rate", "old_rate"):
        good = A_SPLIT
    where = path_of(path, operation, order_id=exchange.get("/v2/orders")[0]["id"], key="spare")
    query = required_query(path, operation)
    before = world(exchange)
    for value in values:
        answer = exchange.ask(method, where, params=query, data=json.dumps(good | {field: value}))
        assert_refused(answer, field, value)
    if field in good:
        body = {name: value for name, value in good.items() if name != field}
        assert_refused(exchange.ask(method, where, params=query, json=body), field, "missing")
        huge = json.dumps(good | {field: "A" * 50_000})
        assert_refused(exchange.ask(method, where, params=query, data=huge), None, "huge")
    assert world(exchange) == before


def test_without_keys_nothing_is_answered_and_nothing_changes(exchange: Served) -> None:
    before = world(exchange)
    odd: list[dict[str, Any]] = [
        {},
        {"APCA-API-KEY-ID": KEYS["APCA-API-KEY-ID"]},
        {**KEYS, "APCA-API-SECRET-KEY": ""},
        {**KEYS, "APCA-API-SECRET-KEY": "x" * 5000},
        {**KEYS, "APCA-API-SECRET-KEY": "ä".encode("latin-1")},
        {"APCA-API-KEY-ID": b"\xff\xfe", "APCA-API-SECRET-KEY": b"\x80"},
    ]
    for method, path in ENDPOINTS:
        if OPERATIONS[method, path].keys:
            for headers in odd:
                where = exchange.url + path_of(path, OPERATIONS[method, path])
                answer = requests.request(method, where, headers=headers, timeout=20)
                assert (answer.status_code, answer.json()) == (401, {"message": "unauthorized"})
    assert world(exchange) == before


def test_what_does_not_exist_says_so(exchange: Served) -> None:
    for path in (
        "/",
        "/v2",
        "/v2/",
        "/v2/orders/",
        "/v3/clock",
        "//v2/account",
        "/v2/ord%65rs/x/y",
    ):
        answer = exchange.ask("GET", path)
        if answer.status_code != 200:  # a page of the simulation's state may be at the root
            assert answer.status_code in (404, 422), path
            assert answer.json()["message"]
    for method in ("PUT", "TRACE", "OPTIONS"):
        answer = exchange.ask(method, "/v2/orders")
        assert answer.status_code == 404
        assert "not offered" in answer.json()["message"]


def test_all_these_answers_were_within_the_documents(exchange: Served) -> None:
    """Last of all: what the recorder noted of the tests before."""
    exchange.get("/v2/clock")
    assert dict(RECORDER.wrong) == {}


# --- what only /sim takes ----------------------------------------------------------------------

ENORMOUS: list[tuple[str, dict[str, Any], str]] = [
    ("accounts", {"positions": {"KO": {"qty": "1e300"}}}, "qty"),
    ("accounts", {"positions": {"KO": {"qty": "-1e300"}}}, "qty"),
    ("accounts", {"positions": {"KO": {"qty": "1e-30"}}}, "qty"),
    ("accounts", {"positions": {"KO": {"qty": "NaN"}}}, "qty"),
    ("accounts", {"positions": {"KO": {"qty": 1, "avg_entry_price": "1e999999"}}}, "avg_entry"),
    ("accounts", {"cash": "1e99999999"}, "cash"),
    ("step", {"to": "9999-12-31T23:59:59-12:00"}, "to"),
    ("step", {"to": "0001-01-01T00:00:00+12:00"}, "to"),
    ("corporate-actions", GOOD_BODIES["NewAction"] | {"ex_date": "9999-12-31"}, "ex_date"),
    ("corporate-actions", GOOD_BODIES["NewAction"] | {"ex_date": "0001-01-01"}, "ex_date"),
]


@pytest.mark.parametrize(("path", "body", "name"), ENORMOUS, ids=lambda value: str(value)[:60])
def test_what_no_arithmetic_survives_is_refused(
    exchange: Served, path: str, body: dict[str, Any], name: str
) -> None:
    before = world(exchange)
    good = GOOD_BODIES["NewAccount"] if path == "accounts" else {}
    assert_refused(exchange.ask("POST", f"/sim/{path}", json=good | body), name, body)
    assert world(exchange) == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/assets/BTC%2FUSD"),
        ("GET", "/v2/positions/BTC%2fUSD"),
        ("POST", "/v2/positions/KO%2Fexercise"),
        ("GET", "/v2/account%2Factivities"),
        ("GET", "/v2/orders/..%2F..%2Fsim%2Fstate"),
        ("DELETE", "/v2%2Forders"),
        ("POST", "/sim/accounts%2Fspare/reset"),
    ],
)
def test_an_encoded_slash_leads_to_no_other_endpoint(
    exchange: Served, method: str, path: str
) -> None:
    before = world(exchange)
    answer = exchange.ask(method, path)
    assert (answer.status_code, wrong_error(answer.json())) == (404, [])
    assert world(exchange) == before
