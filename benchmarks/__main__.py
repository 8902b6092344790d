"""`python -m benchmarks [--json]`: every benchmark, one table.

Ends with status 0 whether or not the targets are met, and with 1 when an answer differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import (
    chain,
    consume,
    exchange_chains,
    exchange_orders,
    exchange_pages,
    exchange_steps,
    greeks,
    order_path,
    planner_process,
    planning,
    recorder,
    recovery,
    risk_rate,
    scaling,
)
from benchmarks.result import Result

BENCHMARKS: tuple[Callable[[], list[Result]], ...] = (
    greeks.run,
    chain.run,
    planner_process.run,
    planning.run,
    exchange_chains.run,
    exchange_orders.run,
    exchange_steps.run,
    exchange_pages.run,
    consume.run,
    recorder.run,
    recovery.run,
    order_path.run,
    risk_rate.run,
    scaling.run,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measured, answers compared.")
    parser.add_argument("--json", action="store_true", help="one line of JSON, no table")
    as_json = parser.parse_args().json
    results: list[Result] = []
    differences: list[str] = []
    for run in BENCHMARKS:
        try:
            results += run()
        except AssertionError as error:
            differences.append(f"{run.__module__}: {error}")
    if as_json:
        rows = [msgspec.to_builtins(r) | {"met": r.met} for r in results]
        print(msgspec.json.encode({"results": rows, "differences": differences}).decode())
    else:
        Console(width=None if sys.stdout.isatty() else 150).print(table(results))
    for difference in differences:
        print(f"an answer differs: {difference}", file=sys.stderr)
    return 1 if differences else 0


def table(results: list[Result]) -> Table:
    """Medians; the ratio is theirs over ours, a target a least ratio or a most figure."""
    made = Table(title="medians of interleaved rounds, milliseconds of processor time unless said")
    made.add_column("what")
    for heading in ("ours", "theirs", "ratio", "target"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("")
    made.add_column("notes")
    for result in results:
        made.add_row(result.name, *_figures(result), _verdict(result), result.notes)
    return made


def _figures(result: Result) -> tuple[str, str, str, str]:
    ours = _shown(result.ours_ms, "{:.2f}")
    if result.figure is not None:
        ours = f"{result.figure:.1f} {result.unit}"
    return (
        ours,
        _shown(result.theirs_ms, "{:.1f}"),
        _shown(result.ratio, "{:.1f}x"),
        _shown(result.target, _asked(result)),
    )


def _asked(result: Result) -> str:
    if result.ratio:
        return "at least {:g}x"
    return f"at {'least' if result.at_least else 'most'} {{:g}} {result.unit}"


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _verdict(result: Result) -> str:
    return {None: "", True: "met", False: "short"}[result.met]


if __name__ == "__main__":
    raise SystemExit(main())
