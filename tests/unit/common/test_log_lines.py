"""Logs as JSON lines: one id from a snapshot to what came of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import msgspec
import pytest

from libs.common.contracts import (
    Heartbeat,
    IntentApproved,
    Message,
    OrderChanged,
    OrderIntended,
    PlanMade,
    SnapshotTaken,
)
from libs.common.log_lines import configure_logging, fields_of, tell
from tests.contracts.recordings import decoded


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, said = logging.getLogger(), logging.getLogger("alpaclaudia.said")
    handlers, level, said_level = root.handlers[:], root.level, said.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    said.setLevel(said_level)


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    "kind", [SnapshotTaken, PlanMade, OrderIntended, IntentApproved, OrderChanged]
)
def test_all_that_comes_of_a_snapshot_has_its_id(kind: type[Message]) -> None:
    message = msgspec.structs.replace(decoded(kind), tick_id="tick-7")
    names = {"symbol": "KO", "underlying": "KO"} if kind is not IntentApproved else {}
    named = {field: text for field, text in names.items() if hasattr(message, field)}
    if isinstance(message, OrderIntended | OrderChanged):
        named["symbol"] = "KO200221P00050000"
    message = msgspec.structs.replace(message, **named)
    if isinstance(message, IntentApproved):
        intent = msgspec.structs.replace(message.intent, underlying="KO")
        message = msgspec.structs.replace(message, intent=intent)
    assert fields_of(message)["correlation_id"] == "tick-7/KO"


def test_a_published_message_is_a_line_and_a_beat_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("executor", "INFO", "json")
    tell(decoded(OrderChanged))
    tell(decoded(Heartbeat))
    (line,) = lines_of(capsys)
    assert line["service"] == "executor"
    assert line["text"].startswith("orders.")
    assert line["intent_id"]


def test_as_text_messages_are_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("executor", "INFO", "text")
    tell(decoded(OrderChanged))
    logging.getLogger("alpaclaudia").info("a word")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("executor INFO    a word")


def test_an_error_with_its_trace_is_still_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("risk", "INFO", "json")
    try:
        raise ValueError("of two\nlines")
    except ValueError:
        logging.getLogger("alpaclaudia").exception("it failed")
    (line,) = lines_of(capsys)
    assert (line["level"], line["text"]) == ("error", "it failed")
    assert "ValueError: of two" in line["error"]
