"""Halting with one thing down after another, and what an operator is told of it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest

from libs.common.contracts import (
    EquityMarked,
    IntentApproved,
    IntentBlocked,
    OrderIntended,
    TradingState,
    TradingStateSet,
    TradingVerb,
)
from libs.common.order_ids import client_order_id
from libs.common.settings import Settings
from services.cli.trading import TradingError, Word, say
from tests.integration.broker import ACCOUNT_NUMBER, Broker
from tests.integration.stories import (
    approval,
    portfolio,
    put_intent,
    quoted,
    snapshot,
    stock,
    with_account,
)
from tests.integration.world import Room, World, settings_of, until

pytestmark = pytest.mark.integration

NOWHERE = "127.0.0.1:1"
ID = client_order_id(ACCOUNT_NUMBER, "intent-1")


def operator(world: World, **changes: str) -> Settings:
    return settings_of(world.environ | changes)


def without_bus(world: World) -> Settings:
    return operator(world, NATS_URL=f"nats://{NOWHERE}")


def without_database(world: World) -> Settings:
    return operator(world, DATABASE_URL=f"postgresql://x:y@{NOWHERE}/z", DATABASE_LOGINS_FOLDER="")


async def halt(settings: Settings, why: str = "a test") -> Word:
    return await say(settings, TradingVerb.HALT, why)


async def resume(settings: Settings) -> Word:
    return await say(settings, TradingVerb.RESUME, "well again")


@pytest.fixture
async def trading(world: World, broker: Broker) -> Room:
    """An executor, and a market and an account that risk could decide on."""
    await world.bus.publish(portfolio())
    await world.bus.publish(snapshot(contracts=[quoted()]))
    return await world.room("executor", **world.broker_at(broker.url))


async def row_of(world: World, number: int, state: str) -> dict[str, Any]:
    return await world.row_when(
        "select state, note from orders where intent_id = %s and state = %s",
        f"intent-{number}",
        state,
    )


# --- every path up ----------------------------------------------------------------------------


async def test_a_halt_stops_risk_and_executor_and_a_resume_lets_them_go_on(
    world: World, broker: Broker, trading: Room
) -> None:
    await world.room("risk")
    word = await halt(operator(world), "quotes look wrong")
    assert word.standing.state is TradingState.HALTED
    assert (word.said_on, word.troubles) == (["database", "bus"], [])
    await world.bus.publish(put_intent(1))
    (blocked,) = await until(lambda: world.of(IntentBlocked), "risk to block it")
    assert blocked.reason.startswith("trading_state: halted (halt by ")
    assert "quotes look wrong" in blocked.reason
    await world.bus.publish(approval(put_intent(2), world.keys))
    row = await row_of(world, 2, "expired")
    assert "not sent: trading is halted (halt by" in row["note"]
    assert broker.posted == []
    assert (await resume(operator(world))).standing.state is TradingState.ACTIVE
    await world.bus.publish(put_intent(3))
    await row_of(world, 3, "accepted")
    rows = world.rows("select verb, who, why from trading_states order by id")
    assert [row["verb"] for row in rows] == ["begin", "halt", "resume"]
    assert rows[1]["why"] == "quotes look wrong"
    assert rows[1]["who"]


async def test_reducing_lets_stock_be_guarded_and_nothing_be_opened(world: World) -> None:
    await world.bus.publish(portfolio(positions=[stock("KO", "50")]))
    await world.bus.publish(snapshot(contracts=[quoted()]))
    await world.room("risk")
    await say(operator(world), TradingVerb.REDUCE, "a test")
    guard = msgspec.structs.replace(
        put_intent(1),
        strategy="trailing_stop",
        symbol="KO",
        qty=50,
        order_type="trailing_stop",
        time_in_force="gtc",
        position_intent=None,
        limit_price=None,
        trail_percent=Decimal(8),
    )
    await world.bus.publish(msgspec.convert(msgspec.to_builtins(guard), OrderIntended))
    await world.bus.publish(put_intent(2))
    (approved,) = await until(lambda: world.of(IntentApproved), "the stop's approval")
    (blocked,) = await until(lambda: world.of(IntentBlocked), "the put's block")
    assert (approved.intent.message_id, blocked.intent.message_id) == ("intent-1", "intent-2")


async def test_a_halt_calls_back_working_entries(
    world: World, broker: Broker, trading: Room
) -> None:
    await world.bus.publish(approval(put_intent(1), world.keys))
    await row_of(world, 1, "accepted")
    await halt(operator(world))
    await row_of(world, 1, "canceled")
    assert broker.orders[ID]["status"] == "canceled"


async def test_a_halt_may_leave_working_entries(world: World, broker: Broker) -> None:
    room = await world.room(
        "executor", CANCEL_ENTRIES_ON_HALT="false", **world.broker_at(broker.url)
    )
    await world.bus.publish(approval(put_intent(1), world.keys))
    await row_of(world, 1, "accepted")
    await halt(operator(world))
    await room.service.following.call_back(await room.service.trading.standing())
    assert not broker.asked(method="DELETE", path=f"/v2/orders/{broker.orders[ID]['id']}")


async def test_cut_off_from_the_bus_for_long_it_cancels_working_entries(
    world: World, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await world.room(
        "executor", CANCEL_ON_DISCONNECT_SECONDS="1", **world.broker_at(broker.url)
    )
    await world.bus.publish(approval(put_intent(1), world.keys))
    await row_of(world, 1, "accepted")

    async def silence() -> None:
        """What a bus that is away gives to read."""

    monkeypatch.setattr(room.service.trading._log, "read", silence)
    await row_of(world, 1, "canceled")
    assert broker.orders[ID]["status"] == "canceled"


# --- one thing down ---------------------------------------------------------------------------


async def test_without_risk_a_halt_holds_back_what_was_approved_before(
    world: World, broker: Broker, trading: Room
) -> None:
    await halt(operator(world))
    await world.bus.publish(approval(put_intent(1), world.keys))
    await row_of(world, 1, "expired")
    assert broker.posted == []


async def test_without_the_bus_a_halt_goes_by_the_database_and_reaches_risk_later(
    world: World, broker: Broker, trading: Room
) -> None:
    word = await halt(without_bus(world))
    assert word.said_on == ["database"]
    assert word.standing.state is TradingState.HALTED
    assert "no NATS server" in word.troubles[0]
    await world.bus.publish(approval(put_intent(1), world.keys))
    await row_of(world, 1, "expired")
    assert broker.posted == []
    await until(
        lambda: [r for r in world.of(TradingStateSet) if r.verb is TradingVerb.HALT],
        "the executor to copy it to the bus",
    )
    await world.room("risk")
    await world.bus.publish(put_intent(2))
    (blocked,) = await until(lambda: world.of(IntentBlocked), "risk to block")
    assert "halted (halt by" in blocked.reason


async def test_without_the_database_a_halt_goes_by_the_bus_and_is_written_later(
    world: World, broker: Broker, trading: Room
) -> None:
    word = await halt(without_database(world))
    assert word.said_on == ["bus"]
    assert word.troubles[0].startswith("database: ")
    await world.bus.publish(approval(put_intent(1), world.keys))
    await row_of(world, 1, "expired")
    assert broker.posted == []
    await world.row_when("select 1 from trading_states where verb = 'halt'")


async def test_without_either_nothing_is_said_and_the_operator_is_told_what_to_do(
    world: World,
) -> None:
    deaf = operator(
        world,
        NATS_URL=f"nats://{NOWHERE}",
        DATABASE_URL=f"postgresql://x:y@{NOWHERE}/z",
        DATABASE_LOGINS_FOLDER="",
    )
    with pytest.raises(TradingError, match=r"nothing was said(.|\n)*Stop the executor process"):
        await halt(deaf)


@pytest.mark.parametrize("down", [without_bus, without_database])
async def test_a_resume_needs_both_and_changes_nothing_without(world: World, down: Any) -> None:
    await halt(operator(world))
    with pytest.raises(TradingError, match=r"resume needs both(.|\n)*Nothing was changed"):
        await resume(down(world))
    with pytest.raises(TradingError, match="resume"):  # and says so again
        await resume(down(world))
    rows = world.rows("select verb from trading_states order by id")
    assert [row["verb"] for row in rows] == ["begin", "halt"]
    assert (await resume(operator(world))).standing.state is TradingState.ACTIVE


async def test_a_resume_that_reached_one_log_only_lifts_nothing(
    world: World, broker: Broker, trading: Room
) -> None:
    """As when the operator's machine dies between the two."""
    await halt(operator(world))
    (said,) = world.rows("select message_id from trading_states where verb = 'halt'")
    with psycopg.connect(world.database_url) as connection:
        connection.execute(
            "insert into trading_states (ts, state, verb, who, why, lifts_json, message_id)"
            " values (now(), 'active', 'resume', 'ann', 'half', %s::jsonb, 'half')",
            (msgspec.json.encode([said["message_id"]]).decode(),),
        )
    await world.bus.publish(approval(put_intent(1), world.keys))
    await row_of(world, 1, "expired")
    assert broker.posted == []
    assert not [r for r in world.of(TradingStateSet) if r.verb is TradingVerb.RESUME]
    assert (await resume(operator(world))).standing.state is TradingState.ACTIVE


async def test_an_order_waits_while_the_state_cannot_be_known(
    world: World, broker: Broker, trading: Room
) -> None:
    """The log on the bus is lost: it is no longer known who said what."""
    js = world.raw.jetstream()
    await js.delete_stream("TRADING")
    expires = (
        portfolio().at + (approval(put_intent(1), world.keys).expires_at - portfolio().at) / 30
    )
    await world.bus.publish(approval(put_intent(1), world.keys, expires_at=expires))
    row = await row_of(world, 1, "expired")
    assert "expired before it could be sent" in row["note"]
    assert broker.posted == []


# --- what stays -------------------------------------------------------------------------------


async def test_a_halt_outlives_every_process(world: World, broker: Broker, trading: Room) -> None:
    risk = await world.room("risk")
    await halt(operator(world), "over night")
    await world.end(risk)
    await world.end(trading)
    await world.room("executor", **world.broker_at(broker.url))
    await world.room("risk")
    await world.bus.publish(put_intent(1))
    (blocked,) = await until(lambda: world.of(IntentBlocked), "risk to block")
    assert "over night" in blocked.reason
    await world.bus.publish(approval(put_intent(2), world.keys))
    await row_of(world, 2, "expired")


async def test_making_the_streams_again_lifts_nothing(world: World) -> None:
    await halt(operator(world))
    js = world.raw.jetstream()
    await js.delete_stream("TRADING")
    await world.bus.provision()
    word = await say(operator(world), TradingVerb.REDUCE, "a look")
    assert word.standing.state is TradingState.REDUCING, "the table still had the halt to lift"


@pytest.mark.parametrize(
    "statement",
    [
        "update trading_states set state = 'active'",
        "delete from trading_states",
        "truncate trading_states",
    ],
)
def test_the_table_only_grows(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as connection:
        refusal = pytest.raises(psycopg.errors.RaiseException, match="only grows")
        with refusal:
            connection.execute(statement)  # type: ignore[call-overload]


async def test_flatten_is_refused_while_halted(world: World) -> None:
    await halt(operator(world))
    with pytest.raises(TradingError, match="`alpaclaudia reduce` first"):
        await say(operator(world), TradingVerb.FLATTEN, "a test")


# --- trips ------------------------------------------------------------------------------------


async def test_a_loss_trips_by_itself_and_a_resume_counts_anew(world: World) -> None:
    """No intent is needed for it, and the same loss does not trip twice."""
    await world.bus.publish(snapshot(contracts=[quoted()]))
    poor = with_account(equity=94_000)
    await world.bus.publish(portfolio(account=poor))
    await world.room("risk")
    (record,) = await until(lambda: world.of(TradingStateSet), "the trip")
    assert (record.state, record.who) == (TradingState.REDUCING, "risk")
    assert record.why == "daily loss 6.00 %, limit 5 %"
    await until(lambda: world.alerts("trip"), "an alert of it")
    await resume(operator(world))
    await world.bus.publish(put_intent(1))
    (approved,) = await until(lambda: world.of(IntentApproved), "an approval after the resume")
    assert approved.intent.message_id == "intent-1"
    assert len(world.of(TradingStateSet)) == 2


async def test_out_of_a_halt_by_losses_an_operator_reduces_and_flattens(world: World) -> None:
    """The loss is still there; the trip is not said again, and what closes passes."""
    await world.bus.publish(snapshot(contracts=[quoted()]))
    await world.bus.publish(portfolio(account=with_account(equity=85_000)))
    await world.room("risk")
    await until(lambda: world.of(TradingStateSet), "the trip")
    word = await say(operator(world), TradingVerb.REDUCE, "getting out")
    assert word.standing.state is TradingState.REDUCING
    await asyncio.sleep(2.5)  # risk looks every second
    states = [(record.verb, record.state) for record in world.of(TradingStateSet)]
    assert states[0] == (TradingVerb.TRIP_HALT, TradingState.HALTED)
    assert states[1:] == [(TradingVerb.REDUCE, TradingState.REDUCING)]
    assert len(world.alerts("trip")) == 1
    await say(operator(world), TradingVerb.FLATTEN, "getting out")
    await world.bus.publish(put_intent(1))
    (blocked,) = await until(lambda: world.of(IntentBlocked), "an entry's block")
    assert {check.gate for check in blocked.checks if not check.ok} >= {"losses", "trading_state"}


async def test_what_losses_are_counted_from_outlives_risk(world: World) -> None:
    """The peak was seen by a risk that has ended."""
    await world.bus.publish(portfolio(account=with_account(equity=120_000)))
    risk = await world.room("risk")
    await until(lambda: world.of(EquityMarked), "risk to keep what it saw")
    await world.end(risk)
    book = portfolio(message_id="later", account=with_account(equity=100_000))
    later = msgspec.structs.replace(book, as_of=book.as_of.replace(minute=1))
    await world.bus.publish(later)
    await world.room("risk")
    (record,) = await until(lambda: world.of(TradingStateSet), "the trip")
    assert record.why == "drawdown from the peak 16.67 %, limit 15 %"


async def test_a_reason_of_any_bytes_is_kept_in_one_line(world: World) -> None:
    """A terminal may give what neither JSON nor Postgres takes."""
    word = await halt(operator(world), "nul \x00 and \udce9\nline  " + "x" * 1000)
    assert word.said_on == ["database", "bus"]
    (row,) = world.rows("select why from trading_states where verb = 'halt'")
    assert row["why"].startswith("nul and ? line xxx")
    assert len(row["why"]) == 500
