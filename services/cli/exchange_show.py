"""What the commands that drive an exchange print: pure functions of its answers."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")


def clock_text(clock: dict[str, Any]) -> str:
    """One line: market time, and whether it runs."""
    at = dt.datetime.fromisoformat(clock["simulated_time"]).astimezone(NEW_YORK)
    session = "open" if clock["is_open"] else "closed"
    pace = "paused" if clock["paused"] else f"running at {clock['speed']:g}× life"
    if clock.get("waiting_for_client"):
        pace = "waiting for the first client"
    if clock["ended"]:
        pace = "at the end of its data"
    return f"market time {at:%a %Y-%m-%d %H:%M:%S} New York, {session}, {pace}"


def state_text(state: dict[str, Any]) -> str:
    return "\n".join(
        [
            clock_text(state),
            f"seed {state['seed']}, {len(state['symbols'])} stocks: {', '.join(state['symbols'])}",
            accounts_text(state["accounts"]),
            state["note"],
        ]
    )


def accounts_text(accounts: list[dict[str, Any]]) -> str:
    titles = ("account", "key", "equity", "cash", "level", "orders", "positions")
    rows = [
        (
            one["account_number"],
            one["key"],
            f"{float(one['equity']):,.2f}",
            f"{float(one['cash']):,.2f}",
            str(one["options_level"]),
            str(one["open_orders"]),
            ", ".join(f"{qty} {symbol}" for symbol, qty in one["positions"].items()) or "none",
        )
        for one in accounts
    ]
    return _aligned([titles, *rows], right=(2, 3, 4, 5))


def fault_text(fault: dict[str, Any]) -> str:
    """One line: what it does, to what, how often, and its name."""
    return " ".join(_fault_row(fault)[:3]) + f" (id {fault['id']})"


def faults_text(faults: list[dict[str, Any]]) -> str:
    if not faults:
        return "no faults are set"
    titles = ("kind", "where", "how often", "struck", "id")
    return _aligned([titles, *(_fault_row(fault) for fault in faults)], right=(3,))


def _fault_row(fault: dict[str, Any]) -> tuple[str, str, str, str, str]:
    method, path, stream = (fault.get(name, "*") for name in ("method", "path", "stream"))
    where = " ".join(word for word in (method, path) if word != "*") or "every request"
    if fault["kind"] in ("drop", "mute", "duplicate", "reorder"):
        where = "every stream" if stream == "*" else f"stream {stream}"
    often = [f"{100 * fault.get('rate', 1):g} %"]
    often += [f"after {fault['skip']}"] if fault.get("skip") else []
    often += [f"at most {fault['times']}"] if fault.get("times") else []
    struck = f"{fault.get('injected', 0)} of {fault.get('matched', 0)}"
    return fault["kind"], where, ", ".join(often), struck, fault["id"]


def _aligned(rows: list[tuple[str, ...]], right: tuple[int, ...]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            text.rjust(widths[column]) if column in right else text.ljust(widths[column])
            for column, text in enumerate(row)
        ).rstrip()
        for row in rows
    )
