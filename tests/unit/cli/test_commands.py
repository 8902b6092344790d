"""The command line: help for everything, and one clear line for what cannot be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.commands import Service, app

RUNNER = CliRunner()
COMMANDS = [
    (command.name or command.callback.__name__).replace("_", "-")
    for command in app.registered_commands
    if command.callback is not None
]
PROMISED = {
    "keygen",
    "demo", "loop", "serve", "tick", "status", "report", "dump-state", "config", "watch",
    "provision", "migrate", "version", "halt", "reduce", "resume", "flatten",
    "reconcile", "hand-out",
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.env`, no settings and no running stack of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("NATS_URL", "DATABASE_URL", "BOT_MODE", "ALPACA_ENV", "ALPACLAUDIA_ENV_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALPACLAUDIA_HOME", str(tmp_path / "home"))


def complaint(*arguments: str, status: int) -> str:
    """The one line a command says on stderr before it ends with this status."""
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    line, *rest = result.stderr.splitlines()
    assert rest == []
    return line.removeprefix("alpaclaudia: ")


def test_the_commands_are_those_promised() -> None:
    assert set(COMMANDS) == PROMISED


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, flag: str) -> None:
    result = RUNNER.invoke(app, [command, flag])
    assert result.exit_code == 0
    assert "Usage: alpaclaudia" in result.stdout
    assert command in result.stdout


def test_without_a_command_the_help_is_shown() -> None:
    result = RUNNER.invoke(app, [])
    assert all(command in result.output for command in COMMANDS)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--from", "yesterday", "--from yesterday: not a date as YYYY-MM-DD"),
        ("--from", "2020-02-30", "--from 2020-02-30: not a date"),
        ("--from", "", "--from : not a date"),
        ("--from", "1985-01-02", "--from 1985-01-02: prices reach from 1990-02-01 to 2022-12-28"),
        ("--cash", "lots", "--cash lots: not an amount of dollars"),
        ("--cash", "-5", "--cash -5: not an amount of dollars"),
        ("--cash", "NaN", "--cash NaN: not an amount of dollars"),
        ("--cash", "Infinity", "--cash Infinity: not an amount of dollars"),
        ("--cash", "1e30", "at most 1000000000"),
        ("--symbols", " , ,", "--symbols: name at least one symbol"),
        ("--symbols", "ko,nope", "--symbols NOPE: no prices; known: AAPL"),
    ],
)
def test_a_demo_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, option: str, value: str, words: str
) -> None:
    assert words in complaint("demo", f"{option}={value}", status=2)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--speed", "0"],
        ["demo", "--nats-port", "70000"],
        ["demo", "--seed", "one"],
        ["demo", "--nonsense"],
        ["serve"],
        ["serve", "dashboard-of-dreams"],
        ["dump-state", "--rows", "0"],
        ["nonsense"],
    ],
)
def test_a_wrong_use_ends_with_status_2(arguments: list[str]) -> None:
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_a_home_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALPACLAUDIA_HOME", str(tmp_path / "file" / "home"))
    assert "cannot be written" in complaint("demo", status=1)


@pytest.mark.parametrize("command", ["tick", "status", "watch", "provision", "dump-state"])
def test_without_a_running_system_there_is_no_bus_to_ask(command: str) -> None:
    assert "no running system was found" in complaint(command, status=78)


@pytest.mark.parametrize("command", ["report", "migrate"])
def test_without_a_running_system_there_are_no_books(command: str) -> None:
    line = complaint(command, status=78)
    assert "no running system was found" in line
    assert "DATABASE_URL" in line


def test_a_report_of_no_day_is_refused() -> None:
    assert "--session soon: not a date" in complaint("report", "--session", "soon", status=2)


def test_a_loop_without_keys_names_what_is_missing() -> None:
    result = RUNNER.invoke(app, ["loop"])
    assert result.exit_code == 78
    assert "ALPACA_API_KEY is not set" in result.stderr
    assert "Traceback" not in result.output


def test_wrong_settings_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_MODE", "maybe")
    monkeypatch.setenv("ALPACA_ENV", "moon")
    result = RUNNER.invoke(app, ["config"])
    assert result.exit_code == 78
    assert "BOT_MODE" in result.stderr
    assert "ALPACA_ENV" in result.stderr


def test_config_shows_every_setting_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_SECRET_KEY", "hunter2-hunter2-hunter2")
    for arguments in (["config"], ["config", "--json"]):
        result = RUNNER.invoke(app, arguments)
        assert result.exit_code == 0
        assert "ALPACA_SECRET_KEY" in result.stdout
        assert "hunter2-hunter2" not in result.output


def test_the_services_that_can_be_served_are_rooms() -> None:
    services = Path(__file__).parents[3] / "services"
    assert all((services / service.value / "__main__.py").is_file() for service in Service)


@pytest.mark.parametrize("command", ["halt", "reduce", "resume", "flatten"])
def test_a_word_on_trading_wants_a_reason_and_a_system(command: str) -> None:
    assert complaint(command, "--why", "  ", status=2) == "--why: say a reason"
    assert RUNNER.invoke(app, [command]).exit_code == 2
    result = RUNNER.invoke(app, [command, "--why", "a test"])
    assert result.exit_code == 1
    assert "neither the bus nor the database can be reached, so nothing was said" in result.stderr
    assert "Stop the executor process itself" in result.stderr
