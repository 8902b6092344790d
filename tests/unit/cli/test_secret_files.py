"""What `alpaclaudia hand-out` puts where, and what it leaves as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libs.common.bus_accounts import USERS
from libs.common.contracts import AlpacaEnv, IntentApproved
from libs.common.nkey_files import public_key, read_seed
from libs.common.promises import BrokenPromiseError
from libs.common.signing import sign, verify
from services.cli.home import HomeError
from services.cli.secret_files import HOLDERS, STORES, hand_out
from tests.contracts.recordings import decoded

ROOT = Path(__file__).parents[3]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name in (*HOLDERS, *STORES):
        (tmp_path / "handed" / name).mkdir(parents=True)
    return tmp_path / "handed"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    return folder


def files_of(out: Path) -> dict[str, str]:
    return {p.relative_to(out).as_posix(): p.read_text() for p in out.rglob("*") if p.is_file()}


def test_each_has_its_own_key_and_the_server_knows_it(out: Path, given: Path) -> None:
    hand_out(out, given, AlpacaEnv.SIM)
    configuration = (out / "nats/nats.conf").read_text()
    for user in USERS:
        assert public_key(read_seed(out / user / f"{user}.nk")) in configuration


def test_what_risk_signs_the_executor_verifies(out: Path, given: Path) -> None:
    hand_out(out, given, AlpacaEnv.SIM)
    approved = decoded(IntentApproved)
    assert isinstance(approved, IntentApproved)
    signed = sign((out / "risk/signing_key").read_text(), approved)
    assert verify((out / "executor/verify_key").read_text(), signed)


def test_again_it_changes_nothing(out: Path, given: Path) -> None:
    hand_out(out, given, AlpacaEnv.SIM)
    before = files_of(out)
    assert hand_out(out, given, AlpacaEnv.SIM) == []
    assert files_of(out) == before


def test_a_new_key_of_alpacas_reaches_only_who_uses_it(out: Path, given: Path) -> None:
    for name in ("alpaca_api_key", "alpaca_secret_key"):
        (given / name).write_text(f"old-{name}\n")
    hand_out(out, given, AlpacaEnv.PAPER)
    (given / "alpaca_api_key").write_text("new\n")
    made = hand_out(out, given, AlpacaEnv.PAPER)
    assert sorted(made) == ["executor/alpaca_api_key", "market/alpaca_api_key"]
    holders = {name.split("/")[0] for name, text in files_of(out).items() if text == "new"}
    assert holders == {"market", "executor"}


def test_paper_without_keys_says_what_to_set(out: Path, given: Path) -> None:
    with pytest.raises(BrokenPromiseError, match="ALPACA_API_KEY_FILE and ALPACA_SECRET_KEY_FILE"):
        hand_out(out, given, AlpacaEnv.PAPER)


def test_a_holder_without_a_volume_is_told(out: Path, given: Path) -> None:
    (out / "risk").rmdir()
    with pytest.raises(HomeError, match="no folder risk"):
        hand_out(out, given, AlpacaEnv.SIM)


def test_migrate_finds_the_logins_that_the_services_are_given(out: Path, given: Path) -> None:
    hand_out(out, given, AlpacaEnv.SIM)
    for role in ("executor", "reporter", "operator", "dashboard"):
        assert (out / role / f"{role}.url").read_text() == (
            out / f"migrate/logins/{role}.url"
        ).read_text()


def test_compose_has_a_volume_for_each_holder() -> None:
    compose = (ROOT / "compose.yaml").read_text()
    mounted = dict(re.findall(r"- ([a-z-]+):/handed/([a-z-]+)$", compose, re.MULTILINE))
    expected = {f"secrets-{name}": name for name in HOLDERS} | {name: name for name in STORES}
    assert mounted == expected
