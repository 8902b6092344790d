"""The session of `/stream` as a story of messages: no sockets, no clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exchange.streams.order_session import DEEDS, OrderSession, State
from tests.unit.exchange.test_streams import anything

OLD = {"action": "authenticate", "data": {"key_id": "k", "secret_key": "s"}}
NEW = {"action": "auth", "key": "k", "secret": "s"}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}
AUTHORIZED = {
    "stream": "authorization",
    "data": {"status": "authorized", "action": "authenticate"},
}


def session() -> OrderSession:
    return OrderSession(lambda key, secret: (key, secret) == ("k", "s"))


def said(answer: Any) -> Any:
    (message,) = answer.messages
    assert not answer.ends
    return message


@pytest.mark.parametrize("auth", [OLD, NEW])
def test_keys_then_listening(auth: dict[str, Any]) -> None:
    stream = session()
    assert said(stream.receive(auth)) == AUTHORIZED
    assert not stream.listening
    heard = said(stream.receive(LISTEN))
    assert heard == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
    assert stream.listening


def test_listening_to_nothing_stops_it() -> None:
    stream = session()
    stream.receive(OLD)
    stream.receive(LISTEN)
    quiet = said(stream.receive({"action": "listen", "data": {"streams": []}}))
    assert quiet == {"stream": "listening", "data": {"streams": []}}
    assert not stream.listening


def test_streams_that_are_not_offered_are_left_out() -> None:
    stream = session()
    stream.receive(OLD)
    asked = {"action": "listen", "data": {"streams": ["account_updates", "trade_updates"]}}
    assert said(stream.receive(asked))["data"]["streams"] == ["trade_updates"]


@pytest.mark.parametrize(
    "auth",
    [
        {"action": "auth", "key": "k", "secret": "x"},
        {"action": "auth"},
        {"action": "authenticate", "data": "k"},
        {"action": "authenticate", "data": {"key_id": 1, "secret_key": None}},
    ],
)
def test_wrong_keys_are_unauthorized_and_may_try_again(auth: dict[str, Any]) -> None:
    stream = session()
    assert said(stream.receive(auth))["data"] == {
        "status": "unauthorized",
        "action": "authenticate",
    }
    assert stream.state is State.CONNECTED
    assert said(stream.receive(NEW)) == AUTHORIZED


def test_listening_before_the_keys_is_unauthorized() -> None:
    stream = session()
    assert said(stream.receive(LISTEN)) == {
        "stream": "authorization",
        "data": {"status": "unauthorized", "action": "listen"},
    }
    assert not stream.listening


def test_a_second_authentication_leaves_it_listening() -> None:
    stream = session()
    stream.receive(OLD)
    stream.receive(LISTEN)
    assert said(stream.receive(NEW)) == AUTHORIZED
    assert stream.listening


def test_the_time_to_authenticate_ends_only_those_who_did_not() -> None:
    late, there = session(), session()
    there.receive(OLD)
    assert late.time_out().ends
    assert not there.time_out().ends


@pytest.mark.parametrize(
    "message",
    [None, [], "x", {}, {"action": 1}, {"action": "dance"}, {"action": "listen", "data": {}}],
)
def test_what_makes_no_sense_is_an_error_and_the_stream_goes_on(message: object) -> None:
    stream = session()
    stream.receive(OLD)
    stream.receive(LISTEN)
    assert said(stream.receive(message))["stream"] == "error"
    assert stream.listening


@given(
    st.lists(
        anything
        | st.fixed_dictionaries(
            {"action": st.sampled_from([action for _, action in DEEDS])},
            optional={"data": anything, "key": anything, "secret": anything},
        )
    )
)
def test_any_message_is_answered_by_one(sent: list[Any]) -> None:
    stream = session()
    for message in sent:
        assert said(stream.receive(message))["stream"] in ("authorization", "listening", "error")
        assert stream.state is State.CONNECTED
        assert not stream.listening
