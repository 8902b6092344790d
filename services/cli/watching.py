"""Live messages for a person or a script."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

import msgspec

from libs.common.bus_accounts import OPERATOR
from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import IntentApproved, IntentBlocked, Message, PlanMade
from libs.common.log_lines import configure_logging
from libs.common.runtime import encode_line
from libs.common.topology import FEED_PREFIX
from services.cli.operate import NEW_YORK, loaded_settings, open_bus


async def watch_subject(subject: str, *, as_json: bool, seconds: float | None) -> None:
    settings = loaded_settings(os.environ).settings
    configure_logging(OPERATOR, settings.bot.log_level, settings.bot.log_format)
    pattern = subject if subject.startswith(f"{FEED_PREFIX}.") else f"{FEED_PREFIX}.{subject}"

    def show(subject: str, payload: bytes) -> None:
        name = subject.removeprefix(f"{FEED_PREFIX}.")
        try:
            message = decode_message(subject, payload)
        except UndecodableError as error:
            problem = f"does not decode: {error}"
            told = encode_line({"subject": name, "problem": problem})
            sys.stdout.write(f"{told}\n" if as_json else f"{name}  {problem}\n")
            return
        line = encode_line({"subject": name, "message": message}) if as_json else readable(message)
        sys.stdout.write(f"{line}\n" if as_json else f"{name}  {line}\n")
        sys.stdout.flush()

    async with open_bus(settings) as bus:
        await bus.watch(pattern, show)
        with suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), seconds)


def readable(message: Message) -> str:
    """One line for a person: a decision says its reason, a plan its choices, the rest their
    fields.
    """
    match message:
        case PlanMade():
            return _readable_plan(message)
        case IntentApproved(intent=intent):
            return f"approved {intent.side.value} {intent.qty} {intent.symbol}: {intent.reason}"
        case IntentBlocked(intent=intent, reason=reason):
            return f"blocked {intent.side.value} {intent.qty} {intent.symbol}: {reason}"
        case _:
            fields = msgspec.to_builtins(message)
            skipped = ("message_id", "schema", "tick_id", "contracts", "positions", "open_orders")
            return "  ".join(f"{k}={v}" for k, v in fields.items() if k not in skipped)


def _readable_plan(plan: PlanMade) -> str:
    taken = [f"{c.symbol} ({c.reason})" for c in plan.candidates if c.taken]
    left = [c for c in plan.candidates if not c.taken]
    parts = [f"{plan.as_of.astimezone(NEW_YORK):%m-%d %H:%M}", f"spot {plan.spot}"]
    parts.append(f"took {', '.join(taken)}" if taken else "took nothing")
    if left:
        count = len(left) + plan.candidates_left_out
        parts.append(f"left {count}, the nearest {left[0].symbol}: {left[0].reason}")
    return "; ".join([*parts, *plan.notes])
