"""Faults are decided by seed, rule and count alone; what they do to answers and streams."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exchange.engine.refusals import Refusal
from services.exchange.faults.board import Faults
from services.exchange.faults.rules import FIELDS, KINDS, STREAM_KINDS, Fault, trouble
from services.exchange.faults.spoiling import error_of, malformed_of, spoilt
from services.exchange.faults.streams import StreamFaults
from services.exchange.http.records import RECORDS, record

DOCUMENT = Path(__file__).parents[3] / "docs" / "exchange.md"
ORDERS = ("POST", "/v2/orders", "/v2/orders", "key")


def faults(*rules: Fault) -> Faults:
    board = Faults()
    for rule in rules:
        board.add(rule)
    return board


def struck(board: Faults, count: int) -> list[str | None]:
    """Which rule each of so many orders meets."""
    met = [board.strike(*ORDERS) for _ in range(count)]
    return [strike.fault.id if strike else None for strike in met]


# --- deciding ----------------------------------------------------------------------------------


def test_the_same_seed_and_requests_give_the_same_faults() -> None:
    rule = Fault(kind="error", rate=0.3, seed=7)
    first, again = struck(faults(rule), 200), struck(faults(rule), 200)
    assert first == again
    assert 30 < len([name for name in first if name]) < 90
    other = struck(faults(msgspec.structs.replace(rule, seed=8)), 200)
    assert other != first


def test_healed_and_set_again_a_rule_does_the_same_again() -> None:
    rule = Fault(kind="error", rate=0.3, seed=7)
    board = faults(rule)
    first = struck(board, 100)
    board.heal()
    assert struck(board, 100) == [None] * 100
    board.add(rule)
    assert struck(board, 100) == first


def test_a_rule_does_not_depend_on_those_behind_it() -> None:
    rule = Fault(id="mine", kind="error", rate=0.5, seed=3)
    alone = struck(faults(rule), 100)
    board = faults(rule, Fault(id="behind", kind="reset", rate=0.5))
    assert [name if name == "mine" else None for name in struck(board, 100)] == alone


def test_skip_lets_pass_and_times_ends() -> None:
    board = faults(Fault(id="a", kind="hang", skip=2, times=2))
    assert struck(board, 6) == [None, None, "a", "a", None, None]
    (counted,) = board.rules.values()
    assert (counted.matched, counted.injected) == (6, 2)


def test_rules_take_their_turns_in_the_order_they_were_set() -> None:
    board = faults(
        Fault(id="a", kind="error", times=1),
        Fault(id="b", kind="reset", times=2),
        Fault(id="c", kind="hang", skip=1, times=1),
    )
    assert struck(board, 6) == ["a", "b", "b", None, "c", None]
    assert [c.matched for c in board.rules.values()] == [6, 5, 3]


@pytest.mark.parametrize(
    ("rule", "meets"),
    [
        ({}, True),
        ({"method": "POST"}, True),
        ({"method": "GET"}, False),
        ({"path": "/v2/orders/{order_id}"}, True),
        ({"path": "/v2/orders/abc"}, True),
        ({"path": "/v2/orders*"}, True),
        ({"path": "/v2/orders"}, False),
        ({"path": "/v2/*/abc"}, True),
        ({"key": "key"}, True),
        ({"key": "other"}, False),
        ({"method": "POST", "path": "/v2/orders/{order_id}", "key": "key"}, True),
    ],
)
def test_what_a_rule_matches(rule: dict[str, Any], meets: bool) -> None:
    board = faults(Fault(kind="error", **rule))
    strike = board.strike("POST", "/v2/orders/abc", "/v2/orders/{order_id}", "key")
    assert (strike is not None) == meets


def test_rules_for_streams_and_for_requests_do_not_meet() -> None:
    board = faults(Fault(kind="mute"), Fault(kind="error"))
    assert struck(board, 1) == ["fault-2"]
    assert StreamFaults(board, "stocks", "key")([1]) == []
    assert [c.matched for c in board.rules.values()] == [1, 1]


def test_who_is_set_twice_or_not_there_is_refused() -> None:
    board = faults(Fault(id="a", kind="error"), Fault(kind="error"))
    assert list(board.rules) == ["a", "fault-1"]
    with pytest.raises(Refusal, match="'a' is set already"):
        board.add(Fault(id="a", kind="hang"))
    with pytest.raises(Refusal, match="no fault has the id 'b'"):
        board.remove("b")
    assert len(board.rules) == 2


def test_those_removed_are_told() -> None:
    board = faults(Fault(id="a", kind="hang"), Fault(id="b", kind="hang"), Fault(kind="hang"))
    told: list[list[str]] = []
    board.tell_removed = lambda names: told.append(list(names))
    board.remove("b")
    board.heal()
    assert told == [["b"], ["a", "fault-1"]]
    assert not board


# --- rules that are not accepted -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({"kind": "error", "status": 200}, "status"),
        ({"kind": "error", "rate": 1.01}, "rate"),
        ({"kind": "error", "rate": float("nan")}, "rate"),
        ({"kind": "error", "skip": -1}, "skip"),
        ({"kind": "error", "times": 0}, "times"),
        ({"kind": "error", "path": "v2/orders"}, "path"),
        ({"kind": "error", "id": "a/b"}, "id"),
        ({"kind": "error", "body": "x", "message": "y"}, "body"),
        ({"kind": "error", "seconds": 1.0}, "seconds"),
        ({"kind": "error", "stream": "stocks"}, "stream"),
        ({"kind": "delay", "seconds": 601.0}, "seconds"),
        ({"kind": "reset", "status": 500}, "status"),
        ({"kind": "missing_quotes", "share": 2.0}, "share"),
        ({"kind": "altered"}, "fields"),
        ({"kind": "altered", "fields": {}, "rows": []}, "rows"),
        ({"kind": "mute", "path": "/v2/orders"}, "path"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_its_field(
    rule: dict[str, Any], named: str
) -> None:
    board = Faults()
    with pytest.raises(Refusal, match=named) as caught:
        board.add(Fault(**rule))
    assert caught.value.status == 422
    assert not board


def test_every_kind_is_accepted_with_what_it_takes() -> None:
    given_: dict[str, Any] = {
        "seconds": 1.0, "status": 503, "message": "later", "share": 0.5, "fields": {"a": 1},
    }  # fmt: skip
    assert set(FIELDS) == set(KINDS)
    assert set(KINDS) > STREAM_KINDS
    for kind, names in FIELDS.items():
        own = {name: value for name, value in given_.items() if name in names}
        assert trouble(Fault(kind=kind, **own)) is None  # type: ignore[arg-type]


def test_the_documents_name_every_kind_and_what_it_takes() -> None:
    kinds = record(RECORDS["Fault"])["properties"]["kind"]["enum"]
    assert tuple(kinds) == KINDS
    assert record(RECORDS["NewFault"])["properties"].keys() == set(Fault.__struct_fields__)
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?)\| ", DOCUMENT.read_text("utf-8"), re.M))
    for kind, names in FIELDS.items():
        assert tuple(re.findall(r"`(\w+)`", told[kind])) == names, kind


# --- answers -------------------------------------------------------------------------------------


def test_an_error_is_in_alpacas_shape_unless_a_body_is_given() -> None:
    assert error_of(Fault(kind="error")) == (500, b'{"message":"internal server error"}')
    told = Fault(kind="error", status=422, code=42210000, message="no")
    assert error_of(told) == (422, b'{"code":42210000,"message":"no"}')
    assert error_of(Fault(kind="error", status=502, body="<html>")) == (502, b"<html>")


def test_malformed_json_is_no_json() -> None:
    proper = b'{"id":"1","status":"new"}'
    for body in (malformed_of(Fault(kind="malformed"), None),
                 malformed_of(Fault(kind="malformed_after"), proper)):  # fmt: skip
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(body)
    assert malformed_of(Fault(kind="malformed", body="<html>"), None) == b"<html>"


CHAIN = {
    "snapshots": {
        f"KO200221P000{strike}000": {
            "latestQuote": {"bp": 1}, "greeks": {"delta": -0.3}, "impliedVolatility": 0.2,
        }
        for strike in range(40, 70)
    },
    "next_page_token": None,
}  # fmt: skip


def spoil(content: Any, *, number: int = 1, **rule: Any) -> Any:
    return msgspec.json.decode(spoilt(Fault(**rule), number, msgspec.json.encode(content)))


def test_greeks_and_quotes_go_missing_for_a_share_of_the_symbols() -> None:
    left = spoil(CHAIN, kind="missing_greeks", share=0.5)
    bare = [s for s, view in left["snapshots"].items() if "greeks" not in view]
    assert 5 < len(bare) < 25
    assert all("impliedVolatility" not in left["snapshots"][s] for s in bare)
    assert all("latestQuote" in view for view in left["snapshots"].values())
    assert left["next_page_token"] is None
    assert spoil(CHAIN, kind="missing_greeks", share=0.5) == left
    assert spoil(CHAIN, kind="missing_greeks", share=0.5, number=2) != left
    none = spoil(CHAIN, kind="missing_quotes")["snapshots"].values()
    assert all(view.keys() == {"greeks", "impliedVolatility"} for view in none)


def test_quotes_go_missing_from_what_stocks_answer() -> None:
    snapshots = {"KO": {"latestTrade": {"p": 1}, "latestQuote": {"bp": 1}}}
    assert spoil(snapshots, kind="missing_quotes") == {"KO": {"latestTrade": {"p": 1}}}
    quotes = {"quotes": {"KO": {"bp": 1}}}
    assert spoil(quotes, kind="missing_quotes") == {"quotes": {}}
    assert spoil(quotes, kind="missing_greeks") == quotes
    assert spoil([1, 2], kind="missing_quotes") == [1, 2]


def test_an_answer_is_altered() -> None:
    account = {"status": "ACTIVE", "cash": "1"}
    assert spoil(account, kind="altered", fields={"status": "ONBOARDING"}) == {
        "status": "ONBOARDING", "cash": "1",
    }  # fmt: skip
    assert spoil([{"a": 1}], kind="altered", rows=[{"b": 2}]) == [{"a": 1}, {"b": 2}]
    assert spoil(account, kind="altered", rows=[{"b": 2}]) == account


# --- streams -------------------------------------------------------------------------------------


def sent(board: Faults, *batches: list[int]) -> list[list[int] | None]:
    """What becomes of each batch on its way to one connection for order updates."""
    tap = StreamFaults[int](board, "trade_updates", "key")
    return [tap(batch) for batch in batches]


def test_a_mute_stream_sends_nothing_and_stays() -> None:
    board = faults(Fault(kind="mute", stream="trade_updates", skip=1, times=2))
    assert sent(board, [1, 2], [3, 4]) == [[1], [4]]


def test_an_event_comes_twice() -> None:
    board = faults(Fault(kind="duplicate", skip=1, times=1))
    assert sent(board, [1, 2, 3]) == [[1, 2, 2, 3]]


def test_an_event_comes_after_the_next_one() -> None:
    board = faults(Fault(kind="reorder", skip=1, times=1))
    assert sent(board, [1, 2, 3, 4]) == [[1, 3, 2, 4]]
    board = faults(Fault(kind="reorder", times=1))
    assert sent(board, [1], [], [2], [3]) == [[], [], [2, 1], [3]]


def test_what_is_held_back_leaves_with_the_next_event_also_after_healing() -> None:
    board = faults(Fault(kind="reorder"))
    tap = StreamFaults[int](board, "stocks", "key")
    assert tap([1]) == []
    board.heal()
    assert tap([2]) == [2, 1]
    assert tap([3]) == [3]


def test_connections_do_not_mix_what_they_hold_back() -> None:
    board = faults(Fault(kind="reorder", times=2))
    first, second = (StreamFaults[int](board, "stocks", "key") for _ in range(2))
    assert (first([1]), second([1])) == ([], [])
    assert (first([2]), second([2])) == ([2, 1], [2, 1])


def test_a_dropped_stream_is_cut_instead_of_the_event() -> None:
    board = faults(Fault(kind="drop", stream="stocks", skip=2, times=1))
    tap = StreamFaults[int](board, "stocks", "key")
    assert tap([1, 2]) == [1, 2]
    assert tap([3]) is None
    assert tap([4]) == [4], "a connection made anew is served"
    other = faults(Fault(kind="drop", stream="stocks", key="another"))
    assert StreamFaults[int](other, "stocks", "key")([1]) == [1]
    assert StreamFaults[int](other, "options", "another")([1]) == [1]


@given(
    seed=st.integers(0, 2**32),
    rate=st.floats(0, 1),
    kinds=st.lists(st.sampled_from(("duplicate", "reorder")), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 40), max_size=5),
)
def test_doubled_and_reordered_no_event_is_lost(
    seed: int, rate: float, kinds: list[Any], cuts: list[int]
) -> None:
    board = faults(*(Fault(kind=kind, rate=rate, seed=seed) for kind in kinds))
    places = [0, *sorted(cuts), 40]
    batches = [list(range(a, b)) for a, b in pairwise(places)]
    tap = StreamFaults[int](board, "trade_updates", "key")
    leaving = [event for batch in batches for event in tap(batch) or []]
    board.heal()
    leaving += tap([40]) or []
    assert set(leaving) == set(range(41))
    assert all(leaving.count(event) <= 2 for event in leaving)
