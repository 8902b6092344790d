"""Rules between settings: pure functions of a Settings whose single values are all valid."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from libs.common.contracts import AlpacaEnv, BotMode
from libs.common.settings import Settings
from libs.common.settings_parsers import is_loopback

ALPACA_REQUESTS_PER_MINUTE = 200
_NEW_YORK = ZoneInfo("America/New_York")
_LAST_CLOSE = dt.time(16, 0)
_WINTER_AND_SUMMER = (dt.date(2024, 1, 15), dt.date(2024, 7, 15))
_LIVE_HOST = "api.alpaca.markets"
_PAPER_HOST = "paper-api.alpaca.markets"


def broken_rules(settings: Settings, *, apart_from: AbstractSet[str] = frozenset()) -> list[str]:
    """Every rule between variables that does not hold, in words that name the variables.

    Rules about a variable in `apart_from` are left out: its own value is wrong already.
    """
    return [
        problem
        for variables, rule in _RULES
        if not variables & apart_from
        for problem in rule(settings)
    ]


def _real_money(settings: Settings) -> list[str]:
    alpaca = settings.alpaca
    real = settings.bot.mode is BotMode.LIVE and alpaca.env is AlpacaEnv.LIVE
    if real and alpaca.live_account is None:
        return [
            "ALPACA_LIVE_ACCOUNT is not set; with BOT_MODE=live and ALPACA_ENV=live it must be "
            "the number of the account whose money is traded"
        ]
    return []


def _hosts(settings: Settings) -> list[str]:
    env = settings.alpaca.env
    base_url, data_url = settings.alpaca.base_url, settings.alpaca.data_url
    problems = [
        f"{variable} is {url!r}; allowed: https:// (plain http:// only on this machine or with "
        "ALPACA_ENV=sim)"
        for variable, url in (("ALPACA_BASE_URL", base_url), ("ALPACA_DATA_URL", data_url))
        if url and url.startswith("http://") and env is not AlpacaEnv.SIM and not is_loopback(url)
    ]
    host = urlsplit(base_url).hostname if base_url else None
    wanted = {_LIVE_HOST: AlpacaEnv.LIVE, _PAPER_HOST: AlpacaEnv.PAPER}.get(host or "", env)
    if wanted is not env:
        problems.append(
            f"ALPACA_BASE_URL is {base_url!r}, Alpaca's host for {wanted.value}, "
            f"but ALPACA_ENV is {env.value}; allowed: the two agreeing"
        )
    return problems


def _clock(settings: Settings) -> list[str]:
    speed = settings.alpaca.clock_speed
    if speed != 1 and settings.alpaca.env is not AlpacaEnv.SIM:
        return [f"ALPACA_CLOCK_SPEED is '{speed:g}'; allowed: 1, unless ALPACA_ENV=sim"]
    return []


def _requests(settings: Settings) -> list[str]:
    market, executor = settings.market.requests_per_minute, settings.executor.requests_per_minute
    if market + executor > ALPACA_REQUESTS_PER_MINUTE:
        return [
            f"MARKET_REQUESTS_PER_MINUTE is '{market}' and EXECUTOR_REQUESTS_PER_MINUTE is "
            f"'{executor}'; allowed: at most {ALPACA_REQUESTS_PER_MINUTE} together"
        ]
    return []


def _days(settings: Settings) -> list[str]:
    wheel = settings.planner.wheel
    if wheel.dte_max < wheel.dte_min:
        return [
            f"DTE_MAX is '{wheel.dte_max}'; allowed: at least DTE_MIN, which is '{wheel.dte_min}'"
        ]
    return []


DISCORD_HOSTS = frozenset(
    {"discord.com", "discordapp.com", "canary.discord.com", "ptb.discord.com"}
)


def _webhook(settings: Settings) -> list[str]:
    """A webhook is an address this machine is made to call: only Discord's, or the one place the
    operator named for it. The address itself is a secret and is not shown.
    """
    url = settings.report.discord_webhook_url
    if url is None:
        return []
    parts = urlsplit(url)
    if settings.report.webhook_host is not None:
        if parts.netloc.lower() == settings.report.webhook_host:
            return []
        return ["DISCORD_WEBHOOK_URL is not at WEBHOOK_HOST; allowed: the two agreeing"]
    if parts.scheme == "https" and parts.netloc.lower() in DISCORD_HOSTS:
        return []
    return [
        "DISCORD_WEBHOOK_URL does not point to Discord; allowed: https:// and one of "
        f"{', '.join(sorted(DISCORD_HOSTS))} (or the host named in WEBHOOK_HOST)"
    ]


def doubtful(settings: Settings) -> list[str]:
    """What is allowed but hardly meant, as warnings."""
    zone = ZoneInfo(settings.report.timezone)
    for day in _WINTER_AND_SUMMER:
        reported = dt.datetime.combine(day, settings.report.time, tzinfo=zone)
        if reported < dt.datetime.combine(day, _LAST_CLOSE, tzinfo=_NEW_YORK):
            return [
                f"REPORT_TIME {settings.report.time:%H:%M} in {settings.report.timezone} comes "
                "before the close of the New York session of that date: the day's summary will "
                "miss the rest of the session"
            ]
    return []


Rule = Callable[[Settings], list[str]]

_RULES: tuple[tuple[frozenset[str], Rule], ...] = (
    (frozenset({"BOT_MODE", "ALPACA_ENV", "ALPACA_LIVE_ACCOUNT"}), _real_money),
    (frozenset({"ALPACA_ENV", "ALPACA_BASE_URL", "ALPACA_DATA_URL"}), _hosts),
    (frozenset({"ALPACA_ENV", "ALPACA_CLOCK_SPEED"}), _clock),
    (frozenset({"MARKET_REQUESTS_PER_MINUTE", "EXECUTOR_REQUESTS_PER_MINUTE"}), _requests),
    (frozenset({"DTE_MIN", "DTE_MAX"}), _days),
    (frozenset({"DISCORD_WEBHOOK_URL", "WEBHOOK_HOST"}), _webhook),
)


def require(settings: Settings, service: str) -> list[str]:
    """What a service cannot start without and does not have, one sentence each.

    Raises KeyError for a service that does not exist.
    """
    return [problem for need in _NEEDS[service] for problem in need(settings)]


def _needs_bus(settings: Settings) -> list[str]:
    bus = settings.bus
    problems = [] if bus.url else ["NATS_URL is not set: the address of the NATS server"]
    if not (bus.nkey_seed or bus.seeds_folder):
        problems.append(
            "NATS_NKEY_SEED is not set (nor NATS_SEEDS_FOLDER): the key to sign in to NATS with"
        )
    return problems


def _needs_database(settings: Settings) -> list[str]:
    database = settings.database
    if database.url or database.logins_folder:
        return []
    return ["DATABASE_URL is not set: the Postgres database"]


def _needs_broker(settings: Settings) -> list[str]:
    alpaca = settings.alpaca
    problems = []
    if not alpaca.api_key:
        problems.append("ALPACA_API_KEY is not set: the id of the key for ALPACA_ENV")
    if not alpaca.secret_key:
        problems.append("ALPACA_SECRET_KEY is not set: the secret of the key for ALPACA_ENV")
    if alpaca.env is AlpacaEnv.SIM:
        # Without them the SDK would take the real Alpaca's hosts.
        if not alpaca.base_url:
            problems.append("ALPACA_BASE_URL is not set: with ALPACA_ENV=sim the exchange's host")
        if not alpaca.data_url:
            problems.append("ALPACA_DATA_URL is not set: with ALPACA_ENV=sim the exchange's host")
    return problems


def _needs_broker_if_live(settings: Settings) -> list[str]:
    """In dry mode the executor makes no network call, so it needs no keys."""
    return _needs_broker(settings) if settings.bot.mode is BotMode.LIVE else []


def _needs_signing_key(settings: Settings) -> list[str]:
    if settings.risk.signing_key:
        return []
    return ["RISK_SIGNING_KEY is not set: approvals must be signed"]


def _needs_verify_key(settings: Settings) -> list[str]:
    if settings.executor.verify_key:
        return []
    return ["RISK_VERIFY_KEY is not set: approvals must be verified"]


_NEEDS: dict[str, tuple[Rule, ...]] = {
    "market": (_needs_broker, _needs_bus),
    "planner": (_needs_bus,),
    "risk": (_needs_bus, _needs_signing_key),
    "executor": (_needs_broker_if_live, _needs_bus, _needs_database, _needs_verify_key),
    "reporter": (_needs_bus, _needs_database),
    "exchange": (),
    "provision": (_needs_bus,),
    "migrate": (_needs_database,),
}
