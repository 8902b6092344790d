"""Every service as a process with a METRICS_PORT: alive, ready, and what it says of itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import msgspec
import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from libs.common.contracts import OrderChanged, PlanMade
from libs.common.face import Health
from libs.common.meters import Kind
from libs.common.meters_table import METERS, SERVICES, exposed_name
from libs.embedded.processes import free_port
from services.cli.supervisor import environ_for
from tests.integration.stories import snapshot
from tests.integration.test_planner_process import MIB_MAX
from tests.integration.world import Process, RunningExchange, World, until
from tests.test_deploy_metrics import expressions, selectors

pytestmark = pytest.mark.integration

Start = Callable[..., Process]


class Probed:
    """A service's process, seen through its port."""

    def __init__(self, name: str, start: Start, environ: dict[str, str]) -> None:
        self.name = name
        self.port = free_port()
        self.process = start(name, environ | {"METRICS_PORT": str(self.port)})

    def get(self, path: str) -> requests.Response | None:
        """None while nobody listens."""
        assert self.process.popen.poll() is None, self.process.log
        try:
            return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)
        except requests.ConnectionError:
            return None

    def health(self) -> Health | None:
        answer = self.get("/ready")
        if answer is None:
            return None
        health = msgspec.json.decode(answer.content, type=Health)
        assert answer.status_code == (200 if health.ready else 503)
        return health

    def is_ready(self) -> bool:
        health = self.health()
        return health is not None and health.ready

    def series(self) -> dict[str, float]:
        """`name{label="value",…}` as on the page, and the families' names without a value."""
        answer = self.get("/metrics")
        assert answer is not None
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return {
            f"{sample.name}{labels_of(sample.labels)}": sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }


def labels_of(labels: dict[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{inside}}}" if inside else ""


async def ready(services: list[Probed]) -> None:
    for service in services:
        await until(service.is_ready, f"{service.name} to be ready")


async def test_every_service_tells_how_it_is_and_what_it_did(
    world: World, process: Start, exchange: Callable[..., RunningExchange]
) -> None:
    """A put is wished for, approved, sent and answered; what the dashboard and the alert rules
    ask for is there afterwards.
    """
    environ = world.environ | world.broker_at(exchange().url)
    services = {name: Probed(name, process, environ) for name in SERVICES}
    await ready(list(services.values()))
    for service in services.values():
        alive = service.get("/live")
        assert alive is not None
        assert alive.status_code == 200
    await until(lambda: [o for o in world.of(OrderChanged) if o.order_id], "an order")
    await until(
        lambda: (
            'alpaclaudia_consumer_pending_messages{consumer="executor",stream="DECISIONS"}'
            in services["executor"].series()
        ),
        "the backlog to be measured",
    )
    await until(
        lambda: (
            services["risk"].series().get("alpaclaudia_reservations", 0) > 0
            or services["risk"].series()['alpaclaudia_decisions_total{outcome="approved"}'] > 0
        ),
        "risk to have approved",
    )
    said = {name: service.series() for name, service in services.items()}
    assert said["market"]["alpaclaudia_ticks_total"] >= 1
    assert said["market"]["alpaclaudia_snapshots_total"] >= 1
    assert said["market"]["alpaclaudia_market_open"] == 1
    assert said["market"]["alpaclaudia_equity_dollars"] == pytest.approx(60_000, rel=0.1)
    assert said["planner"]['alpaclaudia_intents_total{strategy="wheel:cash_secured_put"}'] >= 1
    assert said["planner"]["alpaclaudia_plan_seconds_count"] >= 1
    assert said["planner"]["alpaclaudia_snapshot_age_seconds_count"] >= 1
    assert said["risk"]['alpaclaudia_trading_state{state="active"}'] == 1
    assert said["risk"]["alpaclaudia_equity_peak_dollars"] > 0
    for stage in ("approved_to_posted", "posted_to_answered"):
        series = f'alpaclaudia_order_seconds_count{{stage="{stage}"}}'
        assert said["executor"][series] >= 1
    for name, series in said.items():
        assert series["alpaclaudia_ready"] == 1
        assert series['alpaclaudia_state{state="ready"}'] == 1
        assert series["process_resident_memory_bytes"] > 0
        assert series["alpaclaudia_errors_total"] == 0, services[name].process.log
    assert said["planner"]["process_resident_memory_bytes"] < MIB_MAX * 2**20
    check_what_is_asked_for({each for series in said.values() for each in series})


NOT_IN_A_GOOD_DAY = {
    "alpaclaudia_gate_blocks_total",
    "alpaclaudia_ledger_total",
}
"""Series whose labels only come with what they count: a block, an assignment."""


def check_what_is_asked_for(said: set[str]) -> None:
    """Every series of the alert rules and the dashboard, by name, was said in this run; and every
    meter of the table that has no labels.
    """
    names = {series.partition("{")[0] for series in said}
    asked = {name for expression in expressions() for name in selectors(expression)}
    assert asked - names <= NOT_IN_A_GOOD_DAY
    counters = {exposed_name(m) for m in METERS if m.kind is Kind.COUNTER and not m.labels}
    assert counters - names == set()


async def test_a_standby_is_ready_and_takes_over(
    world: World, process: Start, exchange: Callable[..., RunningExchange]
) -> None:
    environ = world.environ | world.broker_at(exchange().url)
    for name in ("risk", "executor"):
        first = Probed(name, process, environ)
        await ready([first])
        second = Probed(name, process, environ)
        await until(lambda: stands_by(second), f"the second {name} to stand by")  # noqa: B023
        assert second.is_ready()
        first.process.kill()
        await until(lambda: is_active(second), f"the second {name} to be active")  # noqa: B023
        second.process.kill()


def stands_by(service: Probed) -> bool:
    health = service.health()
    return health is not None and health.state == "standby"


def is_active(service: Probed) -> bool:
    health = service.health()
    return health is not None and health.state == "ready" and health.ready


async def test_who_lost_the_bus_lives_and_is_not_ready_until_it_is_back(
    world: World, process: Start
) -> None:
    planner = Probed("planner", process, world.environ)
    await ready([planner])
    assert world.nats.process is not None
    world.nats.process.send_signal(signal.SIGSTOP)
    try:
        await until(lambda: not planner.is_ready(), "it to notice")
        health = planner.health()
        assert health is not None
        assert health.why == "the connection to NATS is lost"
        alive = planner.get("/live")
        assert alive is not None
        assert alive.status_code == 200
        assert planner.series()["alpaclaudia_bus_connected"] == 0
    finally:
        world.nats.process.send_signal(signal.SIGCONT)
    await ready([planner])
    assert planner.series()["alpaclaudia_bus_reconnects_total"] >= 1


async def test_who_waits_for_a_bus_answers_meanwhile(world: World, process: Start) -> None:
    """No server is there at all yet."""
    nowhere = world.environ | {"NATS_URL": f"nats://127.0.0.1:{free_port()}"}
    planner = Probed("planner", process, nowhere)
    health = await until(planner.health, "an answer")
    assert (health.state, health.ready) == ("connecting", False)
    assert planner.series()['alpaclaudia_state{state="connecting"}'] == 1


async def test_a_process_that_hangs_does_not_say_that_it_lives(
    world: World, process: Start
) -> None:
    planner = Probed("planner", process, world.environ)
    await ready([planner])
    planner.process.popen.send_signal(signal.SIGSTOP)
    with pytest.raises(requests.ReadTimeout):
        await asyncio.to_thread(requests.get, f"http://127.0.0.1:{planner.port}/live", timeout=1)
    planner.process.popen.send_signal(signal.SIGCONT)
    await ready([planner])


async def test_without_a_port_nothing_listens(world: World, process: Start) -> None:
    planner = process("planner", world.environ)
    await world.bus.publish(snapshot())
    await until(lambda: world.of(PlanMade), "it to work")
    connections = psutil.Process(planner.popen.pid).net_connections()
    assert {each.status for each in connections} == {psutil.CONN_ESTABLISHED}


def test_a_supervised_service_gets_a_port_of_its_own() -> None:
    ports = [environ_for(name, {"METRICS_PORT": "9100"})["METRICS_PORT"] for name in SERVICES]
    assert ports == ["9100", "9101", "9102", "9103", "9104"]
    for text in ("0", ""):
        assert environ_for("risk", {"METRICS_PORT": text})["METRICS_PORT"] == text
    assert "METRICS_PORT" not in environ_for("risk", {})
