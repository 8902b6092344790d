"""The judge finds planted faults, and what it forgives is written down and needed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformity.alpaca_spec import (
    CORRECTIONS,
    SHOWN,
    TRADING_FILE,
    UNDOCUMENTED,
    alpaca_judge,
    document,
    raw_document,
)
from tests.conformity.judge import Judge, Verdict, find

JUDGE = alpaca_judge()
JSON = {"content-type": "application/json; charset=utf-8"}
CLOCK = {
    "timestamp": "2025-06-24T14:15:22-04:00",
    "is_open": True,
    "next_open": "2025-06-25T09:30:00-04:00",
    "next_close": "2025-06-24T16:00:00-04:00",
}
LIMITS = {
    "x-ratelimit-limit": "200",
    "x-ratelimit-remaining": "199",
    "x-ratelimit-reset": "1750788960",
}


def judge(
    method: str, path: str, status: int, content: Any, headers: dict[str, str] | None = None
) -> Verdict:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return JUDGE.judge(method, path, status, JSON | (headers or {}), body)


def example(name: str) -> Any:
    return find(raw_document(TRADING_FILE), f"/components/schemas/{name}/examples/0")


def test_a_right_answer_has_no_fault() -> None:
    assert judge("GET", "/v2/clock", 200, CLOCK, LIMITS) == Verdict([], [])
    assert judge("GET", "/v2/positions", 200, [example("Position")]) == Verdict([], [])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"timestamp": "yesterday"}, "date-time"),
        ({"is_open": "true"}, "boolean"),
        ({"next_open": None}, "string"),
    ],
)
def test_a_wrong_field_is_found(change: dict[str, Any], told: str) -> None:
    (wrong,) = judge("GET", "/v2/clock", 200, CLOCK | change, LIMITS).wrong
    assert told in wrong
    assert next(iter(change)) in wrong


def test_a_missing_field_is_found_even_when_only_an_example_shows_it() -> None:
    position = {k: v for k, v in example("Position").items() if k != "qty_available"}
    (wrong,) = judge("GET", "/v2/positions/AAPL", 200, position).wrong
    assert "qty_available" in wrong


def test_money_as_a_number_is_found() -> None:
    (wrong,) = judge("GET", "/v2/positions/AAPL", 200, example("Position") | {"qty": 5}).wrong
    assert wrong.startswith("/qty")


def test_a_field_beyond_the_document_is_told_apart() -> None:
    verdict = judge("GET", "/v2/clock", 200, CLOCK | {"mood": "calm"}, LIMITS)
    assert verdict == Verdict([], ["/mood"])
    position = example("Position") | {"mood": "calm"}
    assert judge("GET", "/v2/positions", 200, [position]) == Verdict([], ["/0/mood"])


def test_an_activity_is_held_against_its_own_record() -> None:
    fill = example("TradingActivities")
    assert judge("GET", "/v2/account/activities", 200, [fill]) == Verdict([], [])
    del fill["leaves_qty"]
    assert judge("GET", "/v2/account/activities", 200, [fill]).wrong
    expiry = {"id": "20200221::x", "activity_type": "OPEXP", "date": "2020-02-21"}
    assert judge("GET", "/v2/account/activities/OPEXP", 200, [expiry]) == Verdict([], [])
    late = expiry | {"date": "2020-02-21T00:00:00Z"}
    assert judge("GET", "/v2/account/activities/OPEXP", 200, [late]).wrong


def test_missing_headers_are_found() -> None:
    assert len(judge("GET", "/v2/clock", 200, CLOCK).wrong) == 3
    soon = LIMITS | {"x-ratelimit-reset": "soon"}
    (wrong,) = judge("GET", "/v2/clock", 200, CLOCK, soon).wrong
    assert "X-RateLimit-Reset" in wrong


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, {"code": 50010000, "message": "oh"}),
        (418, {"code": 41810000, "message": "tea"}),
        (422, {"message": "no code"}),
        (422, {"code": 42210000}),
        (422, {"code": 42210000, "message": ""}),
        (422, {"code": "42210000", "message": "text"}),
        (403, ["wash"]),
        (404, b"<html>"),
        (200, b'{"id": NaN}'),
    ],
)
def test_a_wrong_error_is_found(status: int, content: Any) -> None:
    assert judge("GET", "/v2/positions/AAPL", status, content).wrong


def test_an_answer_that_is_not_said_to_be_json_is_found() -> None:
    body = json.dumps(CLOCK).encode()
    assert JUDGE.judge("GET", "/v2/clock", 200, LIMITS | {"content-type": "text/html"}, body).wrong


def test_a_literal_path_goes_before_a_pattern() -> None:
    for path in ("/v2/stocks/bars", "/v2/orders:by_client_order_id"):
        operation = JUDGE.operation("GET", path)
        assert operation is not None
        assert operation.path == path
    assert judge("GET", "/v2/nothing", 200, {}).wrong


def test_every_correction_is_needed_and_is_of_what_the_document_still_says() -> None:
    for correction in CORRECTIONS:
        assert find(raw_document(correction.file), correction.pointer) == correction.wrong
        assert find(document(correction.file), correction.pointer) == correction.right
        assert correction.why


def test_the_documents_own_examples_contradict_the_corrected_date() -> None:
    """Alpaca's example of an activity is wrong by Alpaca's schema, and right by the corrected."""
    row = example("NonTradeActivities")
    shipped = {"urn:shipped": raw_document(TRADING_FILE)}
    strict = Judge({"urn:x": _activity_only(shipped["urn:shipped"])})
    path = "/v2/account/activities"
    assert strict.judge("GET", path, 200, JSON, json.dumps([row]).encode()).wrong
    assert judge("GET", path, 200, [row]) == Verdict([], [])


def _activity_only(made: dict[str, Any]) -> dict[str, Any]:
    """The document as shipped, with the record chosen by hand."""
    copied: dict[str, Any] = json.loads(json.dumps(made))
    answer = copied["paths"]["/v2/account/activities"]["get"]["responses"]["200"]
    answer["content"]["application/json"]["schema"]["items"] = {
        "$ref": "#/components/schemas/NonTradeActivities"
    }
    return copied


def test_what_is_forgiven_has_a_reason() -> None:
    assert all(each.why for each in UNDOCUMENTED)
    assert len({each.status for each in UNDOCUMENTED}) == len(UNDOCUMENTED)
    schemas = document(TRADING_FILE)["components"]["schemas"]
    assert set(SHOWN) <= set(schemas)
