"""The state on disk: a snapshot, and beside it a journal of the requests that came after it.

Because the same requests at the same simulated times give the same books, a request need only be
written down, not the books it changed: a line of the journal is written before the request is
answered. A start reads the snapshot and plays the journal. The snapshot is replaced as a whole,
so that a kill leaves the old one or the new one; its `sequence` says which lines it contains.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
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
        self._lock: int | None = None
        self.sequence = 0

    def load(self, world: dict[str, Any]) -> tuple[SavedState, list[Entry]] | None:
        """The snapshot and the entries after it, or None when there is none. From here until
        `close` no other process may use them. Raises StateError."""
        if self._path is None or self._journal_path is None:
            return None
        self._take(self._path)
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

    def _take(self, path: Path) -> None:
        """Two exchanges on one file would each overwrite what the other answered for.

        The kernel's lock goes with its process, however that ends; the file that bears it stays.
        A file of its own, for snapshots are replaced, and closing a journal would end its lock.
        """
        if path.is_dir() or not path.parent.is_dir():
            return  # reading or writing it says what is wrong
        beside = path.with_name(path.name + ".lock")
        try:
            self._lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d" % os.getpid(), 0)
        except BlockingIOError:
            raise StateError(
                f"exchange state {path} is in use by another exchange (process {_owner(beside)}); "
                "end that one, or choose another file"
            ) from None
        except OSError as error:
            raise StateError(f"exchange state {path} cannot be locked: {error}") from None

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
        self._close_journal()
        self._journal = self._journal_path.open("wb", buffering=0)
        self._lines, self._torn = 0, False

    def close(self) -> None:
        """The files are left to others."""
        self._close_journal()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def _owner(lock: Path) -> str:
    """The process id that the lock's holder wrote down."""
    with contextlib.suppress(OSError, UnicodeError):
        return lock.read_text() or "unknown"
    return "unknown"


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
