"""docs/bus.md: every subject with its writers, readers, stream, schema and an example.

`python -m tests.pages` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from libs.common.bus_accounts import ACCOUNTS
from libs.common.bus_directory import Entry, directory
from libs.common.bus_document import (
    Examples,
    Json,
    address,
    schemas,
    summary,
    way_in_words,
)
from libs.common.contracts import MESSAGES, Message
from libs.common.topology import CONSUMERS, DAY_SECONDS, STREAMS, Consumer, Stream

_MB = 1024 * 1024

_INTRODUCTION = """\
# The bus

Everything the services say to each other, so that something not of this repository can join in: a
planner in another language, a screen, a recorder. [asyncapi.json](asyncapi.json) says the same as
an AsyncAPI 3 document, for tools. Both are generated: `make docs`, and a test keeps them current.

## Joining
- **Address**: `NATS_URL`. The demo's and the loop's servers are told by `alpaclaudia config`.
- **Key**: each account signs in with the nkey `<account>.nk`, which `alpaclaudia provision --out
  FOLDER` makes; demo and loop keep theirs under the state folder. What an account may do is the
  table of [security.md](security.md). A publish that is refused shows only in the client's error
  callback; a JetStream publish then gets no answer.
- **Inbox**: `_INBOX.<account>`, the only place an account hears answers in (`inbox_prefix` in
  nats-py).
- **JetStream** belongs to another NATS account, so its API is found under `core.api` instead of
  `$JS.API` (`jetstream(prefix="core.api")` in nats-py). Consumers are there already: bind to one,
  make none. Pull one message at a time and acknowledge it once its effects are stored: it comes
  again until then.
- **A pull** may wait ten seconds at most: the server then forgets whom it would have answered.
- **A planner of your own**: the account `guest` is there for it, and
  [examples/planner.py](../examples/README.md) is one in forty lines.
- **Watching**: each stream repeats what it stores under `feed.`, which the account `operator` may
  hear: `alpaclaudia watch 'decisions.>'`.

## Rules
- A message is one JSON object. `message_id`, `at`, `tick_id` and `schema` are in each. Publish with
  the header `Nats-Msg-Id` set to the `message_id`: a stream drops a second one within five minutes.
- The subject must say what the message says: a snapshot of KO under another stock's subject is set
  aside. In a subject `.`, `*`, `>`, `:` and blanks become `_` (`BRK.B` is `BRK_B`).
- Fields may come, always with a default; none goes or changes its meaning while `schema` stays 1.
  Pass over what you do not know.
- Money that is sent or booked is a decimal number in a string (`"57.50"`), market observations are
  numbers, times are RFC 3339 with a zone. `at` is wall time; `as_of`, `session` and the like are
  the broker's clock, which in the simulated exchange runs faster than life.
- What does not decode is terminated, kept as a dead letter (stream DEADLETTERS) and alerted.
"""


def bus_page(examples: Examples) -> str:
    entries = directory()
    shapes = schemas()
    parts = [
        _INTRODUCTION,
        "## Subjects\n\n" + _subjects(entries),
        "## Streams\n\n" + _streams(),
        "## Consumers\n\n" + _consumers(),
        "## Messages\n\nIn brackets: the default of a field that may be left out.",
        *(_message(entry, shapes, examples[entry.message_type]) for entry in entries),
        "## Parts of messages",
        *(_part(name, shapes[name]) for name in sorted(set(shapes) - _names(MESSAGES))),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _names(message_types: Iterable[type[Message]]) -> set[str]:
    return {message_type.__name__ for message_type in message_types}


# --- tables ------------------------------------------------------------------------------------


def _subjects(entries: list[Entry]) -> str:
    rows = [
        (
            f"[`{address(entry.message_type)}`](#{entry.message_type.__name__.lower()})",
            summary(entry.message_type),
            _listed(writer.account for writer in entry.writers),
            _listed(reader.account for reader in entry.readers),
            entry.stream or "core NATS",
        )
        for entry in entries
    ]
    return table(("Subject", "What", "Writers", "Readers", "Stream"), rows)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _streams() -> str:
    return table(
        ("Stream", "Subjects", "Keeps", "Largest message", "Repeated"),
        [_stream_row(stream) for stream in STREAMS],
    )


def _stream_row(stream: Stream) -> tuple[str, ...]:
    days = stream.max_age_seconds / DAY_SECONDS
    age = f"{days:.0f} days" if days >= 1 else f"{stream.max_age_seconds / 3600:.0f} h"
    each = {-1: "", 1: ", the last of each subject"}.get(
        stream.max_per_subject, f", the last {stream.max_per_subject} of each subject"
    )
    keeps = f"{age}, {stream.max_bytes // _MB} MiB{each}"
    return (
        stream.name,
        ", ".join(f"`{subject}`" for subject in stream.subjects),
        keeps + ("; nothing can be deleted" if stream.protected else ""),
        f"{stream.message_bytes_max // 1024} KiB",
        "under `feed.`" if stream.republished else "no",
    )


def _consumers() -> str:
    return table(
        ("Consumer", "Of", "Filter", "Begins with", "Acknowledge within", "Deliveries at most"),
        [_consumer_row(consumer) for consumer in CONSUMERS],
    )


def _consumer_row(consumer: Consumer) -> tuple[str, ...]:
    held = consumer.acknowledged
    return (
        f"{consumer.stream}/{consumer.name}",
        _listed(account.name for account in ACCOUNTS if consumer in account.consumes),
        ", ".join(f"`{pattern}`" for pattern in consumer.filters),
        "the last of each subject" if consumer.latest_only else "the first",
        f"{consumer.ack_wait_seconds:.0f} s" if held else "never; read anew at each start",
        _deliveries(consumer) if held else "",
    )


def _deliveries(consumer: Consumer) -> str:
    return str(consumer.max_deliver) if consumer.max_deliver > 0 else "as often as it takes"


def table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(heading)
    lines = [names, ["---"] * len(names), *([cell or "–" for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# --- messages ----------------------------------------------------------------------------------


def _message(entry: Entry, shapes: Json, example: Json) -> str:
    name = entry.message_type.__name__
    shape = shapes[name]
    lines = [
        f"### {name}",
        "",
        shape["description"],
        "",
        f"- Subject: `{address(entry.message_type)}`",
        f"- Stream: {entry.stream or 'none, over core NATS'}",
        *(f"- Writer: {writer.account}, as `{writer.subject}`" for writer in entry.writers),
        *(f"- Reader: {reader.account} {way_in_words(reader)}" for reader in entry.readers),
    ]
    if entry.answered_with:
        lines.append(
            f"- Answered with: [{entry.answered_with.__name__}]"
            f"(#{entry.answered_with.__name__.lower()})"
        )
    lines += ["", _fields(shape), "", "```json", json.dumps(example, indent=2), "```"]
    return "\n".join(lines)


def _part(name: str, shape: Json) -> str:
    lines = [f"### {name}", ""]
    if "description" in shape:
        lines += [shape["description"], ""]
    lines.append(
        "One of " + ", ".join(f"`{word}`" for word in shape["enum"]) + "."
        if "enum" in shape
        else _fields(shape)
    )
    return "\n".join(lines)


def _fields(shape: Json) -> str:
    """The properties of an object as a table."""
    required = shape.get("required", [])
    notes = any("description" in field for field in shape["properties"].values())
    rows = [
        (
            f"`{name}`" if name in required else f"`{name}`{_default(field)}",
            type_in_words(field),
            *([field.get("description", "")] if notes else []),
        )
        for name, field in shape["properties"].items()
    ]
    return table(("Field", "Type", *(["What"] if notes else [])), rows)


def _default(field: Json) -> str:
    return f" [`{json.dumps(field['default'])}`]" if "default" in field else " [1]"


def type_in_words(schema: Json) -> str:
    """A JSON schema in a cell of a table."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(type_in_words(one) for one in schema["anyOf"])
    kind: Any = schema["type"]
    if kind == "array":
        return f"list of {type_in_words(schema['items'])}"
    if kind == "object":
        return f"object of {type_in_words(schema['additionalProperties'])}"
    return {"date-time": "time", "date": "date", "decimal": "decimal"}.get(
        schema.get("format", ""), str(kind)
    )
