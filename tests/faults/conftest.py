"""A stand for a story, with what its processes said when it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.play import Play
from tests.faults.stand import Stand
from tests.integration.servers import folder_of_its_own

LOG_CHARACTERS = 3000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stories with a stand of their own take longer than others."""
    for item in items:
        if item.get_closest_marker("faults"):
            item.add_marker(pytest.mark.timeout(300))


@asynccontextmanager
async def a_stand(services: tuple[str, ...] | None = None) -> AsyncIterator[Stand]:
    with folder_of_its_own() as folder:
        stand = Stand(folder) if services is None else Stand(folder, services=services)
        try:
            await stand.open()
            yield stand
        except BaseException:
            for path in sorted((folder / "logs").glob("*.log")):
                print(f"--- {path.name}\n{path.read_text()[-LOG_CHARACTERS:]}")
            raise
        finally:
            await stand.close()


def a_play(stand: Stand, seed: int) -> Play:
    return Play(stand, seed, print)
