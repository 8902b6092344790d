"""The day's report: posted once, tried again when refused, never again when it may have arrived."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
import sqlalchemy as sa

from libs.common.contracts import Heartbeat
from libs.common.database import engine_for
from services.executor.record_store import RecordStore
from tests.integration.broker import MIDDAY, SESSION
from tests.integration.discord import Discord
from tests.integration.stories import portfolio, stock, ticked, wall, with_account
from tests.integration.world import Room, World, until

pytestmark = pytest.mark.integration

DUE = dt.datetime(2020, 2, 13, 3, 31, tzinfo=dt.UTC)  # 22:31 in New York on the day


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.reporter.service.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("services.reporter.service.RETRY_SECONDS", (0.1,))
    monkeypatch.setattr("services.reporter.posting.POST_TIMEOUT_SECONDS", 0.4)


def keep_books(world: World) -> None:
    """One day with one tick."""
    engine = engine_for(world.database_url, application="tests")
    store = RecordStore(engine)
    account = with_account(equity=Decimal("101234.50"))
    store.record(ticked(account=account), MIDDAY)
    store.record(portfolio(account=account, positions=[stock("KO", "100")]), MIDDAY)
    engine.dispose()


async def tell_the_time(world: World, now: dt.datetime) -> None:
    """As market's heartbeat does."""
    beat = Heartbeat(
        message_id=f"beat-{now}-{wall()}",
        at=wall(),
        service="market",
        instance="1",
        market_now=now,
        market_open=False,
        recent_sessions=[SESSION],
    )
    await world.bus.publish(beat)


def at(discord: Discord) -> dict[str, str]:
    place = discord.hook.split("/")[2]
    return {"DISCORD_WEBHOOK_URL": discord.hook, "WEBHOOK_HOST": place}


async def reporter(world: World, discord: Discord | None) -> Room:
    room = await world.room("reporter", **(at(discord) if discord else {}))
    await tell_the_time(world, DUE)
    return room


async def status_becomes(world: World, status: str) -> dict[str, object]:
    return await world.row_when("select * from reports_sent where status = %s", status)


async def considered(room: Room) -> None:
    await until(lambda: SESSION in room.service.settled, "the session to be settled")


async def test_the_report_is_posted_once_also_after_a_restart(
    world: World, discord: Discord
) -> None:
    keep_books(world)
    first = await reporter(world, discord)
    await status_becomes(world, "sent")
    await considered(first)
    await world.end(first)
    await considered(await reporter(world, discord))
    assert len(discord.posts) == 1
    assert b"101,234.50" in discord.posts[0]


async def test_before_its_time_nothing_is_posted(world: World, discord: Discord) -> None:
    keep_books(world)
    room = await world.room("reporter", **at(discord))
    await tell_the_time(world, DUE - dt.timedelta(minutes=2))
    await until(lambda: room.context.market_now is not None, "the time to be known")
    assert discord.posts == []
    await tell_the_time(world, DUE)
    await status_becomes(world, "sent")
    assert len(discord.posts) == 1


async def test_a_refused_report_is_an_event_and_tried_again(world: World, discord: Discord) -> None:
    keep_books(world)
    discord.next(500, 429)
    room = await reporter(world, discord)
    await status_becomes(world, "sent")
    await considered(room)
    assert len(discord.posts) == 3
    refusals = await until(lambda: world.alerts("report"), "an alert of the refusal")
    assert "HTTP 500" in refusals[0]
    assert "hidden-token" not in str(refusals)


async def test_a_report_that_may_have_arrived_is_never_sent_again(
    world: World, discord: Discord
) -> None:
    keep_books(world)
    discord.next(None)
    first = await reporter(world, discord)
    await status_becomes(world, "unknown")
    await considered(first)
    await world.end(first)
    await considered(await reporter(world, discord))
    assert len(discord.posts) == 1
    assert "it is not sent again" in world.alerts("report")[0]


async def test_a_claim_left_by_a_crash_is_not_sent_again(world: World, discord: Discord) -> None:
    keep_books(world)
    engine = engine_for(world.database_url, application="tests")
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into reports_sent (session, status, ledger_through)"
                " values (:day, 'sending', 0)"
            ),
            {"day": SESSION},
        )
    engine.dispose()
    await considered(await reporter(world, discord))
    await status_becomes(world, "unknown")
    assert discord.posts == []
    assert "is not known" in world.alerts("report")[0]


async def test_without_a_webhook_the_report_is_printed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    keep_books(world)
    caplog.set_level("INFO")
    await considered(await reporter(world, None))
    await status_becomes(world, "printed")
    assert "no DISCORD_WEBHOOK_URL, so the report stays here" in caplog.text
    assert "101,234.50" in caplog.text


async def test_a_day_without_ticks_has_no_report(world: World, discord: Discord) -> None:
    await considered(await reporter(world, discord))
    assert discord.posts == []
    assert world.rows("select * from reports_sent") == []
