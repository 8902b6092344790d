"""The state folder: one stack at a time, its generated credentials, and how to find it running."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from libs.common.signing import generate_keypair

HOME_VARIABLE = "ALPACLAUDIA_HOME"
_RUN_FILE = "running.json"
_OURS = frozenset({"credentials.json", "demo.json", "nats", "postgres"})


class HomeError(RuntimeError):
    """The state folder cannot be used; the text says why and what to do."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Made once per stack, kept with mode 0600."""

    postgres_password: str
    exchange_key: str
    exchange_secret: str
    signing_key: str
    verify_key: str


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What other commands need to reach a stack that runs."""

    kind: str
    pid: int
    environ: dict[str, str]


def home_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get(HOME_VARIABLE) or ".alpaclaudia").absolute()


class StackFolder:
    """One stack's folder (`demo` or `loop`) inside the state folder."""

    def __init__(self, home: Path, kind: str) -> None:
        self.home = home
        self.kind = kind
        self.path = home / kind
        self.logs = self.path / "logs"

    @contextlib.contextmanager
    def held(self, *, fresh: bool) -> Iterator[None]:
        """Makes the folder and holds its lock. Raises HomeError."""
        lock = self._open_lock()
        try:
            self._lock(lock)
            try:
                if fresh:
                    self._clear()
                self._make(self.logs)
                yield
            finally:
                (self.path / _RUN_FILE).unlink(missing_ok=True)  # ours: we hold the lock
        finally:
            os.close(lock)

    def _lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HomeError(
                f"a {self.kind} runs already in {self.path}; end it first, or give this one"
                f" a folder of its own with {HOME_VARIABLE}"
            ) from None

    def _open_lock(self) -> int:
        self._make(self.path)
        try:
            return os.open(self.home / f"{self.kind}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> HomeError:
        return HomeError(
            f"the state folder {self.home} cannot be written ({error.strerror}); make it writable"
            f" or name another with {HOME_VARIABLE}"
        )

    def _clear(self) -> None:
        try:
            if not self._is_ours():
                raise HomeError(
                    f"{self.path} holds something else than a {self.kind} of alpaclaudia's, so it"
                    f" is not cleared; move it away, or name another folder with {HOME_VARIABLE}"
                )
            shutil.rmtree(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from error

    def _is_ours(self) -> bool:
        """Whether what would be cleared was made by us: nothing, or what every start makes."""
        names = set(os.listdir(self.path))
        return bool(names & _OURS) or names <= {"logs"}

    def credentials(self) -> Credentials:
        path = self.path / "credentials.json"
        if path.exists():
            try:
                return msgspec.json.decode(path.read_bytes(), type=Credentials)
            except ValueError as error:  # not JSON, not UTF-8, or not credentials
                raise HomeError(f"{path} is damaged ({error}); start over with --fresh") from error
        keys = generate_keypair()
        made = Credentials(
            postgres_password=secrets.token_urlsafe(24),
            exchange_key=f"SIM{secrets.token_hex(8).upper()}",
            exchange_secret=secrets.token_urlsafe(30),
            signing_key=keys.private,
            verify_key=keys.public,
        )
        write_private(path, msgspec.json.encode(made))
        return made

    def announce(self, environ: Mapping[str, str]) -> None:
        """Lets `alpaclaudia status` and the like, in another terminal, find this stack."""
        running = Running(kind=self.kind, pid=os.getpid(), environ=dict(environ))
        write_private(self.path / _RUN_FILE, msgspec.json.encode(running))


def write_private(path: Path, content: bytes) -> None:
    """Replaces a file whole, readable by its owner only."""
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    part.replace(path)


def running_stack(home: Path) -> Running | None:
    """The stack that runs from this state folder; `loop` before `demo` when both do."""
    for kind in ("loop", "demo"):
        path = home / kind / _RUN_FILE
        try:
            running = msgspec.json.decode(path.read_bytes(), type=Running)
        except (OSError, ValueError):  # not there, or damaged
            continue
        if _alive(running.pid):
            return running
    return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
