"""Faults that want a story of their own: full disks, clocks that are off, a halt, a back-up."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import psycopg
import pytest

from libs.embedded.postgres import _binaries
from tests.faults.conftest import a_play, a_stand
from tests.faults.invariants import report
from tests.faults.observe import read_tables
from tests.faults.play import Play
from tests.faults.schedule import FORGERIES, Action, Kind, Schedule
from tests.faults.stand import Stand

pytestmark = [pytest.mark.integration, pytest.mark.faults]

TRADING = ("market", "risk", "executor")
SHORT_APPROVAL_SECONDS = 4
WIPE = "drop schema public cascade; create schema public"


async def test_full_disks_lose_and_double_nothing() -> None:
    actions = (
        Action(at_seconds=4.0, kind=Kind.DISK, target="nats", seconds=4.0),
        Action(at_seconds=14.0, kind=Kind.DISK, target="postgres", seconds=4.0),
    )
    async with a_stand(small=True, services=TRADING) as stand:
        play = a_play(stand, 21)
        outcome = await play.run(Schedule(seed=21, seconds=24, actions=actions))
        print(outcome.done, outcome.settle_seconds)
        assert not outcome.violations, report(list(outcome.violations))
        assert play.seen.orders
        assert stand.cures == 1, "nats-server 2.15 refuses writes also when there is room again"


async def test_halted_in_mid_flight_nothing_leaves_until_it_is_lifted() -> None:
    halt = Action(at_seconds=5.0, kind=Kind.HALT, seconds=5.0)
    kill = Action(at_seconds=7.5, kind=Kind.KILL, target="executor")
    async with a_stand(services=TRADING) as stand:
        play = a_play(stand, 22)
        outcome = await play.run(Schedule(seed=22, seconds=18, actions=(halt, kill)))
        assert not outcome.violations, report(list(outcome.violations))
        (halted,) = play.seen.halts
        times = [sent.at for sent in play.seen.sent]
        assert min(times) < halted.begun_at
        assert max(times) > halted.ended_at


@pytest.mark.parametrize(("service", "offset_seconds"), [("executor", -60), ("risk", 60)])
async def test_a_clock_that_is_off_sends_nothing(service: str, offset_seconds: int) -> None:
    """Neither approvals that waited until they had expired by the true clock, nor new ones."""
    changes = {"APPROVAL_TTL_SECONDS": str(SHORT_APPROVAL_SECONDS)}
    async with a_stand(services=TRADING, changes=changes) as stand:
        play = a_play(stand, 23)
        await play.planner.make(3)
        if service == "risk":
            again(stand, "risk", offset_seconds)
        stand.held_down.add("executor")
        stand.kill("executor")
        await play.planner.make(8)
        await asyncio.sleep(SHORT_APPROVAL_SECONDS + 3)
        sent_before = list(stand.sent)
        again(stand, "executor", offset_seconds if service == "executor" else 0)
        await asyncio.sleep(3)
        await play.planner.make(3)
        await asyncio.sleep(3)
        assert stand.sent == sent_before
        assert await asyncio.to_thread(held_back_by_a_clock, stand), "or nothing was tried"
        again(stand, service, 0)
        found = [one for one in await play.settle() if one.invariant != "every approval ends"]
        assert not found, report(found)
        assert len(play.seen.decisions) >= 8


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nats-py leaves refused connections open
async def test_forged_and_doubled_messages_reach_the_bus_and_lead_to_nothing() -> None:
    details = [{"kind": kind} for kind in FORGERIES]
    actions = [
        Action(at_seconds=4 + place, kind=Kind.FORGE, detail=detail)
        for place, detail in enumerate(details)
    ] + [
        Action(at_seconds=12 + place, kind=Kind.REPEAT, detail={"kind": kind, "count": 4})
        for place, kind in enumerate(("same_id", "new_id"))
    ]
    async with a_stand(services=TRADING) as stand:
        play = a_play(stand, 25)
        outcome = await play.run(Schedule(seed=25, seconds=16, actions=tuple(actions)))
        assert not outcome.violations, report(list(outcome.violations))
        # The stream itself refuses what is oversized.
        assert outcome.done["(reached the bus) forge"] == len(FORGERIES) - 1
        assert outcome.done["(reached the bus) repeat"] == 8
        assert len(play.seen.orders) == len({sent.client_order_id for sent in play.seen.sent})


def held_back_by_a_clock(stand: Stand) -> int:
    with psycopg.connect(stand.postgres.url) as connection:
        found = connection.execute("select count(*) from orders where note like '%clock%'")
        (count,) = found.fetchone() or (0,)
    return int(count)


def again(stand: Stand, service: str, offset_seconds: int) -> None:
    stand.kill(service)
    stand.start(service, clock_offset_seconds=offset_seconds)


# --- back-up and restore --------------------------------------------------------------------------


async def test_books_that_were_dumped_wiped_and_restored_go_on(tmp_path: Path) -> None:
    dump = tmp_path / "alpaclaudia.dump"
    async with a_stand(services=TRADING) as stand:
        play = a_play(stand, 24)
        await play.planner.make(8)
        assert not await play.settle()
        before = await asyncio.to_thread(read_tables, stand.postgres.url)
        await asyncio.to_thread(client_tool, "pg_dump", "-Fc", stand.postgres.url, "-f", str(dump))
        stand.held_down.add("executor")
        stand.kill("executor")
        await asyncio.to_thread(wipe_and_restore, stand, dump)
        assert await asyncio.to_thread(read_tables, stand.postgres.url) == before
        stand.held_down.discard("executor")
        await goes_on(play, len(before["orders"]))


async def goes_on(play: Play, orders_before: int) -> None:
    await play.planner.make(16)
    found = await play.settle(close=True)
    assert not found, report(found)
    assert len(play.seen.orders) > orders_before
    posted = [sent.client_order_id for sent in play.seen.sent]
    assert len(posted) == len(set(posted))


def wipe_and_restore(stand: Stand, dump: Path) -> None:
    """As docs/runbook.md says it, then the roles' rights anew."""
    url = stand.postgres.url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(WIPE)
    client_tool("pg_restore", "--no-owner", "--no-privileges", "-d", url, str(dump))
    stand.migrate()


def client_tool(name: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(_binaries() / name), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
