"""The state on disk: a snapshot, and beside it a journal of the requests that came after it.

Because the same requests at the same simulated times give the same books, a request need only be
written down, not the books it changed: a line of the journal is written before the request is
answered. A start reads the snapshot and plays the journal. The snapshot is replaced as a whole,
so that a kill leaves the old one or the new one; its `sequence` says which lines it contains.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
from pathlib import Path
from typing import Any

import msgspec

from services.exchange.engine.books import Books

VERSION = 2
LINES_MAX = 20_000  # of the journal, before a new snapshot


class StateError(Exception):
    """The state cannot be used; the text says why and what to do."""


class SavedAccount(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    secret: str
    books: Books


class SavedState(msgspec.Struct, frozen=True, kw_only=True):
    """`world` names seed, symbols and source of prices: with others they would not be the same."""

    version: int = VERSION
    world: dict[str, Any]
    now: dt.datetime
    sequence: int = 0
    actions: list[dict[str, Any]] = []  # injected corporate actions
    accounts: list[SavedAccount]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request that changed something, or (without a method) only that time went on."""

    n: int
    at: dt.datetime
    key: str = ""
    method: str = ""
    path: str = ""
    query: str = ""
    body: str = ""


class StateFile:
    """`path` None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._journal_path = path.with_name(path.name + ".journal") if path else None
        self._journal: Any = None
        self._lines = 0
        self._torn = False
        self.sequence = 0

    def load(self, world: dict[str, Any]) -> tuple[SavedState, list[Entry]] | None:
        """The snapshot and the entries after it, or None when there is none. Raises StateError."""
        if self._path is None or self._journal_path is None:
            return None
        try:
            saved = msgspec.json.decode(self._path.read_bytes(), type=SavedState)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise StateError(f"exchange state {self._path} cannot be read: {error}") from None
        if saved.version != VERSION:
            raise StateError(
                f"exchange state {self._path} has version {saved.version}, this program writes "
                f"{VERSION}; remove the file to start over"
            )
        if saved.world != world:
            raise StateError(
                f"exchange state {self._path} belongs to {_told(saved.world)}, not to "
                f"{_told(world)}; start with the same ones or remove the file"
            )
        entries = [e for e in _entries(self._journal_path) if e.n > saved.sequence]
        self.sequence = entries[-1].n if entries else saved.sequence
        return saved, entries

    def append(self, entry: Entry) -> None:
        """Write a line of the journal; raises OSError, and then only a snapshot helps."""
        if self._journal is None:
            return
        line = msgspec.json.encode(entry) + b"\n"
        self._torn = True
        if self._journal.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._torn = False
        self.sequence = entry.n
        self._lines += 1

    @property
    def snapshot_due(self) -> bool:
        """The journal has grown long, or a line is missing: what came after it would be played to
        other books."""
        return self._torn or self._lines > LINES_MAX

    def save(self, state: SavedState) -> None:
        """Replace the snapshot and begin a new journal; raises OSError."""
        if self._path is None or self._journal_path is None:
            return
        temporary = self._path.with_name(self._path.name + ".new")
        temporary.write_bytes(msgspec.json.encode(state))
        os.replace(temporary, self._path)
        self.close()
        self._journal = self._journal_path.open("wb", buffering=0)
        self._lines, self._torn = 0, False

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def _entries(path: Path) -> list[Entry]:
    """The journal's lines; the last one may have been cut short by a kill, and was not answered."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    entries = []
    for line in lines[:-1]:
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except msgspec.DecodeError as error:
            raise StateError(f"exchange journal {path} is damaged: {error}") from None
    return entries


def _told(world: dict[str, Any]) -> str:
    symbols = ", ".join(world.get("symbols", []))
    return f"seed {world.get('seed')}, symbols {symbols}, source {world.get('source') or 'closes'}"


class KeptAccount(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    secret: str


class KeptWorld(msgspec.Struct, frozen=True, kw_only=True):
    """What of a snapshot a restart must begin with; the books themselves are not read."""

    world: dict[str, Any]
    accounts: list[KeptAccount]


def kept_world(path: Path) -> KeptWorld | None:
    """Of the snapshot at `path`, or None when there is none. Raises StateError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeptWorld)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StateError(f"exchange state {path} cannot be read: {error}") from None
