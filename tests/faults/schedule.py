"""What breaks when: a schedule is a pure function of its seed.

A schedule is a list of actions with the second they begin at. The same seed gives the same list;
what the processes were just doing at those moments is not repeated, which is why a failure is
looked for with its seed more than once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import msgspec

SERVICES = ("market", "planner", "risk", "executor", "reporter")
LINKS = ("executor-nats", "executor-postgres", "executor-exchange", "risk-nats")
GAP_SECONDS = (0.4, 3.2)
ACK_WAIT_SECONDS = 15.0
"""Of the executor's approvals; a longer stop lets the message go to somebody else."""


class Kind(StrEnum):
    KILL = "kill"  # SIGKILL of a service
    STOP = "stop"  # SIGSTOP of a service, then SIGCONT
    NATS_KILL = "nats_kill"
    NATS_STOP = "nats_stop"
    POSTGRES_KILL = "postgres_kill"
    POSTGRES_STOP = "postgres_stop"
    BROKER = "broker"  # a rule of the exchange's faults
    LINK = "link"  # a proxy: delay, blackhole, reset
    REPEAT = "repeat"  # intents published again, with the same and with a new message id
    FORGE = "forge"  # what an attacker would publish as approvals
    SECOND_EXECUTOR = "second_executor"
    CLOCK = "clock"  # a service begun again with its clock off
    HALT = "halt"
    DISK = "disk"  # a server's disk is full


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds` is how long it lasts (0: a moment)."""

    at_seconds: float
    kind: Kind
    target: str = ""
    seconds: float = 0.0
    detail: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """What it is called in the table of results."""
        words = [self.kind.value, self.target, str(self.detail.get("kind", ""))]
        return " ".join(word for word in words if word)

    def __str__(self) -> str:
        how_long = f" for {self.seconds:.1f} s" if self.seconds else ""
        more = f" {self.detail}" if self.detail else ""
        return f"{self.at_seconds:6.2f} s  {self.kind} {self.target}{how_long}{more}"


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    seed: int
    seconds: float
    actions: tuple[Action, ...]

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}, {self.seconds:.0f} s", *map(str, self.actions)])


BROKER_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "error", "status": 500},
    {"kind": "error_after", "status": 504},
    {"kind": "hang_after", "seconds": 8},
    {"kind": "hang", "seconds": 8},
    {"kind": "reset_after"},
    {"kind": "reset"},
    {"kind": "rate_limited"},
    {"kind": "malformed_after"},
    {"kind": "malformed"},
    {"kind": "delay", "seconds": 2},
)
"""The broker answers wrongly, late, or not at all. `delay` lets a fill come before the answer to
its POST, and a kill fall between request and answer. A duplicate id is said truly: whatever was
accepted without an answer and is sent again meets it.
"""

BROKER_PLACES: tuple[dict[str, Any], ...] = (
    {"method": "POST", "path": "/v2/orders", "rate": 0.5},
    {"method": "POST", "path": "/v2/orders", "rate": 1, "times": 5},
    {"method": "PATCH", "path": "/v2/orders/{order_id}", "rate": 0.7},
    {"method": "GET", "path": "/v2/orders:by_client_order_id", "rate": 0.5},
    {"method": "GET", "path": "/v2/orders", "rate": 0.5},
    {"method": "*", "path": "*", "rate": 0.2},
)

FORGERIES = ("unsigned", "wrong_key", "altered", "replayed", "poison", "oversized", "nested")
"""What an attacker with a connection publishes on the approvals' subject."""

CLOCK_SECONDS = (-60, 60)

WEIGHTS: dict[Kind, int] = {
    Kind.KILL: 10,
    Kind.STOP: 3,
    Kind.NATS_KILL: 2,
    Kind.NATS_STOP: 1,
    Kind.POSTGRES_KILL: 2,
    Kind.POSTGRES_STOP: 1,
    Kind.BROKER: 8,
    Kind.LINK: 4,
    Kind.REPEAT: 3,
    Kind.FORGE: 3,
    Kind.SECOND_EXECUTOR: 1,
    Kind.HALT: 1,
}
"""How often each is drawn. The clock has stories of its own; disks fill where they can be small."""

KILL_WEIGHTS = {"executor": 6, "risk": 4, "market": 1, "planner": 1, "reporter": 1}


def make_schedule(seed: int, *, seconds: float, weights: dict[Kind, int] | None = None) -> Schedule:
    """Actions over `seconds`, as dense as a system can take that is to get something done too."""
    draw = random.Random(seed)
    weighed = weights or WEIGHTS
    actions: list[Action] = []
    at = draw.uniform(*GAP_SECONDS)
    while at < seconds:
        (kind,) = draw.choices(list(weighed), weights=list(weighed.values()))
        actions.append(_action(draw, kind, at))
        at += draw.uniform(*GAP_SECONDS)
    return Schedule(seed=seed, seconds=seconds, actions=tuple(actions))


def _action(draw: random.Random, kind: Kind, at: float) -> Action:
    how = _DRAWN.get(kind, _outage)(draw)
    return Action(at_seconds=at, kind=kind, **how)


def _kill(draw: random.Random) -> dict[str, Any]:
    (target,) = draw.choices(list(KILL_WEIGHTS), weights=list(KILL_WEIGHTS.values()))
    return {"target": target}


def _stop(draw: random.Random) -> dict[str, Any]:
    target = draw.choice(("executor", "executor", "risk", "market"))
    most = ACK_WAIT_SECONDS + 3 if draw.random() < 0.3 else 4.0
    return {"target": target, "seconds": draw.uniform(0.5 * most, most)}


def _outage(draw: random.Random) -> dict[str, Any]:
    return {"seconds": draw.choice((0.0, 1.0, 3.0, 6.0))}


def _broker(draw: random.Random) -> dict[str, Any]:
    rule = draw.choice(BROKER_FAULTS) | draw.choice(BROKER_PLACES)
    rule["seed"] = draw.randrange(1, 10_000)
    target = "orders" if rule["method"] == "POST" else "reads"
    return {"target": target, "seconds": draw.uniform(2, 8), "detail": rule}


def _link(draw: random.Random) -> dict[str, Any]:
    mode = draw.choice(("delay", "blackhole", "blackhole", "reset"))
    cut = mode == "blackhole" and draw.random() < 0.5
    return {
        "target": draw.choice(LINKS),
        "seconds": draw.choice((0.0, 2.0)) if mode == "reset" else draw.uniform(1, 7),
        "detail": {"kind": mode, "delay_seconds": draw.choice((0.05, 0.3)), "cut": cut},
    }


def _repeat(draw: random.Random) -> dict[str, Any]:
    return {"detail": {"kind": draw.choice(("same_id", "new_id")), "count": 5}}


def _forge(draw: random.Random) -> dict[str, Any]:
    return {"detail": {"kind": draw.choice(FORGERIES)}}


def _second_executor(draw: random.Random) -> dict[str, Any]:
    return {"seconds": draw.uniform(6, 15)}


def _clock(draw: random.Random) -> dict[str, Any]:
    return {
        "target": draw.choice(("executor", "risk")),
        "seconds": draw.uniform(5, 10),
        "detail": {"offset_seconds": draw.choice(CLOCK_SECONDS)},
    }


def _halt(draw: random.Random) -> dict[str, Any]:
    return {"seconds": draw.uniform(3, 6)}


def _disk(draw: random.Random) -> dict[str, Any]:
    return {"target": draw.choice(("nats", "postgres")), "seconds": draw.uniform(3, 6)}


_DRAWN: dict[Kind, Callable[[random.Random], dict[str, Any]]] = {
    Kind.KILL: _kill,
    Kind.STOP: _stop,
    Kind.BROKER: _broker,
    Kind.LINK: _link,
    Kind.REPEAT: _repeat,
    Kind.FORGE: _forge,
    Kind.SECOND_EXECUTOR: _second_executor,
    Kind.CLOCK: _clock,
    Kind.HALT: _halt,
    Kind.DISK: _disk,
}


def kills_of(actions: Iterable[Action]) -> Counter[str]:
    """How often each process is killed by a schedule."""
    names = {Kind.NATS_KILL: "nats", Kind.POSTGRES_KILL: "postgres"}
    return Counter(
        action.target if action.kind is Kind.KILL else names[action.kind]
        for action in actions
        if action.kind is Kind.KILL or action.kind in names
    )
