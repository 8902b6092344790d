"""`make faults`: schedule after schedule until enough was wished for and killed, or time is up.

Writes the table in docs/reliability.md and the whole record beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec

from tests.faults.invariants import report
from tests.faults.play import Outcome, Play, counts_of
from tests.faults.record import Failure, Record, record_of, with_table
from tests.faults.schedule import WEIGHTS, Kind, Schedule, make_schedule
from tests.faults.stand import Stand
from tests.integration.servers import folder_of_its_own

PAGE = Path("docs/reliability.md")
RECORD = Path("docs/reliability-run.json")
SCHEDULE_SECONDS = 40.0
CLOSE_EVERY = 4
LONG_WEIGHTS = WEIGHTS | {Kind.KILL: 18}
LOG_CHARACTERS = 4000


def say(text: str) -> None:
    print(text, flush=True)


class Run:
    def __init__(self, seed: int, *, intents: int, kills: int, minutes: float) -> None:
        self.seed = seed
        self.intents_min = intents
        self.kills_min = kills
        self.minutes = minutes
        self.outcomes: list[Outcome] = []
        self.failures: list[Failure] = []
        self.figures: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self._begun = time.monotonic()

    @property
    def minutes_passed(self) -> float:
        return (time.monotonic() - self._begun) / 60

    async def run(self) -> Record:
        """One stand until something does not hold; then a new one, so that it is told once."""
        while not self._enough():
            with folder_of_its_own() as folder:
                await self._on_one_stand(folder)
        return record_of(
            self.seed,
            self.minutes_passed,
            self.outcomes,
            figures=dict(self.figures),
            kills=dict(self.kills),
            failures=self.failures,
        )

    def _enough(self) -> bool:
        wished = self.figures["intents acknowledged"]
        killed = sum(self.kills.values())
        done = wished >= self.intents_min and killed >= self.kills_min
        return done or self.minutes_passed > self.minutes

    async def _on_one_stand(self, folder: Path) -> None:
        stand = Stand(folder)
        before, kills_before = Counter(self.figures), Counter(self.kills)
        try:
            await stand.open()
            play = Play(stand, self.seed * 1000 + len(self.outcomes), lambda _: None)
            held = True
            while held and not self._enough():
                held = await self._schedule(play)
                self.figures = before + Counter(counts_of(play.seen))
                self.kills = kills_before + stand.kills
                self._say_progress()
            if not held:
                self._say_logs(folder)
        finally:
            await stand.close()

    async def _schedule(self, play: Play) -> bool:
        number = len(self.outcomes)
        seed = self.seed * 1000 + number
        schedule = make_schedule(seed, seconds=SCHEDULE_SECONDS, weights=LONG_WEIGHTS)
        outcome = await play.run(schedule, close=number % CLOSE_EVERY == CLOSE_EVERY - 1)
        self.outcomes.append(outcome)
        if outcome.violations:
            self._fail(schedule, outcome)
        return not outcome.violations

    def _fail(self, schedule: Schedule, outcome: Outcome) -> None:
        evidence = report(list(outcome.violations))
        say(f"SEED {schedule.seed} DID NOT HOLD\n{schedule}\n{evidence}")
        self.failures.append(
            Failure(
                seed=schedule.seed,
                schedule=str(schedule),
                evidence=evidence,
                faults=tuple(outcome.done),
            )
        )

    def _say_progress(self) -> None:
        outcome = self.outcomes[-1]
        say(
            f"{self.minutes_passed:5.1f} min  schedule {len(self.outcomes)}  seed {outcome.seed}  "
            f"settled in {outcome.settle_seconds:.1f} s  "
            f"intents {self.figures['intents acknowledged']}  "
            f"orders {self.figures['orders at the exchange']}  "
            f"kills {sum(self.kills.values())}  failures {len(self.failures)}"
        )

    def _say_logs(self, folder: Path) -> None:
        for path in sorted((folder / "logs").glob("*.log")):
            say(f"--- {path.name}\n{path.read_text(errors='replace')[-LOG_CHARACTERS:]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2), "big"))
    parser.add_argument("--intents", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=19.0)
    parser.add_argument("--no-page", action="store_true", help="leave docs/ alone")
    wishes = parser.parse_args()
    logging.disable(logging.WARNING)
    say(f"seed {wishes.seed}; the same run again: make faults FAULTS_FLAGS='--seed {wishes.seed}'")
    run = Run(wishes.seed, intents=wishes.intents, kills=wishes.kills, minutes=wishes.minutes)
    record = asyncio.run(run.run())
    if not wishes.no_page:
        RECORD.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
        PAGE.write_text(with_table(PAGE.read_text(), record))
    say(f"{record.schedules} schedules, {sum(record.kills.values())} kills, {record.figures}")
    if run.figures["intents acknowledged"] < wishes.intents:
        say(f"fewer than {wishes.intents} intents in {wishes.minutes} minutes")
        return 1
    if sum(run.kills.values()) < wishes.kills:
        say(f"fewer than {wishes.kills} kills in {wishes.minutes} minutes")
        return 1
    return 1 if record.failures else 0


if __name__ == "__main__":
    sys.exit(main())
