"""What our OpenAPI document lets a client send is answered within it, and so is what it forbids.

schemathesis makes the requests: well-formed ones and ones that break the document somewhere. The
same every time (`derandomize`, no example database), so that a run on another day finds the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.exchange.http.endpoints import all_routes
from services.exchange.http.openapi import document
from services.exchange.http.operations import OPERATIONS
from tests.conformity.served import KEYS, Served, serving

pytestmark = pytest.mark.integration

EXAMPLES_MAX = 15
MOUNTED = [(route.method, route.path) for route in all_routes().all]
KNOWN_SYMBOLS = ["AAPL", "KO", "MSFT", "ZZZZ"]
KNOWN_CONTRACTS = ["AAPL200221C00080000", "KO200221P00050000", "ZZZZ200221C00001000"]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CHANGES_THE_WORLD = [
    endpoint for endpoint in MOUNTED if endpoint[1].startswith("/sim/") and endpoint[0] != "GET"
]
LABELS = [f"{method} {path}" for method, path in MOUNTED]


@pytest.fixture(scope="module")
def exchange() -> Iterator[Served]:
    with serving(paused=True) as served:
        yield served


def wide() -> dict[str, Any]:
    """The document; keys are always sent, so that what is behind them is met."""
    made = document(MOUNTED)
    for item in made["paths"].values():
        for operation in item.values():
            operation["security"] = []
    return made


def narrow() -> dict[str, Any]:
    """The document with symbols that exist and dates of our years: requests that get further."""
    made = wide()
    for item in made["paths"].values():
        for operation in item.values():
            for parameter in operation["parameters"]:
                _narrow(parameter["schema"], parameter["name"], parameter.get("example"))
    for name in ("NewOrder", "NewAction"):
        made["components"]["schemas"][name]["properties"]["symbol"] = {
            "enum": KNOWN_SYMBOLS + KNOWN_CONTRACTS
        }
    return made


def _narrow(schema: dict[str, Any], name: str, example: Any) -> None:
    if schema.get("type") == "array":
        known = KNOWN_CONTRACTS if example and len(example[0]) > 8 else KNOWN_SYMBOLS
        schema["items"] = {"enum": known} if "symbols" in name else schema["items"]
    elif name in ("symbol", "underlying"):
        known = KNOWN_SYMBOLS + KNOWN_CONTRACTS
        schema.update({"enum": known})
    elif name == "timeframe" and "enum" not in schema:
        schema.update({"enum": ["1Min", "15Min", "1Hour", "1Day", "1Week"]})
    elif "anyOf" in schema:
        schema["anyOf"] = [
            {"type": "string", "enum": ["2020-01-31", "2020-02-03T14:30:00Z", "2020-02-21"]}
        ]


WIDE = schemathesis.openapi.from_dict(wide())
NARROW = schemathesis.openapi.from_dict(narrow())


def ask(schema: Any, label: str, mode: GenerationMode, served: Served) -> int:
    """Send the examples of one endpoint and mode; answers how many. Raises on the first fault."""
    operation = schema.find_operation_by_label(label)
    sent = 0

    @settings(
        max_examples=EXAMPLES_MAX,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        nonlocal sent
        answer = case.call(
            base_url=served.url, headers=dict(KEYS), session=served.session, timeout=20
        )
        case.validate_response(answer, checks=CHECKS)
        sent += 1

    try:
        send()
    except Unsatisfiable:  # an endpoint that takes nothing has nothing to break
        assert mode is GenerationMode.NEGATIVE
    return sent


def check_all(label: str, served: Served) -> None:
    assert ask(WIDE, label, GenerationMode.POSITIVE, served)
    assert ask(NARROW, label, GenerationMode.POSITIVE, served)
    ask(WIDE, label, GenerationMode.NEGATIVE, served)
    ask(NARROW, label, GenerationMode.NEGATIVE, served)


@pytest.mark.parametrize(
    "label",
    [f"{m} {p}" for m, p in MOUNTED if (m, p) in OPERATIONS and (m, p) not in CHANGES_THE_WORLD],
)
def test_an_endpoint_answers_within_the_document(exchange: Served, label: str) -> None:
    check_all(label, exchange)


@pytest.mark.parametrize(
    "label", [f"{m} {p}" for m, p in CHANGES_THE_WORLD if (m, p) in OPERATIONS]
)
def test_an_endpoint_that_moves_the_world_answers_within_the_document(label: str) -> None:
    """Each has a world of its own: it may step to the end of time or break other answers."""
    with serving(paused=True) as served:
        check_all(label, served)
