"""The books on disk: one JSON file, replaced as a whole, so that a kill leaves old or new."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from services.exchange.engine.books import Books


class StateError(Exception):
    """The state file cannot be used; the text says why and what to do."""


class SavedState(msgspec.Struct, frozen=True, kw_only=True):
    """`symbols` and `seed` must match the configuration, or prices would not be the same."""

    version: int = 1
    seed: int
    symbols: list[str]
    books: Books


def load(path: Path, *, seed: int, symbols: list[str]) -> Books | None:
    """The saved books, or None when there are none yet. Raises StateError."""
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=SavedState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StateError(f"exchange state {path} cannot be read: {error}") from None
    if saved.seed != seed or set(saved.books.positions_on()) - set(symbols):
        raise StateError(
            f"exchange state {path} belongs to seed {saved.seed} and symbols "
            f"{', '.join(saved.symbols)}; start with the same ones or remove the file"
        )
    return saved.books


def save(path: Path, books: Books, symbols: list[str]) -> None:
    # How often the books changed says how time was cut into steps, which must leave no trace.
    kept = msgspec.structs.replace(books, revision=0)
    state = SavedState(seed=books.seed, symbols=symbols, books=kept)
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(msgspec.json.encode(state))
    os.replace(temporary, path)
