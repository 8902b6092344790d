"""What the commands' options share: flags, and values read from their texts.

A value that cannot be is refused in one line that names the option, the value and what is allowed.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import sys
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from libs.common.log_lines import json_line

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON line for scripts.")]


class OptionError(Exception):
    """An option's value cannot be; the text is one line for a person."""

    def __init__(self, option: str, value: object, remedy: str) -> None:
        super().__init__(f"{option} {str(value)[:200]}: {remedy}")


def fail(text: str, status: int = 1) -> typer.Exit:
    """Says what went wrong on stderr; raise what this returns."""
    if logs_are_json() and not sys.stderr.isatty():
        sys.stderr.write(json_line(utc_now(), "cli", text, level="error") + "\n")
    else:
        sys.stderr.write(f"alpaclaudia: {text}\n")
    return typer.Exit(status)


def report_line(text: str) -> None:
    """What a command that runs once did: on stdout, in the form the logs have."""
    typer.echo(json_line(utc_now(), "cli", text) if logs_are_json() else text)


def logs_are_json() -> bool:
    return os.environ.get("LOG_FORMAT") == "json"


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def whole(option: str, text: str, least: int, most: int, remedy: str = "") -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        more = f"; {remedy}" if remedy else ""
        raise OptionError(option, text, f"give a whole number from {least} to {most}{more}")
    return value


def number(option: str, text: str, least: float, most: float, *, above: bool = False) -> float:
    """`above`: the least itself is not allowed."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most or (above and value == least):
        bounds = f"above {least:g}, at most {most:.0f}" if above else f"from {least:g} to {most:g}"
        raise OptionError(option, text, f"give a number {bounds}")
    return value


def amount(option: str, text: str, most: Decimal) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value <= most:
        raise OptionError(option, text, f"give an amount of dollars from 0 to {most}")
    return value


def date(option: str, text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise OptionError(option, text, "give a date as YYYY-MM-DD") from None


def symbols(option: str, text: str) -> list[str]:
    """Separated by commas, in capitals, each once."""
    found = list(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))
    if not found:
        raise OptionError(option, text, "name at least one symbol, such as KO,XOM")
    return found


def holdings(option: str, text: str) -> dict[str, Decimal]:
    """AAPL=100,KO=50: shares by symbol."""
    found: dict[str, Decimal] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        symbol, _, shares = part.partition("=")
        found[symbol.strip().upper()] = _shares(shares)
    if not found or "" in found or not all(found.values()):
        raise OptionError(option, text, "give shares by symbol, such as AAPL=100,KO=50")
    return found


def _shares(text: str) -> Decimal:
    """0 for what is no number of shares."""
    try:
        qty = Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return qty if qty.is_finite() and 0 < qty <= 10**6 else Decimal(0)
