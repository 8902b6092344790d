"""One image and one stack for all tests here: bringing them up is what takes the time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import engine
from tests.containers.engine import Stack

FOLDER = Path(__file__).parent
SECONDS_MAX = 600
"""Of one test: the first builds the image and brings the stack up."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without an engine one of them is left to say so, in one line for all."""
    ours = [item for item in items if item.path.is_relative_to(FOLDER)]
    for item in ours:
        item.add_marker(pytest.mark.containers)
        item.add_marker(pytest.mark.timeout(SECONDS_MAX))
    missing = engine.trouble() if ours else None
    if missing is None:
        return
    ours[0].add_marker(pytest.mark.skip(f"{len(ours)} tests on containers: {missing}"))
    config.hook.pytest_deselected(items=ours[1:])
    items[:] = [item for item in items if item not in ours[1:]]


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """Built from this tree, under a name of this run's."""
    mirror = ("--build-arg", "PIP_INDEX_URL") if "PIP_INDEX_URL" in os.environ else ()
    name = f"alpaclaudia:tests-{os.getpid()}"
    engine.docker("build", "-q", *mirror, "-t", name, ".")
    yield name
    engine.docker("image", "rm", "-f", name)


@pytest.fixture(scope="session")
def session_stack(image: str) -> Iterator[Stack]:
    made = Stack(
        project=f"alpaclaudia-tests-{os.getpid()}",
        environ={"ALPACLAUDIA_IMAGE": image, "ALPACA_ENV": "sim", "ALPACA_CLOCK_SPEED": "7800"},
    )
    try:
        made.up()
        yield made
    finally:
        made.compose("down", "-v", "--remove-orphans", "--timeout", "8")


@pytest.fixture
def stack(session_stack: Stack) -> Iterator[Stack]:
    """The stack as compose.yaml has it, whatever a test before made of it."""
    yield session_stack
    session_stack.up()
