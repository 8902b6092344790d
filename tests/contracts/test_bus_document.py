"""docs/asyncapi.json: what it says is so, its examples are messages, and it is valid AsyncAPI 3."""

from __future__ import annotations

import copy
import json
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest

from libs.common.bus_accounts import ACCOUNTS, Account, feeds, publishes, subscribes
from libs.common.bus_directory import directory, meet
from libs.common.codec import UndecodableError, decode_message
from libs.common.contracts import MESSAGES, Message, subject_filter
from libs.common.topology import CONSUMERS, STREAMS
from tests.contracts.recordings import every_message, recording
from tests.pages import ROOT, examples

with warnings.catch_warnings():  # its fields shadow pydantic's
    warnings.simplefilter("ignore", UserWarning)
    from asyncapi3.models.asyncapi import AsyncAPI3

DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs/asyncapi.json").read_text(encoding="utf-8"))
EXPRESSION = re.compile(r"\{([A-Za-z0-9_-]+)\}")


def validator_of(name: str) -> jsonschema_rs.Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(schema, validate_formats=True)


def example_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    (example,) = document["components"]["messages"][name]["examples"]
    payload: dict[str, Any] = example["payload"]
    return payload


# --- examples ----------------------------------------------------------------------------------


@every_message
def test_an_example_decodes_by_its_subject_and_keeps_to_its_schema(
    message_type: type[Message],
) -> None:
    payload = example_of(DOCUMENT, message_type.__name__)
    subject = message_type.SUBJECT
    if "{}" in subject:
        channel = DOCUMENT["channels"][message_type.__name__]
        subject = EXPRESSION.sub(
            lambda found: token(channel, found[1], payload), subject_of(channel)
        )
    message = decode_message(subject, json.dumps(payload).encode())
    assert isinstance(message, message_type)
    validator_of(message_type.__name__).validate(payload)


def subject_of(channel: dict[str, Any]) -> str:
    return str(channel["address"])


def token(channel: dict[str, Any], name: str, payload: Any) -> str:
    """A subject's token, read from the message where the document says it stands."""
    location = channel["parameters"][name]["location"]
    for step in location.removeprefix("$message.payload#/").split("/"):
        payload = payload[step]
    return re.sub(r"[.*> :]", "_", payload)


@every_message
def test_what_does_not_decode_is_not_valid_either(message_type: type[Message]) -> None:
    """One required field left out or of another kind, field by field."""
    validator = validator_of(message_type.__name__)
    payload = example_of(DOCUMENT, message_type.__name__)
    for name in DOCUMENT["components"]["schemas"][message_type.__name__]["required"]:
        for broken in ({k: v for k, v in payload.items() if k != name}, payload | {name: [[]]}):
            assert not validator.is_valid(broken), name
            with pytest.raises(UndecodableError):
                decode_message(subject_filter(message_type), json.dumps(broken).encode())


@every_message
def test_the_recording_with_every_field_is_valid_too(message_type: type[Message]) -> None:
    validator_of(message_type.__name__).validate(json.loads(recording(message_type)))


# --- what it says of the bus -------------------------------------------------------------------


def test_every_message_has_a_channel_and_every_stored_one_its_repetition() -> None:
    stored = {entry.message_type.__name__ for entry in directory() if entry.stream}
    names = {message_type.__name__ for message_type in MESSAGES}
    assert set(DOCUMENT["channels"]) == names | {f"feed-{name}" for name in stored}
    assert set(DOCUMENT["components"]["messages"]) == names


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
def test_an_account_sends_and_hears_what_the_server_lets_it(account: Account) -> None:
    """The document's operations against the rights the server's configuration is made from."""
    own = {
        name: operation
        for name, operation in DOCUMENT["operations"].items()
        if {"name": account.name} in operation["tags"]
    }
    sent = {pattern(operation) for operation in own.values() if operation["action"] == "send"}
    heard = {pattern(operation) for name, operation in own.items() if "-feed-" in name}
    told = [subject for subject in publishes(account) if not subject.startswith(("$JS", "core."))]
    assert all(any(meet(subject, allowed) for allowed in told) for subject in sent)
    assert all(any(meet(subject, one) for one in sent) for subject in told)
    assert all(any(meet(subject, allowed) for allowed in subscribes(account)) for subject in heard)
    assert all(any(meet(feed, subject) for subject in heard) for feed in feeds(account))
    assert {
        (at["stream"], at["consumer"])
        for operation in own.values()
        if (at := operation.get("x-jetstream"))
    } == {(consumer.stream, consumer.name) for consumer in account.consumes} - DEAD_LETTERS


DEAD_LETTERS = {("DEADLETTERS", "recorder")}
"""Holds the server's own advisories, which are no messages of ours."""


def pattern(operation: dict[str, Any]) -> str:
    name = operation["channel"]["$ref"].removeprefix("#/channels/")
    return EXPRESSION.sub("*", DOCUMENT["channels"][name]["address"])


def test_every_stream_and_consumer_stands_in_the_page() -> None:
    page = (ROOT / "docs/bus.md").read_text(encoding="utf-8")
    for stream in STREAMS:
        assert f"\n| {stream.name} | " in page
    for consumer in CONSUMERS:
        assert f"\n| {consumer.stream}/{consumer.name} | " in page


# --- valid AsyncAPI 3 --------------------------------------------------------------------------


def faults(document: dict[str, Any]) -> list[str]:
    """What breaks the specification beyond the object model: references that lead nowhere, an
    operation's message that its channel has not, parameters and expressions that differ, two
    channels of one address, schemas that are none.
    """
    found = [f"{ref} leads nowhere" for ref in references(document) if not leads(document, ref)]
    for name, channel in document["channels"].items():
        wanted = set(EXPRESSION.findall(channel["address"] or ""))
        if wanted != set(channel.get("parameters", {})):
            found.append(f"{name}: parameters and address differ")
    known = [c["address"] for c in document["channels"].values() if c["address"]]
    found += [f"two channels at {each}" for each in set(known) if known.count(each) > 1]
    for name, operation in document["operations"].items():
        for part in (operation, operation.get("reply")):
            if part and any(
                not r["$ref"].startswith(part["channel"]["$ref"] + "/messages/")
                for r in part["messages"]
            ):
                found.append(f"{name}: a message of another channel")
    for name, schema in document["components"]["schemas"].items():
        if not jsonschema_rs.meta.is_valid(DRAFT | schema):
            found.append(f"{name} is no JSON schema")
    return found


DRAFT = {"$schema": "http://json-schema.org/draft-07/schema#"}


def references(part: Any) -> Iterator[str]:
    match part:
        case {"$ref": str(ref)}:
            yield ref
        case dict():
            for each in part.values():
                yield from references(each)
        case list():
            for each in part:
                yield from references(each)


def leads(document: Any, ref: str) -> bool:
    for step in ref.removeprefix("#/").split("/"):
        if step not in document:
            return False
        document = document[step]
    return ref.startswith("#/")


def test_the_document_is_valid_asyncapi_3() -> None:
    AsyncAPI3.model_validate(DOCUMENT)
    assert faults(DOCUMENT) == []


Break = Callable[[dict[str, Any]], object]
SNAPSHOTS = "market-writes-SnapshotTaken"


@pytest.mark.parametrize(
    "break_it",
    [
        lambda d: d.update(asyncapi="2.6.0"),
        lambda d: d["info"].pop("version"),
        lambda d: d["servers"]["bus"].pop("host"),
        lambda d: d["channels"].update({"a b": {"address": "a", "messages": {}}}),
        lambda d: d["channels"]["SnapshotTaken"].update(stream="MARKET"),
        lambda d: d["operations"][SNAPSHOTS].update(action="sends"),
        lambda d: d["operations"][SNAPSHOTS].pop("channel"),
        lambda d: d["components"]["messages"]["PlanMade"].update(payloads={}),
    ],
)
def test_the_object_model_finds_planted_faults(break_it: Break) -> None:
    broken = copy.deepcopy(DOCUMENT)
    break_it(broken)
    with pytest.raises(ValueError, match="validation error"):
        AsyncAPI3.model_validate(broken)


@pytest.mark.parametrize(
    ("break_it", "fault"),
    [
        (lambda d: d["components"]["messages"].pop("PlanMade"), "PlanMade leads nowhere"),
        (lambda d: d["channels"]["SnapshotTaken"].pop("parameters"), "address differ"),
        (lambda d: d["channels"]["PlanMade"].update(address="market.ticked"), "two channels"),
        (
            lambda d: d["operations"][SNAPSHOTS].update(channel={"$ref": "#/channels/PlanMade"}),
            "another channel",
        ),
        (lambda d: d["components"]["schemas"]["Side"].update(enum="buy"), "no JSON schema"),
    ],
)
def test_our_own_checks_find_planted_faults(break_it: Break, fault: str) -> None:
    broken = copy.deepcopy(DOCUMENT)
    break_it(broken)
    assert any(fault in each for each in faults(broken))


def test_the_examples_are_the_pages_examples() -> None:
    for message_type, payload in examples().items():
        assert example_of(DOCUMENT, message_type.__name__) == payload
