"""The state folder: one holder at a time, credentials kept, a running stack found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from libs.common.signing import public_key_of
from services.cli.home import (
    Credentials,
    HomeError,
    Running,
    StackFolder,
    home_folder,
    running_stack,
    write_private,
)

DAMAGED = [b"", b"{", b"null", b"[]", b"{}", b'{"kind":1}', b"\xff\xfe", b'{"kind":"\xff"}']


@pytest.fixture
def folder(tmp_path: Path) -> StackFolder:
    return StackFolder(tmp_path / "home", "demo")


def test_the_folder_is_named_by_the_environment_or_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert home_folder({}) == home_folder({"ALPACLAUDIA_HOME": ""}) == tmp_path / ".alpaclaudia"
    assert home_folder({"ALPACLAUDIA_HOME": "elsewhere"}) == tmp_path / "elsewhere"


# --- one holder --------------------------------------------------------------------------------


def test_a_second_holder_is_refused_and_does_the_first_no_harm(folder: StackFolder) -> None:
    second = StackFolder(folder.home, "demo")
    with folder.held(fresh=False):
        folder.announce({"NATS_URL": "nats://127.0.0.1:1"})
        for fresh in (False, True):
            with pytest.raises(HomeError, match="a demo runs already"), second.held(fresh=fresh):
                pass
        assert running_stack(folder.home) is not None
        assert folder.logs.is_dir()
    with second.held(fresh=False):
        assert running_stack(folder.home) is None


def test_demo_and_loop_run_side_by_side(folder: StackFolder) -> None:
    loop = StackFolder(folder.home, "loop")
    with folder.held(fresh=False), loop.held(fresh=False):
        folder.announce({})
        assert _kind(folder.home) == "demo"
        loop.announce({})
        assert _kind(folder.home) == "loop"
    assert running_stack(folder.home) is None


def _kind(home: Path) -> str:
    running = running_stack(home)
    assert running is not None
    return running.kind


def test_a_fresh_start_forgets_everything_and_any_other_keeps_it(folder: StackFolder) -> None:
    with folder.held(fresh=False):
        first = folder.credentials()
        (folder.path / "exchange.json").write_text("{}")
    with folder.held(fresh=False):
        assert folder.credentials() == first
    with folder.held(fresh=True):
        assert sorted(path.name for path in folder.path.iterdir()) == ["logs"]
        assert folder.credentials() != first


def test_what_fails_inside_lets_go_of_the_folder(folder: StackFolder) -> None:
    def fail() -> None:
        with folder.held(fresh=False):
            folder.announce({})
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail()
    with folder.held(fresh=False):
        assert running_stack(folder.home) is None


@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, below: str) -> None:
    """A path below a regular file: nobody can write there, root included."""
    (tmp_path / "file").write_text("")
    folder = StackFolder(tmp_path / "file" / below, "demo")
    with pytest.raises(HomeError, match=r"cannot be written.*ALPACLAUDIA_HOME"):
        folder.held(fresh=False).__enter__()


def test_a_lock_that_cannot_be_opened_is_said(folder: StackFolder) -> None:
    (folder.home / "demo.lock").mkdir(parents=True)
    with pytest.raises(HomeError, match="cannot be written"):
        folder.held(fresh=False).__enter__()


# --- credentials -------------------------------------------------------------------------------


def test_credentials_are_made_once_for_their_owner_only(folder: StackFolder) -> None:
    with folder.held(fresh=False):
        made = folder.credentials()
        assert made == folder.credentials()
        path = folder.path / "credentials.json"
        assert path.stat().st_mode & 0o777 == 0o600
        assert public_key_of(made.signing_key) == made.verify_key
        secrets = msgspec.structs.astuple(made)
        assert len(set(secrets)) == len(secrets)
        assert not list(folder.path.glob("*.part"))


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_credentials_are_said_with_what_to_do(folder: StackFolder, content: bytes) -> None:
    with folder.held(fresh=False):
        write_private(folder.path / "credentials.json", content)
        with pytest.raises(HomeError, match=r"credentials.json is damaged.*--fresh"):
            folder.credentials()
    with folder.held(fresh=True):
        assert isinstance(folder.credentials(), Credentials)


# --- a running stack ---------------------------------------------------------------------------


def announce(home: Path, pid: int) -> None:
    path = home / "demo" / "running.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    environ = {"NATS_URL": "nats://x"}
    write_private(path, msgspec.json.encode(Running(kind="demo", pid=pid, environ=environ)))


def test_a_stack_that_runs_is_found_with_what_reaches_it(tmp_path: Path) -> None:
    announce(tmp_path, os.getpid())
    running = running_stack(tmp_path)
    assert running is not None
    assert (running.pid, running.environ) == (os.getpid(), {"NATS_URL": "nats://x"})


def test_a_stack_that_was_killed_is_not_found(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    announce(tmp_path, dead.pid)
    assert running_stack(tmp_path) is None


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_note_is_no_stack(tmp_path: Path, content: bytes) -> None:
    announce(tmp_path, os.getpid())
    (tmp_path / "demo" / "running.json").write_bytes(content)
    assert running_stack(tmp_path) is None


def test_no_folder_is_no_stack(tmp_path: Path) -> None:
    assert running_stack(tmp_path / "nowhere") is None
