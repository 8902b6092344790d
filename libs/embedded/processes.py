"""Starting server processes that end with us, and finding free ports."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LOG_BYTES_MAX = 20 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


class EmbeddedServerError(RuntimeError):
    """An embedded server did not start; the text says why and what to do."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def accepts(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end_with_parent() -> None:
    """On Linux the kernel kills this process when its parent dies, however it died."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def plain_environ() -> dict[str, str]:
    """What a server needs of our environment, which may hold secrets: nothing but where it is."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def spawn(
    command: Sequence[str],
    *,
    log_path: Path,
    environ: Mapping[str, str],
    user: int | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """A child in a session of its own, so that the terminal's Ctrl-C reaches only its parent, and
    that ends when its parent does. Its output is appended to `log_path`.

    Call it from the main thread: the kernel takes the end of the spawning thread for the parent's.
    """
    _rotate(log_path)
    with log_path.open("ab") as output:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  # it only calls prctl
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
            cwd=cwd,
        )


def _rotate(log_path: Path) -> None:
    """A log that has grown large is kept once, as `.1`, and a new one begun."""
    with contextlib.suppress(FileNotFoundError):
        if log_path.stat().st_size > LOG_BYTES_MAX:
            log_path.replace(log_path.with_suffix(".log.1"))


def tail(path: Path, lines: int = 5) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(no log: {error})"
