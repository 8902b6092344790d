"""The stack as it stands: who is well, what is shut, who may reach whom and who knows what."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest

from libs.common.bus_accounts import USERS
from tests.containers.books import books_agree
from tests.containers.engine import (
    ONE_SHOTS,
    SERVERS,
    SERVICES,
    EngineError,
    Stack,
    docker,
    health,
    service_of,
    until,
)

CONNECTS = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
OPEN_SECRETS = {"nats.conf", "verify_key"}
"""Public keys."""


@pytest.fixture(scope="module")
def containers(session_stack: Stack) -> list[dict[str, Any]]:
    return session_stack.inspect()


def address_of(stack: Stack, service: str) -> str:
    (found,) = stack.inspect(service)
    networks = found["NetworkSettings"]["Networks"].values()
    return str(next(iter(networks))["IPAddress"])


def test_all_is_well(containers: list[dict[str, Any]]) -> None:
    well = {service_of(one): health(one) for one in containers}
    assert {name for name, state in well.items() if state == "healthy"} == {*SERVICES, *SERVERS}
    assert well["operator"] == "running"
    ended = {service_of(one): one["State"]["ExitCode"] for one in containers}
    assert all(well[name] == "exited" and ended[name] == 0 for name in ONE_SHOTS)


def test_no_port_is_published(containers: list[dict[str, Any]]) -> None:
    for one in containers:
        assert not one["HostConfig"]["PortBindings"], service_of(one)
        assert not any(one["NetworkSettings"]["Ports"].values()), service_of(one)


def test_every_container_is_shut_in(containers: list[dict[str, Any]]) -> None:
    for one in containers:
        host, name = one["HostConfig"], service_of(one)
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert not host["Privileged"], name
        if name != "secrets":
            assert not host["CapAdd"], name
            assert one["Config"]["User"] in ("10001:10001", "postgres"), name


@pytest.mark.parametrize("service", [*SERVICES, *SERVERS, "operator"])
def test_nothing_inside_can_be_written_or_gained(session_stack: Stack, service: str) -> None:
    said = session_stack.run_in(
        service, "sh", "-c", "touch /usr/x; touch /run/secrets/x; id -u", fails=False
    )
    assert said.count("Read-only file system") == 2
    assert said.splitlines()[-1].strip() != "0"
    status = session_stack.run_in(service, "cat", "/proc/self/status")
    rights = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert int(rights["CapEff"], 16) == int(rights["CapBnd"], 16) == 0
    assert rights["NoNewPrivs"].strip() == "1"


def test_planner_reaches_the_bus_and_nothing_else(session_stack: Stack) -> None:
    connects = ("python", "-c", CONNECTS)
    session_stack.run_in("planner", *connects, "nats", "4222")
    session_stack.run_in("executor", *connects, address_of(session_stack, "postgres"), "5432")
    for service, port in (("postgres", "5432"), ("exchange", "8700")):
        place = address_of(session_stack, service)
        session_stack.run_in("planner", *connects, place, port, fails=True)


def test_only_market_executor_and_reporter_have_a_way_out(
    session_stack: Stack, containers: list[dict[str, Any]]
) -> None:
    prefix = f"{session_stack.project}_"
    names = {name for one in containers for name in one["NetworkSettings"]["Networks"]}
    inspected = json.loads(docker("network", "inspect", *(names - {"none"})))
    (outside,) = (network["Name"] for network in inspected if not network["Internal"])
    reach = {service_of(one) for one in containers if outside in one["NetworkSettings"]["Networks"]}
    assert outside == f"{prefix}outside"
    assert reach == {"market", "executor", "reporter"}


def test_what_is_outside_answers_market_and_not_planner(session_stack: Stack) -> None:
    outside = f"{session_stack.project}_outside"
    image = session_stack.environ["ALPACLAUDIA_IMAGE"]
    serve = ("--entrypoint", "python", image, "-m", "http.server", "8080")
    stranger = docker("run", "-d", "--rm", "--network", outside, *serve).strip()
    try:
        (found,) = json.loads(docker("inspect", stranger))
        place = found["NetworkSettings"]["Networks"][outside]["IPAddress"]
        connects = ("python", "-c", CONNECTS, place, "8080")
        until(lambda: answers(session_stack, "market", connects), "the stranger to answer")
        assert not answers(session_stack, "planner", connects)
    finally:
        docker("kill", stranger)


def answers(stack: Stack, service: str, connects: tuple[str, ...]) -> bool:
    try:
        stack.run_in(service, *connects)
    except EngineError:
        return False
    return True


def secrets_by_volume(stack: Stack) -> dict[str, dict[str, str]]:
    """The files of every volume of secrets, by its name and theirs."""
    prefix = f"{stack.project}_secrets-"
    names = [v for v in docker("volume", "ls", "-q").split() if v.startswith(prefix)]
    mounts = [word for v in names for word in ("-v", f"{v}:/s/{v.removeprefix(prefix)}:ro")]
    code = (
        "import json, pathlib; p = pathlib.Path('/s'); print(json.dumps({str(f.relative_to(p)):"
        " f.read_text() for f in p.rglob('*') if f.is_file()}))"
    )
    image = stack.environ["ALPACLAUDIA_IMAGE"]
    words = ("--user", "0", "--network=none", "--entrypoint", "python", image, "-c", code)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path, text in json.loads(docker("run", "--rm", *mounts, *words)).items():
        volume, _, name = path.partition("/")
        found[volume][name] = text
    return found


def words_of(files: dict[str, str]) -> set[str]:
    """What must be seen nowhere: of an address the password, of JSON its values."""
    found: set[str] = set()
    for name, text in files.items():
        if name in OPEN_SECRETS or not text.strip():
            continue
        if name.endswith(".url"):
            found.add(text.split("@")[0].rpartition(":")[2])
        elif name.endswith(".json"):
            found.add(json.loads(text)["secret"])
        elif name != "alpaca_api_key":
            found.add(text.strip())
    return found


def test_each_has_its_own_secrets_and_no_others(
    session_stack: Stack, containers: list[dict[str, Any]]
) -> None:
    files = {name: set(found) for name, found in secrets_by_volume(session_stack).items()}
    assert {user for user in USERS if f"{user}.nk" in files[user]} == set(USERS)
    keys = {"alpaca_api_key", "alpaca_secret_key"}
    assert {name for name, found in files.items() if found & keys} == {"market", "executor"}
    assert {name for name, found in files.items() if "signing_key" in found} == {"risk"}
    assert {n for n, found in files.items() if any(f.endswith(".url") for f in found)} == {
        "executor",
        "reporter",
        "dashboard",
        "operator",
        "migrate",
    }
    for one in containers:
        service = service_of(one)
        held = {
            m["Name"].rpartition("_secrets-")[2]
            for m in one["Mounts"]
            if "_secrets-" in m.get("Name", "")
        }
        assert service == "secrets" or held == {service}
        assert service == "secrets" or not any(
            mount["RW"] for mount in one["Mounts"] if "_secrets-" in mount.get("Name", "")
        )


def test_no_secret_shows_in_inspect_configuration_or_logs(
    session_stack: Stack, containers: list[dict[str, Any]]
) -> None:
    secrets = {w for files in secrets_by_volume(session_stack).values() for w in words_of(files)}
    assert len(secrets) > 12
    shown = [json.dumps(containers), session_stack.compose("config")]
    shown += [docker("logs", one) for one in session_stack.ids()]
    shown += [docker("image", "inspect", session_stack.environ["ALPACLAUDIA_IMAGE"])]
    assert not [secret for secret in secrets if any(secret in text for text in shown)]


def test_status_of_all_and_of_one(session_stack: Stack) -> None:
    said = session_stack.alpaclaudia("status")
    assert all(f"{service}" in said for service in SERVICES)
    assert "ready" in session_stack.alpaclaudia("status", service="market")


@pytest.mark.parametrize("service", [*SERVICES, *ONE_SHOTS, "exchange", "operator"])
def test_what_is_logged_is_json_line_by_line(session_stack: Stack, service: str) -> None:
    lines = session_stack.lines(service)
    assert all(isinstance(line, dict) for line in lines)
    assert lines or service in ("operator", "reporter"), "those two may have had nothing to say"
    if service != "operator":  # which prints the alerts themselves
        assert all({"at", "level", "service", "text"} <= set(line) for line in lines)


def test_one_id_leads_through_the_logs_from_snapshot_to_fill(session_stack: Stack) -> None:
    def filled() -> list[str]:
        return [
            line["correlation_id"]
            for line in session_stack.lines("executor")
            if line["text"].startswith("orders.filled.") and "correlation_id" in line
        ]

    (correlation, *_) = until(filled, "a fill")
    told = {
        service: [
            line["text"]
            for line in session_stack.lines(service)
            if line.get("correlation_id") == correlation
        ]
        for service in ("market", "planner", "risk", "executor")
    }
    stock = correlation.rpartition("/")[2]
    assert told["market"] == [f"market.snapshot.{stock}"]
    assert any(text.startswith("intents.") for text in told["planner"])
    assert f"decisions.approved.{stock}" in told["risk"]
    assert f"orders.filled.{stock}" in told["executor"]


def test_ending_leaves_nothing_half_done(stack: Stack) -> None:
    """Told to end, everyone does, by itself: none had to be killed. The volumes keep it all."""
    before = stack.ticks()
    stack.compose("stop")
    ended = {service_of(one): one["State"]["ExitCode"] for one in stack.inspect()}
    assert ended.pop("operator") == 143, "it only shows alerts, so SIGTERM itself ends it"
    assert ended == dict.fromkeys((*SERVICES, *SERVERS, *ONE_SHOTS), 0)
    stack.compose("down")
    stack.up()
    assert stack.ticks() >= before
    until(lambda: stack.ticks() > before, "a tick after the restart")
    until(lambda: books_agree(stack), "books that agree with the broker")
