"""OCC option symbols, forth and back, adjusted ones and garbage."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.symbols import (
    OptionSymbol,
    Right,
    is_stock_symbol,
    option_root,
    parse_option_symbol,
    underlying_of,
)

roots = st.from_regex(r"[A-Z]{1,5}", fullmatch=True)
options = st.builds(
    OptionSymbol,
    root=roots
    | st.builds("{}{}".format, st.from_regex(r"[A-Z]{1,5}", fullmatch=True), st.integers(1, 9)),
    expiration=st.dates(dt.date(2000, 1, 1), dt.date(2099, 12, 31)),
    right=st.sampled_from(Right),
    strike=st.integers(1, 99_999_999).map(lambda mills: Decimal(mills) / 1000),
)


def test_a_symbol_is_root_date_right_and_strike_in_mills() -> None:
    option = parse_option_symbol("AAPL240426C00162500")
    assert option == OptionSymbol(
        root="AAPL",
        expiration=dt.date(2024, 4, 26),
        right=Right.CALL,
        strike=Decimal("162.5"),
    )
    assert not option.adjusted


@settings(deadline=None)
@given(options)
def test_a_symbol_read_back_is_the_same_contract(option: OptionSymbol) -> None:
    text = str(option)
    assert parse_option_symbol(text) == option
    assert len(text) == len(option.root) + 15
    assert not is_stock_symbol(text)


@settings(deadline=None)
@given(options)
def test_an_adjusted_root_ends_in_a_digit_and_belongs_to_its_stock(option: OptionSymbol) -> None:
    assert option.adjusted is option.root[-1].isdigit()
    assert option.underlying.isalpha()
    assert option.root.startswith(option.underlying)
    assert underlying_of(str(option)) == option.underlying


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAPL",
        "BRK.B",
        "240426C00162500",
        "AAPL240426X00162500",
        "AAPL240426C0016250",
        "AAPL240426C001625000",
        "AAPL241326C00162500",
        "AAPL240230C00162500",
        "aapl240426C00162500",
        "AAPL 240426C00162500",
        "AAPL240426C00162500\n",
        "ÄPL240426C00162500",
        "AAPL240426C٠٠١٦٢٥٠٠",
        "1APL240426C00162500",
    ],
)
def test_what_is_no_option_symbol_is_none_and_its_own_underlying(text: str) -> None:
    assert parse_option_symbol(text) is None
    assert underlying_of(text) == text


@settings(deadline=None)
@given(st.text())
def test_any_text_is_an_option_or_it_is_not(text: str) -> None:
    option = parse_option_symbol(text)
    assert option is None or str(option) == text


@pytest.mark.parametrize("text", ["A", "KO", "GOOGL", "BRK.B", "BF/A", "T1"])
def test_a_stocks_symbol_is_known_by_its_form(text: str) -> None:
    assert is_stock_symbol(text)


@pytest.mark.parametrize("text", ["", "ko", "TOOLONG", "BRK.", ".B", "K O", "KO\n", "1KO", "Ä"])
def test_what_cannot_be_a_stock_is_not(text: str) -> None:
    assert not is_stock_symbol(text)


def test_options_on_a_share_class_are_listed_without_its_dot() -> None:
    assert option_root("BRK.B") == option_root("BRK/B") == option_root("BRKB") == "BRKB"
    assert option_root("KO") == "KO"
