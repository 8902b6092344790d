"""No library sends anything twice by itself: every client of alpaca-py that a room makes."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from libs.common.broker import PacedClock
from libs.common.settings import AlpacaSettings
from services.executor.alpaca import OrderDesk
from services.market import alpaca as market_door

SETTINGS = AlpacaSettings(api_key="k", secret_key="s", base_url="http://127.0.0.1:1")


def clients() -> list[Any]:
    desk = OrderDesk(SETTINGS, PacedClock(60, 1.0))
    reader = market_door._Clients(SETTINGS, PacedClock(60, 1.0))
    found = [*vars(desk._clients).values(), *vars(reader).values()]
    return [client for client in found if hasattr(client, "_session")]


def test_every_client_is_looked_at() -> None:
    assert len(clients()) >= 4


@pytest.mark.parametrize("client", clients(), ids=lambda client: type(client).__name__)
def test_it_tries_once_and_not_for_ever(client: Any) -> None:
    assert client._retry == 0
    assert client._retry_codes == []
    for adapter in client._session.adapters.values():
        assert adapter.max_retries.total == 0
    sending = inspect.getclosurevars(client._one_request).nonlocals
    assert sending["timeout"] == (
        SETTINGS.connect_timeout_seconds,
        SETTINGS.read_timeout_seconds,
    )
