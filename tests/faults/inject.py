"""Carrying out a schedule's actions on the stand, and undoing all of it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import nats.errors
import requests

from tests.faults.disks import MEGABYTES, fill, free
from tests.faults.forgeries import forge, repeat
from tests.faults.invariants import Halt
from tests.faults.proxy import Mode
from tests.faults.schedule import Action, Kind, Schedule
from tests.faults.stand import Stand, now
from tests.faults.wishes import Planner

_PASSING = (nats.errors.Error, TimeoutError, OSError)
"""The bus is down, or refuses."""

Say = Callable[[str], None]
SECOND = "-2"
DISK_SECONDS = 0.2


class Injector:
    def __init__(self, stand: Stand, planner: Planner, say: Say) -> None:
        self.done: Counter[str] = Counter()
        """What was carried out, by its name in the table of results."""
        self._stand = stand
        self._planner = planner
        self._say = say
        self._halted = False
        self._carry_out: dict[Kind, Callable[[Action], Awaitable[None]]] = {
            Kind.KILL: self._kill,
            Kind.STOP: self._stop,
            Kind.NATS_KILL: self._nats_kill,
            Kind.NATS_STOP: self._nats_stop,
            Kind.POSTGRES_KILL: self._postgres_kill,
            Kind.POSTGRES_STOP: self._postgres_stop,
            Kind.BROKER: self._broker,
            Kind.LINK: self._link,
            Kind.REPEAT: self._repeat,
            Kind.FORGE: self._forge,
            Kind.SECOND_EXECUTOR: self._second_executor,
            Kind.CLOCK: self._clock,
            Kind.HALT: self._halt,
            Kind.DISK: self._disk,
        }

    async def play(self, schedule: Schedule) -> None:
        """Every action at its second; those that last go on beside the later ones."""
        begun = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for action in schedule.actions:
                pause = begun + action.at_seconds - asyncio.get_running_loop().time()
                await asyncio.sleep(max(0.0, pause))
                self._say(str(action))
                group.create_task(self._do(action))
            rest = begun + schedule.seconds - asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, rest))

    async def _do(self, action: Action) -> None:
        self.done[action.label] += 1
        await self._carry_out[action.kind](action)

    async def heal(self) -> None:
        """Everything up, connected and answering."""
        stand = self._stand
        stand.held_down.clear()
        for name in stand.children:
            stand.signal_to(name, signal.SIGCONT)
        stand.signal_to("nats", signal.SIGCONT)
        stand.stop_postgres(signal.SIGCONT)
        for proxy in stand.proxies.values():
            proxy.set(Mode.PASS)
        for name in MEGABYTES:
            free(stand.folder / name)
        await stand.exchange("DELETE", "/sim/faults")

    # --- processes -------------------------------------------------------------------------------

    async def _kill(self, action: Action) -> None:
        self._stand.kill(action.target)

    async def _stop(self, action: Action) -> None:
        self._stand.signal_to(action.target, signal.SIGSTOP)
        await asyncio.sleep(action.seconds)
        self._stand.signal_to(action.target, signal.SIGCONT)

    async def _second_executor(self, action: Action) -> None:
        name = f"executor{SECOND}"
        if name in self._stand.children:
            return
        self._stand.start("executor", instance=SECOND)
        await asyncio.sleep(action.seconds)
        self._stand.held_down.add(name)
        self._stand.kill(name)
        self._stand.children.pop(name, None)

    async def _clock(self, action: Action) -> None:
        offset = int(action.detail["offset_seconds"])
        self._stand.kill(action.target)
        self._stand.start(action.target, clock_offset_seconds=offset)
        await asyncio.sleep(action.seconds)
        self._stand.kill(action.target)
        self._stand.start(action.target)

    async def _halt(self, action: Action) -> None:
        """Halted from the command's end until just before it is lifted, which takes both logs."""
        if self._halted or not await self._stand.say("halt"):
            return
        self._halted = True
        begun_at = now()
        await asyncio.sleep(action.seconds)
        self._stand.halts.append(Halt(begun_at=begun_at, ended_at=now()))
        lifted = False
        while not lifted:  # it needs both logs, and one of them may be down
            lifted = await self._stand.say("resume")
        self._halted = False

    # --- servers ---------------------------------------------------------------------------------

    async def _nats_kill(self, action: Action) -> None:
        self._stand.held_down.add("nats")
        self._stand.kill_nats()
        await asyncio.sleep(action.seconds)
        self._stand.held_down.discard("nats")

    async def _nats_stop(self, action: Action) -> None:
        self._stand.signal_to("nats", signal.SIGSTOP)
        await asyncio.sleep(action.seconds)
        self._stand.signal_to("nats", signal.SIGCONT)

    async def _postgres_kill(self, action: Action) -> None:
        self._stand.held_down.add("postgres")
        self._stand.stop_postgres(signal.SIGCONT)
        self._stand.kill_postgres()
        await asyncio.sleep(action.seconds)
        self._stand.held_down.discard("postgres")

    async def _postgres_stop(self, action: Action) -> None:
        self._stand.stop_postgres(signal.SIGSTOP)
        await asyncio.sleep(action.seconds)
        self._stand.stop_postgres(signal.SIGCONT)

    async def _disk(self, action: Action) -> None:
        """Full for so long, also where a restart would make room."""
        place = self._stand.folder / action.target
        begun = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < begun + action.seconds:
            await asyncio.to_thread(fill, place)
            await asyncio.sleep(DISK_SECONDS)
        free(place)

    # --- the network and the broker --------------------------------------------------------------

    async def _broker(self, action: Action) -> None:
        rule: dict[str, Any] = dict(action.detail)
        with contextlib.suppress(requests.RequestException):
            made = await self._stand.exchange("POST", "/sim/faults", json=rule)
            await asyncio.sleep(action.seconds)
            with contextlib.suppress(AssertionError):  # healed meanwhile
                await self._stand.exchange("DELETE", f"/sim/faults/{made['id']}")

    async def _link(self, action: Action) -> None:
        proxy = self._stand.proxies[action.target]
        proxy.set(Mode(action.detail["kind"]), delay_seconds=action.detail["delay_seconds"])
        await asyncio.sleep(action.seconds)
        if action.detail["cut"]:
            proxy.cut()
        proxy.set(Mode.PASS)

    # --- messages --------------------------------------------------------------------------------

    async def _repeat(self, action: Action) -> None:
        known = [self._planner.made[key] for key in sorted(self._planner.acknowledged)]
        chosen = known[-int(action.detail["count"]) :]
        same_id = action.detail["kind"] == "same_id"
        with contextlib.suppress(*_PASSING):
            for intent in chosen:
                await repeat(self._stand, intent, same_id=same_id)
                self.done["(reached the bus) repeat"] += 1

    async def _forge(self, action: Action) -> None:
        known = list(self._planner.made.values())
        if known:
            with contextlib.suppress(*_PASSING):
                await forge(self._stand, str(action.detail["kind"]), known[-1])
                self.done["(reached the bus) forge"] += 1
