"""One active executor: who takes over, and what the one before can still do, which is nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
import sqlalchemy as sa

from libs.common.contracts import Heartbeat
from libs.common.database import Engine, engine_for
from libs.common.order_ids import client_order_id
from libs.common.signing import KeyPair
from libs.common.topology import EXECUTOR_APPROVALS
from services.cli.difference_store import DifferenceStore
from services.executor import cycle_store
from services.executor.cycles import Cycle
from services.executor.fence import FencedError
from services.executor.lifecycle import TRANSITIONS, OrderState, trigger_body
from services.executor.orders import OrderChange, OrderRow
from services.executor.reconcile import Difference, Kind
from services.executor.reconcile_store import ReconcileStore
from services.executor.store import EntriesStoppedError, ExecutorStore
from tests.integration.broker import ACCOUNT_NUMBER, Broker, hang
from tests.integration.stories import approval, put_intent, wall
from tests.integration.world import Process, World, rows, until

pytestmark = pytest.mark.integration

ORDERS = "/v2/orders"
ID = client_order_id(ACCOUNT_NUMBER, "intent-1")
TAKEOVER_SECONDS_MAX = 5.0

Start = Callable[..., Process]


async def in_state(world: World, process: Process, state: str) -> None:
    instance = str(process.popen.pid)
    await until(
        lambda: any(
            b.instance.endswith(f"-{instance}") and b.state == state for b in world.of(Heartbeat)
        ),
        f"the executor {instance} to be {state}",
    )


async def two_executors(world: World, broker: Broker, start: Start) -> tuple[Process, Process]:
    """The active one and the one that stands by."""
    environ = world.environ | world.broker_at(broker.url)
    active = start("executor", environ)
    await in_state(world, active, "ready")
    standby = start("executor", environ)
    await in_state(world, standby, "standby")
    return active, standby


def taken_at(world: World) -> dt.datetime:
    (row,) = world.rows("select taken_at from executor_epoch")
    taken: dt.datetime = row["taken_at"]
    return taken


async def test_the_standby_takes_over_within_seconds_of_a_kill(
    world: World, broker: Broker, process: Start
) -> None:
    active, standby = await two_executors(world, broker, process)
    killed_at = wall()
    active.kill()
    await in_state(world, standby, "ready")
    assert taken_at(world) - killed_at < dt.timedelta(seconds=TAKEOVER_SECONDS_MAX)
    await world.bus.publish(approval(put_intent(1), world.keys))
    await world.row_when("select 1 from orders where state = 'accepted'")
    assert broker.posted == [ID]
    assert world.rows("select epoch from orders") == [{"epoch": 2}]


async def test_what_a_killed_executor_was_given_comes_to_the_standby_at_once(
    world: World, broker: Broker, process: Start
) -> None:
    """Not after the consumer's acknowledgement wait, which is three times as long."""
    active, standby = await two_executors(world, broker, process)
    broker.next("POST", ORDERS, hang(after_accepting=True))
    await world.bus.publish(approval(put_intent(1), world.keys))
    await world.bus.publish(approval(put_intent(2), world.keys))
    await until(lambda: broker.posted, "the order to be under way")
    active.kill()
    await in_state(world, standby, "ready")
    await until(
        lambda: len(broker.orders) == 2, "the next order", EXECUTOR_APPROVALS.ack_wait_seconds / 2
    )
    assert len(broker.posted) == 2


async def test_an_executor_stopped_in_its_post_and_resumed_does_nothing(
    world: World, broker: Broker, process: Start
) -> None:
    active, standby = await two_executors(world, broker, process)
    broker.next("POST", ORDERS, hang(after_accepting=True))
    await world.bus.publish(approval(put_intent(1), world.keys))
    await until(lambda: broker.posted, "the order to be under way")
    stopped_at = wall()
    active.popen.send_signal(signal.SIGSTOP)
    await in_state(world, standby, "ready")
    assert taken_at(world) - stopped_at < dt.timedelta(seconds=TAKEOVER_SECONDS_MAX)
    await world.row_when("select 1 from orders where state = 'accepted'")
    active.popen.send_signal(signal.SIGCONT)
    assert await world.ask(active.status) == 1
    assert "the executor's lock is gone" in active.log or "another executor" in active.log
    assert broker.posted == [ID]
    assert world.rows("select state, epoch from orders") == [{"state": "accepted", "epoch": 2}]


async def test_an_executor_stopped_while_idle_leaves_new_approvals_to_the_next(
    world: World, broker: Broker, process: Start
) -> None:
    active, standby = await two_executors(world, broker, process)
    active.popen.send_signal(signal.SIGSTOP)
    await in_state(world, standby, "ready")
    active.popen.send_signal(signal.SIGCONT)
    for number in range(1, 4):
        await world.bus.publish(approval(put_intent(number), world.keys))
    ids = [client_order_id(ACCOUNT_NUMBER, f"intent-{number}") for number in range(1, 4)]
    await until(lambda: len(broker.orders) == 3, "three orders")
    assert await world.ask(active.status) == 1
    assert sorted(broker.posted) == sorted(ids)


# --- Postgres refuses ----------------------------------------------------------------------------


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = engine_for(database_url, application="tests")
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> Iterator[ExecutorStore]:
    """The active executor's."""
    store = ExecutorStore(engine)
    assert store.fence.take_now()
    yield store
    store.fence.close()


def overtaken(store: ExecutorStore, engine: Engine) -> ExecutorStore:
    """Another's, after the lock was lost."""
    store.fence.release()
    other = ExecutorStore(engine)
    deadline = time.monotonic() + TAKEOVER_SECONDS_MAX
    while not other.fence.take_now():  # the server sees in its own time that we hung up
        assert time.monotonic() < deadline
        time.sleep(0.01)
    other.fence.close()
    return other


def test_a_stale_writer_is_refused_and_changes_nothing(
    store: ExecutorStore, engine: Engine, database_url: str, keys: KeyPair
) -> None:
    approved = approval(put_intent(1), keys)
    row = store.begin(approved, ID)
    other = overtaken(store, engine)
    before = rows(database_url, "select * from orders")
    with pytest.raises(FencedError, match="written under epoch 1, it is 2"):
        store.change(row, OrderChange(state=OrderState.SUBMITTING, ts=wall()))
    with pytest.raises(FencedError):
        store.mark_published(row)
    with pytest.raises(FencedError):
        store.begin(approved, ID)
    with pytest.raises(FencedError, match="took over"):
        store.last_look(entry=False)
    assert rows(database_url, "select * from orders") == before
    other.last_look(entry=True)
    other.change(row, OrderChange(state=OrderState.SUBMITTING, ts=wall()))


def test_nothing_is_written_before_the_lock_was_taken(engine: Engine, keys: KeyPair) -> None:
    with pytest.raises(FencedError):
        ExecutorStore(engine).begin(approval(put_intent(1), keys), ID)


def missing(count: int) -> Difference:
    return Difference(
        kind=Kind.POSITION,
        subject="KO",
        ours="300",
        theirs=f"{300 - count}",
        key=f"position:KO:{-count}",
        delta=Decimal(-count),
    )


def test_a_stale_reader_of_the_broker_explains_nothing_away(
    store: ExecutorStore, engine: Engine
) -> None:
    """It found nothing, was stopped, and wakes when the next one has found something."""
    stale = ReconcileStore(engine, store.fence)
    other = overtaken(store, engine)
    ReconcileStore(engine, other.fence).note(ACCOUNT_NUMBER, [missing(100)], wall())
    with pytest.raises(FencedError, match="took over"):
        stale.note(ACCOUNT_NUMBER, [], wall())
    with pytest.raises(FencedError):
        stale.open_with(ACCOUNT_NUMBER, {"KO": Decimal(200)})
    with pytest.raises(EntriesStoppedError):
        other.last_look(entry=True)


def test_what_was_acknowledged_hides_nothing_that_comes_after_it(
    store: ExecutorStore, engine: Engine
) -> None:
    """The books took over what was missing; as much again is missing now."""
    reads = ReconcileStore(engine, store.fence)
    ((number, _),) = reads.note(ACCOUNT_NUMBER, [missing(100)], wall()).found
    DifferenceStore(engine).acknowledge(number, who="ann", why="sold by hand", now=wall())
    store.last_look(entry=True)
    ((again, _),) = reads.note(ACCOUNT_NUMBER, [missing(100)], wall()).found
    assert again > number
    with pytest.raises(EntriesStoppedError):
        store.last_look(entry=True)


def test_first_fills_of_one_stock_that_meet_open_one_cycle(
    store: ExecutorStore, engine: Engine, database_url: str, keys: KeyPair,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def accepted(number: int) -> OrderRow:
        row = store.begin(approval(put_intent(number), keys), f"acl-{number}")
        row = store.change(row, OrderChange(state=OrderState.SUBMITTING, ts=wall()))
        shown = OrderChange(state=OrderState.ACCEPTED, ts=wall(), order_id=f"o{number}")
        return store.change(row, shown)

    meeting = threading.Barrier(2)
    read = cycle_store._open

    def read_together(connection: sa.Connection, underlying: str) -> Cycle | None:
        found = read(connection, underlying)
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(1)
        return found

    monkeypatch.setattr(cycle_store, "_open", read_together)
    filled = OrderChange(
        state=OrderState.FILLED, ts=wall(), filled_qty=Decimal(1), filled_avg_price=Decimal("0.4")
    )
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(store.change, accepted(number), filled) for number in (1, 2)]
        assert [one.result().state for one in done] == [OrderState.FILLED] * 2
    assert rows(database_url, "select open_puts from wheel_cycles") == [{"open_puts": Decimal(2)}]


def test_an_unexplained_difference_stops_entries_only(
    store: ExecutorStore, database_url: str, engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into differences (account_number, key, kind, subject, ours, theirs,"
                " stops_entries, found_at, seen_at)"
                " values ('A', 'k', 'position', 'KO', '0', '100', true, now(), now())"
            )
        )
    store.last_look(entry=False)
    with pytest.raises(EntriesStoppedError, match="`alpaclaudia reconcile`"):
        store.last_look(entry=True)


def test_the_trigger_in_the_database_is_the_table(database_url: str) -> None:
    (found,) = rows(database_url, "select prosrc from pg_proc where proname = 'orders_lifecycle'")
    assert found["prosrc"] == trigger_body(), "the table changed: a migration must install it"


def test_the_trigger_allows_the_tables_pairs_and_no_others(
    store: ExecutorStore, engine: Engine, keys: KeyPair
) -> None:
    store.begin(approval(put_intent(1), keys), ID)
    for before in OrderState:
        for after in OrderState:
            legal = after is before or after in TRANSITIONS[before]
            assert moved(engine, before, after) is legal, f"{before} to {after}"


def moved(engine: Engine, before: OrderState, after: OrderState) -> bool:
    """Whether the row that stands in one state may be brought to another."""
    with engine.begin() as connection:
        connection.execute(sa.text("alter table orders disable trigger lifecycle"))
        connection.execute(sa.text("update orders set state = :s"), {"s": before.value})
        connection.execute(sa.text("alter table orders enable trigger lifecycle"))
    refused = ""
    try:
        with engine.begin() as connection:
            connection.execute(sa.text("update orders set state = :s"), {"s": after.value})
    except sa.exc.DBAPIError as error:
        refused = str(error)
    with engine.connect() as connection:
        stands = connection.scalar(sa.text("select state from orders"))
    assert stands == (before if refused else after).value
    assert not refused or f"cannot go from {before} to {after}" in refused
    return not refused


def test_an_order_begins_as_approved(store: ExecutorStore, engine: Engine, keys: KeyPair) -> None:
    store.begin(approval(put_intent(1), keys), ID)
    with pytest.raises(sa.exc.DBAPIError, match="cannot begin as accepted"), engine.begin() as c:
        c.execute(
            sa.text(
                "insert into orders (client_order_id, intent_id, state, strategy, underlying,"
                " symbol, side, qty, order_type, approval_json, expires_at, epoch) select 'x', 'x',"
                " 'accepted', strategy, underlying, symbol, side, qty, order_type, approval_json,"
                " expires_at, epoch from orders"
            )
        )
