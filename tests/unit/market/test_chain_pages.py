"""A page of a chain gives what was asked for, whatever else is in it."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from libs.common.symbols import Right
from libs.common.wire import WireError
from services.market.chain_pages import chain_page
from services.market.coverage import ChainFilter

PART = ChainFilter(
    right=Right.PUT,
    expiration_first=dt.date(2020, 2, 17),
    expiration_last=dt.date(2020, 2, 28),
    strike_low=50.0,
    strike_high=53.5,
)
WANTED = ["KO200221P00050000", "KO200228P00053500"]
UNWANTED = [
    "KO200221C00050000",
    "KO200221P00049500",
    "KO200221P00054000",
    "KO200306P00050000",
    "KO200214P00050000",
    "nonsense",
]
GOOD = {"latestQuote": {"bp": 0.4, "ap": 0.45, "t": "whenever"}, "impliedVolatility": 0.2}


def page(contracts: dict[str, object], token: str | None = None) -> bytes:
    return msgspec.json.encode({"snapshots": contracts, "next_page_token": token})


def test_only_what_was_asked_for_comes_out_both_bounds_included() -> None:
    got = chain_page(page(dict.fromkeys([*WANTED, *UNWANTED], GOOD), "more"), PART)
    assert sorted(got.snapshots) == WANTED
    assert got.next_page_token == "more"
    assert got.broken == []


@pytest.mark.parametrize("others", [[], UNWANTED], ids=["mostly wanted", "mostly unwanted"])
def test_a_contract_that_does_not_decode_is_left_out_alone_and_named(others: list[str]) -> None:
    contracts: dict[str, object] = dict.fromkeys([*WANTED, *others], GOOD)
    contracts[WANTED[0]] = {"latestQuote": ["no", "quote"]}
    got = chain_page(page(contracts), PART)
    assert list(got.snapshots) == [WANTED[1]]
    assert got.broken == [WANTED[0]]


def test_what_was_not_asked_for_may_be_broken_without_harm() -> None:
    contracts: dict[str, object] = dict.fromkeys(WANTED, GOOD)
    contracts[UNWANTED[0]] = "broken"
    got = chain_page(page(contracts), PART)
    assert sorted(got.snapshots) == WANTED
    assert got.broken == []


def test_both_ways_of_decoding_say_the_same() -> None:
    alone = chain_page(page(dict.fromkeys(WANTED, GOOD)), PART)
    among = chain_page(page(dict.fromkeys([*UNWANTED, *WANTED], GOOD)), PART)
    assert alone.snapshots == among.snapshots


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"snapshots": 3}', b"<html>", b'{"snap'])
def test_what_is_no_page_is_an_error_that_says_so(payload: bytes) -> None:
    with pytest.raises(WireError, match="option chain does not decode"):
        chain_page(payload, PART)


def test_an_empty_page_is_an_empty_chain() -> None:
    assert chain_page(b'{"snapshots": null}', PART).snapshots == {}
