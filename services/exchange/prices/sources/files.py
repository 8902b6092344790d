"""A user's bars from CSV or Parquet files."""

from __future__ import annotations

import csv
import datetime as dt
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from libs.common.symbols import is_stock_symbol
from services.exchange.prices.calendar import NEW_YORK
from services.exchange.prices.sources.bars import Row
from services.exchange.prices.sources.config import SourceError

COLUMNS = {
    "time": ("timestamp", "datetime", "date", "time", "t"),
    "symbol": ("symbol", "ticker", "s"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c", "adj close", "adj_close"),
}
SUFFIXES = (".csv", ".parquet", ".pq")


def read_files(path: Path) -> Iterator[Row]:
    """Every bar of a file, or of a folder's files. Raises SourceError."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if not files:
            raise SourceError(f"{path} holds no file that ends in {', '.join(SUFFIXES)}")
    else:
        files = [path]
    for file in files:
        yield from _file(file)


def _file(path: Path) -> Iterator[Row]:
    try:
        rows = _parquet(path) if path.suffix.lower() in SUFFIXES[1:] else _csv(path)
        header, lines = next(rows), rows
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SourceError(f"{path} is not text; CSV files are UTF-8") from None
    except StopIteration:
        raise SourceError(f"{path} is empty; its first line names the columns") from None
    places = _places(path, [str(name) for name in header])
    for number, line in enumerate(lines, start=2):
        if any(value not in (None, "") for value in line):
            yield _row(path, number, line, places)


def _csv(path: Path) -> Iterator[list[Any]]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        try:
            yield from csv.reader(lines)
        except csv.Error as error:
            raise SourceError(f"{path}: {error}") from None
        except UnicodeDecodeError:
            raise SourceError(f"{path} is not text; CSV files are UTF-8") from None


def _parquet(path: Path) -> Iterator[list[Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise SourceError(
            f"{path}: Parquet needs pyarrow; install it with pip install 'alpaclaudia[parquet]'"
        ) from None
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise SourceError(f"{path} is not a Parquet file: {error}") from None
    yield table.column_names
    yield from map(list, zip(*(column.to_pylist() for column in table.columns), strict=True))


def _places(path: Path, header: list[str]) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    places = {
        field: names.index(known)
        for field, allowed in COLUMNS.items()
        for known in [next((name for name in allowed if name in names), None)]
        if known is not None
    }
    for field in ("time", "close"):
        if field not in places:
            wanted = " or ".join(COLUMNS[field][:3])
            raise SourceError(f"{path} has no column {wanted}; it has {', '.join(header)}")
    if "symbol" not in places and not is_stock_symbol(path.stem.upper()):
        raise SourceError(f"{path} has no symbol column, and is not named after a stock")
    return places


def _row(path: Path, number: int, line: list[Any], places: dict[str, int]) -> Row:
    where = f"{path.name} row {number}"

    def value(field: str) -> Any:
        place = places.get(field)
        if place is None:
            return None
        if place >= len(line):
            raise SourceError(f"{where} has {len(line)} columns, {field} is missing")
        return line[place]

    symbol = str(value("symbol") or path.stem).strip().upper()
    if not is_stock_symbol(symbol):
        raise SourceError(f"{where}: {symbol[:20]!r} is not a stock's symbol")
    opening, high, low, close = (
        _price(where, field, value(field)) for field in ("open", "high", "low", "close")
    )
    return Row(symbol, _time(where, value("time")), opening, high, low, close, where)


def _price(where: str, field: str, value: Any) -> float:
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SourceError(f"{where}: {field} {str(value)[:20]!r} is not a number") from None


def _time(where: str, value: Any) -> dt.datetime | dt.date:
    """A date, or an instant; a time without a zone is New York's."""
    if isinstance(value, dt.datetime):
        found: dt.datetime | dt.date = value
    elif isinstance(value, dt.date):
        return value
    else:
        text = str(value or "").strip()
        try:
            found = (
                dt.date.fromisoformat(text) if len(text) == 10 else dt.datetime.fromisoformat(text)
            )
        except ValueError:
            raise SourceError(
                f"{where}: {text[:30]!r} is not a time; write 2024-03-05 or 2024-03-05T14:30:00Z"
            ) from None
    if isinstance(found, dt.datetime):
        found = found if found.tzinfo else found.replace(tzinfo=NEW_YORK)
        return found.astimezone(dt.UTC)
    return found
