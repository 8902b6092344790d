"""What can be set, as frozen Structs. Reading them from the environment is settings_sources.py.

Every field here is one environment variable, described once in settings_table.py, from which
`.env.example`, the runbook's table and `alpaclaudia config` are made.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from libs.common.contracts import AlpacaEnv, BotMode


class Secret(str):
    """A text that shows itself as `'****'` in a repr, so that settings can be logged whole."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'****'"


class BotSettings(msgspec.Struct, frozen=True, kw_only=True):
    mode: BotMode = BotMode.DRY
    log_level: str = "INFO"
    log_format: str = "text"


class AlpacaSettings(msgspec.Struct, frozen=True, kw_only=True):
    env: AlpacaEnv = AlpacaEnv.PAPER
    api_key: str | None = None
    secret_key: str | None = None
    base_url: str | None = None
    """Trading host without `/v2`; None means the SDK's own for `env`."""
    data_url: str | None = None
    live_account: str | None = None
    """The third switch for real money: the account's number, needed when mode and env are live."""
    stock_feed: str = "iex"
    option_feed: str = "indicative"
    connect_timeout_seconds: float = 3.0
    read_timeout_seconds: float = 10.0
    clock_speed: float = 1.0
    """How much faster than life the broker's clock runs; other than 1 only with env `sim`."""


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    url: str | None = None
    """None: `alpaclaudia loop` starts an embedded nats-server."""
    nkey_seed: str | None = None
    """The seed of this process's nkey."""
    seeds_folder: str | None = None
    """Where `provision --out` put the seeds; each process takes its own."""
    tls_ca: str | None = None
    """The file of the authority whose certificates are trusted; None: the system's for tls://."""


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    url: str | None = None
    """None: `alpaclaudia loop` starts an embedded Postgres."""
    logins_folder: str | None = None
    """Where `migrate --logins` put the roles' addresses; each process takes its own."""
    tls_ca: str | None = None
    """The file of the authority that must have signed the server's certificate."""

    @property
    def address(self) -> str | None:
        """The URL with what libpq is to check of the server: with `tls_ca` its authority and its
        name, whatever the URL says of TLS.
        """
        if self.url is None or self.tls_ca is None:
            return self.url
        parts = urlsplit(self.url)
        query = [
            (name, value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
            if name not in ("sslmode", "sslrootcert")
        ]
        query += [("sslmode", "verify-full"), ("sslrootcert", self.tls_ca)]
        return Secret(urlunsplit(parts._replace(query=urlencode(query))))


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a service answers /live, /ready and /metrics."""

    port: int = 0
    """0: nowhere."""
    host: str = "127.0.0.1"


class MarketSettings(msgspec.Struct, frozen=True, kw_only=True):
    tick_seconds: int = 900
    requests_per_minute: int = 140
    """Market's share of Alpaca's 200 a minute per account; the executor has the rest."""


class WheelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the wheel strategy is run with for one symbol (after the per-symbol overrides)."""

    enabled: bool = True
    target_delta: float = 0.25
    """Absolute delta aimed at, for puts and calls alike, 0 to 1."""
    otm_pct: float = 5.0
    """Percent out of the money aimed at where greeks are missing."""
    dte_min: int = 5
    dte_max: int = 14
    min_annual_yield: float = 5.0
    """Percent a year on the collateral below which a put is left."""
    min_open_interest: int = 50
    max_spread_pct: float = 15.0
    """Widest quote taken, in percent of the mid."""
    max_short_puts_per_symbol: int = 1
    reprice_seconds: int = 600
    """How long an entry rests before it is asked for less, by the broker's clock; 0: never."""


class TrailingStopSettings(msgspec.Struct, frozen=True, kw_only=True):
    trail_percent: Decimal = Decimal(8)
    symbols: frozenset[str] = frozenset()
    """Symbols whose full lots are trailed too, though the wheel could write calls on them."""


class PlannerSettings(msgspec.Struct, frozen=True, kw_only=True):
    universe: tuple[str, ...] = ()
    wheel: WheelSettings = WheelSettings()
    trailing_stop: TrailingStopSettings = TrailingStopSettings()
    per_symbol: dict[str, WheelSettings] = {}
    """The wheel's settings of symbols with overrides, already merged with `wheel`."""
    per_symbol_trail_percent: dict[str, Decimal] = {}
    symbol_overrides_file: str | None = None
    """Where the two above were read from."""

    def wheel_for(self, symbol: str) -> WheelSettings:
        return self.per_symbol.get(symbol, self.wheel)

    def trail_percent_for(self, symbol: str) -> Decimal:
        return self.per_symbol_trail_percent.get(symbol, self.trailing_stop.trail_percent)


class RiskSettings(msgspec.Struct, frozen=True, kw_only=True):
    cash_buffer: Decimal = Decimal(1000)
    """Dollars of cash that no collateral may touch."""
    max_position_pct: float = 20.0
    """Most of equity one underlying may bind, in percent: short puts' collateral plus stock."""
    max_short_puts: int = 5
    portfolio_age_seconds_max: int = 1800
    """Oldest portfolio (broker's clock against the intent's) risk decides on."""
    approval_ttl_seconds: int = 60
    capital_limit: Decimal | None = None
    """Dollars that stock, short puts' collateral and approvals may bind in all; None: equity's."""
    max_total_pct: float = 100.0
    """The same in percent of equity."""
    max_order_contracts: int = 10
    max_order_shares: int = 10_000
    max_order_notional: Decimal = Decimal(250_000)
    price_collar_pct: float = 25.0
    """How far outside the quote, in percent, a limit price may lie."""
    quote_age_seconds_max: int = 300
    max_orders_per_minute: int = 30
    max_messages_per_minute: int = 600
    max_orders_per_day: int = 200
    max_repeats_per_day: int = 10
    restricted_symbols: frozenset[str] = frozenset()
    restricted_dates: frozenset[dt.date] = frozenset()
    entry_minutes_before_close: int = 0
    expiry_days_min: int = 1
    reduce_daily_loss_pct: float = 5.0
    halt_daily_loss_pct: float = 10.0
    reduce_drawdown_pct: float = 15.0
    halt_drawdown_pct: float = 25.0
    signing_key: str | None = None
    """Ed25519 private key, base64; risk only."""


class ExecutorSettings(msgspec.Struct, frozen=True, kw_only=True):
    verify_key: str | None = None
    """Ed25519 public key, base64, that approvals must be signed with."""
    order_poll_seconds: float = 5.0
    order_poll_seconds_streaming: float = 30.0
    """The same while the stream of trade_updates is trusted."""
    settle_seconds: float = 5.0
    """How long after doubt the broker is asked again before an order counts as never arrived."""
    requests_per_minute: int = 60
    entry_rest_minutes: int = 60
    """How long after its snapshot an entry that does not fill is cancelled; 0: at the close."""
    reconcile_seconds: float = 60.0
    """How often the broker is held against our books, by the broker's clock."""
    reconcile_cash_tolerance: Decimal = Decimal(1)
    """Dollars that the broker's cash may be off from ours before it is told."""
    max_contracts: int = 20
    """The executor's own caps, whatever risk approved."""
    max_shares: int = 20_000
    max_notional: Decimal = Decimal(500_000)
    price_collar_pct: float = 50.0
    """How far a limit may lie from the price risk saw, in percent of it."""
    risk_config_versions: frozenset[str] = frozenset()
    """Versions of risk's limits that are honoured beside that of these settings."""
    cancel_entries_on_halt: bool = True
    cancel_on_disconnect_seconds: float = 60.0
    """How long the trading state is unknown before working entries are cancelled; 0: never."""


class ReportSettings(msgspec.Struct, frozen=True, kw_only=True):
    time: dt.time = dt.time(22, 30)
    timezone: str = "America/New_York"
    discord_webhook_url: str | None = None
    webhook_host: str | None = None
    """The one place other than Discord's where the webhook may be, also inside the network."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    bot: BotSettings = BotSettings()
    alpaca: AlpacaSettings = AlpacaSettings()
    bus: BusSettings = BusSettings()
    database: DatabaseSettings = DatabaseSettings()
    market: MarketSettings = MarketSettings()
    planner: PlannerSettings = PlannerSettings()
    risk: RiskSettings = RiskSettings()
    executor: ExecutorSettings = ExecutorSettings()
    report: ReportSettings = ReportSettings()
    metrics: MetricsSettings = MetricsSettings()
