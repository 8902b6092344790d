"""Settings that differ by symbol, from one TOML file.

    [AAPL]
    target_delta = 0.2
    trail_percent = 10

Each table is a stock's symbol; its keys are the fields of WheelSettings, and `trail_percent`.
What is not named is as for all symbols. A value is held to the same rules as its variable.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec

from libs.common.settings import PlannerSettings, WheelSettings
from libs.common.settings_entry import Entry
from libs.common.settings_table import BY_PATH
from libs.common.small_files import read_small_text
from libs.common.symbols import is_stock_symbol

_ENTRIES: dict[str, Entry] = {
    name: BY_PATH[f"planner.wheel.{name}"] for name in WheelSettings.__struct_fields__
} | {"trail_percent": BY_PATH["planner.trailing_stop.trail_percent"]}


def with_overrides(planner: PlannerSettings, path: Path) -> tuple[PlannerSettings, list[str]]:
    """`planner` with the tables of the file merged in, and every error of the file."""
    try:
        tables = tomllib.loads(read_small_text(path), parse_float=Decimal)
    except OSError as problem:
        return planner, [f"SYMBOL_OVERRIDES: {str(path)!r} cannot be read: {problem.strerror}"]
    except (ValueError, ArithmeticError, RecursionError) as problem:
        return planner, [f"SYMBOL_OVERRIDES: {str(path)!r} is not TOML: {problem}"]

    errors: list[str] = []
    wheels: dict[str, WheelSettings] = {}
    trails: dict[str, Decimal] = {}
    for symbol, table in tables.items():
        where = f"SYMBOL_OVERRIDES: {path} [{_name(symbol)}]"
        values, problems = _read_table(symbol, table, where)
        errors += problems
        trail = values.pop("trail_percent", None)
        if isinstance(trail, Decimal):
            trails[symbol] = trail
        if values:
            wheels[symbol] = msgspec.structs.replace(planner.wheel, **values)
            if wheels[symbol].dte_max < wheels[symbol].dte_min:
                errors.append(f"{where}: dte_max must not be less than dte_min")
    merged = msgspec.structs.replace(planner, per_symbol=wheels, per_symbol_trail_percent=trails)
    return merged, errors


def _read_table(symbol: str, table: object, where: str) -> tuple[dict[str, object], list[str]]:
    if not isinstance(table, dict):
        return {}, [f"{where}: stands outside of a table; allowed: tables such as [AAPL]"]
    if not is_stock_symbol(symbol):
        return {}, [f"{where}: is not a stock's symbol; allowed: capitals such as AAPL or BRK.B"]
    values: dict[str, object] = {}
    errors: list[str] = []
    for key, value in table.items():
        entry = _ENTRIES.get(key)
        if entry is None:
            errors.append(f"{where} {_name(key)}: unknown; allowed: {', '.join(sorted(_ENTRIES))}")
            continue
        try:
            values[key] = entry.parser.parse(_as_text(value, wants_bool=entry.default is True))
        except ValueError:
            shown = _shown(value)
            errors.append(f"{where} {key} is {shown}; allowed: {entry.parser.allowed}")
    return values, errors


def _as_text(value: object, *, wants_bool: bool) -> str:
    """A TOML value as its variable's text; text in quotes and the wrong type are errors."""
    if isinstance(value, bool) and wants_bool:
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool) and not wants_bool:
        return str(value)
    raise ValueError("wrong type")


def _name(key: str) -> str:
    return key if key.isidentifier() and len(key) <= 40 else _shown(key)


def _shown(value: object) -> str:
    try:
        text = repr(value) if isinstance(value, str) else str(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a huge number"
    return text if len(text) <= 80 else f"{text[:77]}..."
