"""Every variable, described once. The reader, `.env.example`, docs/settings.md and
`alpaclaudia config` are made from this table; defaults come from the Structs in settings.py.

    python -m libs.common.settings_table > .env.example
    python -m libs.common.settings_table --markdown > docs/settings.md
"""

from __future__ import annotations

import datetime as dt
import sys

from libs.common import settings_parsers as form
from libs.common.contracts import AlpacaEnv, BotMode
from libs.common.settings_entry import Entry, value_at
from libs.common.settings_risk_entries import RISK_ENTRIES
from libs.common.settings_wiring import METRICS, WIRING

__all__ = ["BY_PATH", "BY_VARIABLE", "MASK", "TABLE", "Entry", "masked", "text_of", "value_at"]

MASK = "****"
_LAST_FOUR_FROM_LENGTH = 16


def text_of(value: object) -> str:
    """A value as a person would write it into the variable; None and empty lists are ``''``."""
    match value:
        case None:
            text = ""
        case bool():
            text = "true" if value else "false"
        case float():
            text = repr(value).removesuffix(".0")
        case dt.time():
            text = f"{value:%H:%M}"
        case frozenset():
            text = ",".join(sorted(str(item) for item in value))
        case tuple():
            text = ",".join(value)
        case _:
            text = str(value)
    return text


def masked(text: str) -> str:
    """A secret for a screen: its last four characters only where that gives little away."""
    return MASK + text[-4:] if len(text) >= _LAST_FOUR_FROM_LENGTH else MASK


_MODE = "Mode"
_ALPACA = "Alpaca"
_MARKET = "Market"
_WHEEL = "The wheel"
_TRAILING = "Trailing stops"
_EXECUTOR = "Executor"
_REPORT = "Reports"

TABLE: tuple[Entry, ...] = (
    Entry(
        _MODE,
        "BOT_MODE",
        "bot.mode",
        form.one_of(BotMode),
        "dry decides and records but sends no order; live sends them to the account of ALPACA_ENV.",
    ),
    Entry(
        _MODE,
        "LOG_LEVEL",
        "bot.log_level",
        form.word("DEBUG", "INFO", "WARNING", "ERROR"),
        "How much the services write to their logs.",
    ),
    Entry(
        _MODE,
        "LOG_FORMAT",
        "bot.log_format",
        form.word("text", "json"),
        "text is for people. json writes one object a line, and a line for each message published, "
        "with one correlation_id from a snapshot to its orders' fills.",
    ),
    Entry(
        _ALPACA,
        "ALPACA_ENV",
        "alpaca.env",
        form.one_of(AlpacaEnv),
        "Which Alpaca: paper money, real money (live), or the simulated exchange (sim).",
    ),
    Entry(
        _ALPACA,
        "ALPACA_API_KEY",
        "alpaca.api_key",
        form.secret_text(),
        "The key's id. Paper and live accounts have different keys.",
        secret=True,
    ),
    Entry(
        _ALPACA,
        "ALPACA_SECRET_KEY",
        "alpaca.secret_key",
        form.secret_text(),
        "The key's secret half.",
        secret=True,
    ),
    Entry(
        _ALPACA,
        "ALPACA_LIVE_ACCOUNT",
        "alpaca.live_account",
        form.account_number(),
        "The third switch for real money: with BOT_MODE=live and ALPACA_ENV=live it must name the "
        "account's number.",
    ),
    Entry(
        _ALPACA,
        "ALPACA_BASE_URL",
        "alpaca.base_url",
        form.broker_url(),
        "Trading host, without /v2. Left empty: Alpaca's own for ALPACA_ENV.",
        notice=form.broker_url_notice,
    ),
    Entry(
        _ALPACA,
        "ALPACA_DATA_URL",
        "alpaca.data_url",
        form.broker_url(),
        "Market data host. Left empty: Alpaca's own.",
        notice=form.broker_url_notice,
    ),
    Entry(
        _ALPACA,
        "ALPACA_STOCK_FEED",
        "alpaca.stock_feed",
        form.word("iex", "sip", "delayed_sip", "otc", "boats", "overnight"),
        "Feed of stock prices; all but iex need a subscription.",
    ),
    Entry(
        _ALPACA,
        "ALPACA_OPTION_FEED",
        "alpaca.option_feed",
        form.word("indicative", "opra"),
        "Feed of option prices; opra needs a subscription.",
    ),
    Entry(
        _ALPACA,
        "ALPACA_CONNECT_TIMEOUT_SECONDS",
        "alpaca.connect_timeout_seconds",
        form.number("0.1", "60"),
        "How long a connection to Alpaca may take to open.",
    ),
    Entry(
        _ALPACA,
        "ALPACA_READ_TIMEOUT_SECONDS",
        "alpaca.read_timeout_seconds",
        form.number("0.1", "120"),
        "How long Alpaca may be silent within an answer.",
    ),
    Entry(
        _ALPACA,
        "ALPACA_CLOCK_SPEED",
        "alpaca.clock_speed",
        form.number("0.1", "100000"),
        "How much faster than life the broker's clock runs. Other than 1 only with ALPACA_ENV=sim.",
    ),
    *WIRING,
    Entry(
        _MARKET,
        "TICK_SECONDS",
        "market.tick_seconds",
        form.whole(1, 86400),
        "Time between two passes over the market while it is open, by the broker's clock.",
    ),
    Entry(
        _MARKET,
        "MARKET_REQUESTS_PER_MINUTE",
        "market.requests_per_minute",
        form.whole(1, 199),
        "The market service's share of Alpaca's 200 requests a minute.",
    ),
    Entry(
        _WHEEL,
        "WHEEL_ENABLED",
        "planner.wheel.enabled",
        form.yes_or_no(),
        "Whether the wheel opens anything; usually set for single symbols in SYMBOL_OVERRIDES.",
    ),
    Entry(
        _WHEEL,
        "WHEEL_UNIVERSE",
        "planner.universe",
        form.stock_symbols(),
        "The stocks the wheel may sell puts on. Stocks already held are looked at as well.",
    ),
    Entry(
        _WHEEL,
        "SYMBOL_OVERRIDES",
        "planner.symbol_overrides_file",
        form.file_path(),
        "A TOML file with a table for each symbol that differs: `[AAPL]`, then lines such as "
        "`target_delta = 0.2`. Keys are the wheel's settings in small letters "
        "(`enabled` for WHEEL_ENABLED), and trail_percent.",
    ),
    Entry(
        _WHEEL,
        "TARGET_DELTA",
        "planner.wheel.target_delta",
        form.number("0.01", "0.99"),
        "The delta aimed at, for puts and calls alike, written without a sign.",
    ),
    Entry(
        _WHEEL,
        "OTM_PCT",
        "planner.wheel.otm_pct",
        form.number("0", "90"),
        "Percent out of the money aimed at where greeks are missing.",
    ),
    Entry(
        _WHEEL,
        "DTE_MIN",
        "planner.wheel.dte_min",
        form.whole(0, 365),
        "Fewest days to expiration of an option that is sold.",
    ),
    Entry(
        _WHEEL,
        "DTE_MAX",
        "planner.wheel.dte_max",
        form.whole(0, 365),
        "Most days to expiration; at least DTE_MIN.",
    ),
    Entry(
        _WHEEL,
        "MIN_ANNUAL_YIELD",
        "planner.wheel.min_annual_yield",
        form.number("0", "1000"),
        "Percent a year on the collateral below which a put is left.",
    ),
    Entry(
        _WHEEL,
        "MIN_OPEN_INTEREST",
        "planner.wheel.min_open_interest",
        form.whole(0, 1_000_000),
        "Open interest below which a contract is left.",
    ),
    Entry(
        _WHEEL,
        "MAX_SPREAD_PCT",
        "planner.wheel.max_spread_pct",
        form.number("0.1", "200"),
        "Widest quote taken: ask less bid, in percent of their middle.",
    ),
    Entry(
        _WHEEL,
        "MAX_SHORT_PUTS_PER_SYMBOL",
        "planner.wheel.max_short_puts_per_symbol",
        form.whole(0, 100),
        "Most short puts on one stock, working orders counted; 0 sells none.",
    ),
    Entry(
        _WHEEL,
        "REPRICE_SECONDS",
        "planner.wheel.reprice_seconds",
        form.whole(0, 86_400),
        "How long an entry rests, by the broker's clock, before the next tick brings its limit a "
        "step nearer to the bid. 0: never.",
    ),
    Entry(
        _TRAILING,
        "TRAIL_PERCENT",
        "planner.trailing_stop.trail_percent",
        form.decimal("0.1", "50"),
        "How far, in percent, a trailing stop follows below the highest price.",
    ),
    Entry(
        _TRAILING,
        "TRAIL_SYMBOLS",
        "planner.trailing_stop.symbols",
        form.stock_symbol_set(),
        "Stocks of the wheel whose full lots are trailed too, instead of being kept for calls.",
    ),
    *RISK_ENTRIES,
    Entry(
        _EXECUTOR,
        "RISK_VERIFY_KEY",
        "executor.verify_key",
        form.ed25519_key(secret=False),
        "The public half of RISK_SIGNING_KEY: the executor sends only what it verifies.",
        from_file=True,
    ),
    Entry(
        _EXECUTOR,
        "ORDER_POLL_SECONDS",
        "executor.order_poll_seconds",
        form.number("0.1", "300"),
        "How often working orders are read again, by the broker's clock.",
    ),
    Entry(
        _EXECUTOR,
        "ORDER_POLL_SECONDS_STREAMING",
        "executor.order_poll_seconds_streaming",
        form.number("0.1", "3600"),
        "The same while the stream of trade_updates tells what happens.",
    ),
    Entry(
        _EXECUTOR,
        "SETTLE_SECONDS",
        "executor.settle_seconds",
        form.number("0.1", "300"),
        "How long after a doubtful submit the broker is asked again before the order counts as "
        "never arrived.",
    ),
    Entry(
        _EXECUTOR,
        "EXECUTOR_REQUESTS_PER_MINUTE",
        "executor.requests_per_minute",
        form.whole(1, 199),
        "The executor's share of Alpaca's 200 requests a minute.",
    ),
    Entry(
        _EXECUTOR,
        "ENTRY_REST_MINUTES",
        "executor.entry_rest_minutes",
        form.whole(0, 1440),
        "How many minutes of the market after its snapshot an entry that has not filled is "
        "cancelled. 0: at the close only.",
    ),
    Entry(
        _EXECUTOR,
        "RECONCILE_SECONDS",
        "executor.reconcile_seconds",
        form.number("1", "86400"),
        "How often orders, positions and cash at the broker are held against our books, by the "
        "broker's clock.",
    ),
    Entry(
        _EXECUTOR,
        "RECONCILE_CASH_TOLERANCE",
        "executor.reconcile_cash_tolerance",
        form.decimal("0", "1000000"),
        "Dollars that the broker's cash may be off from our books before a warning says so.",
    ),
    Entry(
        _EXECUTOR,
        "EXECUTOR_MAX_CONTRACTS",
        "executor.max_contracts",
        form.whole(1, 10_000),
        "The executor's own cap on contracts in one order, whatever risk approved.",
    ),
    Entry(
        _EXECUTOR,
        "EXECUTOR_MAX_SHARES",
        "executor.max_shares",
        form.whole(1, 10_000_000),
        "Its own cap on shares in one order.",
    ),
    Entry(
        _EXECUTOR,
        "EXECUTOR_MAX_NOTIONAL",
        "executor.max_notional",
        form.decimal("1", "1000000000"),
        "Its own cap on the dollars of one order: strike × 100 × contracts, or the stock's value.",
    ),
    Entry(
        _EXECUTOR,
        "EXECUTOR_PRICE_COLLAR_PCT",
        "executor.price_collar_pct",
        form.number("0", "1000"),
        "How far a limit price may lie from the price risk saw, in percent of it.",
    ),
    Entry(
        _EXECUTOR,
        "RISK_CONFIG_VERSIONS",
        "executor.risk_config_versions",
        form.hex_words(),
        "Versions of risk's limits that are honoured beside the version of these settings: for the "
        "minutes in which risk and executor are given new ones.",
    ),
    Entry(
        _EXECUTOR,
        "CANCEL_ENTRIES_ON_HALT",
        "executor.cancel_entries_on_halt",
        form.yes_or_no(),
        "Whether a halt cancels working orders that would open something.",
    ),
    Entry(
        _EXECUTOR,
        "CANCEL_ON_DISCONNECT_SECONDS",
        "executor.cancel_on_disconnect_seconds",
        form.number("0", "86400"),
        "How long, by our own clock, the executor may be cut off from the bus before it cancels "
        "working orders that would open something: nobody could tell it to stop. 0: never.",
    ),
    Entry(
        _REPORT,
        "REPORT_TIME",
        "report.time",
        form.time_of_day(),
        "When the day's summary is made, on trading days.",
    ),
    Entry(
        _REPORT,
        "REPORT_TIMEZONE",
        "report.timezone",
        form.time_zone(),
        "The time zone of REPORT_TIME.",
    ),
    Entry(
        _REPORT,
        "DISCORD_WEBHOOK_URL",
        "report.discord_webhook_url",
        form.webhook_url(),
        "The Discord webhook summaries are posted to. Left empty: nothing is posted.",
        secret=True,
    ),
    Entry(
        _REPORT,
        "WEBHOOK_HOST",
        "report.webhook_host",
        form.network_place(),
        "Where DISCORD_WEBHOOK_URL points if not to Discord: a relay of your own. It may be inside "
        "your network and without encryption; no other such place is ever called.",
    ),
    *METRICS,
)

BY_VARIABLE = {entry.variable: entry for entry in TABLE}
BY_PATH = {entry.path: entry for entry in TABLE}


if __name__ == "__main__":
    from libs.common import settings_pages

    markdown = "--markdown" in sys.argv[1:]
    sys.stdout.write(settings_pages.markdown() if markdown else settings_pages.env_example())
