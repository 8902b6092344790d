"""Small disks that can be filled: a tmpfs of its own for a server, and ballast."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

BALLAST = "ballast"
CHUNK = b"\0" * 65_536
MEGABYTES = {"nats": 48, "postgres": 160}
"""What the servers need at the start, and room for some minutes of orders."""


def _run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


@contextlib.contextmanager
def small_disks(folder: Path) -> Iterator[bool]:
    """Mounts a tmpfs over the folder of each server; False where mounting is not permitted."""
    mounted: list[Path] = []
    mount = shutil.which("mount")
    try:
        for name, size in MEGABYTES.items():
            place = folder / name
            place.mkdir(exist_ok=True)
            options = f"size={size}m,mode=0755"
            if mount and _run(mount, "-t", "tmpfs", "-o", options, "tmpfs", str(place)):
                mounted.append(place)
        yield len(mounted) == len(MEGABYTES)
    finally:
        for place in mounted:
            _run(shutil.which("umount") or "umount", "-l", str(place))


def fill(place: Path) -> None:
    """Until not one byte more fits."""
    with (place / BALLAST).open("ab", buffering=0) as ballast:
        size = len(CHUNK)
        while size:
            try:
                ballast.write(CHUNK[:size])
            except OSError:
                size //= 2


def free(place: Path) -> None:
    (place / BALLAST).unlink(missing_ok=True)
