"""Risk's rows of settings_table.py: the limits an order is held against."""

from __future__ import annotations

from libs.common import settings_parsers as form
from libs.common.settings_entry import Entry

_RISK = "Risk"

RISK_ENTRIES: tuple[Entry, ...] = (
    Entry(
        _RISK,
        "CASH_BUFFER",
        "risk.cash_buffer",
        form.decimal("0", "1000000000"),
        "Dollars of cash that no collateral may touch.",
    ),
    Entry(
        _RISK,
        "MAX_POSITION_PCT",
        "risk.max_position_pct",
        form.number("0.1", "100"),
        "Most of equity, in percent, that one stock may bind: its puts' collateral and its shares.",
    ),
    Entry(
        _RISK,
        "MAX_SHORT_PUTS",
        "risk.max_short_puts",
        form.whole(0, 1000),
        "Most short puts in all, working orders counted; 0 sells none.",
    ),
    Entry(
        _RISK,
        "PORTFOLIO_AGE_SECONDS_MAX",
        "risk.portfolio_age_seconds_max",
        form.whole(1, 604_800),
        "Oldest portfolio, by the broker's clock, that risk decides on.",
        default_note="2 × TICK_SECONDS",
    ),
    Entry(
        _RISK,
        "APPROVAL_TTL_SECONDS",
        "risk.approval_ttl_seconds",
        form.whole(1, 3600),
        "How long an approval is good for; an order not sent by then is not sent.",
    ),
    Entry(
        _RISK,
        "CAPITAL_LIMIT",
        "risk.capital_limit",
        form.decimal("1", "1000000000000"),
        "Dollars that stock, collateral and approvals may bind in all. Left empty: no limit but "
        "MAX_TOTAL_PCT.",
    ),
    Entry(
        _RISK,
        "MAX_TOTAL_PCT",
        "risk.max_total_pct",
        form.number("0.1", "1000"),
        "Most of equity, in percent, that all stock, collateral and approvals together may bind.",
    ),
    Entry(
        _RISK,
        "MAX_ORDER_CONTRACTS",
        "risk.max_order_contracts",
        form.whole(1, 10_000),
        "Most contracts in one order.",
    ),
    Entry(
        _RISK,
        "MAX_ORDER_SHARES",
        "risk.max_order_shares",
        form.whole(1, 10_000_000),
        "Most shares in one order.",
    ),
    Entry(
        _RISK,
        "MAX_ORDER_NOTIONAL",
        "risk.max_order_notional",
        form.decimal("1", "1000000000"),
        "Most dollars in one order: strike × 100 × contracts, or the stock's value.",
    ),
    Entry(
        _RISK,
        "PRICE_COLLAR_PCT",
        "risk.price_collar_pct",
        form.number("0", "1000"),
        "How far, in percent, a limit price may lie below the bid or above the ask.",
    ),
    Entry(
        _RISK,
        "QUOTE_AGE_SECONDS_MAX",
        "risk.quote_age_seconds_max",
        form.whole(1, 604_800),
        "Oldest snapshot, by wall time, whose quote an order is held against.",
    ),
    Entry(
        _RISK,
        "MAX_ORDERS_PER_MINUTE",
        "risk.max_orders_per_minute",
        form.whole(1, 1_000_000),
        "Most approvals in a minute of the broker's clock.",
    ),
    Entry(
        _RISK,
        "MAX_MESSAGES_PER_MINUTE",
        "risk.max_messages_per_minute",
        form.whole(1, 1_000_000),
        "Most intents in a minute of the broker's clock; all further ones are blocked.",
    ),
    Entry(
        _RISK,
        "MAX_ORDERS_PER_DAY",
        "risk.max_orders_per_day",
        form.whole(1, 1_000_000),
        "Most approvals in one session.",
    ),
    Entry(
        _RISK,
        "MAX_REPEATS_PER_DAY",
        "risk.max_repeats_per_day",
        form.whole(1, 1_000_000),
        "Most approvals in one session of the same strategy and side on the same stock.",
    ),
    Entry(
        _RISK,
        "RESTRICTED_SYMBOLS",
        "risk.restricted_symbols",
        form.stock_symbol_set(),
        "Stocks on which nothing may be opened; what is held may be closed.",
    ),
    Entry(
        _RISK,
        "RESTRICTED_DATES",
        "risk.restricted_dates",
        form.dates(),
        "Sessions in which nothing may be opened.",
    ),
    Entry(
        _RISK,
        "ENTRY_MINUTES_BEFORE_CLOSE",
        "risk.entry_minutes_before_close",
        form.whole(0, 390),
        "Nothing is opened in the last minutes of a session.",
    ),
    Entry(
        _RISK,
        "EXPIRY_DAYS_MIN",
        "risk.expiry_days_min",
        form.whole(1, 365),
        "Fewest days to expiration of an option that is opened; 1: not on its last day.",
    ),
    Entry(
        _RISK,
        "REDUCE_DAILY_LOSS_PCT",
        "risk.reduce_daily_loss_pct",
        form.number("0", "100"),
        "A loss of the day, in percent of equity, that lets only closing orders pass; 0: none.",
    ),
    Entry(
        _RISK,
        "HALT_DAILY_LOSS_PCT",
        "risk.halt_daily_loss_pct",
        form.number("0", "100"),
        "A loss of the day, in percent of equity, that stops every order; 0: none.",
    ),
    Entry(
        _RISK,
        "REDUCE_DRAWDOWN_PCT",
        "risk.reduce_drawdown_pct",
        form.number("0", "100"),
        "A fall from the highest equity, in percent, that lets only closing orders pass; 0: none.",
    ),
    Entry(
        _RISK,
        "HALT_DRAWDOWN_PCT",
        "risk.halt_drawdown_pct",
        form.number("0", "100"),
        "A fall from the highest equity, in percent, that stops every order; 0: none.",
    ),
    Entry(
        _RISK,
        "RISK_SIGNING_KEY",
        "risk.signing_key",
        form.ed25519_key(secret=True),
        "The private key risk signs approvals with. Only risk may have it.",
        secret=True,
    ),
)
