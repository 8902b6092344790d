"""The only door to prometheus_client: a service's meters as a page that Prometheus reads.

Imported only where METRICS_PORT is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from libs.common.meters import Kind, Meters, Reading, Spread
from libs.common.meters_table import exposed_name

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class _MetersCollector(Collector):
    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def collect(self) -> Iterator[Metric]:
        for reading in self._meters.readings():
            yield _family(reading)


class MetricsPage:
    """One service's page: its meters, and the process's memory, time and open files."""

    def __init__(self, meters: Meters) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_MetersCollector(meters))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        return generate_latest(self._registry)


def _family(reading: Reading) -> Metric:
    meter = reading.meter
    name = exposed_name(meter)
    if meter.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, meter.help, labels=meter.labels)
        for labels, spread in reading.spreads.items():
            histogram.add_metric(labels, _buckets(meter.buckets, spread), sum_value=spread.total)
        return histogram
    counts = meter.kind is Kind.COUNTER
    family = (CounterMetricFamily if counts else GaugeMetricFamily)(
        name, meter.help, labels=meter.labels
    )
    for labels, value in reading.values.items():
        family.add_metric(labels, value)
    return family


def _buckets(bounds: tuple[float, ...], spread: Spread) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus wants them, with the infinite one."""
    below = accumulate(spread.below)
    found = [(str(bound), float(count)) for bound, count in zip(bounds, below, strict=True)]
    return [*found, ("+Inf", float(spread.count))]
