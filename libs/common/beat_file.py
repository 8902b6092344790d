"""A service's last heartbeat as a file, so that a health check needs neither key nor port.

    python -m libs.common.beat_file     # status 0: it beats, is ready or standing by, has the bus

Only the standard library: a check runs every few seconds beside each service. Ages are told by
the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

BEAT_FILE = "ALPACLAUDIA_BEAT_FILE"
"""The variable that names the file; without it none is written."""
AGE_SECONDS_MAX = 10.0
READY = ("ready", "standby")


def write_beat(path: Path, beat: dict[str, Any], *, reached: bool) -> None:
    """`reached`: whether the bus took it. A full disk must not end a service, so it is not said."""
    part = path.with_suffix(".part")
    held = {"monotonic_seconds": time.monotonic(), "reached": reached, "beat": beat}
    with suppress(OSError):
        part.write_text(json.dumps(held), encoding="utf-8")
        part.replace(path)


def read_beat(path: Path) -> tuple[dict[str, Any], str | None]:
    """The beat, and in one line what is wrong with it."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        age_seconds = time.monotonic() - held["monotonic_seconds"]
        beat: dict[str, Any] = held["beat"]
        reached = held["reached"]
    except (OSError, ValueError, KeyError):
        return {}, "it has not begun to beat"
    if age_seconds > AGE_SECONDS_MAX:
        return beat, f"its last beat is {age_seconds:.0f} s old"
    if not reached:
        return beat, "the bus did not take its last beat"
    state = beat.get("state", "ready")
    return beat, None if state in READY else f"it is {state}"


def main() -> int:
    beat, trouble = read_beat(Path(os.environ.get(BEAT_FILE, "")))
    print(trouble or beat.get("state", "ready"))
    return 0 if trouble is None else 1


if __name__ == "__main__":
    sys.exit(main())
