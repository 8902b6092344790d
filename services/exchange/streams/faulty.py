"""The faults of streams at their place: between the exchange and each connection."""

from __future__ import annotations

from services.exchange.faults.board import Faults
from services.exchange.faults.streams import StreamFaults
from services.exchange.streams.endpoints import ORDERS_PATH, data_endpoint
from services.exchange.streams.gate import OpenTap
from services.exchange.streams.session import Event, Tap


def taps(faults: Faults) -> OpenTap:
    """What `Streams` asks for a tap."""

    def open_tap(path: str, key: str) -> Tap:
        return StreamFaults[Event](faults, stream_of(path), key)

    return open_tap


def stream_of(path: str) -> str:
    """By the name that rules have for it."""
    if path == ORDERS_PATH:
        return "trade_updates"
    endpoint = data_endpoint(path)
    return "options" if endpoint is not None and endpoint.options else "stocks"
