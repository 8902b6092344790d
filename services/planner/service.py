"""The planner room's shell: any number of instances share the snapshots of one consumer."""

from __future__ import annotations

import time

from libs.common.bus import Delivery
from libs.common.codec import UndecodableError
from libs.common.contracts import Severity, SnapshotTaken
from libs.common.runtime import Context, run_service, utc_now
from libs.common.topology import PLANNER
from services.planner.planning import plan


class PlannerService:
    def __init__(self, context: Context) -> None:
        self.context = context

    async def run(self) -> None:
        self.context.ready()
        await self.context.bus.consume(PLANNER, self._on_snapshot, on_poison=self._on_poison)

    async def _on_snapshot(self, delivery: Delivery) -> None:
        """Intents before the plan that names them; both ids are pure functions of the snapshot, so
        doing this twice says the same once.
        """
        snapshot = delivery.decode()
        if not isinstance(snapshot, SnapshotTaken):
            raise UndecodableError(f"{delivery.subject}: not a snapshot")
        # The intents are as old as what they rest on, so that risk can tell a snapshot that lay
        # on the bus for hours from a fresh one.
        self.context.observe("snapshot_age_seconds", (utc_now() - snapshot.at).total_seconds())
        began = time.perf_counter()
        outcome = plan(snapshot, self.context.settings.planner, at=snapshot.at)
        self.context.observe("plan_seconds", time.perf_counter() - began)
        for intent in outcome.intents:
            await self.context.bus.publish(intent)
            self.context.count("intents", strategy=intent.strategy)
        await self.context.bus.publish(outcome.plan)
        self.context.count("plans")
        await delivery.ack()

    async def _on_poison(self, delivery: Delivery) -> None:
        text = f"{delivery.subject}: {delivery.payload[:200]!r}"
        await self.context.alert(Severity.ERROR, "poison", text)


async def serve(context: Context) -> None:
    await PlannerService(context).run()


def main() -> int:
    return run_service("planner", serve)
