"""Every meter of every service, declared once. docs/metrics.md has them as a table.

Names carry their unit last. On the metrics page each begins with `alpaclaudia_`, and a counter
ends in `_total`.
"""

from __future__ import annotations

from collections.abc import Iterable

from libs.common.meters import Kind, Meter, Meters

PREFIX = "alpaclaudia_"
SERVICES = ("market", "planner", "risk", "executor", "reporter")

_MILLISECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_AGES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)


def _counter(
    name: str,
    help_text: str,
    *services: str,
    labels: tuple[str, ...] = (),
    told_apart: bool = False,
) -> Meter:
    return Meter(
        name=name,
        kind=Kind.COUNTER,
        services=services,
        help=help_text,
        labels=labels,
        told_apart=told_apart,
    )


def _gauge(name: str, help_text: str, *services: str, labels: tuple[str, ...] = ()) -> Meter:
    return Meter(name=name, kind=Kind.GAUGE, services=services, help=help_text, labels=labels)


def _histogram(
    name: str,
    help_text: str,
    *services: str,
    buckets: tuple[float, ...],
    labels: tuple[str, ...] = (),
) -> Meter:
    return Meter(
        name=name,
        kind=Kind.HISTOGRAM,
        services=services,
        help=help_text,
        labels=labels,
        buckets=buckets,
    )


EVERYBODYS: tuple[Meter, ...] = (
    _gauge("ready", "1 while /ready says so.", *SERVICES),
    _gauge("state", "1 for the state it is in.", *SERVICES, labels=("state",)),
    _gauge("bus_connected", "1 while there is a connection to NATS.", *SERVICES),
    _counter("bus_reconnects", "Connections to NATS after the first.", *SERVICES),
    _gauge(
        "consumer_pending_messages",
        "Messages of a consumer that were not delivered yet.",
        *SERVICES,
        labels=("stream", "consumer"),
    ),
    _gauge(
        "consumer_unacknowledged_messages",
        "Messages of a consumer that were delivered and not acknowledged.",
        *SERVICES,
        labels=("stream", "consumer"),
    ),
    _counter("errors", "Alerts of severity error.", *SERVICES),
    _counter("alerts", "Alerts by severity and kind.", *SERVICES, labels=("severity", "kind")),
)

MARKETS: tuple[Meter, ...] = (
    _counter("ticks", "Passes over the market.", "market"),
    _counter("tick_errors", "Symbols and reads that a tick had to leave out.", "market"),
    _histogram("tick_seconds", "How long a pass took.", "market", buckets=_SECONDS),
    _counter("snapshots", "Snapshots published.", "market"),
    _gauge("snapshot_last_timestamp_seconds", "When a tick last published one.", "market"),
    _gauge("market_open", "1 while the market is open, by the broker's clock.", "market"),
    _gauge("broker_requests_per_tick", "Requests to the broker in the last pass.", "market"),
    _gauge("equity_dollars", "The account's equity at the last tick.", "market"),
    _gauge("cash_dollars", "The account's cash at the last tick.", "market"),
    _gauge("buying_power_dollars", "The account's buying power at the last tick.", "market"),
)

PLANNERS: tuple[Meter, ...] = (
    _counter("intents", "Orders wished for.", "planner", labels=("strategy",)),
    _counter("plans", "Snapshots planned.", "planner"),
    _histogram("plan_seconds", "How long planning one took.", "planner", buckets=_MILLISECONDS),
    _histogram(
        "snapshot_age_seconds", "How old a snapshot was when planned.", "planner", buckets=_AGES
    ),
)

RISKS: tuple[Meter, ...] = (
    _counter("decisions", "Intents decided.", "risk", labels=("outcome",), told_apart=True),
    _counter("gate_blocks", "Intents a gate said no to, by gate.", "risk", labels=("gate",)),
    _histogram(
        "decision_seconds",
        "From the snapshot (or wish) behind an intent to its decision.",
        "risk",
        buckets=_SECONDS,
    ),
    _gauge("reservations", "Approvals that still hold something.", "risk"),
    _gauge("reserved_dollars", "Cash they hold that the portfolio does not show.", "risk"),
    _gauge("trading_state", "1 for what may leave now.", "risk", labels=("state",)),
    _gauge("equity_day_base_dollars", "What the day's loss is counted from.", "risk"),
    _gauge("equity_peak_dollars", "What the drawdown is counted from.", "risk"),
)

EXECUTORS: tuple[Meter, ...] = (
    _counter(
        "orders",
        "Changes of an order's row, by its new state.",
        "executor",
        labels=("state",),
        told_apart=True,
    ),
    _counter("submitted", "Orders the broker answered for.", "executor"),
    _histogram(
        "order_seconds",
        "What an order took: approved_to_posted, posted_to_answered.",
        "executor",
        buckets=_SECONDS,
        labels=("stage",),
    ),
    _counter("called_back", "Entries asked back because of the trading state.", "executor"),
    _counter("let_go", "Entries asked back because they rested too long.", "executor"),
    _counter(
        "ledger", "Account activities booked.", "executor", labels=("event",), told_apart=True
    ),
    _counter("recorded", "Messages written to the database.", "executor"),
    _counter("stream_connections", "Connections to the broker's stream.", "executor"),
    _counter("stream_connections_lost", "Those that ended.", "executor"),
    _counter("stream_updates", "Order updates heard.", "executor"),
    _counter("stream_unknown_orders", "Updates on orders that are not ours.", "executor"),
    _counter("stream_repeats", "Updates that said nothing new.", "executor"),
)

REPORTERS: tuple[Meter, ...] = (_counter("reports", "Daily reports sent.", "reporter"),)

METERS: tuple[Meter, ...] = (*EVERYBODYS, *MARKETS, *PLANNERS, *RISKS, *EXECUTORS, *REPORTERS)


def meters_of(service: str) -> Meters:
    return Meters(METERS, service)


def exposed_name(meter: Meter) -> str:
    """Its name on the metrics page."""
    return f"{PREFIX}{meter.name}{'_total' if meter.kind is Kind.COUNTER else ''}"


def meters_table() -> str:
    """The table of docs/metrics.md."""
    rows = ["| Metric | Kind | From | What it says |", "|---|---|---|---|"]
    rows += [_row(meter) for meter in METERS]
    return "\n".join(rows)


def _row(meter: Meter) -> str:
    labels = f"{{{', '.join(meter.labels)}}}" if meter.labels else ""
    of = "all" if meter.services == SERVICES else _joined(meter.services)
    return f"| `{exposed_name(meter)}{labels}` | {meter.kind} | {of} | {meter.help} |"


def _joined(names: Iterable[str]) -> str:
    return ", ".join(names)
