"""`alpaclaudia provision --out`: made once, kept from then on."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from libs.common.bus_accounts import USERS
from libs.common.nats_configuration import ServerPlace
from libs.common.nkey_files import make_seeds, public_key, read_seed, seed_path
from services.cli.bus_files import write_bus_files
from services.cli.commands import app
from services.cli.home import HomeError

PLACE = ServerPlace(listen="127.0.0.1:4222", store_folder="jetstream")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_seeds_are_their_owners_and_the_configuration_holds_none(tmp_path: Path) -> None:
    made = write_bus_files(tmp_path / "bus", PLACE)
    assert set(made) == {"nats.conf", *(f"seeds/{user}.nk" for user in USERS)}
    configuration = (tmp_path / "bus" / "nats.conf").read_text()
    assert mode(tmp_path / "bus" / "seeds") == 0o700
    for user in USERS:
        path = seed_path(tmp_path / "bus" / "seeds", user)
        assert mode(path) == 0o600
        assert read_seed(path) not in configuration
        assert public_key(read_seed(path)) in configuration


def test_again_it_changes_nothing(tmp_path: Path) -> None:
    write_bus_files(tmp_path, PLACE)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert write_bus_files(tmp_path, PLACE) == []
    assert {path: path.read_bytes() for path in before} == before


def test_another_place_changes_the_configuration_and_no_key(tmp_path: Path) -> None:
    write_bus_files(tmp_path, PLACE)
    keys = make_seeds(tmp_path / "seeds", USERS)
    other = ServerPlace(listen="0.0.0.0:4223", store_folder="jetstream")
    assert write_bus_files(tmp_path, other) == ["nats.conf"]
    assert make_seeds(tmp_path / "seeds", USERS) == keys


def test_a_missing_seed_alone_is_made_anew(tmp_path: Path) -> None:
    write_bus_files(tmp_path, PLACE)
    seed_path(tmp_path / "seeds", "planner").unlink()
    assert write_bus_files(tmp_path, PLACE) == ["seeds/planner.nk", "nats.conf"]


@pytest.mark.parametrize("content", [b"", b"SUAAAA", b"\xff\xfe", b"hello"])
def test_a_damaged_seed_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    write_bus_files(tmp_path, PLACE)
    path = seed_path(tmp_path / "seeds", "risk")
    path.write_bytes(content)
    with pytest.raises(HomeError, match=r"risk\.nk holds no seed") as caught:
        write_bus_files(tmp_path, PLACE)
    if content.strip().isascii() and content:
        assert content.decode() not in str(caught.value)


def test_the_command_says_what_it_made(tmp_path: Path) -> None:
    run = CliRunner()
    first = run.invoke(app, ["provision", "--out", str(tmp_path / "bus")])
    assert first.exit_code == 0, first.output
    assert first.output.startswith("made: seeds/provision.nk, ")
    again = run.invoke(app, ["provision", "--out", str(tmp_path / "bus")])
    assert again.output == "everything was there already\n"
    half = run.invoke(app, ["provision", "--out", str(tmp_path), "--tls-cert", "x"])
    assert half.exit_code == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = CliRunner().invoke(app, ["provision", "--out", str(tmp_path / "file")])
    assert run.exit_code == 1
