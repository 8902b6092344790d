"""deploy/prometheus and deploy/grafana: files that load, and ask only for what services say.

There is no promtool here, so expressions are read by promql-parser (Prometheus' grammar) and
the files' form is held against what Prometheus and Grafana demand of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from libs.common.contracts import TradingState
from libs.common.meters import Kind
from libs.common.meters_table import METERS, SERVICES, exposed_name
from libs.common.topology import CONSUMERS
from libs.common.vitals import STATES
from services.executor.lifecycle import OrderState

DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "alpaclaudia.json"
DURATION = re.compile(r"\d+(ms|s|m|h|d)")

SCRAPED = {"service", "instance", "job"}
"""Labels that Prometheus adds to every series."""
PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
VALUES = {
    "service": set(SERVICES),
    "stream": {consumer.stream for consumer in CONSUMERS},
    "consumer": {consumer.name for consumer in CONSUMERS},
    "severity": {"info", "warning", "error"},
    "state": {*STATES, *OrderState, *TradingState},
}


def known_series() -> dict[str, set[str]]:
    """Every series a service can have, with its labels."""
    found: dict[str, set[str]] = {name: set() for name in PROCESS}
    for meter in METERS:
        name, labels = exposed_name(meter), set(meter.labels)
        if meter.kind is Kind.HISTOGRAM:
            found |= {f"{name}_count": labels, f"{name}_sum": labels}
            found[f"{name}_bucket"] = labels | {"le"}
        else:
            found[name] = labels
    return found


SERIES = known_series()


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in load(RULES)["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + asked


def nodes(expression: str) -> Iterator[Any]:
    found: list[Any] = []
    promql.walk(promql.parse(expression), found.append)
    yield from found


def selectors(expression: str) -> list[str]:
    """The names of the series an expression reads."""
    found = [node.name for node in nodes(expression) if isinstance(node, promql.VectorSelector)]
    return [name for name in found if name]


def faults(expression: str) -> list[str]:
    """What an expression asks for that no service says."""
    try:
        promql.parse(expression)
    except ValueError as error:
        return [f"not PromQL: {error}"]
    found = []
    labels: set[str] = set(SCRAPED)
    for node in nodes(expression):
        if isinstance(node, promql.VectorSelector):
            name = node.name or ""
            if name not in SERIES:
                found.append(f"nobody says {name}")
                continue
            labels |= SERIES[name]
            found += _matcher_faults(node, SERIES[name] | SCRAPED)
    for node in nodes(expression):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            grouped = set(node.modifier.labels)
            found += [f"no series has the label {name}" for name in grouped - labels]
    return found


def _matcher_faults(selector: Any, labels: set[str]) -> Iterator[str]:
    for matcher in selector.matchers.matchers:
        if matcher.name not in labels:
            yield f"{selector.name} has no label {matcher.name}"
            continue
        for value in matcher.value.split("|"):
            if value not in VALUES[matcher.name]:
                yield f"no {matcher.name} is {value}"


# --- expressions -------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_what_services_say(expression: str) -> None:
    assert faults(expression) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(alpaclaudia_ticks_total[5m)", "not PromQL"),
        ("alpaclaudia_tick_total", "nobody says alpaclaudia_tick_total"),
        ("alpaclaudia_plan_seconds > 1", "nobody says alpaclaudia_plan_seconds"),
        ('alpaclaudia_ready{symbol="KO"}', "has no label symbol"),
        ('alpaclaudia_state{state="reddy"}', "no state is reddy"),
        ("sum by (gate) (alpaclaudia_orders_total)", "no series has the label gate"),
    ],
)
def test_the_check_finds_planted_faults(expression: str, fault: str) -> None:
    assert any(fault in each for each in faults(expression))


# --- prometheus --------------------------------------------------------------------------------


def test_prometheus_reads_every_service_and_the_rules_beside_it() -> None:
    configuration = load(DEPLOY / "prometheus" / "prometheus.yml")
    assert set(configuration) == {"global", "rule_files", "scrape_configs"}
    for name in configuration["rule_files"]:
        assert (DEPLOY / "prometheus" / name).is_file()
    (job,) = configuration["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    assert tuple(discovery["names"]) == SERVICES
    assert discovery["type"] == "A"
    (label,) = job["relabel_configs"]
    assert (label["source_labels"], label["target_label"]) == (["__meta_dns_name"], "service")


def test_a_rule_has_what_prometheus_demands_and_a_person_needs() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert DURATION.fullmatch(rule.get("for", "1s"))
        assert rule["labels"]["severity"] in ("page", "look")
        assert set(rule["annotations"]) == {"summary", "remedy"}
        assert all(text.endswith(".") for text in rule["annotations"].values())


def test_every_group_has_a_name_of_its_own() -> None:
    groups = load(RULES)["groups"]
    assert all(set(group) == {"name", "rules"} for group in groups)
    assert len({group["name"] for group in groups}) == len(groups)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_gone_is_missed(service: str) -> None:
    """A service without a series raises no comparison; only absent() sees it."""
    wanted = f'absent(alpaclaudia_state{{service="{service}", state="ready"}} == 1)'
    assert wanted in {rule["expr"] for rule in rules()}


# --- grafana -----------------------------------------------------------------------------------


def test_grafana_finds_its_source_and_its_dashboards() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    sources = load(provisioning / "datasources" / "prometheus.yml")
    (source,) = sources["datasources"]
    assert (sources["apiVersion"], source["type"], source["uid"]) == (1, "prometheus", "prometheus")
    providers = load(provisioning / "dashboards" / "alpaclaudia.yml")
    (provider,) = providers["providers"]
    assert (providers["apiVersion"], provider["type"]) == (1, "file")
    assert provider["options"]["path"]


def test_the_dashboard_has_what_grafana_demands() -> None:
    board = dashboard()
    assert board["uid"] == board["title"] == "alpaclaudia"
    assert board["schemaVersion"] >= 39
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["type"] in ("timeseries", "stat"), panel["title"]
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0


def test_panels_fill_the_grid_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_legends_name_labels_that_their_series_have() -> None:
    labels = {label for found in SERIES.values() for label in found} | SCRAPED
    for panel in panels():
        for target in panel["targets"]:
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels


WHAT_THE_DASHBOARD_SHOWS = {
    "ticks": "alpaclaudia_ticks_total",
    "snapshot age": "alpaclaudia_snapshot_age_seconds_bucket",
    "plan time": "alpaclaudia_plan_seconds_bucket",
    "intents": "alpaclaudia_intents_total",
    "decisions by gate": "alpaclaudia_gate_blocks_total",
    "order latency": "alpaclaudia_order_seconds_bucket",
    "consumer lag": "alpaclaudia_consumer_pending_messages",
    "reconnects": "alpaclaudia_bus_reconnects_total",
    "reservations": "alpaclaudia_reservations",
    "equity": "alpaclaudia_equity_dollars",
    "trading state": "alpaclaudia_trading_state",
}


@pytest.mark.parametrize("series", WHAT_THE_DASHBOARD_SHOWS.values())
def test_the_dashboard_shows_what_matters(series: str) -> None:
    asked = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    assert series in asked
