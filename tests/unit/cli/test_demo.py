"""What a demo is started with, and who is told its secrets."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from libs.common.nkey_files import make_seeds
from libs.common.runtime import SUPERVISOR_PID
from libs.common.settings_sources import load_settings, require
from libs.common.settings_table import TABLE
from services.cli.demo import (
    DEFAULT_START,
    DEFAULT_SYMBOLS,
    FIRST_START,
    LAST_START,
    STOCKS_AT_START,
    DemoPlan,
    DemoWishes,
    demo_environ,
    plan_for,
    stack_plan,
    trouble_with,
)
from services.cli.home import HomeError, StackFolder
from services.cli.supervisor import SECRETS_OF, SERVICES, ending, environ_for
from services.exchange.config import shipped_symbols

NOTHING = DemoWishes()


@pytest.fixture
def folder(tmp_path: Path) -> StackFolder:
    folder = StackFolder(tmp_path, "demo")
    folder.path.mkdir(parents=True)
    return folder


# --- the plan ----------------------------------------------------------------------------------


def test_a_first_demo_takes_the_defaults_and_a_second_goes_on(folder: StackFolder) -> None:
    assert plan_for(folder, NOTHING) == (DemoPlan(), False)
    assert plan_for(folder, NOTHING) == (DemoPlan(), True)


def test_a_demo_goes_on_with_what_was_wished_for_at_its_start(folder: StackFolder) -> None:
    wished = DemoWishes(start=dt.date(2008, 9, 2), symbols=("KO",), cash=Decimal(5000), seed=7)
    begun, _ = plan_for(folder, wished)
    assert begun == DemoPlan(start=dt.date(2008, 9, 2), symbols=("KO",), cash=Decimal(5000), seed=7)
    assert plan_for(folder, NOTHING) == (begun, True)
    assert plan_for(folder, wished) == (begun, True)
    assert plan_for(folder, DemoWishes(seed=7)) == (begun, True)


@pytest.mark.parametrize(
    "wishes",
    [
        DemoWishes(start=dt.date(2020, 2, 13)),
        DemoWishes(symbols=("KO",)),
        DemoWishes(symbols=tuple(reversed(DEFAULT_SYMBOLS))),
        DemoWishes(cash=Decimal(1)),
        DemoWishes(seed=0),
    ],
)
def test_a_wish_against_a_demo_that_is_kept_is_refused(
    folder: StackFolder, wishes: DemoWishes
) -> None:
    plan_for(folder, NOTHING)
    with pytest.raises(HomeError, match=r"began 2020-02-12 with AAPL.*--fresh"):
        plan_for(folder, wishes)
    assert plan_for(folder, NOTHING) == (DemoPlan(), True)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"\xff", b'{"seed":"one"}'])
def test_a_damaged_plan_is_said(folder: StackFolder, content: bytes) -> None:
    (folder.path / "demo.json").write_bytes(content)
    with pytest.raises(HomeError, match=r"demo.json is damaged.*--fresh"):
        plan_for(folder, NOTHING)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (DemoWishes(start=FIRST_START - dt.timedelta(days=1)), "--from 1990-01-31: prices reach"),
        (DemoWishes(start=LAST_START + dt.timedelta(days=1)), "--from 2022-12-29: prices reach"),
        (DemoWishes(symbols=("KO", "TSLA", "NOPE")), "--symbols TSLA,NOPE: no prices; known: AAPL"),
        (DemoWishes(cash=Decimal("1e10")), "at most 1000000000"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_before_anything_is_kept(
    wishes: DemoWishes, words: str
) -> None:
    assert words in (trouble_with(wishes) or "")


def test_the_bounds_are_the_exchanges_own() -> None:
    from services.exchange.prices.calendar import load_calendar
    from services.exchange.prices.history import load_history
    from services.exchange.prices.market import DAYS_BEFORE, Market

    history = load_history()
    market = Market(load_calendar(), history, 1)
    dates = market.calendar.dates
    assert (dates[DAYS_BEFORE], dates[market.last_day]) == (FIRST_START, LAST_START)
    assert list(shipped_symbols()) == history.symbols
    ends = DemoWishes(start=FIRST_START, symbols=shipped_symbols(), cash=Decimal(0))
    assert trouble_with(ends) is None
    assert trouble_with(DemoWishes(start=LAST_START)) is None
    assert trouble_with(NOTHING) is None
    assert trouble_with(DemoWishes(start=DEFAULT_START, symbols=DEFAULT_SYMBOLS)) is None
    assert set(STOCKS_AT_START) <= set(shipped_symbols())


def test_a_demos_settings_are_valid_and_say_that_nothing_is_real(tmp_path: Path) -> None:
    environ = demo_environ(DemoPlan(), speed=7800)
    settings = load_settings(environ, env_file=None, cwd=tmp_path).settings
    assert (settings.bot.mode.value, settings.alpaca.env.value) == ("live", "sim")
    assert settings.planner.universe == DEFAULT_SYMBOLS
    assert settings.alpaca.clock_speed == 7800


def test_the_exchange_lists_what_is_planned_and_what_is_held() -> None:
    plan = stack_plan(DemoPlan(symbols=("PFE",)), 100.0, (1, 2, 3))
    assert plan.exchange is not None
    assert plan.exchange.symbols == ["HD", "JNJ", "KO", "PFE"]
    assert plan.environ["WHEEL_UNIVERSE"] == "PFE"
    assert (plan.nats_port, plan.postgres_port, plan.exchange_port) == (1, 2, 3)


# --- secrets -----------------------------------------------------------------------------------

EVERYTHING = {entry.variable: f"value of {entry.variable}" for entry in TABLE}
OF_FOLDERS = {"NATS_NKEY_SEED", "DATABASE_URL"}
FILES = {f"{entry.variable}_FILE": "path" for entry in TABLE if entry.secret}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_given_its_own_secrets_and_nobody_elses(service: str) -> None:
    given = environ_for(service, EVERYTHING | FILES)
    for variable, owners in SECRETS_OF.items():
        file = f"{variable}_FILE"
        if variable not in OF_FOLDERS:
            assert ((variable in given), (file in given)) == ((service in owners),) * 2
    seeds, logins = (EVERYTHING[f] for f in ("NATS_SEEDS_FOLDER", "DATABASE_LOGINS_FOLDER"))
    assert given["NATS_NKEY_SEED_FILE"] == f"{seeds}/{service}.nk"
    login = f"{logins}/{service}.url" if service in SECRETS_OF["DATABASE_URL"] else None
    assert given.get("DATABASE_URL_FILE") == login
    assert not OF_FOLDERS & set(given), "the addresses and keys of others"
    open_settings = {entry.variable for entry in TABLE if entry.variable not in SECRETS_OF}
    assert open_settings - {"NATS_SEEDS_FOLDER", "DATABASE_LOGINS_FOLDER"} <= set(given)


def test_without_logins_who_keeps_books_has_the_address_it_was_given() -> None:
    settings = {"DATABASE_URL": "postgresql://a:b@c/d"}
    assert environ_for("executor", settings)["DATABASE_URL"] == settings["DATABASE_URL"]
    assert "DATABASE_URL" not in environ_for("risk", settings)


def test_who_may_know_what_is_written_here_too() -> None:
    """Only risk signs, only market and executor hold keys, only what keeps books reaches them."""
    knows = {name: {v for v, owners in SECRETS_OF.items() if name in owners} for name in SERVICES}
    keys = {"ALPACA_API_KEY", "ALPACA_SECRET_KEY"}
    assert knows == {
        "market": keys,
        "planner": set(),
        "risk": {"RISK_SIGNING_KEY"},
        "executor": keys | {"DATABASE_URL"},
        "reporter": {"DATABASE_URL", "DISCORD_WEBHOOK_URL"},
    }


def test_every_secret_has_its_owners() -> None:
    assert {entry.variable for entry in TABLE if entry.secret} == set(SECRETS_OF)


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_needs_it_is_given(service: str, tmp_path: Path) -> None:
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    environ = demo_environ(DemoPlan(), speed=1) | {
        "NATS_URL": "nats://127.0.0.1:4222",
        "NATS_SEEDS_FOLDER": str(tmp_path),
        "DATABASE_URL": "postgresql://a:b@127.0.0.1/c",
        "ALPACA_API_KEY": "k",
        "ALPACA_SECRET_KEY": "s",
        "ALPACA_BASE_URL": "http://127.0.0.1:1",
        "ALPACA_DATA_URL": "http://127.0.0.1:1",
        "RISK_SIGNING_KEY": key,
        "RISK_VERIFY_KEY": key,
    }
    make_seeds(tmp_path, SERVICES)
    given = environ_for(service, environ)
    settings = load_settings(given, env_file=None, cwd=tmp_path).settings
    assert require(settings, service) == []


def test_the_shells_own_secrets_do_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_SECRET_KEY", "the shell's")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another's")
    monkeypatch.setenv("TZ", "UTC")
    given = environ_for("planner", {})
    assert not {"ALPACA_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"} & set(given)
    assert given["TZ"] == "UTC"
    assert given[SUPERVISOR_PID].isdigit()
    assert given["ALPACLAUDIA_ENV_FILE"] == ""


@pytest.mark.parametrize(
    ("status", "words"), [(0, "status 0"), (1, "status 1"), (-9, "killed by SIGKILL"),
                          (-200, "status -200")]
)  # fmt: skip
def test_an_ending_is_said_in_words(status: int, words: str) -> None:
    assert ending(status) == words


def test_fresh_clears_no_folder_of_others(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").touch()
    folder = StackFolder(tmp_path, "demo")
    with pytest.raises(HomeError, match="holds something else"), folder.held(fresh=True):
        pytest.fail("held")
    assert (tmp_path / "demo" / "thesis.txt").exists()


def test_fresh_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "demo.json").touch()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "demo").symlink_to(tmp_path / "elsewhere")
    folder = StackFolder(tmp_path / "home", "demo")
    with pytest.raises(HomeError), folder.held(fresh=True):
        pytest.fail("held")
    assert (tmp_path / "elsewhere" / "demo.json").exists()
