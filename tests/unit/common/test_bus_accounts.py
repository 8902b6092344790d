"""The table of rights, the contracts and the generated configuration say the same.

The configuration is read back by a small reader of its own, so that the test does not repeat the
code that writes it.
"""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from libs.common.bus_accounts import (
    ACCOUNTS,
    API_PREFIX,
    BY_NAME,
    CORE,
    OPERATOR,
    PROVISION,
    USERS,
    Account,
    inbox_prefix,
    stream_of,
    write_subject,
)
from libs.common.contracts import (
    MESSAGES,
    AlertRaised,
    Heartbeat,
    Message,
    OrderIntended,
    TickAnswered,
    TradingStateSet,
    subject_filter,
)
from libs.common.nats_configuration import ServerPlace, account_label, render
from libs.common.topology import CONSUMERS, FEED_PREFIX, MAX_PAYLOAD_BYTES, STREAMS
from services.cli.supervisor import SERVICES

PUBLIC_KEYS = {user: f"U{user.upper()}" for user in USERS}
PLACE = ServerPlace(listen="127.0.0.1:4222", store_folder='/data/a "strange" place')
REPLIES = frozenset({TickAnswered})
"""Sent to whoever asked, on no subject of their own."""
EVERYBODYS = frozenset({Heartbeat, AlertRaised})

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]|[^\s{}\[\],:]+:?|#.*')


def read_back(text: str) -> dict[str, Any]:
    """The configuration as maps and lists; enough of the server's grammar for what we write."""
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    tokens = [token for token in _TOKENS.findall(text) if token != ","]
    value, rest = _map([*tokens, "}"])
    assert rest == []
    return value


def _map(tokens: list[str]) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    while tokens[0] != "}":
        name = tokens[0].removesuffix(":")
        assert name not in found, f"{name} is written twice"
        found[name], tokens = _value(tokens[1:])
    return found, tokens[1:]


def _value(tokens: list[str]) -> tuple[Any, list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first == "{":
        return _map(rest)
    if first == "[":
        found = []
        while rest[0] != "]":
            value, rest = _value(rest)
            found.append(value)
        return found, rest[1:]
    return (json.loads(first) if first.startswith('"') else first), rest


CONFIGURATION = read_back(render(PLACE, PUBLIC_KEYS))
WRITTEN = CONFIGURATION["accounts"]


def user_of(label: str) -> dict[str, Any]:
    (user,) = WRITTEN[label]["users"]
    return user


SHARED: dict[type[Message], set[str]] = {
    TradingStateSet: {"risk", "executor", "operator"},
    OrderIntended: {"planner", "operator", "guest"},
}
"""What is said by more than one: a halt, the wish to close what is held, a stranger's wish."""


def test_every_message_has_its_writers_and_only_those() -> None:
    for message in set(MESSAGES) - REPLIES:
        writers = {a.name for a in ACCOUNTS if message in (*a.writes, *a.asks)}
        assert writers, f"nobody may write {message.__name__}"
        if message in EVERYBODYS:
            assert writers == set(SERVICES)
        elif message in SHARED:
            assert writers == SHARED[message]
        else:
            assert len(writers) == 1, f"{message.__name__} has writers {writers}"


def test_every_consumer_has_one_account_and_every_question_an_answerer() -> None:
    owners = [consumer for account in ACCOUNTS for consumer in account.consumes]
    assert len(owners) == len(CONSUMERS)
    assert {(c.stream, c.name) for c in owners} == {(c.stream, c.name) for c in CONSUMERS}
    asked = {message for account in ACCOUNTS for message in account.asks}
    answered = [message for account in ACCOUNTS for message in account.answers]
    assert len(answered) == len(set(answered))
    assert set(answered) == asked


def test_every_service_has_an_account_and_a_key_of_its_own() -> None:
    assert set(BY_NAME) >= set(SERVICES)
    keys = [user_of(account_label(name))["nkey"] for name in BY_NAME]
    keys.append(user_of(account_label(CORE))["nkey"])
    assert sorted(keys) == sorted(PUBLIC_KEYS.values())
    assert set(WRITTEN) == {"SYS", account_label(CORE), *map(account_label, BY_NAME)}


def test_only_the_provisioner_is_where_the_streams_are() -> None:
    assert [name for name, it in WRITTEN.items() if "jetstream" in it] == [account_label(CORE)]
    user = user_of(account_label(CORE))
    assert user["nkey"] == PUBLIC_KEYS[PROVISION]
    assert user["permissions"] == {
        "publish": ["$JS.API.>", "trading.state"],  # a log begins with its stream
        "subscribe": [f"{inbox_prefix(PROVISION)}.>"],
    }


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
def test_a_user_may_publish_what_its_service_writes_and_pulls_and_no_more(
    account: Account,
) -> None:
    allowed = set(user_of(account_label(account.name))["permissions"]["publish"])
    expected = {write_subject(account, message) for message in account.writes}
    expected |= {subject_filter(message) for message in account.asks}
    for consumer in account.consumes:
        at = f"{consumer.stream}.{consumer.name}"
        expected |= {f"{API_PREFIX}.CONSUMER.MSG.NEXT.{at}", f"{API_PREFIX}.CONSUMER.INFO.{at}"}
        expected.add(
            f"$JS.ACK.{at}.>" if consumer.acknowledged else f"{API_PREFIX}.CONSUMER.RESET.{at}"
        )
    reads = {subject for subject in allowed if subject.startswith(f"{API_PREFIX}.DIRECT.GET.")}
    assert reads == {
        *(
            f"{API_PREFIX}.DIRECT.GET.{stream_of(message)}.{subject_filter(message)}"
            for message in account.reads_last
        ),
        *(f"{API_PREFIX}.DIRECT.GET.{stream}" for stream in account.reads_logs),
    }
    info = {subject for subject in allowed if subject.startswith(f"{API_PREFIX}.STREAM.")}
    assert info <= {f"{API_PREFIX}.STREAM.INFO.{'*' if account.stream_info else 'OPS'}"}
    assert allowed - reads - info == expected


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
def test_a_user_hears_its_inbox_its_feeds_and_its_questions(account: Account) -> None:
    permissions = user_of(account_label(account.name))["permissions"]
    assert set(permissions["subscribe"]) == {
        f"{inbox_prefix(account.name)}.>",
        *(f"{FEED_PREFIX}.{pattern}" for pattern in account.watches),
        *(subject_filter(message) for message in account.answers),
    }
    assert ("allow_responses" in permissions) is bool(account.answers)


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
def test_what_is_imported_is_what_may_be_used_and_is_offered_to_it(account: Account) -> None:
    label = account_label(account.name)
    permissions = user_of(label)["permissions"]
    imports = WRITTEN[label]["imports"]
    services = [it for it in imports if "service" in it]
    assert {it.get("to", it["service"]["subject"]) for it in services} == set(
        permissions["publish"]
    )
    streams = [it["stream"]["subject"] for it in imports if "stream" in it]
    assert set(streams) == {s for s in permissions["subscribe"] if s.startswith(FEED_PREFIX)}
    for it in imports:
        kind = "service" if "service" in it else "stream"
        exports = WRITTEN[it[kind]["account"]]["exports"]
        offers = [e for e in exports if e.get(kind) == it[kind]["subject"]]
        assert [label in offer["accounts"] for offer in offers] == [True]


def test_nothing_is_offered_that_nobody_imports() -> None:
    for owner, it in WRITTEN.items():
        for offer in it.get("exports", []):
            kind = "service" if "service" in offer else "stream"
            for label in offer["accounts"]:
                wanted = {"account": owner, "subject": offer[kind]}
                assert wanted in [i.get(kind) for i in WRITTEN[label]["imports"]]


def test_no_subject_a_service_writes_reaches_into_anothers() -> None:
    common = {AlertRaised, *SHARED}
    for one, two in combinations(ACCOUNTS, 2):
        ours = {write_subject(one, m) for m in one.writes if m not in common}
        theirs = {write_subject(two, m) for m in two.writes if m not in common}
        assert not ours & theirs
    assert write_subject(BY_NAME["risk"], Heartbeat) == "ops.heartbeat.risk.*"


def test_streams_and_written_subjects_are_the_same() -> None:
    written = {subject_filter(m) for account in ACCOUNTS for m in account.writes}
    stored = {s for stream in STREAMS for s in stream.subjects if not s.startswith("$JS.")}
    assert written == stored


def test_what_is_acknowledged_is_on_disk_and_the_place_is_as_given() -> None:
    assert CONFIGURATION["jetstream"]["sync_interval"] == "always"
    assert CONFIGURATION["jetstream"]["store_dir"] == PLACE.store_folder
    assert CONFIGURATION["max_payload"] == str(MAX_PAYLOAD_BYTES)
    assert "tls" not in CONFIGURATION


def test_with_a_certificate_the_server_speaks_tls() -> None:
    place = ServerPlace(
        listen="0.0.0.0:4222",
        store_folder="x",
        certificate_file="/run/secrets/nats.crt",
        key_file="/run/secrets/nats.key",
    )
    tls = read_back(render(place, PUBLIC_KEYS))["tls"]
    assert (tls["cert_file"], tls["key_file"]) == (
        "/run/secrets/nats.crt",
        "/run/secrets/nats.key",
    )


def test_the_operator_reads_asks_stops_and_wishes_and_nothing_else() -> None:
    allowed = user_of(account_label(OPERATOR))["permissions"]["publish"]
    verbs = {subject.removeprefix(f"{API_PREFIX}.").split(".")[0] for subject in allowed}
    assert verbs == {"DIRECT", "STREAM", "control", "trading", "intents"}
    assert f"{API_PREFIX}.STREAM.INFO.*" in allowed
