"""One hypothesis profile for all: a loaded machine is no failure, so no example has a deadline."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("alpaclaudia", deadline=None)
settings.load_profile("alpaclaudia")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--servers",
        choices=("embedded", "containers"),
        default=os.environ.get("ALPACLAUDIA_TEST_SERVERS", "embedded"),
        help="What integration tests run on: child processes, or containers.",
    )
