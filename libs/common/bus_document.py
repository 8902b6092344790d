"""The bus as an AsyncAPI 3 document, from the contracts and the tables of streams and rights.

`python -m tests.pages` writes docs/asyncapi.json. Every address stands in it once as a channel;
who may send there and who listens are operations named after their accounts.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

import msgspec

from libs.common.bus_accounts import API_PREFIX, inbox_prefix
from libs.common.bus_directory import Entry, Reader, Way, directory
from libs.common.contracts import MESSAGES, SCHEMA_VERSION, Message
from libs.common.topology import FEED_PREFIX, STREAMS, Stream

ASYNCAPI_VERSION = "3.0.0"
_COMPONENTS = "#/components"

Json = dict[str, Any]
Examples = Mapping[type[Message], Json]

_ABOUT = f"""\
Messages are JSON. A message and its subject are declared together in libs/common/contracts.py;
who may say and hear what is the table of libs/common/bus_accounts.py, and the server holds
everybody to it. Streams belong to another NATS account than their users: JetStream's API is found
under `{API_PREFIX}`, not `$JS.API`, and answers come to an inbox under `_INBOX.<account>`.
Fields may be added, always with a default; nothing is renamed or retyped within schema
{SCHEMA_VERSION}, so readers pass over fields they do not know. Money that is sent or booked is a
decimal number in a string; market observations are numbers; times are RFC 3339 with a zone."""

_WAYS = {
    Way.CONSUMER: "pulls it from the durable consumer {}",
    Way.LAST: "looks up the newest one in the stream",
    Way.LOG: "reads on in the stream from where it was",
    Way.FEED: "hears it as it is stored; what is missed stays missed",
    Way.REQUEST: "is asked over core NATS and answers",
    Way.REPLY: "gets it in its inbox",
}


def asyncapi(version: str, examples: Examples) -> Json:
    """The document; `version` is the distribution's, and every message has an example."""
    entries = directory()
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "alpaclaudia's bus",
            "version": version,
            "description": _ABOUT,
        },
        "defaultContentType": "application/json",
        "servers": {"bus": _server()},
        "channels": _channels(entries),
        "operations": _operations(entries),
        "components": {
            "messages": {
                entry.message_type.__name__: _message(entry, examples[entry.message_type])
                for entry in entries
            },
            "schemas": schemas(),
            "securitySchemes": {
                "nkey": {
                    "type": "asymmetricEncryption",
                    "description": "An account's nkey: an Ed25519 seed with which the server's"
                    " nonce is signed. `alpaclaudia provision --out FOLDER` makes them.",
                }
            },
        },
    }


def schemas() -> Json:
    """A JSON schema for every message and every part of one, by name."""
    _, found = msgspec.json.schema_components(
        MESSAGES, ref_template=f"{_COMPONENTS}/schemas/{{name}}"
    )
    for message_type in MESSAGES:
        schema = found[message_type.__name__]
        for field, note in field_notes(message_type).items():
            schema["properties"][field] |= {"description": note}
    for schema in found.values():
        if "description" in schema:
            schema["description"] = one_paragraph(schema["description"])
    return found


def field_notes(message_type: type[Message]) -> dict[str, str]:
    """What the contracts say about single fields, which Python does not keep."""
    (declared,) = ast.parse(textwrap.dedent(inspect.getsource(message_type))).body
    assert isinstance(declared, ast.ClassDef)  # noqa: S101  # what getsource gives for a class
    found = {}
    for line, after in zip(declared.body, declared.body[1:], strict=False):
        match line, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = one_paragraph(text)
    return found


def one_paragraph(text: str) -> str:
    return " ".join(text.split())


class _Path:
    """Stands for a message and remembers which of its fields was asked for."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __getattr__(self, name: str) -> _Path:
        return self if name == "value" else _Path(*self.names, name)


def subject_fields(message_type: type[Message]) -> list[tuple[str, ...]]:
    """The path of the field behind each `{}` of a subject."""
    tokens: Any = message_type.subject_tokens(_Path())  # type: ignore[arg-type]
    return [path.names for path in tokens]


def address(message_type: type[Message]) -> str:
    """The subject with the fields' names for its tokens."""
    names = [f"{{{path[-1]}}}" for path in subject_fields(message_type)]
    return message_type.SUBJECT.format(*names)


# --- channels ----------------------------------------------------------------------------------


def _server() -> Json:
    return {
        "host": "localhost:4222",
        "protocol": "nats",
        "description": "NATS with JetStream; where it is, NATS_URL says. TLS with NATS_TLS_CA.",
        "security": [{"$ref": f"{_COMPONENTS}/securitySchemes/nkey"}],
    }


def _channels(entries: list[Entry]) -> Json:
    found = {entry.message_type.__name__: _channel(entry) for entry in entries}
    found |= {_feed_name(entry): _feed(entry) for entry in entries if entry.stream}
    return found


def _channel(entry: Entry) -> Json:
    kind = entry.message_type
    replied = any(other.answered_with is kind for other in directory())
    channel: Json = {
        "address": None if replied else address(kind),
        "title": summary(kind),
        "messages": {kind.__name__: {"$ref": f"{_COMPONENTS}/messages/{kind.__name__}"}},
    }
    if replied:
        channel["description"] = "The inbox of who asked."
    if subject_fields(kind):
        channel["parameters"] = _parameters(kind)
    if entry.stream:
        channel["x-jetstream"] = stream_facts(entry.stream)
    return channel


def _feed(entry: Entry) -> Json:
    channel = _channel(entry)
    del channel["x-jetstream"]
    return channel | {
        "address": f"{FEED_PREFIX}.{channel['address']}",
        "description": f"What the stream {entry.stream} stored, repeated live over core NATS.",
    }


def _feed_name(entry: Entry) -> str:
    return f"{FEED_PREFIX}-{entry.message_type.__name__}"


def _parameters(message_type: type[Message]) -> Json:
    return {
        path[-1]: {
            "description": "As in the message, with `_` for dots, blanks, colons and wildcards.",
            "location": f"$message.payload#/{'/'.join(path)}",
        }
        for path in subject_fields(message_type)
    }


def stream_facts(name: str) -> Json:
    """The limits that those who publish and read feel."""
    (stream,) = (stream for stream in STREAMS if stream.name == name)
    return {"stream": name, **_limits(stream)}


def _limits(stream: Stream) -> Json:
    limits: Json = {
        "max_age_seconds": stream.max_age_seconds,
        "max_bytes": stream.max_bytes,
        "max_message_bytes": stream.message_bytes_max,
    }
    if stream.max_per_subject > 0:
        limits["max_messages_per_subject"] = stream.max_per_subject
    return limits


# --- operations --------------------------------------------------------------------------------


def _operations(entries: list[Entry]) -> Json:
    found: Json = {}
    for entry in entries:
        if any(other.answered_with is entry.message_type for other in entries):
            continue  # an answer belongs to its request's operation
        for writer in entry.writers:
            name = f"{writer.account}-writes-{entry.message_type.__name__}"
            found[name] = _operation(entry, "send", writer.account, f"publishes {writer.subject}")
        for reader in entry.readers:
            key = f"{reader.account}-{_key(reader)}-{entry.message_type.__name__}"
            found[key] = _operation(entry, "receive", reader.account, way_in_words(reader))
            if reader.way is Way.FEED:
                found[key] |= _on(_feed_name(entry), entry.message_type)
            if reader.consumer:
                found[key]["x-jetstream"] = {
                    "stream": reader.consumer.stream,
                    "consumer": reader.consumer.name,
                }
    return found


def _key(reader: Reader) -> str:
    return f"{reader.way.value}-{reader.consumer.name}" if reader.consumer else reader.way.value


def way_in_words(reader: Reader) -> str:
    consumer = reader.consumer
    return _WAYS[reader.way].format(f"{consumer.stream}/{consumer.name}" if consumer else "")


def _operation(entry: Entry, action: str, account: str, words: str) -> Json:
    operation: Json = {
        "action": action,
        **_on(entry.message_type.__name__, entry.message_type),
        "summary": f"{account} {words}",
        "tags": [{"name": account}],
    }
    if entry.answered_with:
        operation["reply"] = {
            "address": {
                "location": "$message.header#/reply",
                "description": f"NATS's reply subject, under the asker's {inbox_prefix('…')}.",
            },
            **_on(entry.answered_with.__name__, entry.answered_with),
        }
    return operation


def _on(channel: str, message_type: type[Message]) -> Json:
    at = f"#/channels/{channel}"
    return {
        "channel": {"$ref": at},
        "messages": [{"$ref": f"{at}/messages/{message_type.__name__}"}],
    }


# --- messages ----------------------------------------------------------------------------------


def _message(entry: Entry, example: Json) -> Json:
    kind = entry.message_type
    message: Json = {
        "name": kind.__name__,
        "title": summary(kind),
        "contentType": "application/json",
        "payload": {"$ref": f"{_COMPONENTS}/schemas/{kind.__name__}"},
        "examples": [{"name": kind.__name__, "payload": example}],
    }
    if entry.stream:
        message["headers"] = {
            "type": "object",
            "required": ["Nats-Msg-Id"],
            "properties": {
                "Nats-Msg-Id": {
                    "type": "string",
                    "description": "The message's message_id, by which the stream drops repeats.",
                }
            },
        }
        message["examples"][0]["headers"] = {"Nats-Msg-Id": example["message_id"]}
    return message


def summary(message_type: type[Message]) -> str:
    """The first sentence of what the contracts say of a message."""
    said = one_paragraph(inspect.getdoc(message_type) or "")
    return said.partition(". ")[0].removesuffix(".")
