"""What a service counts and measures, and the page Prometheus reads it from."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from libs.common.meters import OTHER, SETS_MAX, Kind, Meter, Meters, UnknownMeterError
from libs.common.meters_table import METERS, SERVICES, exposed_name, meters_of
from libs.common.metrics import MetricsPage

ROOT = Path(__file__).parents[3]
COUNTED = {"count", "measure", "observe", "choose", "begin"}


def samples(meters: Meters) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The page as Prometheus would read it."""
    text = MetricsPage(meters).render().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def one(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"alpaclaudia_{name}", frozenset(labels.items())


def test_a_story_of_counting_ends_on_the_page_and_in_the_heartbeat() -> None:
    meters = meters_of("risk")
    meters.count("decisions", outcome="approved")
    meters.count("decisions", 2, outcome="blocked")
    meters.count("gate_blocks", gate="duplicate")
    meters.count("gate_blocks", gate="buying_power")
    meters.set("reservations", 3)
    meters.choose("trading_state", "halted", ("active", "reducing", "halted"))
    found = samples(meters)
    assert found[one("decisions_total", outcome="blocked")] == 2
    assert found[one("reservations")] == 3
    assert found[one("trading_state", state="halted")] == 1
    assert found[one("trading_state", state="active")] == 0
    assert found[one("errors_total")] == 0, "a rise from nothing is not seen"
    assert meters.counters() == {"decisions_approved": 1, "decisions_blocked": 2, "gate_blocks": 2}


def test_a_gauge_says_nothing_before_it_was_measured() -> None:
    assert one("equity_peak_dollars") not in samples(meters_of("risk"))


def test_a_histogram_counts_cumulatively_and_to_the_end() -> None:
    meters = meters_of("executor")
    for seconds in (0.004, 0.01, 0.3, 1000.0):
        meters.observe("order_seconds", seconds, stage="posted_to_answered")
    found = samples(meters)
    at = {"stage": "posted_to_answered"}
    assert found[one("order_seconds_bucket", le="0.01", **at)] == 2, "a bound holds its own value"
    assert found[one("order_seconds_bucket", le="0.25", **at)] == 2
    assert found[one("order_seconds_bucket", le="0.5", **at)] == 3
    assert found[one("order_seconds_bucket", le="60.0", **at)] == 3
    assert found[one("order_seconds_bucket", le="+Inf", **at)] == 4
    assert found[one("order_seconds_count", **at)] == 4
    assert found[one("order_seconds_sum", **at)] == pytest.approx(1000.314)


METER = Meter(
    name="waits",
    kind=Kind.HISTOGRAM,
    services=("risk",),
    help="Waits.",
    buckets=(0.1, 1.0, 10.0),
)


@given(st.lists(st.floats(min_value=0, max_value=100)))
def test_buckets_hold_what_is_at_most_their_bound(values: list[float]) -> None:
    meters = Meters([METER], "risk")
    for value in values:
        meters.observe("waits", value)
    found = samples(meters)
    for bound in METER.buckets:
        below = sum(value <= bound for value in values)
        assert found[one("waits_bucket", le=str(bound))] == below
    assert found[one("waits_count")] == len(values)


def test_labels_are_bounded_and_what_is_too_many_is_counted_together() -> None:
    meters = meters_of("risk")
    for number in range(10 * SETS_MAX):
        meters.count("gate_blocks", gate=f"gate {number}")
        meters.count("gate_blocks", gate="gate 1")
    values = {labels: value for (name, labels), value in samples(meters).items() if "gate" in name}
    assert len(values) == SETS_MAX + 1
    assert values[frozenset({("gate", OTHER)})] == 9 * SETS_MAX
    assert values[frozenset({("gate", "gate 1")})] == 10 * SETS_MAX + 1
    assert sum(values.values()) == 20 * SETS_MAX


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("gate_block", {"gate": "x"}),
        ("gate_blocks", {}),
        ("gate_blocks", {"gate": "x", "symbol": "KO"}),
        ("ticks", {}),
        ("reservations", {}),
    ],
)
def test_what_nobody_declared_is_an_error(name: str, labels: dict[str, str]) -> None:
    with pytest.raises(UnknownMeterError):
        meters_of("risk").count(name, **labels)


# --- the table --------------------------------------------------------------------------------


def test_names_are_unique_and_say_their_unit_last() -> None:
    assert len({meter.name for meter in METERS}) == len(METERS)
    for meter in METERS:
        assert set(meter.services) <= set(SERVICES)
        assert meter.help.endswith(".")
        assert (meter.kind is Kind.HISTOGRAM) == bool(meter.buckets)
        assert list(meter.buckets) == sorted(set(meter.buckets))
        if meter.kind is Kind.HISTOGRAM:
            assert meter.name.endswith("_seconds")


def test_no_label_speaks_of_a_stock_or_an_order() -> None:
    """Those are without end; strategies, gates, states, kinds and consumers are few."""
    few = {"strategy", "gate", "outcome", "state", "stage", "event", "severity", "kind"}
    assert {label for meter in METERS for label in meter.labels} == few | {"stream", "consumer"}


def said_in_the_code() -> set[str]:
    """The names that services and their runtime give to their meters."""
    return {
        call.args[0].value
        for folder in ("services", "libs/common")
        for path in (ROOT / folder).rglob("*.py")
        if "exchange" not in path.parts
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in COUNTED
        and ast.unparse(call.func.value).endswith(("context", "vitals", "self"))
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }


THROUGH_A_VARIABLE = {"called_back", "let_go"}
"""services/executor/following.py names them where it asks for a cancellation."""


def test_every_meter_is_used_and_every_name_in_the_code_is_a_meters() -> None:
    assert said_in_the_code() | THROUGH_A_VARIABLE == {meter.name for meter in METERS}
    following = (ROOT / "services/executor/following.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in following for name in THROUGH_A_VARIABLE)


@pytest.mark.parametrize("service", SERVICES)
def test_every_meter_of_a_service_stands_on_its_page(service: str) -> None:
    text = MetricsPage(meters_of(service)).render().decode()
    for meter in METERS:
        assert (f"# HELP {exposed_name(meter)} " in text) == (service in meter.services), meter
    assert "process_resident_memory_bytes " in text
