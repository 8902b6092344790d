"""Where prices come from, as it is written in the exchange's configuration."""

from __future__ import annotations

from typing import Any

import msgspec


class Closes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="closes"):
    """The shipped daily closes, 1990 to 2022."""


class Files(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="files"):
    """Bars in CSV or Parquet: one file with a symbol column, or a folder of files by symbol."""

    path: str


class Walk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="walk"):
    """A seeded random walk. `volatility` and `drift` are yearly, as fractions."""

    symbols: list[str] = []
    start_price: float | None = None  # dollars; None: drawn by symbol, 20 to 400
    volatility: float | None = None  # None: drawn by symbol, 0.15 to 0.60
    drift: float = 0.05


class Alpaca(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="alpaca"):
    """Alpaca's historical bars, fetched once and kept as CSV in `folder`.

    Without `key` and `secret` the files that are there are used.
    """

    symbols: list[str]
    start: str  # dates
    end: str
    folder: str
    timeframe: str = "1Day"  # or 1Min
    key: str = ""
    secret: str = ""
    url: str | None = None  # of another server than Alpaca's
    feed: str = "iex"


Source = Closes | Files | Walk | Alpaca


class SourceError(Exception):
    """Prices cannot be had; the text names the cause and the remedy."""


def read_source(given: dict[str, Any]) -> Source:
    """From the configuration's dictionary, whose `type` names the kind; raises SourceError."""
    if not given:
        return Closes()
    try:
        source: Source = msgspec.convert(given, Source)
    except msgspec.ValidationError as error:
        raise SourceError(f"source: {error}; types are closes, files, walk, alpaca") from None
    return source


def without_keys(given: dict[str, Any]) -> dict[str, Any]:
    """What names the source in files that are kept: everything but the keys."""
    return {name: value for name, value in given.items() if name not in ("key", "secret")}
