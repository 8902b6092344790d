"""Whatever comes over the bus is the message its subject promises, or set aside."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import MESSAGES, Heartbeat, Message, PortfolioObserved
from tests.contracts.recordings import decoded, every_message, recording

ROOMY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
subjects = st.sampled_from([decoded(t).subject for t in MESSAGES])


@every_message
@pytest.mark.parametrize("prefix", ["", "feed."])
def test_a_recording_decodes_by_its_subject(message_type: type[Message], prefix: str) -> None:
    message = decoded(message_type)
    assert decode_message(prefix + message.subject, recording(message_type)) == message


@pytest.mark.parametrize(
    "subject",
    [
        "",
        ".",
        "market",
        "market.portfolio.extra",
        "market.snapshot",
        "feed.feed.market.portfolio",
        "orders.filled",
        "decisions.approved",
        "decisions.waved_through.KO",
        "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.ORDERS.x",
    ],
)
def test_a_subject_nobody_writes_to_has_no_message(subject: str) -> None:
    with pytest.raises(UndecodableError, match="no message belongs"):
        decode_message(subject, recording(PortfolioObserved))


@every_message
def test_a_payload_of_another_subject_is_refused(message_type: type[Message]) -> None:
    """A wish for a tick has only fields that others have too; the rest must tell them apart."""
    for other in MESSAGES:
        required = {f.name for f in msgspec.structs.fields(message_type) if f.required}
        if required <= set(msgspec.json.decode(recording(other))):
            continue
        with pytest.raises(UndecodableError):
            decode_message(decoded(message_type).subject, recording(other))


@every_message
def test_a_truncated_payload_is_refused(message_type: type[Message]) -> None:
    whole = recording(message_type).rstrip()
    subject = decoded(message_type).subject
    for length in {0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1}:
        with pytest.raises(UndecodableError, match=subject.split(".", maxsplit=1)[0]):
            decode_message(subject, whole[:length])


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 200_000,
        b'{"account":' * 100_000,
        b'{"a_field_nobody_knows":' + b"[" * 200_000,
        b"\x00" * 1_000_000,
        b"\xff" * 1_000_000,
        b"9" * 1_000_000,
        b'"' + b"x" * 1_000_000,
        b'{"message_id":"\xc3\x28","at":"2026-03-04T15:00:00Z"}',
    ],
    ids=["deep", "deep objects", "deep unknown", "zeros", "ones", "digits", "string", "utf-8"],
)
def test_garbage_is_refused_whatever_its_size(payload: bytes) -> None:
    for message_type in MESSAGES:
        with pytest.raises(UndecodableError):
            decode_message(decoded(message_type).subject, payload)


@settings(deadline=None)
@given(subjects, ROOMY_JSON)
def test_any_json_is_a_message_or_refused(subject: str, value: object) -> None:
    with pytest.raises(UndecodableError):
        decode_message(subject, msgspec.json.encode(value))


@settings(deadline=None)
@given(subjects, st.data())
def test_one_broken_byte_never_ends_in_another_error(subject: str, data: st.DataObject) -> None:
    (message_type,) = (t for t in MESSAGES if decoded(t).subject == subject)
    payload = bytearray(recording(message_type))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UndecodableError):
        assert isinstance(decode_message(subject, bytes(payload)), message_type)


def test_a_message_that_contradicts_its_subject_does_not_decode() -> None:
    """Rights are given by subject: a planner's heartbeat cannot speak for risk."""
    beat = msgspec.structs.replace(decoded(Heartbeat), service="risk", instance="1")
    payload = msgspec.json.encode(beat)
    assert decode_message("ops.heartbeat.risk.1", payload) == beat
    assert decode_message("feed.ops.heartbeat.risk.1", payload) == beat
    for subject in ("ops.heartbeat.planner.1", "feed.ops.heartbeat.planner.1"):
        with pytest.raises(UndecodableError, match=r"belongs to ops\.heartbeat\.risk\.1"):
            decode_message(subject, payload)
