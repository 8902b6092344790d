"""A snapshot of 3,000 contracts over the wire and through the planner. Information, no target."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from benchmarks.chains import SESSION, SPOT, UNDERLYING, Chain, puts_asked_for, whole_chain
from benchmarks.result import Result, alone
from libs.common import wire
from libs.common.contracts import AccountFigures, SnapshotTaken, StockQuote
from libs.common.settings import PlannerSettings
from services.market.snapshot import contract_quotes
from services.planner.planning import plan

AS_OF = dt.datetime(2025, 3, 3, 16, 0, tzinfo=dt.UTC)
SETTINGS = PlannerSettings(universe=(UNDERLYING,))
ROUNDS = 25


def run() -> list[Result]:
    results: list[Result] = []
    for what, chain in (("whole chain", whole_chain()), ("puts in the window", puts_asked_for())):
        snapshot = snapshot_of(chain)
        payload = msgspec.json.encode(snapshot)
        assert msgspec.json.decode(payload, type=SnapshotTaken) == snapshot
        assert plan(snapshot, SETTINGS, at=AS_OF).intents, "nothing was planned"
        contracts = f"{len(snapshot.contracts):,} contracts, {what}"
        for name, work in (
            ("plan a snapshot", lambda s=snapshot: plan(s, SETTINGS, at=AS_OF)),
            ("encode a snapshot", lambda s=snapshot: msgspec.json.encode(s)),
            ("decode a snapshot", lambda p=payload: msgspec.json.decode(p, type=SnapshotTaken)),
        ):
            notes = f"{contracts}, {len(payload) / 1e6:.2f} MB of JSON"
            results.append(Result(name=name, ours_ms=alone(work, rounds=ROUNDS), notes=notes))
    return results


def snapshot_of(chain: Chain) -> SnapshotTaken:
    found: dict[str, wire.WireOptionSnapshot] = {}
    for page in chain.pages:
        decoded = wire.decode(page, wire.WireChainPage, "option chain")
        assert isinstance(decoded, wire.WireChainPage)
        found |= decoded.snapshots or {}
    money = Decimal(1_000_000)
    return SnapshotTaken(
        message_id="snapshot-bench",
        at=AS_OF,
        tick_id="tick-bench",
        symbol=UNDERLYING,
        as_of=AS_OF,
        session=SESSION,
        account=AccountFigures(
            account_number="PA1",
            status="ACTIVE",
            equity=money,
            last_equity=money,
            cash=money,
            buying_power=money,
            options_level=2,
        ),
        quote=StockQuote(bid=SPOT - 0.01, ask=SPOT + 0.01, last=SPOT, as_of=AS_OF),
        contracts=contract_quotes(found, chain.facts),
        synthetic=True,
    )
