"""`alpaclaudia reconcile`: where books and broker differ, and an operator's word on it."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.table import Table

from libs.common.database import check_schema
from libs.common.runtime import encode_line, utc_now
from services.cli.difference_store import Difference, DifferenceStore
from services.cli.operate import loaded_settings, open_database
from services.cli.trading import operator_name


def show_differences(*, all_of_them: bool, as_json: bool) -> int:
    """Status 1 when something stops new entries."""
    with open_database(loaded_settings(os.environ).settings) as engine:
        check_schema(engine)
        found = DifferenceStore(engine).read(all_of_them=all_of_them)
    if as_json:
        sys.stdout.writelines(encode_line(difference) + "\n" for difference in found)
    elif not found:
        sys.stdout.write("books and broker agree\n")
    else:
        Console(highlight=False).print(_table(found))
    return 1 if any(d.open and d.stops_entries for d in found) else 0


def acknowledge(number: int, why: str) -> str:
    """Raises NoSuchDifferenceError, DatabaseError."""
    with open_database(loaded_settings(os.environ).settings) as engine:
        check_schema(engine)
        store = DifferenceStore(engine)
        store.acknowledge(number, who=operator_name(), why=why, now=utc_now())
        stopping = [d.id for d in store.read() if d.open and d.stops_entries]
    if not stopping:
        return f"difference {number} is acknowledged; entries leave again"
    rest = ", ".join(map(str, stopping))
    return f"difference {number} is acknowledged; entries still wait for {rest}"


def _table(found: list[Difference]) -> Table:
    table = Table("id", "what", "our books", "the broker", "found", "standing")
    for difference in found:
        table.add_row(
            str(difference.id),
            f"{difference.kind} {difference.subject}".strip(),
            difference.ours,
            difference.theirs,
            f"{difference.found_at:%Y-%m-%d %H:%M} UTC",
            _standing(difference),
        )
    return table


def _standing(difference: Difference) -> str:
    if difference.acknowledged_at is not None:
        return f"acknowledged by {difference.acknowledged_by}: {difference.why}"
    if difference.explained_at is not None:
        return "explained"
    return "stops entries" if difference.stops_entries else "told"
