"""The units for machines without Docker, read by systemd's own judge."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[3] / "deploy/systemd"
INSTALLED = "/opt/alpaclaudia/.venv/bin/alpaclaudia"


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    names = sorted(str(path) for path in folder.iterdir())
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=one", *names],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units with a program that is there: whether it can be run is looked at too."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for path in UNITS.iterdir():
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(text.replace(INSTALLED, sys.executable))
    return tmp_path


def test_systemd_finds_nothing_wrong(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "alpaclaudia.service",
        "alpaclaudia-report.service",
        "alpaclaudia-report.timer",
    }
    judged = verify(folder)
    assert (judged.returncode, judged.stdout + judged.stderr) == (0, "")


def test_it_would_find_what_is_wrong(folder: Path) -> None:
    unit = folder / "alpaclaudia.service"
    unit.write_text(unit.read_text().replace("Type=exec", "Type=execute"))
    assert "execute" in verify(folder).stderr


def test_the_timer_rings_at_half_past_ten_in_new_york() -> None:
    timer = (UNITS / "alpaclaudia-report.timer").read_text(encoding="utf-8")
    assert "OnCalendar=Mon..Fri *-*-* 22:30:00 America/New_York\n" in timer
