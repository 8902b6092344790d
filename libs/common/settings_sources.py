"""Reading the settings: environment over `.env` over defaults, all errors told at once.

A variable that is set to nothing counts as not set, and hides the one in `.env`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import TypeVar

import msgspec
from dotenv import dotenv_values
from dotenv.parser import parse_stream

from libs.common.settings import Settings
from libs.common.settings_entry import Entry, value_at
from libs.common.settings_overrides import with_overrides
from libs.common.settings_rules import broken_rules, doubtful, require
from libs.common.settings_table import BY_VARIABLE, MASK, TABLE, masked, text_of
from libs.common.small_files import read_small_text

__all__ = [
    "LoadedSettings",
    "Origin",
    "Row",
    "SettingsError",
    "load_settings",
    "require",
    "resolved_rows",
]

ENVIRONMENT = "environment"
ENV_FILE = ".env"
DEFAULT = "default"

_KNOWN = frozenset(name for entry in TABLE for name in entry.variables)
_FIRST_WORDS = frozenset(name.split("_")[0] + "_" for name in BY_VARIABLE)
_SHOWN_LENGTH_MAX = 80


class SettingsError(ValueError):
    """Settings that cannot be used. Its text has a line for each error and no secret."""


class Origin(msgspec.Struct, frozen=True):
    source: str
    """`environment`, `.env`, `default`, or `file /path` for a secret read from a file."""


class LoadedSettings(msgspec.Struct, frozen=True, kw_only=True):
    settings: Settings
    origins: dict[str, Origin]
    """By variable, every one of the table."""
    warnings: list[str]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    variable: str
    value_text: str
    origin: str
    explanation: str


class _Given(msgspec.Struct, frozen=True):
    """A variable's text and where it was found."""

    text: str
    source: str


class _Reading(msgspec.Struct):
    """What is gathered on the way: good values by path, and everything to complain about."""

    broken: set[str] = set()
    """Variables whose own value is wrong."""
    values: dict[str, object] = {}
    origins: dict[str, Origin] = {}
    warnings: list[str] = []
    errors: list[str] = []


def load_settings(
    environ: Mapping[str, str], *, env_file: Path | None, cwd: Path
) -> LoadedSettings:
    """The settings of `environ` and of `env_file`, which need not exist.

    Relative paths (of `env_file`, of secrets' files and of SYMBOL_OVERRIDES) start at `cwd`.
    Raises SettingsError with every error at once.
    """
    reading = _Reading()
    given: dict[str, _Given] = {}
    if env_file is not None:
        in_file = _read_env_file(cwd / env_file, reading)
        given = {name: _Given(text, ENV_FILE) for name, text in in_file.items()}
    given |= {name: _Given(environ[name], ENVIRONMENT) for name in _KNOWN if name in environ}
    given = {name: it for name, it in given.items() if it.text.strip()}

    for entry in TABLE:
        _read_entry(entry, given, cwd, reading)
    # Rules between variables are judged on what is valid, so that they are told in the same go.
    settings = _settings_of(reading.values)
    reading.errors += broken_rules(settings, apart_from=reading.broken)
    if settings.planner.symbol_overrides_file is not None:
        path = cwd / settings.planner.symbol_overrides_file
        planner, errors = with_overrides(settings.planner, path)
        settings = msgspec.structs.replace(settings, planner=planner)
        reading.errors += errors
    if reading.errors:
        count = len(reading.errors)
        heading = f"{count} setting{'' if count == 1 else 's'} cannot be used:"
        raise SettingsError("\n".join([heading, *(f"  {error}" for error in reading.errors)]))
    reading.warnings += doubtful(settings)
    return LoadedSettings(settings=settings, origins=reading.origins, warnings=reading.warnings)


def resolved_rows(loaded: LoadedSettings) -> list[Row]:
    """Every variable with the value that holds, secrets masked, and where it comes from."""
    return [
        Row(
            variable=entry.variable,
            value_text=_row_text(entry, loaded.settings),
            origin=loaded.origins[entry.variable].source,
            explanation=entry.explanation,
        )
        for entry in TABLE
    ]


def _row_text(entry: Entry, settings: Settings) -> str:
    text = text_of(value_at(settings, entry.path))
    return masked(text) if entry.secret and text else text


def _read_env_file(path: Path, reading: _Reading) -> dict[str, str]:
    """The variables of the file that are ours; warnings for those that look misspelled."""
    try:
        text = read_small_text(path)
    except FileNotFoundError:
        return {}
    except OSError as problem:
        reading.errors.append(f"{path} cannot be read: {problem.strerror}")
        return {}
    except ValueError:
        reading.errors.append(f"{path} cannot be read: it is not UTF-8 text")
        return {}

    bindings = list(parse_stream(StringIO(text)))
    broken = [binding.original.line for binding in bindings if binding.error]
    if broken:
        # The parser would skip them, and a limit someone wrote down would silently not hold.
        reading.errors += [f"{path} line {line} is not NAME=value" for line in broken]
        return {}
    names = [binding.key for binding in bindings if binding.key]
    reading.warnings += [
        f"{name} is set more than once in {path}: the last one holds"
        for name in sorted(_KNOWN)
        if names.count(name) > 1
    ]
    values = dotenv_values(stream=StringIO(text), interpolate=False)
    reading.warnings += [w for name in values if (w := _misspelled(name, path))]
    return {name: text or "" for name, text in values.items() if name in _KNOWN}


def _misspelled(name: str, path: Path) -> str | None:
    if name in _KNOWN or not name.upper().startswith(tuple(_FIRST_WORDS)):
        return None
    nearest = difflib.get_close_matches(name.upper(), sorted(_KNOWN), n=1, cutoff=0.0)
    return f"{name} in {path} is no setting and does nothing; the nearest is {nearest[0]}"


def _read_entry(entry: Entry, given: Mapping[str, _Given], cwd: Path, reading: _Reading) -> None:
    """Adds the entry's value and origin, or its error."""
    reading.origins[entry.variable] = Origin(DEFAULT)
    found = given.get(entry.variable)
    if entry.filed and f"{entry.variable}_FILE" in given:
        found = _read_secret_file(entry, given, cwd, reading)
    if found is None:
        return
    text = found.text.strip()
    try:
        reading.values[entry.path] = entry.parser.parse(text)
    except ValueError:
        reading.broken.add(entry.variable)
        shown = MASK if entry.secret else _shown(text)
        reading.errors.append(
            f"{entry.variable} is {shown} ({found.source}); allowed: {entry.parser.allowed}"
        )
        return
    reading.origins[entry.variable] = Origin(found.source)
    notice = entry.notice(text) if entry.notice else None
    if notice:
        reading.warnings.append(f"{entry.variable} is {_shown(text)} ({found.source}): {notice}")


def _read_secret_file(
    entry: Entry, given: Mapping[str, _Given], cwd: Path, reading: _Reading
) -> _Given | None:
    """The stripped contents. The path is not shown in errors: it may be the secret by mistake."""
    variable = f"{entry.variable}_FILE"
    if entry.variable in given:
        reading.errors.append(f"{entry.variable} and {variable} are both set; allowed: one of them")
        return None
    path = cwd / given[variable].text.strip()
    try:
        text = read_small_text(path).strip()
    except OSError as problem:
        reading.errors.append(f"{variable} names a file that cannot be read: {problem.strerror}")
        return None
    except ValueError:
        reading.errors.append(f"{variable} names a file that cannot be read: it is not UTF-8 text")
        return None
    if not text:
        reading.errors.append(f"{variable} names a file that is empty")
        return None
    return _Given(text, f"file {path}")


def _shown(text: str) -> str:
    """A wrong value for an error's text. What stands before an `@` may be a password."""
    if "@" in text:
        text = MASK + text[text.rindex("@") :]
    return repr(text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[:_SHOWN_LENGTH_MAX]}...")


def _settings_of(values: Mapping[str, object]) -> Settings:
    """Defaults with `values` put in, by path."""
    if "risk.portfolio_age_seconds_max" not in values:
        tick_seconds = values.get("market.tick_seconds", Settings().market.tick_seconds)
        assert isinstance(tick_seconds, int)  # noqa: S101 - its parser gives integers
        values = {**values, "risk.portfolio_age_seconds_max": 2 * tick_seconds}
    settings = Settings()
    for path, value in values.items():
        settings = _replaced(settings, path.split("."), value)
    return settings


_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def _replaced(struct: _Struct, path: list[str], value: object) -> _Struct:
    name, *rest = path
    new = _replaced(getattr(struct, name), rest, value) if rest else value
    return msgspec.structs.replace(struct, **{name: new})
