"""Reading the settings: what a person writes, and what they get or are told."""

from __future__ import annotations

import base64
import datetime as dt
import os
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from libs.common.contracts import AlpacaEnv, BotMode
from libs.common.settings import Secret, Settings
from libs.common.settings_entry import value_at
from libs.common.settings_pages import env_example, markdown
from libs.common.settings_rules import broken_rules
from libs.common.settings_sources import (
    LoadedSettings,
    SettingsError,
    load_settings,
    require,
    resolved_rows,
)
from libs.common.settings_table import BY_PATH, BY_VARIABLE, TABLE
from libs.common.small_files import SMALL_BYTES_MAX

ROOT = Path(__file__).parents[3]
KEY = base64.b64encode(bytes(range(32))).decode()
SEED = "SUA" + 55 * "B"
HIDDEN = "hunter2-very-secret-0123456789"


def load(cwd: Path, environ: dict[str, str] | None = None, dotenv: str = "") -> LoadedSettings:
    (cwd / ".env").write_text(dotenv)
    return load_settings(environ or {}, env_file=Path(".env"), cwd=cwd)


def complaints(cwd: Path, environ: dict[str, str] | None = None, dotenv: str = "") -> list[str]:
    """The error's lines without its heading."""
    with pytest.raises(SettingsError) as caught:
        load(cwd, environ, dotenv)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


# --- where a value comes from ------------------------------------------------------------------


def test_nothing_set_means_dry_paper_and_every_default(tmp_path: Path) -> None:
    loaded = load_settings({}, env_file=None, cwd=tmp_path)
    assert loaded.settings == Settings()
    assert loaded.settings.bot.mode is BotMode.DRY
    assert loaded.settings.alpaca.env is AlpacaEnv.PAPER
    assert set(loaded.origins) == {entry.variable for entry in TABLE}
    assert {origin.source for origin in loaded.origins.values()} == {"default"}
    assert loaded.warnings == []


def test_a_missing_env_file_is_no_error(tmp_path: Path) -> None:
    assert load_settings({}, env_file=Path("none"), cwd=tmp_path).settings == Settings()


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"DTE_MIN": "7"}, "DTE_MIN=3\nDTE_MAX=21\n")
    assert (loaded.settings.planner.wheel.dte_min, loaded.settings.planner.wheel.dte_max) == (7, 21)
    assert loaded.origins["DTE_MIN"].source == "environment"
    assert loaded.origins["DTE_MAX"].source == ".env"
    assert loaded.origins["TARGET_DELTA"].source == "default"


def test_a_variable_set_to_nothing_is_not_set_and_hides_the_file(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"TRAIL_PERCENT": " "}, "TRAIL_PERCENT=12\nDTE_MIN=\n")
    assert loaded.settings == Settings()
    assert loaded.origins["TRAIL_PERCENT"].source == "default"


def test_dollar_signs_in_the_file_are_taken_as_they_stand(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"HOME": "/root"}, "ALPACA_SECRET_KEY=a${HOME}b\n")
    assert loaded.settings.alpaca.secret_key == "a${HOME}b"


def test_values_get_their_types(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        {
            "WHEEL_UNIVERSE": " aapl, MSFT,,brk.b,AAPL ",
            "TRAIL_SYMBOLS": "KO,ko",
            "TRAIL_PERCENT": "7.5",
            "CASH_BUFFER": "2500.50",
            "REPORT_TIME": "06:05",
            "REPORT_TIMEZONE": "Europe/Berlin",
            "LOG_LEVEL": "debug",
            "BOT_MODE": "LIVE",
            "WHEEL_ENABLED": "no",
        },
    ).settings
    assert settings.planner.universe == ("AAPL", "MSFT", "BRK.B")
    assert settings.planner.trailing_stop.symbols == frozenset({"KO"})
    assert settings.planner.trailing_stop.trail_percent == Decimal("7.5")
    assert settings.risk.cash_buffer == Decimal("2500.50")
    assert settings.report.time == dt.time(6, 5)
    assert settings.report.timezone == "Europe/Berlin"
    assert settings.bot.log_level == "DEBUG"
    assert settings.bot.mode is BotMode.LIVE
    assert settings.planner.wheel.enabled is False


def test_the_oldest_portfolio_follows_the_tick_unless_it_is_set(tmp_path: Path) -> None:
    assert load(tmp_path, {"TICK_SECONDS": "60"}).settings.risk.portfolio_age_seconds_max == 120
    both = {"TICK_SECONDS": "60", "PORTFOLIO_AGE_SECONDS_MAX": "300"}
    assert load(tmp_path, both).settings.risk.portfolio_age_seconds_max == 300


def test_the_version_at_the_end_of_the_host_is_left_out_with_a_warning(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"ALPACA_BASE_URL": "https://paper-api.alpaca.markets/v2/"})
    assert loaded.settings.alpaca.base_url == "https://paper-api.alpaca.markets"
    [warning] = loaded.warnings
    assert warning.startswith("ALPACA_BASE_URL")
    assert load(tmp_path, {"ALPACA_BASE_URL": "https://paper-api.alpaca.markets"}).warnings == []


def test_the_short_scheme_of_postgres_is_written_out(tmp_path: Path) -> None:
    settings = load(tmp_path, {"DATABASE_URL": "postgres://me:pw@db:5432/bot"}).settings
    assert settings.database.url == "postgresql://me:pw@db:5432/bot"


# --- secrets -----------------------------------------------------------------------------------


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{HIDDEN}\n")
    loaded = load(tmp_path, {"ALPACA_SECRET_KEY_FILE": "key"})
    assert loaded.settings.alpaca.secret_key == HIDDEN
    assert loaded.origins["ALPACA_SECRET_KEY"].source == f"file {tmp_path / 'key'}"


def test_a_secret_and_its_file_together_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(HIDDEN)
    environ = {"ALPACA_SECRET_KEY": HIDDEN}
    [line] = complaints(tmp_path, environ, "ALPACA_SECRET_KEY_FILE=key\n")
    assert "ALPACA_SECRET_KEY and ALPACA_SECRET_KEY_FILE are both set" in line


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\xff"])
def test_a_secrets_file_that_is_of_no_use_is_an_error(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    [line] = complaints(tmp_path, {"ALPACA_SECRET_KEY_FILE": "key"})
    assert line.startswith("ALPACA_SECRET_KEY_FILE names a file that")


SECRETS = [entry.variable for entry in TABLE if entry.secret]


@pytest.mark.parametrize("variable", SECRETS)
def test_no_error_shows_a_secret(tmp_path: Path, variable: str) -> None:
    (tmp_path / "key").write_text(f"{HIDDEN} with blanks")
    for environ in (
        {variable: f"{HIDDEN} with blanks"},
        {f"{variable}_FILE": HIDDEN},  # the secret itself, where a path belongs
        {f"{variable}_FILE": "key"},
        {variable: f"https://user:{HIDDEN}@[host and blanks", "TICK_SECONDS": "x"},
    ):
        lines = complaints(tmp_path, environ)
        assert any(line.startswith(variable) for line in lines)
        assert HIDDEN not in "\n".join(lines)


def test_a_password_inside_an_address_is_not_shown(tmp_path: Path) -> None:
    for variable in ("NATS_URL", "ALPACA_BASE_URL"):
        [line] = complaints(tmp_path, {variable: f"https://user:{HIDDEN}@host"})
        assert HIDDEN not in line


def test_settings_do_not_print_their_secrets(tmp_path: Path) -> None:
    environ = {
        "ALPACA_API_KEY": HIDDEN,
        "ALPACA_SECRET_KEY": HIDDEN,
        "NATS_NKEY_SEED": SEED,
        "DATABASE_URL": f"postgresql://bot:{HIDDEN}@db/bot",
        "RISK_SIGNING_KEY": KEY,
        "DISCORD_WEBHOOK_URL": f"https://discord.com/api/webhooks/1/{HIDDEN}",
    }
    assert set(SECRETS) <= set(environ)
    loaded = load(tmp_path, environ)
    printed = repr(loaded) + "".join(row.value_text for row in resolved_rows(loaded))
    assert HIDDEN not in printed
    assert KEY not in printed
    assert SEED not in printed


def test_a_secret_is_an_ordinary_text_but_for_its_repr() -> None:
    assert f"{Secret('abc')}" == "abc" == Secret("abc")
    assert repr(Secret("abc")) == "'****'"


def test_only_long_secrets_show_their_end(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, {"ALPACA_API_KEY": "PKABCDEFGHIJKL123456", "ALPACA_SECRET_KEY": "short"}
    )
    shown = {row.variable: row.value_text for row in resolved_rows(loaded)}
    assert shown["ALPACA_API_KEY"] == "****3456"
    assert shown["ALPACA_SECRET_KEY"] == "****"
    assert shown["DATABASE_URL"] == ""


# --- what is refused ---------------------------------------------------------------------------


def test_all_errors_are_told_at_once_each_with_variable_value_and_what_is_allowed(
    tmp_path: Path,
) -> None:
    lines = complaints(
        tmp_path, {"TARGET_DELTA": "-0.3", "BOT_MODE": "yolo"}, "TICK_SECONDS=soon\n"
    )
    assert lines == [
        "BOT_MODE is 'yolo' (environment); allowed: dry or live",
        "TICK_SECONDS is 'soon' (.env); allowed: a whole number from 1 to 86400",
        "TARGET_DELTA is '-0.3' (environment); allowed: a number from 0.01 to 0.99",
    ]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("TARGET_DELTA", "nan"),
        ("TARGET_DELTA", "0.25 "[::-1] + "x"),
        ("MAX_POSITION_PCT", "inf"),
        ("CASH_BUFFER", "NaN"),
        ("CASH_BUFFER", "-1"),
        ("CASH_BUFFER", "1e99"),
        ("TRAIL_PERCENT", "Infinity"),
        ("TRAIL_PERCENT", "0"),
        ("DTE_MIN", "1_0"),
        ("DTE_MIN", "٣"),
        ("DTE_MIN", "5.0"),
        ("TICK_SECONDS", "9" * 5000),
        ("WHEEL_UNIVERSE", "AAPL;MSFT"),
        ("WHEEL_UNIVERSE", "AAPL240426C00162500"),
        ("REPORT_TIME", "24:00"),
        ("REPORT_TIME", "9:30pm"),
        ("REPORT_TIMEZONE", "America"),
        ("METRICS_PORT", "-1"),
        ("METRICS_PORT", "65536"),
        ("METRICS_HOST", "everywhere"),
        ("METRICS_HOST", "127.0.0.1:9100"),
        ("REPORT_TIMEZONE", "../../etc/passwd"),
        ("REPORT_TIMEZONE", "Mars/Olympus"),
        ("NATS_URL", "http://nats:4222"),
        ("NATS_URL", "nats://host:99999"),
        ("NATS_URL", "nats://user:pass@host:4222"),
        ("DATABASE_URL", "mysql://a:b@c/d"),
        ("DATABASE_URL", "postgresql:///bot"),
        ("ALPACA_BASE_URL", "api.alpaca.markets"),
        ("ALPACA_BASE_URL", "https://broker.example/v1"),
        ("ALPACA_BASE_URL", "http://broker.example"),
        ("ALPACA_DATA_URL", "http://broker.example"),
        ("ALPACA_STOCK_FEED", "bloomberg"),
        ("ALPACA_SECRET_KEY", "two\nlines"),
        ("RISK_SIGNING_KEY", "AAAA"),
        ("RISK_VERIFY_KEY", "*" * 44),
        ("DISCORD_WEBHOOK_URL", "https://me:word@discord.com/api/webhooks/1/x"),
        ("WEBHOOK_HOST", "http://relay"),
        ("WEBHOOK_HOST", "relay/path"),
        ("WEBHOOK_HOST", "me@relay"),
        ("WHEEL_ENABLED", "maybe"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tmp_path: Path, variable: str, text: str) -> None:
    [line] = complaints(tmp_path, {variable: text})
    assert line.startswith(f"{variable} is ")
    assert "allowed: " in line
    assert len(line) < 300


# --- rules between variables -------------------------------------------------------------------


def test_real_money_needs_the_third_switch(tmp_path: Path) -> None:
    real = {"BOT_MODE": "live", "ALPACA_ENV": "live"}
    [line] = complaints(tmp_path, real)
    assert line.startswith("ALPACA_LIVE_ACCOUNT is not set")
    assert load(tmp_path, real | {"ALPACA_LIVE_ACCOUNT": "123456789"}).settings.alpaca.live_account
    load(tmp_path, {"BOT_MODE": "live", "ALPACA_ENV": "paper"})
    load(tmp_path, {"BOT_MODE": "dry", "ALPACA_ENV": "live"})


@pytest.mark.parametrize(
    ("env", "host"),
    [
        ("paper", "https://api.alpaca.markets"),
        ("sim", "https://API.alpaca.markets/v2"),
        ("live", "https://paper-api.alpaca.markets"),
    ],
)
def test_the_host_must_not_contradict_the_environment(tmp_path: Path, env: str, host: str) -> None:
    [line] = complaints(tmp_path, {"ALPACA_ENV": env, "ALPACA_BASE_URL": host})
    assert line.startswith("ALPACA_BASE_URL")
    assert f"ALPACA_ENV is {env}" in line


def test_only_the_simulated_exchange_may_be_fast_or_unencrypted(tmp_path: Path) -> None:
    fast = {"ALPACA_CLOCK_SPEED": "600", "ALPACA_BASE_URL": "http://exchange:8080"}
    assert load(tmp_path, fast | {"ALPACA_ENV": "sim"}).settings.alpaca.clock_speed == 600
    lines = complaints(tmp_path, fast)
    assert [line.split()[0] for line in lines] == ["ALPACA_BASE_URL", "ALPACA_CLOCK_SPEED"]


def test_both_shares_of_the_requests_must_fit_into_alpacas_limit(tmp_path: Path) -> None:
    [line] = complaints(tmp_path, {"MARKET_REQUESTS_PER_MINUTE": "141"})
    assert "MARKET_REQUESTS_PER_MINUTE is '141' and EXECUTOR_REQUESTS_PER_MINUTE is '60'" in line
    load(tmp_path, {"MARKET_REQUESTS_PER_MINUTE": "150", "EXECUTOR_REQUESTS_PER_MINUTE": "50"})


def test_the_window_of_days_must_not_be_upside_down(tmp_path: Path) -> None:
    assert complaints(tmp_path, {"DTE_MIN": "20"}) == [
        "DTE_MAX is '14'; allowed: at least DTE_MIN, which is '20'"
    ]


def test_a_rule_is_silent_while_one_of_its_variables_is_wrong_anyway(tmp_path: Path) -> None:
    [line] = complaints(tmp_path, {"ALPACA_ENV": "simm", "ALPACA_CLOCK_SPEED": "600"})
    assert line.startswith("ALPACA_ENV")


@pytest.mark.parametrize(
    "url",
    [
        "http://discord.com/api/webhooks/1/x",
        "https://discord.com.example/api/webhooks/1/x",
        "https://discord.com:8443/api/webhooks/1/x",
        "https://evil.example/discord.com",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:8080/hook",
        "https://localhost/hook",
        "https://[::1]/hook",
    ],
)
def test_a_webhook_points_to_discord_or_the_place_that_was_named(tmp_path: Path, url: str) -> None:
    [line] = complaints(tmp_path, {"DISCORD_WEBHOOK_URL": url})
    assert line.startswith("DISCORD_WEBHOOK_URL does not point to Discord")
    assert url not in line
    place = url.split("/")[2]
    named = {"DISCORD_WEBHOOK_URL": url, "WEBHOOK_HOST": place}
    assert load(tmp_path, named).settings.report.discord_webhook_url == url
    [line] = complaints(tmp_path, named | {"WEBHOOK_HOST": "relay.example"})
    assert "the two agreeing" in line


def test_discords_own_hosts_are_its_own(tmp_path: Path) -> None:
    for host in ("discord.com", "discordapp.com", "ptb.discord.com"):
        load(tmp_path, {"DISCORD_WEBHOOK_URL": f"https://{host}/api/webhooks/1/x"})


def test_the_defaults_break_no_rule() -> None:
    assert broken_rules(Settings()) == []


def test_a_report_before_the_close_is_a_warning(tmp_path: Path) -> None:
    early = load(tmp_path, {"REPORT_TIMEZONE": "Asia/Tokyo"})
    assert early.warnings[0].startswith("REPORT_TIME")
    assert load(tmp_path, {"REPORT_TIMEZONE": "Europe/Berlin"}).warnings == []


# --- the file itself ---------------------------------------------------------------------------


def test_a_misspelled_variable_is_a_warning_with_the_nearest_name(tmp_path: Path) -> None:
    dotenv = f"TARGET_DELTAS=0.3\nALPACA_APIKEY={HIDDEN}\ndte_min=4\nPOSTGRES_PASSWORD=x\n"
    warnings = load(tmp_path, dotenv=dotenv).warnings
    assert [w.split()[0] for w in warnings] == ["TARGET_DELTAS", "ALPACA_APIKEY", "dte_min"]
    assert [w.split()[-1] for w in warnings] == ["TARGET_DELTA", "ALPACA_API_KEY", "DTE_MIN"]
    assert HIDDEN not in "".join(warnings)


def test_a_variable_written_twice_is_a_warning(tmp_path: Path) -> None:
    loaded = load(tmp_path, dotenv="DTE_MIN=3\nDTE_MIN=4\n")
    assert loaded.settings.planner.wheel.dte_min == 4
    assert loaded.warnings[0].startswith("DTE_MIN is set more than once")


def test_a_line_that_cannot_be_read_is_an_error_with_its_number(tmp_path: Path) -> None:
    [line] = complaints(tmp_path, dotenv=f'DTE_MIN=3\nALPACA_SECRET_KEY="{HIDDEN}\n')
    assert "line 2" in line
    assert HIDDEN not in line


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    for name in ("bad", "."):
        with pytest.raises(SettingsError, match="cannot be read"):
            load_settings({}, env_file=Path(name), cwd=tmp_path)


# --- paths that are no files -------------------------------------------------------------------


@pytest.fixture(params=["/dev/zero", "pipe", "folder", "large", "a\x00b", "/proc/self/mem"])
def trick(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A path that would hang a reader, or fill its memory, or raise something unforeseen."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"x" * (SMALL_BYTES_MAX + 1))
    return str(request.param)


@pytest.mark.parametrize("variable", ["SYMBOL_OVERRIDES", *(f"{name}_FILE" for name in SECRETS)])
def test_a_path_that_is_no_plain_file_is_an_error_at_once(
    tmp_path: Path, variable: str, trick: str
) -> None:
    [line] = complaints(tmp_path, {variable: trick})
    assert line.startswith(variable)


def test_an_env_file_that_never_ends_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings({}, env_file=Path("/dev/zero"), cwd=tmp_path)


def test_a_file_of_others_shows_nothing_of_itself(tmp_path: Path) -> None:
    """`SYMBOL_OVERRIDES=../.env`, or a key's file where another belongs."""
    (tmp_path / "secrets").write_text(f'ALPACA_SECRET_KEY="{HIDDEN}"\nNATS={HIDDEN}\n')
    for variable in ("SYMBOL_OVERRIDES", "NATS_NKEY_SEED_FILE", "DATABASE_URL_FILE"):
        lines = complaints(tmp_path, {variable: "./x/../secrets"})
        assert lines
        assert HIDDEN not in "".join(lines)
        (tmp_path / "x").mkdir(exist_ok=True)


# --- what a service needs ----------------------------------------------------------------------


def test_each_service_asks_for_what_it_needs_and_no_more(tmp_path: Path) -> None:
    def missing(service: str, settings: Settings) -> list[str]:
        return [problem.split()[0] for problem in require(settings, service)]

    nothing = Settings()
    keys = ["ALPACA_API_KEY", "ALPACA_SECRET_KEY"]
    assert missing("market", nothing) == [*keys, "NATS_URL", "NATS_NKEY_SEED"]
    assert missing("planner", nothing) == ["NATS_URL", "NATS_NKEY_SEED"]
    assert missing("risk", nothing) == ["NATS_URL", "NATS_NKEY_SEED", "RISK_SIGNING_KEY"]
    assert missing("executor", nothing) == [
        "NATS_URL",
        "NATS_NKEY_SEED",
        "DATABASE_URL",
        "RISK_VERIFY_KEY",
    ]
    live = load(tmp_path, {"BOT_MODE": "live"}).settings
    assert missing("executor", live) == [
        *keys,
        "NATS_URL",
        "NATS_NKEY_SEED",
        "DATABASE_URL",
        "RISK_VERIFY_KEY",
    ]
    assert missing("reporter", nothing) == ["NATS_URL", "NATS_NKEY_SEED", "DATABASE_URL"]
    assert missing("exchange", nothing) == []
    simulated = load(tmp_path, {"ALPACA_ENV": "sim"}).settings
    assert missing("market", simulated)[2:4] == ["ALPACA_BASE_URL", "ALPACA_DATA_URL"]
    assert missing("executor", simulated) == [
        "NATS_URL",
        "NATS_NKEY_SEED",
        "DATABASE_URL",
        "RISK_VERIFY_KEY",
    ]
    complete = load(
        tmp_path,
        {
            "ALPACA_API_KEY": "PK",
            "ALPACA_SECRET_KEY": "s",
            "NATS_URL": "nats://localhost:4222",
            "NATS_NKEY_SEED": SEED,
            "DATABASE_URL": "postgresql://a:b@c/d",
            "RISK_SIGNING_KEY": KEY,
            "RISK_VERIFY_KEY": KEY,
        },
    ).settings
    for service in ("market", "planner", "risk", "executor", "reporter", "provision", "migrate"):
        assert require(complete, service) == []


# --- the table and its pages -------------------------------------------------------------------


def test_every_field_of_the_settings_has_its_variable() -> None:
    def leaves(struct: msgspec.Struct, prefix: str) -> set[str]:
        found: set[str] = set()
        for name in struct.__struct_fields__:
            value = getattr(struct, name)
            path = f"{prefix}{name}"
            found |= leaves(value, f"{path}.") if isinstance(value, msgspec.Struct) else {path}
        return found

    from_the_overrides_file = {"planner.per_symbol", "planner.per_symbol_trail_percent"}
    assert set(BY_PATH) == leaves(Settings(), "") - from_the_overrides_file
    assert len(BY_VARIABLE) == len(BY_PATH) == len(TABLE)


def test_the_pages_are_current() -> None:
    how = "run: python -m libs.common.settings_table"
    assert (ROOT / ".env.example").read_text() == env_example(), how
    assert (ROOT / "docs/settings.md").read_text() == markdown(), f"{how} --markdown"


def test_the_example_copied_as_it_is_or_uncommented_gives_the_defaults(tmp_path: Path) -> None:
    as_it_is = load(tmp_path, dotenv=env_example())
    assignments = [
        line.removeprefix("# ")
        for line in env_example().splitlines()
        if line.removeprefix("# ").split("=")[0] in BY_VARIABLE
    ]
    uncommented = load(tmp_path, dotenv="\n".join(assignments))
    assert len(assignments) == len(TABLE)
    assert as_it_is.settings == uncommented.settings == Settings()
    assert as_it_is.warnings == uncommented.warnings == []


def test_rows_show_what_holds_and_where_it_comes_from(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"WHEEL_UNIVERSE": "ko,aapl"}, "CASH_BUFFER=50\n")
    rows = {row.variable: row for row in resolved_rows(loaded)}
    assert list(rows) == [entry.variable for entry in TABLE]
    assert (rows["WHEEL_UNIVERSE"].value_text, rows["WHEEL_UNIVERSE"].origin) == (
        "KO,AAPL",
        "environment",
    )
    assert (rows["CASH_BUFFER"].value_text, rows["CASH_BUFFER"].origin) == ("50", ".env")
    assert rows["REPORT_TIME"].value_text == "22:30"
    assert all(row.explanation for row in rows.values())
    assert value_at(loaded.settings, "risk.cash_buffer") == 50
