"""`make soak`: the whole system at 20 ticks a minute, and whether memory and open files stay flat.

Each process is sampled every few seconds. The first part is left out, since pools and caches fill
up then; over the rest a straight line is laid, and what it gains in that time is judged. Short
runs say little: half an hour is what is meant.

nats-server keeps the block of each stream that is being written in memory, and Go's collector
lets it take more than twice that: its memory follows what is stored, up to 8 MB a stream. So what
it stored meanwhile, times HELD_PER_STORED, is taken off its gain; both figures are shown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from tests.faults.play import Play
from tests.faults.stand import Stand
from tests.integration.servers import folder_of_its_own

TICKS_PER_MINUTE = 20
SAMPLE_SECONDS = 5.0
WARM_UP_SHARE = 0.3
MEMORY_SHARE_MAX = 0.10
MEMORY_BYTES_MIN = 8 * 1024 * 1024
"""Growth below this is no leak whatever its share: allocators keep what they once had."""
FILES_MIN, FILES_SHARE_MAX = 4.0, 0.10
"""The same for open files: Postgres' backends keep those of the tables they met."""
HELD_PER_STORED = 2.5
"""Measured on nats-server 2.15: 8 streams of 256 MB at most took 2.3 times what they stored, up to
46 MB, and stayed at 165 MB while 172 MB were stored.
"""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    seconds: float
    memory_bytes: int
    files: int
    stored_bytes: int = 0
    """What a server keeps on disk, where its memory follows that."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The gains are the line's, over the part that is judged."""

    process: str
    samples: int
    memory_bytes: int
    memory_gain_bytes: float
    files: int
    files_gain: float
    stored_gain_bytes: float = 0.0

    @property
    def flat(self) -> bool:
        memory_max = max(MEMORY_BYTES_MIN, MEMORY_SHARE_MAX * self.memory_bytes)
        files_max = max(FILES_MIN, FILES_SHARE_MAX * self.files)
        gain = self.memory_gain_bytes - HELD_PER_STORED * self.stored_gain_bytes
        return gain <= memory_max and self.files_gain <= files_max

    def __str__(self) -> str:
        return (
            f"{self.process:<10} {self.memory_bytes / 2**20:7.1f} MB "
            f"{self.memory_gain_bytes / 2**20:+7.2f} MB  {self.files:4d} files "
            f"{self.files_gain:+6.2f}  {'flat' if self.flat else 'GROWS'}"
            + (
                f", stored {self.stored_gain_bytes / 2**20:+.2f} MB"
                if self.stored_gain_bytes
                else ""
            )
        )


def slope(points: list[tuple[float, float]]) -> float:
    """Of the least-squares line, in y per x; 0 for fewer than two points."""
    count = len(points)
    if count < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def verdict_of(process: str, samples: list[Sample]) -> Verdict:
    """Of the samples after the warm-up. Expects at least one."""
    warm = samples[-1].seconds * WARM_UP_SHARE
    judged = [sample for sample in samples if sample.seconds >= warm]
    judged_seconds = judged[-1].seconds - judged[0].seconds

    def gain(figure: Callable[[Sample], float]) -> float:
        return slope([(s.seconds, float(figure(s))) for s in judged]) * judged_seconds

    return Verdict(
        process=process,
        samples=len(judged),
        memory_bytes=judged[-1].memory_bytes,
        memory_gain_bytes=gain(lambda sample: sample.memory_bytes),
        files=judged[-1].files,
        files_gain=gain(lambda sample: sample.files),
        stored_gain_bytes=gain(lambda sample: sample.stored_bytes),
    )


class Soak:
    def __init__(self, stand: Stand, minutes: float) -> None:
        self._stand = stand
        self._seconds = minutes * 60
        self._samples: dict[str, list[Sample]] = {}

    async def run(self) -> list[Verdict]:
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < self._seconds:
            for name, pid in self._pids().items():
                with contextlib.suppress(psutil.Error):
                    stored = self._stand.nats.folder / "jetstream" if name == "nats" else None
                    self._samples.setdefault(name, []).append(sample(pid, passed, stored))
            await asyncio.sleep(SAMPLE_SECONDS)
        return [verdict_of(name, samples) for name, samples in self._samples.items()]

    def _pids(self) -> dict[str, int]:
        processes = {name: child.process for name, child in self._stand.children.items()}
        processes |= {"nats": self._stand.nats.process, "postgres": self._stand.postgres.process}
        return {name: process.pid for name, process in processes.items() if process is not None}


def sample(pid: int, seconds: float, stored: Path | None = None) -> Sample:
    """Of a process and all below it, so that Postgres' backends count. Raises psutil.Error."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    memory = files = 0
    for member in family:
        with contextlib.suppress(psutil.Error):
            memory += _own_bytes(member)
            files += member.num_fds()
    return Sample(
        seconds=seconds,
        memory_bytes=memory,
        files=files,
        stored_bytes=_bytes_below(stored) if stored is not None else 0,
    )


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it was there a moment ago
            total += path.stat().st_size if path.is_file() else 0
    return total


def _own_bytes(process: psutil.Process) -> int:
    """Without what is shared: Postgres' backends touch more and more of its shared buffers."""
    figures = process.memory_info()
    return int(figures.rss - getattr(figures, "shared", 0))


async def soak(minutes: float) -> int:
    with folder_of_its_own() as folder:
        stand = Stand(folder, ticks_per_minute=TICKS_PER_MINUTE)
        try:
            await stand.open()
            play = Play(stand, 1, print)
            wishing = asyncio.create_task(play.planner.run())
            verdicts = await Soak(stand, minutes).run()
            wishing.cancel()
            await asyncio.gather(wishing, return_exceptions=True)
            found = await play.settle()
            ticks = await asyncio.to_thread(stand.count, "ticks")
        finally:
            await stand.close()
    print(f"{minutes:g} minutes, {ticks} ticks, {len(play.planner.acknowledged)} intents;")
    print("private memory and open files at the end, and what they gained after the warm-up:")
    for verdict in verdicts:
        print(verdict)
    for one in found:
        print(f"{one.invariant}: {one.text}")
    enough = ticks >= 0.8 * TICKS_PER_MINUTE * minutes
    if not enough:
        print(f"fewer than {TICKS_PER_MINUTE} ticks a minute")
    return 0 if enough and not found and all(verdict.flat for verdict in verdicts) else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    logging.disable(logging.WARNING)
    return asyncio.run(soak(parser.parse_args().minutes))


if __name__ == "__main__":
    sys.exit(main())
