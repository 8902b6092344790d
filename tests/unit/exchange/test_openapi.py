"""Our OpenAPI document says of every endpoint what it takes, and nothing of what there is not."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from services.exchange.config import ExchangeConfig
from services.exchange.engine.refusals import Refusal
from services.exchange.http.call import Call
from services.exchange.http.described import Parameter
from services.exchange.http.endpoints import all_routes
from services.exchange.http.openapi import document, openapi_endpoint, operation_id
from services.exchange.http.operations import OPERATIONS
from services.exchange.http.records import RECORDS, record, schema_of
from services.exchange.http.routes import Route
from services.exchange.service import Running

ROUTES = all_routes().all
MOUNTED = [(route.method, route.path) for route in ROUTES]


class Reading(dict[str, str]):
    """A query that notes which parameters are looked up."""

    def __init__(self, given: dict[str, str]) -> None:
        super().__init__(given)
        self.read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.read.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)


@pytest.fixture(scope="module")
def running() -> Running:
    config = ExchangeConfig(
        key="k",
        secret="s",
        symbols=["AAPL", "KO"],
        stocks={"AAPL": Decimal(100)},
        paused=True,
    )
    return Running(config)


def open_order(running: Running) -> str:
    """The id of an order that rests."""
    account = running.venue.tenants["k"].account
    if not account.books.open_orders:
        terms = {"symbol": "KO", "qty": 1, "side": "buy", "type": "limit", "limit_price": 1}
        account.submit(terms | {"time_in_force": "gtc"}, running.venue.now())
    return next(iter(account.books.open_orders))


def test_every_mounted_endpoint_is_described() -> None:
    assert [endpoint for endpoint in MOUNTED if endpoint not in OPERATIONS] == []


def test_nothing_is_described_that_is_not_mounted() -> None:
    assert [endpoint for endpoint in OPERATIONS if endpoint not in MOUNTED] == []


def example_of(parameter: Parameter) -> str:
    plain = {"instant": "2020-01-31T15:00:00Z", "date": "2020-01-31", "whole": "3", "number": "1"}
    choice = parameter.choices[0] if parameter.choices else None
    return parameter.example or choice or plain.get(parameter.kind, "true")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_the_parameters_described_are_those_that_are_read(route: Route, running: Running) -> None:
    if (route.method, route.path) not in OPERATIONS:
        pytest.skip("described nowhere: another test says so")
    parameters = OPERATIONS[route.method, route.path].parameters
    in_query = {p.name: p for p in parameters if f"{{{p.name}}}" not in route.path}
    in_path = {p.name: example_of(p) for p in parameters if p.name not in in_query}
    if "order_id" in in_path:
        in_path["order_id"] = open_order(running)
    assert set(in_path) == set(re.findall(r"\{(\w+)\}", route.path))
    read: set[str] = set()
    for given in queries(in_query):
        query = Reading(given)
        tenant = running.venue.tenants["k"]
        moment = running.venue.advance()
        call = Call(
            venue=running.venue,
            moment=moment,
            query=query,
            path=dict(in_path),
            body=b"{}",
            holder=None if route.path.startswith("/sim/") else tenant,
        )
        with contextlib.suppress(Refusal):  # what was read before it counts
            route.endpoint(call)
        read |= query.read
    assert read == set(in_query)


def queries(in_query: dict[str, Parameter]) -> Iterator[dict[str, str]]:
    """With what is required alone, and with each of the others besides."""
    required = {name: example_of(p) for name, p in in_query.items() if p.required}
    yield required
    for name, parameter in in_query.items():
        yield required | {name: example_of(parameter)}


def test_the_document_is_a_pure_function_and_is_json() -> None:
    assert document(MOUNTED) == document(MOUNTED)
    assert json.loads(json.dumps(document(MOUNTED))) == document(MOUNTED)


def test_what_is_mounted_without_a_description_is_in_the_document_all_the_same() -> None:
    made = document([("GET", "/v2/thing/{id}")])
    assert list(made["paths"]) == ["/v2/thing/{id}"]
    assert made["paths"]["/v2/thing/{id}"]["get"]["operationId"] == "get_v2_thing_id"


def test_the_served_document_is_of_what_is_mounted_and_of_itself(running: Running) -> None:
    call = Call(
        venue=running.venue,
        moment=running.venue.advance(),
        query={},
        path={},
        body=b"",
        holder=None,
    )
    answer = openapi_endpoint([("GET", "/v2/clock")])(call)
    assert answer.media_type == "application/json"
    assert json.loads(answer.body) == document([("GET", "/v2/clock"), ("GET", "/openapi.json")])


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_reference_leads_somewhere_and_every_record_is_referred_to() -> None:
    made = document(OPERATIONS)
    found = set(references(made))
    for reference in found:
        place = made
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    used = {reference.rpartition("/")[2] for reference in found}
    assert set(RECORDS) - used == set()


def test_operation_ids_are_unique() -> None:
    ids = [operation_id(*endpoint) for endpoint in OPERATIONS]
    assert len(set(ids)) == len(ids)


def test_keys_are_asked_for_where_they_are_needed_and_streams_are_told() -> None:
    made = document(MOUNTED)
    assert made["paths"]["/v2/account"]["get"]["security"] == [{"key": [], "secret": []}]
    assert made["paths"]["/sim/health"]["get"]["security"] == []
    assert "trade_updates" in made["info"]["description"]


def test_the_notation_of_records() -> None:
    made = record("id:uuid qty?:money? side:=buy|sell legs:[Order]? by:{[Bar]}")
    assert made["required"] == ["id", "side", "legs", "by"]
    assert made["properties"]["side"] == {"type": "string", "enum": ["buy", "sell"]}
    assert made["properties"]["legs"] == {
        "anyOf": [
            {"type": "array", "items": {"$ref": "#/components/schemas/Order"}},
            {"type": "null"},
        ]
    }
    assert made["properties"]["by"]["additionalProperties"]["type"] == "array"
    assert made["additionalProperties"] is False


@pytest.mark.parametrize("wrong", ["Nothing", "text|uuid", ""])
def test_a_type_the_notation_does_not_know_is_an_error(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no type"):
        schema_of(wrong)


def test_a_word_that_is_no_field_is_an_error() -> None:
    with pytest.raises(ValueError, match="is no field"):
        record("id:uuid symbol")
