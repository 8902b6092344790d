"""A health check by file: who is well, and what is said of who is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from libs.common.beat_file import AGE_SECONDS_MAX, BEAT_FILE, read_beat, write_beat


def test_who_beats_and_is_ready_or_stands_by_is_well(tmp_path: Path) -> None:
    path = tmp_path / "beat.json"
    for state in ("ready", "standby"):
        write_beat(path, {"service": "risk", "state": state}, reached=True)
        assert read_beat(path) == ({"service": "risk", "state": state}, None)


@pytest.mark.parametrize(
    ("beat", "reached", "trouble"),
    [
        ({"state": "starting"}, True, "it is starting"),
        ({"state": "ready"}, False, "the bus did not take its last beat"),
    ],
)
def test_who_is_not(tmp_path: Path, beat: dict[str, str], reached: bool, trouble: str) -> None:
    path = tmp_path / "beat.json"
    write_beat(path, beat, reached=reached)
    assert read_beat(path)[1] == trouble


def test_a_beat_that_is_old_or_absent_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "beat.json"
    assert read_beat(path) == ({}, "it has not begun to beat")
    path.write_text("{")
    assert read_beat(path) == ({}, "it has not begun to beat")
    write_beat(path, {"state": "ready"}, reached=True)
    held = json.loads(path.read_text())
    held["monotonic_seconds"] -= AGE_SECONDS_MAX + 5
    path.write_text(json.dumps(held))
    assert "s old" in str(read_beat(path)[1])


def test_where_it_cannot_be_written_nobody_ends(tmp_path: Path) -> None:
    write_beat(tmp_path / "absent/beat.json", {}, reached=True)


def test_the_check_is_a_process_with_a_status(tmp_path: Path) -> None:
    path = tmp_path / "beat.json"
    environ = {**os.environ, BEAT_FILE: str(path)}
    check = [sys.executable, "-m", "libs.common.beat_file"]
    assert subprocess.run(check, env=environ, capture_output=True, check=False).returncode == 1
    write_beat(path, {"state": "ready"}, reached=True)
    done = subprocess.run(check, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ready\n")
