"""A day's summary as text for the terminal and as a message for Discord. Pure.

Discord's limits [Discord developer documentation, "Execute Webhook" and "Embed Limits"]: content
2000, title 256, description 4096, 25 fields, field name 256, field value 1024, 6000 in all. They
are counted in UTF-16 units here, which is never less than what Discord counts.
"""

from __future__ import annotations

from decimal import Decimal

from libs.common.contracts import AlpacaEnv, BotMode
from libs.common.money import cents
from services.reporter.summary import Counted, DaySummary, FillLine, LedgerLine, ShortOption

TITLE_MAX = 256
FIELD_VALUE_MAX = 1024
# Six lists at most: 6 x 800 + figures, notes and names stays below Discord's 6000 in all.
LIST_MAX = 800
_LINE_MAX = 200
_GREEN, _RED, _GREY = 0x2E7D32, 0xC62828, 0x607D8B
_FENCE = "```"
_UNKNOWN = "not known"


def text(summary: DaySummary) -> str:
    """Everything, however long, for a terminal; ends with a newline."""
    lines = [headline(summary), *notes(summary), ""]
    width = max(len(name) for name, _ in _figures(summary))
    lines += [f"{name:<{width}}  {value}" for name, value in _figures(summary)]
    for name, items in _lists(summary):
        lines += ["", f"{name}:", *(f"  {_one_line(item)}" for item in items)]
    return "\n".join(lines) + "\n"


def discord_payload(summary: DaySummary) -> dict[str, object]:
    """The body for a webhook: one embed, nobody pinged whatever the texts say."""
    fields: list[dict[str, object]] = [
        {"name": name, "value": value, "inline": True} for name, value in _figures(summary)
    ]
    fields += [
        {"name": name, "value": _block(items), "inline": False} for name, items in _lists(summary)
    ]
    embed: dict[str, object] = {
        "title": headline(summary),
        "color": _color(summary),
        "fields": fields,
    }
    if notes(summary):
        embed["description"] = "\n".join(notes(summary))
    return {
        "content": f"{headline(summary)}: equity {_equity(summary)}",
        "embeds": [embed],
        "allowed_mentions": {"parse": []},
    }


def headline(summary: DaySummary) -> str:
    return f"alpaclaudia {summary.session} ({mode_of(summary)})"


def mode_of(summary: DaySummary) -> str:
    """The same words on every screen: mode and environment."""
    return f"{summary.mode.value}, {summary.env.value}"


def notes(summary: DaySummary) -> list[str]:
    """What a reader must know to take the figures for what they are."""
    said: list[str] = []
    if summary.trading:
        said.append(f"Trading is {_one_line(summary.trading)[:_LINE_MAX]}.")
    if summary.mode is BotMode.DRY:
        said.append(f"Dry mode: no order was sent; {summary.dry_runs} would have been.")
    if summary.synthetic:
        said.append("Simulated exchange: prices of option chains are synthetic.")
    if summary.env is AlpacaEnv.LIVE and summary.mode is BotMode.LIVE:
        said.append("Real money.")
    if summary.without_basis:
        names = _cut_names(summary.without_basis)
        said.append(f"Ended without a known basis, not in realised: {names}.")
    if summary.unpriced:
        names = _cut_names(summary.unpriced)
        said.append(f"Without a price, not in unrealised: {names}.")
    return said


def _cut_names(names: list[str], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _figures(summary: DaySummary) -> list[tuple[str, str]]:
    return [
        ("Equity", _equity(summary)),
        ("Cash", _dollars(summary.cash)),
        ("Realised", _signed_dollars(summary.realised)),
        ("Unrealised", _signed_dollars(summary.unrealised)),
        ("Premium collected", _dollars(summary.premium_collected)),
        ("Intents", f"{summary.approved} approved, {summary.blocked} blocked"),
        ("Warnings", str(summary.warnings)),
    ]


def _lists(summary: DaySummary) -> list[tuple[str, list[str]]]:
    """The lists that have something in them."""
    lists = [
        ("Fills", [_fill(line) for line in summary.fills]),
        ("Assignments and expirations", [_ledger(line) for line in summary.ledger]),
        ("Open short options", [_short(option) for option in summary.short_options]),
        ("Blocked by risk", [_counted(block) for block in summary.blocks]),
        ("Errors", [_counted(error) for error in summary.errors]),
    ]
    return [(name, items) for name, items in lists if items]


def _equity(summary: DaySummary) -> str:
    if summary.equity is None or summary.equity_change is None:
        return _dollars(summary.equity)
    change = _signed_dollars(summary.equity_change)
    if summary.equity_change_pct is not None:
        change += f", {cents(summary.equity_change_pct):+}%"
    return f"{_dollars(summary.equity)} ({change})"


def _fill(line: FillLine) -> str:
    said = f"{line.side.value} {_quantity(line.qty)} {line.symbol} at {_price(line.price)}"
    realised = f", realised {_signed_dollars(line.realised)}" if line.realised else ""
    return f"{said} ({line.strategy}){realised}"


def _ledger(line: LedgerLine) -> str:
    event = line.event.value.replace("_", " ")
    quantity = f" {_quantity(line.qty)}" if line.qty else ""
    return f"{event}{quantity} {line.symbol}, realised {_signed_dollars(line.realised)}"


def _short(option: ShortOption) -> str:
    days = "expires today" if option.days_left == 0 else _days(option.days_left)
    said = (
        f"{option.underlying} {_quantity(option.contracts)} {option.right.value} "
        f"{_price(option.strike)} {option.expiration}, {days}"
    )
    if option.unrealised is None:
        return said
    return f"{said}, unrealised {_signed_dollars(option.unrealised)}"


def _days(days_left: int) -> str:
    if days_left < 0:
        return "past its expiration"
    return "1 day left" if days_left == 1 else f"{days_left} days left"


def _counted(item: Counted) -> str:
    return f"{item.count} × {item.text}" if item.count > 1 else item.text


def _dollars(value: Decimal | None) -> str:
    if value is None:
        return _UNKNOWN
    rounded = cents(value)
    return f"-${-rounded:,}" if rounded < 0 else f"${abs(rounded):,}"


def _signed_dollars(value: Decimal) -> str:
    return f"+{_dollars(value)}" if cents(value) > 0 else _dollars(value)


def _price(value: Decimal) -> str:
    """At least cents; more where a price or an average has them."""
    four = value.quantize(Decimal("0.0001"))
    return f"{cents(value) if four == cents(value) else four}"


def _quantity(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _color(summary: DaySummary) -> int:
    if summary.errors or (summary.equity_change or 0) < 0:
        return _RED
    return _GREEN if summary.equity_change is not None else _GREY


def _one_line(item: str) -> str:
    """No line breaks or control characters, whatever an error's text brought along."""
    return " ".join("".join(c if c.isprintable() else " " for c in item).split())


def _block(items: list[str]) -> str:
    """Lines in a code block, where no text of ours or another's is read as markup."""
    lines = [_shortened(_one_line(item).replace("`", "'"), _LINE_MAX) for item in items]
    kept = len(lines)
    while _units("\n".join(_with_rest(lines, kept))) > LIST_MAX:
        kept -= 1
    return f"{_FENCE}\n" + "\n".join(_with_rest(lines, kept)) + f"\n{_FENCE}"


def _with_rest(lines: list[str], kept: int) -> list[str]:
    left = len(lines) - kept
    return lines if not left else [*lines[:kept], f"and {left} more"]


def _shortened(line: str, most: int) -> str:
    if _units(line) <= most:
        return line
    cut = line[: most - 1]
    while _units(cut) > most - 1:
        cut = cut[:-1]
    return f"{cut}…"


def _units(said: str) -> int:
    return len(said.encode("utf-16-le", "surrogatepass")) // 2
