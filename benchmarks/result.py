"""What a benchmark answers with, and how rounds are timed."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. Without a target it is information; `met` is None then."""

    name: str
    ours_ms: float | None = None
    theirs_ms: float | None = None
    ratio: float | None = None
    """Theirs over ours, medians of the same run."""
    target: float | None = None
    """What is asked for: at least this ratio, or with `figure` at most this much (at least, with
    `at_least`).
    """
    figure: float | None = None
    at_least: bool = False
    unit: str = ""
    notes: str = ""

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        if self.ratio is not None:
            return self.ratio >= self.target
        if self.figure is None:
            return False
        return self.figure >= self.target if self.at_least else self.figure <= self.target


def milliseconds(work: Callable[[], object]) -> float:
    """Processor time of this thread, so that a busy machine's other work is not counted."""
    start = time.thread_time()
    work()
    return (time.thread_time() - start) * 1000


def interleaved(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    rounds: int,
    ours_per_round: int,
    theirs_per_round: int = 1,
) -> tuple[float, float]:
    """Medians in milliseconds. The garbage collector runs as in life, from a clean start."""
    ours_ms: list[float] = []
    theirs_ms: list[float] = []
    ours(), theirs()  # caches and allocators warm for both
    for _ in range(rounds):
        gc.collect()
        ours_ms += [milliseconds(ours) for _ in range(ours_per_round)]
        gc.collect()
        theirs_ms += [milliseconds(theirs) for _ in range(theirs_per_round)]
    return statistics.median(ours_ms), statistics.median(theirs_ms)


def alone(work: Callable[[], object], *, rounds: int) -> float:
    """The median of one piece of work in milliseconds."""
    work()
    return statistics.median(milliseconds(work) for _ in range(rounds))
