"""The database: made from nothing, checked at every start, and unchanged by what comes twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from libs.common import database as db
from libs.common.contracts import AlertRaised, GateResult, IntentBlocked, PlanMade, Severity
from libs.common.migrate import migrate
from libs.common.runtime import EXIT_BROKEN_PROMISE
from libs.common.signing import KeyPair
from libs.common.topology import EXECUTOR_APPROVALS, RECORDERS
from libs.embedded.nats import NatsServer
from libs.embedded.processes import free_port
from tests.integration.broker import MIDDAY
from tests.integration.stories import approval, portfolio, put_intent, ticked, wall
from tests.integration.world import End, World, base_environ, row_counts, rows

pytestmark = pytest.mark.integration


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[db.Engine]:
    engine = db.engine_for(empty_database_url, application="tests")
    yield engine
    engine.dispose()


def test_an_empty_database_is_brought_to_the_newest_revision(
    engine: db.Engine, empty_database_url: str
) -> None:
    with pytest.raises(
        db.SchemaMismatchError, match=r"at revision none.*run `alpaclaudia migrate`"
    ):
        db.check_schema(engine)
    revision = migrate(engine)
    db.check_schema(engine)
    assert migrate(engine) == revision, "again it changes nothing"
    found = rows(empty_database_url, "select version_num from alembic_version")
    assert found == [{"version_num": revision}]
    assert row_counts(empty_database_url).keys() >= {"ticks", "order_intents", "events"}


def test_models_and_migrations_agree(engine: db.Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, db.metadata) == []


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        ("drop schema public cascade; create schema public", "run `alpaclaudia migrate`"),
        ("drop table alembic_version", "restore a back-up"),
        ("delete from alembic_version", "restore a back-up"),
        ("update alembic_version set version_num='9999'", "upgrade this one"),
    ],
    ids=["empty", "tables without a revision", "emptied revision", "newer"],
)
def test_another_schema_ends_the_service_with_the_remedy(
    statement: str,
    remedy: str,
    provisioned: NatsServer,
    database_url: str,
    keys: KeyPair,
    run_to_its_end: Callable[..., End],
) -> None:
    engine = db.engine_for(database_url, application="tests")
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()
    end = run_to_its_end("reporter", base_environ(provisioned, database_url, keys))
    assert end.status == EXIT_BROKEN_PROMISE
    assert end.last_words.startswith("the database ")
    assert remedy in end.last_words


def test_migrating_a_newer_database_says_so_and_changes_nothing(engine: db.Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num='9999'"))
    with pytest.raises(db.SchemaMismatchError, match="upgrade this one"):
        migrate(engine)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select version_num from alembic_version")) == "9999"


def test_without_postgres_a_service_ends_with_one_line(
    provisioned: NatsServer,
    keys: KeyPair,
    monkeypatch: pytest.MonkeyPatch,
    run_to_its_end: Callable[..., End],
) -> None:
    monkeypatch.setattr("services.reporter.service.START_SECONDS", 0.5)
    url = f"postgresql://someone:hidden-word@127.0.0.1:{free_port()}/nowhere"
    end = run_to_its_end("reporter", base_environ(provisioned, url, keys))
    assert end.status == EXIT_BROKEN_PROMISE
    assert "start Postgres or correct DATABASE_URL" in end.last_words
    assert "hidden-word" not in end.log


async def test_replaying_everything_recorded_changes_no_row(world: World) -> None:
    """As when the consumers were lost and made anew: each stream is read from its beginning."""
    room = await world.room("executor", BOT_MODE="dry")
    blocked = IntentBlocked(
        message_id="no-intent-2",
        at=wall(),
        intent=put_intent(2),
        checks=[GateResult(gate="well_formed", ok=False, reason="a test says so")],
        reason="well_formed: a test says so",
    )
    alert = AlertRaised(
        message_id="alert-1",
        at=wall(),
        severity=Severity.WARNING,
        service="test",
        kind="story",
        text="something",
    )
    plan = PlanMade(message_id="plan-1", at=wall(), symbol="KO", as_of=MIDDAY)
    for message in (ticked(), portfolio(), plan, blocked, alert):
        await world.bus.publish(message)
    await world.bus.publish(approval(put_intent(1), world.keys))
    await world.row_when("select 1 from order_intents where status='dry_run'")
    await nothing_pending(world)
    before = row_counts(world.database_url)
    assert all(before[t] for t in ("ticks", "plans", "decisions", "orders", "portfolios", "events"))
    await world.end(room)
    for consumer in (*RECORDERS, EXECUTOR_APPROVALS):
        await world.raw.jetstream().delete_consumer(consumer.stream, consumer.name)
    await world.bus.provision()
    room = await world.room("executor", BOT_MODE="dry")
    await nothing_pending(world)
    assert room.context.counters["recorded"] >= 6, "it was all read again"
    assert row_counts(world.database_url) == before


async def nothing_pending(world: World) -> None:
    """Every recorder has read, written and acknowledged all there is."""
    js = world.raw.jetstream()
    for consumer in (*RECORDERS, EXECUTOR_APPROVALS):
        while True:
            info = await js.consumer_info(consumer.stream, consumer.name)
            if not info.num_pending and not info.num_ack_pending:
                break
