"""With ALPACA_ENV=paper: no exchange, dry until told otherwise, and keys from two files that only
their owner may read. Nothing here speaks to Alpaca: only the first step is run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers.engine import SERVICES, Stack, docker


@pytest.fixture
def paper(image: str, tmp_path: Path) -> Iterator[Stack]:
    keys = {}
    for name in ("API", "SECRET"):
        path = tmp_path / name.lower()
        path.write_text(f"the-{name}-key\n")
        path.chmod(0o600)
        keys[f"ALPACA_{name}_KEY_FILE"] = str(path)
    environ = {"ALPACLAUDIA_IMAGE": image, "ALPACA_ENV": "paper", **keys}
    made = Stack(project=f"alpaclaudia-paper-{os.getpid()}", environ=environ)
    yield made
    made.compose("down", "-v")


def configuration(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.compose("config", "--format", "json"))
    return found


def test_there_is_no_exchange_and_nothing_is_sent(paper: Stack) -> None:
    services = configuration(paper)["services"]
    assert "exchange" not in services
    for service in SERVICES:
        environ = services[service]["environment"]
        assert environ["ALPACA_ENV"] == "paper"
        assert environ["BOT_MODE"] == "dry"
        assert "ALPACA_BASE_URL" not in environ


def test_live_orders_to_it_are_asked_for(paper: Stack) -> None:
    paper.environ["BOT_MODE"] = "live"
    assert configuration(paper)["services"]["executor"]["environment"]["BOT_MODE"] == "live"


def test_each_environment_has_volumes_of_its_own(image: str) -> None:
    names = set()
    for env in ("sim", "paper", "live"):
        said = docker("compose", "config", "--format", "json", environ={"ALPACA_ENV": env})
        names.add(json.loads(said)["volumes"]["postgres-data"]["name"])
    assert len(names) == 3


def test_the_keys_reach_market_and_executor(paper: Stack) -> None:
    paper.compose("run", "--rm", "secrets")
    paper.compose("create", "--no-build")
    volumes = {
        service: f"{paper.project}_secrets-{service}:/s:ro" for service in (*SERVICES, "operator")
    }
    image = paper.environ["ALPACLAUDIA_IMAGE"]
    listed = {
        service: docker(
            "run", "--rm", "--network=none", "-v", volume, "--entrypoint", "ls", image, "/s"
        ).split()
        for service, volume in volumes.items()
    }
    assert {name for name, files in listed.items() if "alpaca_secret_key" in files} == {
        "market",
        "executor",
    }
    reads = ("--entrypoint", "cat", image, "/s/alpaca_secret_key")
    assert docker("run", "--rm", "--network=none", "-v", volumes["market"], *reads).strip() == (
        "the-SECRET-key"
    )


def test_without_keys_it_says_what_to_set(paper: Stack) -> None:
    del paper.environ["ALPACA_SECRET_KEY_FILE"]
    said = paper.compose("run", "--rm", "secrets", fails=True)
    assert "ALPACA_SECRET_KEY_FILE" in said
