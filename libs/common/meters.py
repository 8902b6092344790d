"""What a service counts and measures of itself: one home, from which heartbeats and the metrics
page are made. Pure, and without a library behind it: a service that nobody scrapes pays nothing.

Every meter is declared once, in meters_table.py. What a label may say is bounded: beyond
SETS_MAX different sets of labels a meter counts what is new as `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

SETS_MAX = 40
OTHER = "other"

Labels = tuple[str, ...]
"""The values of a meter's labels, in the order it declares them."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is counted or measured."""

    name: str
    kind: Kind
    services: tuple[str, ...]
    """Whose it is."""
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """A histogram's upper bounds, in the meter's unit, without the infinite one."""
    told_apart: bool = False
    """Whether heartbeats carry a number for each label rather than the sum."""


class UnknownMeterError(LookupError):
    """Nobody declared this meter, or not with these labels."""


class Spread(msgspec.Struct, kw_only=True):
    """A histogram's observations: how many fell below each bound, and their sum."""

    below: list[int]
    count: int = 0
    total: float = 0.0


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A meter with all it says now; a counter's and a gauge's value, or a histogram's spread."""

    meter: Meter
    values: Mapping[Labels, float] = {}
    spreads: Mapping[Labels, Spread] = {}


class Meters:
    """One service's. Meters without labels say 0 from the start, so that a rise can be seen."""

    def __init__(self, table: Iterable[Meter], service: str) -> None:
        self._meters = {meter.name: meter for meter in table if service in meter.services}
        self._values: dict[str, dict[Labels, float]] = {name: {} for name in self._meters}
        self._spreads: dict[str, dict[Labels, Spread]] = {name: {} for name in self._meters}
        for meter in self._meters.values():
            if meter.labels:
                continue
            if meter.kind is Kind.HISTOGRAM:
                self._spreads[meter.name][()] = _empty(meter)
            elif meter.kind is Kind.COUNTER:
                self._values[meter.name][()] = 0

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Raises UnknownMeterError, as all the others do."""
        meter = self._meter(name, Kind.COUNTER)
        values = self._values[name]
        at = _place(meter, labels, values)
        values[at] = values.get(at, 0) + by

    def set(self, name: str, value: float, **labels: str) -> None:
        meter = self._meter(name, Kind.GAUGE)
        values = self._values[name]
        values[_place(meter, labels, values)] = value

    def choose(self, name: str, chosen: str, among: Iterable[str]) -> None:
        """A gauge with one label of which one value holds: 1 for that, 0 for the others."""
        (label,) = self._meter(name, Kind.GAUGE).labels
        for value in among:
            self.set(name, float(value == chosen), **{label: value})

    def observe(self, name: str, value: float, **labels: str) -> None:
        meter = self._meter(name, Kind.HISTOGRAM)
        spreads = self._spreads[name]
        spread = spreads.setdefault(_place(meter, labels, spreads), _empty(meter))
        first = bisect_left(meter.buckets, value)
        if first < len(meter.buckets):
            spread.below[first] += 1
        spread.count += 1
        spread.total += value

    def counters(self) -> dict[str, int]:
        """What heartbeats carry: each counter that moved, under its name or, where they are told
        apart, its name and its labels.
        """
        found: dict[str, int] = {}
        for name, values in self._values.items():
            meter = self._meters[name]
            if meter.kind is not Kind.COUNTER:
                continue
            for labels, value in values.items():
                key = "_".join([name, *labels]) if meter.told_apart else name
                if value:
                    found[key] = found.get(key, 0) + int(value)
        return found

    def readings(self) -> list[Reading]:
        return [
            Reading(meter=meter, values=self._values[name], spreads=self._spreads[name])
            for name, meter in self._meters.items()
        ]

    def _meter(self, name: str, kind: Kind) -> Meter:
        meter = self._meters.get(name)
        if meter is None or meter.kind is not kind:
            raise UnknownMeterError(f"no {kind} {name!r} is declared for this service")
        return meter


def _empty(meter: Meter) -> Spread:
    return Spread(below=[0] * len(meter.buckets))


def _place(meter: Meter, labels: Mapping[str, str], known: Mapping[Labels, object]) -> Labels:
    if labels.keys() != set(meter.labels):
        raise UnknownMeterError(f"{meter.name} has the labels {meter.labels}, not {tuple(labels)}")
    at = tuple(labels[name] for name in meter.labels)
    return at if at in known or len(known) < SETS_MAX else (OTHER,) * len(at)
