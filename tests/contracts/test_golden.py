"""Recordings of every message, made once and never changed: what was written stays readable.

A new field needs a default and no new recording; a renamed or retyped one fails here.
"""

from __future__ import annotations

import datetime as dt
import inspect
import json
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts import (
    MESSAGES,
    SCHEMA_VERSION,
    Message,
    OrderIntended,
    PlanMade,
    SnapshotTaken,
    subject_filter,
    subject_token,
)
from tests.contracts.recordings import GOLDEN, decoded, every_message, recording


def required_only(value: Any, struct: type[msgspec.Struct]) -> dict[str, Any]:
    """A recording without every field that has a default, parts of it included."""
    types = get_type_hints(struct)
    return {
        field.name: _required_part(value[field.name], types[field.name])
        for field in msgspec.structs.fields(struct)
        if field.required
    }


def _required_part(value: Any, type_: Any) -> Any:
    if inspect.isclass(type_) and issubclass(type_, msgspec.Struct):
        return required_only(value, type_)
    if isinstance(value, list):
        (item,) = type_.__args__
        return [_required_part(each, item) for each in value]
    return value


def test_the_recordings_are_those_of_our_messages() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {t.__name__ for t in MESSAGES}


@every_message
def test_a_recording_means_the_same_after_a_round_trip(message_type: type[Message]) -> None:
    again = msgspec.json.encode(decoded(message_type))
    assert json.loads(again) == json.loads(recording(message_type))


@every_message
def test_a_recording_without_what_came_later_decodes(message_type: type[Message]) -> None:
    old = required_only(json.loads(recording(message_type)), message_type)
    message = msgspec.json.decode(json.dumps(old), type=message_type)
    assert message.message_id == old["message_id"]
    assert message.schema == SCHEMA_VERSION


@every_message
def test_a_field_from_the_future_is_passed_over(message_type: type[Message]) -> None:
    newer = {**json.loads(recording(message_type)), "a_field_of_next_year": {"x": [1]}}
    assert msgspec.json.decode(json.dumps(newer), type=message_type) == decoded(message_type)


@every_message
def test_schema_id_and_time_are_always_in_the_bytes(message_type: type[Message]) -> None:
    old = required_only(json.loads(recording(message_type)), message_type)
    sent = json.loads(msgspec.json.encode(msgspec.convert(old, message_type, strict=False)))
    assert sent["schema"] == SCHEMA_VERSION
    assert sent["message_id"]
    at = dt.datetime.fromisoformat(sent["at"])
    assert at.utcoffset() == dt.timedelta(0)


@every_message
def test_a_message_is_frozen_and_says_what_is_what(message_type: type[Message]) -> None:
    message = decoded(message_type)
    with pytest.raises(AttributeError):
        message.message_id = "another"  # type: ignore[misc]
    kinds = {p.kind for p in inspect.signature(message_type).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


# --- subjects ----------------------------------------------------------------------------------


def test_every_subject_is_one_messages_own() -> None:
    subjects = [t.SUBJECT for t in MESSAGES]
    assert len(set(subjects)) == len(subjects)


@every_message
def test_a_subject_has_the_tokens_its_pattern_promises(message_type: type[Message]) -> None:
    message = decoded(message_type)
    pattern, subject = subject_filter(message_type).split("."), message.subject.split(".")
    assert len(pattern) == len(subject)
    assert all(ours in ("*", theirs) for ours, theirs in zip(pattern, subject, strict=True))


@pytest.mark.parametrize(
    ("message_type", "changes", "subject"),
    [
        (SnapshotTaken, {"symbol": "BRK.B"}, "market.snapshot.BRK_B"),
        (PlanMade, {"symbol": "A B*C>D"}, "plans.A_B_C_D"),
        (
            OrderIntended,
            {"strategy": "wheel:covered_call", "underlying": "BRK.B"},
            "intents.wheel_covered_call.BRK_B",
        ),
        (PlanMade, {"symbol": ""}, "plans._"),
    ],
)
def test_odd_names_are_one_token(
    message_type: type[Message], changes: dict[str, str], subject: str
) -> None:
    assert msgspec.structs.replace(decoded(message_type), **changes).subject == subject


@settings(deadline=None)
@given(st.text())
def test_any_text_is_one_token(text: str) -> None:
    token = subject_token(text)
    assert token
    assert not set(token) & set(".*> \t\r\n")
    assert subject_token(token) == token
