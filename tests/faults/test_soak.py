"""The soak's verdict: flat is flat, a leak is a leak."""

from __future__ import annotations

import os

import msgspec
import pytest

from tests.faults.soak import Sample, sample, slope, verdict_of

MB = 1024 * 1024


def samples(memory_each: float, files_each: float) -> list[Sample]:
    """Ten minutes of samples, growing so much a minute, after a jump in the first."""
    return [
        Sample(
            seconds=float(second),
            memory_bytes=int((50 if second < 60 else 90) * MB + memory_each * second / 60),
            files=int(20 + files_each * second / 60),
        )
        for second in range(0, 601, 5)
    ]


def test_what_is_steady_after_its_start_is_flat() -> None:
    verdict = verdict_of("risk", samples(0, 0))
    assert verdict.flat
    assert verdict.memory_gain_bytes == 0


@pytest.mark.parametrize(("memory_each", "files_each"), [(2 * MB, 0.0), (0.0, 1.0)])
def test_what_grows_is_told(memory_each: float, files_each: float) -> None:
    verdict = verdict_of("risk", samples(memory_each, files_each))
    assert not verdict.flat
    assert "GROWS" in str(verdict)


def test_a_server_may_grow_with_what_it_stores_and_no_further() -> None:
    growing = samples(2 * MB, 0)
    storing = [
        msgspec.structs.replace(one, stored_bytes=int(MB * one.seconds / 60)) for one in growing
    ]
    assert not verdict_of("nats", growing).flat
    assert verdict_of("nats", storing).flat
    leaking = [
        msgspec.structs.replace(one, memory_bytes=one.memory_bytes + int(3 * MB * one.seconds / 60))
        for one in storing
    ]
    assert not verdict_of("nats", leaking).flat


def test_a_slope_is_the_lines() -> None:
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == 2
    assert slope([(1.0, 1.0)]) == 0


def test_a_process_is_sampled_with_its_open_files() -> None:
    before = sample(os.getpid(), 0.0)
    with open(os.devnull) as one, open(os.devnull) as other:
        assert {one.fileno(), other.fileno()}
        assert sample(os.getpid(), 1.0).files == before.files + 2
    assert before.memory_bytes > MB
