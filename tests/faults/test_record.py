"""The table of a run: every action has its row, a failure is not hidden."""

from __future__ import annotations

import pytest

from tests.faults.invariants import Violation
from tests.faults.play import Outcome
from tests.faults.record import (
    BEGIN,
    END,
    FAULTS,
    Failure,
    Record,
    fault_of,
    record_of,
    table,
    with_table,
)
from tests.faults.schedule import WEIGHTS, Kind, make_schedule


def outcome(seed: int, *labels: str, fails: bool = False) -> Outcome:
    return Outcome(
        seed=seed,
        seconds=50,
        settle_seconds=float(seed),
        done=dict.fromkeys(labels, 2),
        violations=(Violation(invariant="every approval ends", text="x"),) if fails else (),
    )


def record(*failures: Failure) -> Record:
    return record_of(
        7,
        12.34,
        [outcome(1, "kill risk", "broker orders error"), outcome(2, "kill executor", fails=True)],
        figures={"intents": 1200},
        kills={"risk": 2, "executor": 2},
        failures=failures,
    )


def test_every_action_there_is_belongs_to_a_row() -> None:
    weights = dict.fromkeys(Kind, 1)
    assert set(weights) > set(WEIGHTS)
    labels = {action.label for action in make_schedule(1, seconds=3000, weights=weights).actions}
    assert {fault_of(label) for label in labels} == set(FAULTS)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("broker orders error", "broker: 500, not carried out"),
        ("broker reads error_after", "broker: accepts, then answers 504"),
        ("link risk-nats blackhole", "link: half-open, healed or cut"),
        ("something new", "something new"),
    ],
)
def test_the_longest_beginning_names_the_row(label: str, words: str) -> None:
    assert fault_of(label) == words


def test_the_table_tells_what_was_done_and_what_did_not_hold() -> None:
    failed = Failure(
        seed=7001, schedule="…", evidence="every approval ends (1):\n  x", faults=("kill executor",)
    )
    text = table(record(failed))
    assert "Seed 7: 2 schedules in 12.3 minutes. intents 1,200." in text
    assert "| SIGKILL of a service at a random moment | 4 | 1 |" in text
    assert "| broker: 500, not carried out | 2 | 0 |" in text
    assert "4 in all" in text
    assert "- seed 7001: every approval ends (1):" in text
    assert "seed 7001" not in table(record())


def test_it_goes_between_the_pages_markers_and_nowhere_else() -> None:
    page = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    written = with_table(page, record())
    assert written.startswith(f"above\n{BEGIN}\nSeed 7")
    assert written.endswith(f"{END}\nbelow\n")
    assert "\nold\n" not in written
    with pytest.raises(ValueError, match="lacks"):
        with_table("no markers", record())
