"""A stand for a story, with what its processes said when it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest

from tests.faults.disks import small_disks
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
async def a_stand(*, small: bool = False, **how: Any) -> AsyncIterator[Stand]:
    """`small` puts its servers on disks that can be filled; `how` is what Stand takes."""
    with folder_of_its_own() as folder, small_disks(folder) if small else nullcontext(False) as can:
        if small and not can:
            pytest.skip("mounting a tmpfs is not permitted here, so no disk can be filled")
        stand = Stand(folder, **how)
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
