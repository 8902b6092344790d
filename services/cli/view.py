"""The live terminal view: messages fold into a ViewState, and a pure function draws it."""

from __future__ import annotations

import datetime as dt
from collections import deque
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from libs.common.contracts import (
    AlertRaised,
    Heartbeat,
    IntentApproved,
    IntentBlocked,
    LedgerEntered,
    MarketTicked,
    Message,
    OrderChanged,
    OrderIntended,
    PortfolioObserved,
    PositionView,
    Severity,
    TradingState,
    TradingStateSet,
    TradingVerb,
)
from libs.common.symbols import parse_option_symbol
from libs.common.trading_state import Standing, standing_of

NEW_YORK = ZoneInfo("America/New_York")
DECISIONS_SHOWN = 40
EVENTS_SHOWN = 40
ORDERS_SHOWN = 60
HEADER_ROWS = 6
WIDE = 130

SYNTHETIC = "stocks: real daily closes · option prices: SYNTHETIC, from a model"


class Verdict(msgspec.Struct, frozen=True):
    market_time: dt.datetime
    intent: OrderIntended
    approved: bool
    reason: str


class Event(msgspec.Struct, frozen=True):
    market_time: dt.datetime | None
    text: str
    style: str


class ViewState:
    """Everything the view shows, folded from what passes on the bus."""

    def __init__(self, *, title: str, synthetic: bool) -> None:
        self.title = title
        self.synthetic = synthetic
        self.mode = "…"
        self.market_now: dt.datetime | None = None
        self.ticks = 0
        self.last_tick: MarketTicked | None = None
        self.first_equity: Decimal | None = None
        self.book: PortfolioObserved | None = None
        self.verdicts: deque[Verdict] = deque(maxlen=DECISIONS_SHOWN)
        self.orders: dict[str, OrderChanged] = {}
        self.events: deque[Event] = deque(maxlen=EVENTS_SHOWN)
        self.services: dict[str, Heartbeat] = {}
        self.trading: list[TradingStateSet] = []
        self.counts = {"approved": 0, "blocked": 0, "filled": 0, "assigned": 0, "errors": 0}

    def fold(self, message: Message) -> None:
        match message:
            case MarketTicked():
                self._on_tick(message)
            case PortfolioObserved():
                self.book = message
            case IntentApproved():
                self._on_verdict(message.intent, True, _terms_of(message.intent))
            case IntentBlocked():
                gate = f"{message.intent.strategy.rpartition(':')[2]}: "
                self._on_verdict(message.intent, False, message.reason.removeprefix(gate))
            case OrderChanged():
                self._on_order(message)
            case LedgerEntered():
                self._on_ledger(message)
            case AlertRaised():
                self._on_alert(message)
            case TradingStateSet():
                self._on_trading_state(message)
            case Heartbeat():
                self._on_beat(message)

    def _on_beat(self, beat: Heartbeat) -> None:
        self.services[beat.service] = beat
        if beat.market_now is not None:
            self.market_now = beat.market_now

    def _on_tick(self, ticked: MarketTicked) -> None:
        self.ticks += 1
        self.last_tick = ticked
        self.market_now = ticked.as_of
        self.mode = f"BOT_MODE={ticked.bot_mode.value}  ALPACA_ENV={ticked.alpaca_env.value}"
        if self.first_equity is None and ticked.account is not None:
            self.first_equity = ticked.account.equity

    def _on_verdict(self, intent: OrderIntended, approved: bool, reason: str) -> None:
        self.counts["approved" if approved else "blocked"] += 1
        self.verdicts.append(Verdict(intent.as_of, intent, approved, reason))

    def _on_order(self, order: OrderChanged) -> None:
        self.orders.pop(order.client_order_id, None)
        self.orders[order.client_order_id] = order
        while len(self.orders) > ORDERS_SHOWN:
            self.orders.pop(next(iter(self.orders)))
        if order.status == "filled":
            self.counts["filled"] += 1
            price = "" if order.filled_avg_price is None else f" at {order.filled_avg_price:.2f}"
            what = f"{order.filled_qty:f} {short_symbol(order.symbol)}"
            text = f"filled: {order.side.value} {what}{price}"
            self.events.append(Event(order.changed_at or self.market_now, text, "green"))
        elif order.status in ("rejected", "error"):
            text = f"{order.status}: {order.symbol} {order.note}"
            self.events.append(Event(self.market_now, text, "red"))

    def _on_ledger(self, entry: LedgerEntered) -> None:
        if entry.event.value == "other":
            return
        if entry.event.value == "assigned":
            self.counts["assigned"] += 1
        text = f"{entry.event.value.replace('_', ' ')}: {entry.qty:f} {short_symbol(entry.symbol)}"
        self.events.append(Event(self.market_now, text, "bold magenta"))

    def _on_alert(self, alert: AlertRaised) -> None:
        style = {"error": "red", "warning": "yellow"}.get(alert.severity.value, "cyan")
        if alert.severity is Severity.ERROR:
            self.counts["errors"] += 1
        self.events.append(Event(self.market_now, f"{alert.service}: {alert.text}", style))

    def _on_trading_state(self, record: TradingStateSet) -> None:
        self.trading.append(record)
        if record.verb is TradingVerb.BEGIN:
            return
        text = f"trading: {record.verb.value} by {record.who}: {record.why}"
        style = "green" if record.state is TradingState.ACTIVE else "bold red"
        self.events.append(Event(self.market_now, text, style))

    @property
    def standing(self) -> Standing:
        """As the view has heard it; the executor's door reads both logs."""
        return standing_of({"bus": self.trading})

    def note(self, text: str) -> None:
        self.events.append(Event(self.market_now, text, "cyan"))


def draw(state: ViewState, *, width: int, height: int) -> RenderableType:
    """The whole screen. Rows that do not fit are cut from the old end; a narrow screen shows
    fewer columns.
    """
    wide = width >= WIDE
    body = max(height - HEADER_ROWS, 12)
    upper = max(7, body // 2)
    layout = Layout()
    layout.split_column(
        Layout(_header(state), size=HEADER_ROWS, name="header"),
        Layout(name="upper", size=upper),
        Layout(name="lower"),
    )
    layout["upper"].split_row(
        Layout(_positions(state, upper - 3, wide=wide), name="positions", ratio=4),
        Layout(_verdicts(state, upper - 3, wide=wide), name="verdicts", ratio=6 if wide else 5),
    )
    layout["lower"].split_row(
        Layout(_orders(state, body - upper - 3, wide=wide), name="orders", ratio=5),
        Layout(_events(state, body - upper - 2), name="events", ratio=5),
    )
    return layout


def _table(*columns: str) -> Table:
    """Numbers to the right; every column keeps its width before the last, which is cut.

    Cells with words of others are Text: a plain string's `[...]` would be taken for markup.
    """
    table = Table(expand=True, box=None, pad_edge=False, header_style="dim")
    for name in columns:
        right = name in ("qty", "basis", "price", "p/l")
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if name == columns[-1] and not right else None,
        )
    return table


def _header(state: ViewState) -> RenderableType:
    first = Text.assemble(
        (f" {state.mode} ", "bold black on yellow"),
        "  market time ",
        (_market_time(state.market_now), "bold"),
        f"  tick {state.ticks}",
        f"  ({state.last_tick.duration_ms:.0f} ms)" if state.last_tick else "",
        *_trading_words(state),
    )
    second = _account_line(state)
    counts = state.counts
    third = Text.assemble(
        ("approved ", "dim"),
        (str(counts["approved"]), "green"),
        ("  blocked ", "dim"),
        (str(counts["blocked"]), "yellow"),
        ("  filled ", "dim"),
        (str(counts["filled"]), "green"),
        ("  assigned ", "dim"),
        (str(counts["assigned"]), "magenta"),
        ("  errors ", "dim"),
        (str(counts["errors"]), "red" if counts["errors"] else "green"),
    )
    lines = [first, second, third, Text.assemble(*_service_words(state))]
    for line in lines:
        line.no_wrap = True
        line.overflow = "ellipsis"
    return Panel(
        Group(*lines),
        title=Text(state.title),
        subtitle=SYNTHETIC if state.synthetic else None,
        border_style="blue",
    )


def _trading_words(state: ViewState) -> list[tuple[str, str]]:
    if not state.trading or state.standing.state is TradingState.ACTIVE:
        return []
    return [("  ", ""), (f" {state.standing.words} ", "bold white on red")]


def _service_words(state: ViewState) -> list[tuple[str, str]]:
    words: list[tuple[str, str]] = []
    for name in ("market", "planner", "risk", "executor", "reporter"):
        beat = state.services.get(name)
        style = "green" if beat and beat.state == "ready" else "yellow"
        words.append((f"● {name}  ", style if beat else "dim"))
    return words


def _account_line(state: ViewState) -> Text:
    if state.book is None:
        return Text("waiting for the first tick …", style="dim")
    account = state.book.account
    change = account.equity - (state.first_equity or account.equity)
    return Text.assemble(
        ("equity ", "dim"),
        (f"{account.equity:,.2f}", "bold"),
        (f" ({change:+,.2f})", "green" if change >= 0 else "red"),
        ("  cash ", "dim"),
        f"{account.cash:,.2f}",
        ("  options buying power ", "dim"),
        f"{account.options_buying_power or Decimal(0):,.2f}",
        ("  account ", "dim"),
        account.account_number,
    )


def _market_time(now: dt.datetime | None) -> str:
    return "…" if now is None else f"{now.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} NY"


def _positions(state: ViewState, rows: int, *, wide: bool) -> RenderableType:
    basis = ("basis",) if wide else ()
    table = _table("position", "qty", *basis, "price", "p/l")
    positions = state.book.positions if state.book else []
    for position in positions[:rows]:
        table.add_row(*_position_cells(position, wide=wide))
    title = f"positions ({len(positions)})"
    return Panel(table, title=title, title_align="left", border_style="dim")


def _position_cells(position: PositionView, *, wide: bool) -> list[RenderableType]:
    profit = position.unrealized_pl
    style = "green" if profit is not None and profit >= 0 else "red"
    return [
        Text(short_symbol(position.symbol)),
        f"{position.qty:f}",
        *((f"{position.avg_entry_price:.2f}",) if wide else ()),
        "" if position.current_price is None else f"{position.current_price:.2f}",
        Text("" if profit is None else f"{profit:+,.0f}", style=style),
    ]


def short_symbol(symbol: str) -> str:
    """An option as a person reads it: `AAPL 28Feb 75 put`."""
    option = parse_option_symbol(symbol)
    if option is None:
        return symbol
    return f"{option.root} {option.expiration:%d%b} {option.strike:f} {option.right.value}"


def _verdicts(state: ViewState, rows: int, *, wide: bool) -> RenderableType:
    table = _table(*(("when",) if wide else ()), "intent", "risk", "why")
    for verdict in list(state.verdicts)[-rows:][::-1]:
        intent = verdict.intent
        when = f"{verdict.market_time.astimezone(NEW_YORK):%d%b %H:%M}"
        table.add_row(
            *((when,) if wide else ()),
            Text(f"{intent.side.value} {intent.qty} {short_symbol(intent.symbol)}"),
            Text("approved", "green") if verdict.approved else Text("blocked", "yellow"),
            Text(verdict.reason),
        )
    return Panel(table, title="intents and risk's verdicts", title_align="left", border_style="dim")


def _terms_of(intent: OrderIntended) -> str:
    """The order's terms in a few words, and why it is wanted."""
    if intent.trail_percent is not None:
        terms = f"trailing stop, {intent.trail_percent:f} %"
    elif intent.limit_price is not None:
        terms = f"limit {intent.limit_price:.2f}"
    else:
        terms = intent.order_type.value
    return f"{terms}; {intent.reason}" if intent.reason else terms


def _orders(state: ViewState, rows: int, *, wide: bool) -> RenderableType:
    table = _table("order", *(("type",) if wide else ()), "status", "filled")
    for order in list(state.orders.values())[-rows:][::-1]:
        filled = ""
        if order.filled_qty:
            filled = f"{order.filled_qty:f} at {order.filled_avg_price or Decimal(0):.2f}"
        table.add_row(
            Text(f"{order.side.value} {order.qty:f} {short_symbol(order.symbol)}"),
            *((_order_type(order),) if wide else ()),
            Text(order.status, style=_STATUS_STYLES.get(order.status, "")),
            filled,
        )
    return Panel(table, title="orders and fills", title_align="left", border_style="dim")


def _order_type(order: OrderChanged) -> str:
    if order.trail_percent is not None:
        return f"trail {order.trail_percent:f} %"
    if order.limit_price is not None:
        return f"limit {order.limit_price:.2f}"
    return order.order_type.value


_STATUS_STYLES = {
    "filled": "green",
    "rejected": "red",
    "error": "red",
    "unknown": "yellow",
    "expired": "dim",
    "canceled": "dim",
    "replaced": "dim",
}


def _events(state: ViewState, rows: int) -> RenderableType:
    lines = Text(no_wrap=True, overflow="ellipsis")
    for event in list(state.events)[-rows:][::-1]:
        when = event.market_time
        stamp = "            " if when is None else f"{when.astimezone(NEW_YORK):%d%b %H:%M} "
        lines.append(stamp, style="dim")
        lines.append(event.text.splitlines()[0] if event.text else "", style=event.style)
        lines.append("\n")
    return Panel(lines, title="events", title_align="left", border_style="dim")
