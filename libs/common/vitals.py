"""How a service is: its state, what it counts and measures, and whether it is ready.

One home for all of it: heartbeats, `/ready` and the metrics page each show a part.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator

from libs.common.bus import Bus, BusError
from libs.common.bus_accounts import BY_NAME
from libs.common.face import Face, Health, serving
from libs.common.meters import UnknownMeterError
from libs.common.meters_table import meters_of
from libs.common.settings import MetricsSettings

BACKLOG_SECONDS = 5.0
"""How often the consumers' backlogs are asked after, where somebody reads metrics."""
STATES = ("connecting", "starting", "recovering", "standby", "ready")

log = logging.getLogger("alpaclaudia")


class Vitals:
    def __init__(self, service: str) -> None:
        self.service = service
        # In containers every process has the same number.
        self.instance = f"{socket.gethostname()}-{os.getpid()}"
        self.state = "connecting"
        self.rereading = ""
        """Why it is ready by its state and yet has to catch up first, or nothing."""
        self.market_open: bool | None = None
        self.bus: Bus | None = None
        self._meters = meters_of(service)
        self._reconnects_told = 0

    # --- what is counted and measured ------------------------------------------------------------

    def count(self, what: str, by: float = 1, **labels: str) -> None:
        with _undeclared_is_said():
            self._meters.count(what, by, **labels)

    def measure(self, what: str, value: float, **labels: str) -> None:
        with _undeclared_is_said():
            self._meters.set(what, value, **labels)

    def observe(self, what: str, value: float, **labels: str) -> None:
        with _undeclared_is_said():
            self._meters.observe(what, value, **labels)

    def choose(self, what: str, chosen: str, among: tuple[str, ...]) -> None:
        with _undeclared_is_said():
            self._meters.choose(what, chosen, among)

    @property
    def counters(self) -> dict[str, int]:
        """What was counted so far, as heartbeats carry it."""
        return self._meters.counters()

    # --- whether it is well ----------------------------------------------------------------------

    def health(self) -> Health:
        why = self._not_ready_because()
        return Health(
            service=self.service,
            instance=self.instance,
            state=self.state,
            ready=not why,
            why=why,
        )

    def _not_ready_because(self) -> str:
        """Ready is who does its work, and who stands by to take it over."""
        if self.bus is None:
            return "it is not connected to NATS yet"
        if self.state not in ("ready", "standby"):
            return f"it is {self.state}"
        if not self.bus.connected:
            return "the connection to NATS is lost"
        return self.rereading

    def measure_itself(self) -> None:
        """What every service's meters say of it, as it is at this moment."""
        self.measure("ready", float(self.health().ready))
        self.choose("state", self.state, STATES)
        bus = self.bus
        self.measure("bus_connected", float(bus is not None and bus.connected))
        if bus is not None:
            self.count("bus_reconnects", bus.reconnects - self._reconnects_told)
            self._reconnects_told = bus.reconnects
        if self.service == "market":
            self.measure("market_open", float(bool(self.market_open)))

    async def measure_backlogs(self, bus: Bus) -> None:
        """Until cancelled: how far the service's consumers are behind."""
        while True:
            for consumer in BY_NAME[self.service].consumes:
                with contextlib.suppress(BusError):  # the next round asks again
                    pending, unacknowledged = await bus.backlog(consumer)
                    at = {"stream": consumer.stream, "consumer": consumer.name}
                    self.measure("consumer_pending_messages", pending, **at)
                    self.measure("consumer_unacknowledged_messages", unacknowledged, **at)
            await asyncio.sleep(BACKLOG_SECONDS)

    @contextlib.asynccontextmanager
    async def shown(self, settings: MetricsSettings) -> AsyncIterator[None]:
        """Where METRICS_PORT is set: answers while the block runs, from before there is a bus.

        Raises RestartNeededError when the port cannot be had.
        """
        if not settings.port:
            yield
            return
        from libs.common.metrics import CONTENT_TYPE, MetricsPage

        page = MetricsPage(self._meters)

        def metrics() -> bytes:
            self.measure_itself()
            return page.render()

        async with serving(Face(self.health, metrics, CONTENT_TYPE), settings):
            yield


@contextlib.contextmanager
def _undeclared_is_said() -> Iterator[None]:
    """A meter that nobody declared is a mistake of ours, but no reason to drop the work."""
    try:
        yield
    except UnknownMeterError as error:
        log.error("%s", error)
