"""The market-data session as a story of messages: no sockets, no clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exchange.http.openapi import STREAMS
from services.exchange.stream_limits import StreamLimits
from services.exchange.streams import errors
from services.exchange.streams.codec import JSON_BINARY, JSON_TEXT, MSGPACK, UnreadableError
from services.exchange.streams.data_session import DEEDS, ENTRIES_MAX, DataSession, State
from services.exchange.streams.endpoints import (
    OPTION_FEEDS,
    ORDERS_PATH,
    STOCK_CHANNELS,
    STOCK_FEEDS,
    data_endpoint,
)
from services.exchange.streams.errors import ERRORS

KEY, SECRET = "k", "s"
AUTH = {"action": "auth", "key": KEY, "secret": SECRET}
PUT = "AAPL200221P00070000"


def admit(key: str, secret: str) -> int | None:
    return None if (key, secret) == (KEY, SECRET) else errors.AUTH_FAILED


def session(path: str = "/v2/iex", **limits: Any) -> DataSession:
    endpoint = data_endpoint(path)
    assert endpoint is not None
    return DataSession(endpoint, StreamLimits(**limits), admit)


def logged_in(path: str = "/v2/iex", **limits: Any) -> DataSession:
    opened = session(path, **limits)
    opened.receive(AUTH)
    assert opened.authenticated
    return opened


def said(answer: Any) -> Any:
    """The one control message of an answer: always an array of one."""
    (message,) = answer.messages
    (only,) = message
    return only


def code(answer: Any) -> int:
    message = said(answer)
    assert message["T"] == "error"
    assert message["msg"] == ERRORS[message["code"]].text
    assert answer.ends == ERRORS[message["code"]].ends
    return int(message["code"])


# --- coming in ---------------------------------------------------------------------------------


def test_the_greeting_then_keys_then_symbols() -> None:
    stream = session()
    assert said(stream.opened("", "", msgpack=False)) == {"T": "success", "msg": "connected"}
    assert said(stream.receive(AUTH)) == {"T": "success", "msg": "authenticated"}
    listed = said(stream.receive({"action": "subscribe", "trades": ["AAPL"], "bars": ["*"]}))
    assert listed == {
        "T": "subscription",
        "trades": ["AAPL"],
        "quotes": [],
        "bars": ["*"],
        "updatedBars": [],
        "dailyBars": [],
        "statuses": [],
        "lulds": [],
        "corrections": ["AAPL"],
        "cancelErrors": ["AAPL"],
    }


def test_keys_in_the_handshake_count_as_a_message() -> None:
    answer = session().opened(KEY, SECRET, msgpack=False)
    assert [m[0]["msg"] for m in answer.messages] == ["connected", "authenticated"]
    wrong = session().opened(KEY, "other", msgpack=False)
    assert [m[0]["msg"] for m in wrong.messages] == ["connected", "auth failed"]
    assert wrong.ends


def test_wrong_keys_end_the_stream_and_nothing_is_answered_after() -> None:
    stream = session()
    assert code(stream.receive({"action": "auth", "key": KEY, "secret": "x"})) == 402
    assert stream.receive(AUTH).messages == []
    assert stream.state is State.ENDED


def test_before_authentication_nothing_can_be_subscribed() -> None:
    stream = session()
    assert code(stream.receive({"action": "subscribe", "trades": ["AAPL"]})) == 401
    assert code(stream.receive({"action": "unsubscribe", "trades": ["AAPL"]})) == 401
    assert said(stream.receive(AUTH))["msg"] == "authenticated"


def test_a_second_authentication_changes_nothing() -> None:
    stream = logged_in()
    stream.receive({"action": "subscribe", "trades": ["AAPL"]})
    assert code(stream.receive(AUTH)) == 403
    assert code(stream.receive({"action": "auth", "key": "x", "secret": "y"})) == 403
    assert stream.subscriptions["trades"] == ["AAPL"]


def test_the_time_to_authenticate_ends_only_those_who_did_not() -> None:
    assert code(session().time_out()) == 404
    assert logged_in().time_out().messages == []


def test_a_code_of_the_admission_is_handed_on() -> None:
    endpoint = data_endpoint("/v2/sip")
    assert endpoint is not None
    for refused in (errors.CONNECTION_LIMIT, errors.INSUFFICIENT_SUBSCRIPTION):
        stream = DataSession(endpoint, StreamLimits(), lambda _k, _s, c=refused: c)
        assert code(stream.receive(AUTH)) == refused


def test_options_speak_message_pack_only() -> None:
    assert code(session("/v1beta1/opra").opened(KEY, SECRET, msgpack=False)) == 412
    assert said(session("/v1beta1/opra").opened("", "", msgpack=True))["msg"] == "connected"


# --- subscriptions -----------------------------------------------------------------------------


def test_subscriptions_add_up_and_are_taken_away_singly() -> None:
    stream = logged_in()
    stream.receive({"action": "subscribe", "trades": ["AAPL", "KO"], "quotes": ["*"]})
    listed = said(stream.receive({"action": "subscribe", "trades": ["KO", "MSFT"]}))
    assert (listed["trades"], listed["quotes"]) == (["AAPL", "KO", "MSFT"], ["*"])
    left = said(stream.receive({"action": "unsubscribe", "trades": ["KO"], "quotes": ["*"]}))
    assert (left["trades"], left["quotes"]) == (["AAPL", "MSFT"], [])
    assert left["corrections"] == ["AAPL", "MSFT"]


def test_taking_away_what_is_not_there_is_no_error() -> None:
    listed = said(logged_in().receive({"action": "unsubscribe", "quotes": ["AAPL"]}))
    assert listed["T"] == "subscription"


@pytest.mark.parametrize(
    ("path", "channels", "expected"),
    [
        ("/v2/iex", {"orderbooks": ["AAPL"]}, 410),
        ("/v2/iex", {"corrections": ["AAPL"]}, 410),
        ("/v2/iex", {"nonsense": ["AAPL"]}, 400),
        ("/v2/iex", {}, 400),
        ("/v2/iex", {"trades": "AAPL"}, 400),
        ("/v2/iex", {"trades": [1]}, 400),
        ("/v2/iex", {"trades": ["no symbol"]}, 400),
        ("/v2/iex", {"trades": [PUT]}, 400),
        ("/v1beta1/indicative", {"bars": [PUT]}, 410),
        ("/v1beta1/indicative", {"trades": ["AAPL"]}, 400),
        ("/v1beta1/indicative", {"quotes": ["*"]}, 413),
        ("/v1beta1/indicative", {"quotes": [PUT, "*"], "trades": [PUT]}, 413),
    ],
)
def test_what_cannot_be_subscribed_to_leaves_all_as_it_was(
    path: str, channels: dict[str, Any], expected: int
) -> None:
    stream = logged_in(path)
    before = dict(stream.subscriptions)
    assert code(stream.receive({"action": "subscribe", **channels})) == expected
    assert stream.subscriptions == before
    assert stream.authenticated


def test_all_option_trades_may_be_asked_for() -> None:
    listed = said(logged_in("/v1beta1/opra").receive({"action": "subscribe", "trades": ["*"]}))
    assert listed == {"T": "subscription", "trades": ["*"], "quotes": []}


def test_over_the_symbol_limit_the_subscriptions_stay() -> None:
    stream = logged_in(stock_symbols_max=3)
    subscribe = {"action": "subscribe", "trades": ["A", "B"], "quotes": ["A"], "bars": ["C", "D"]}
    assert said(stream.receive(subscribe))["T"] == "subscription"
    assert code(stream.receive({"action": "subscribe", "quotes": ["B"]})) == 405
    assert stream.subscriptions["quotes"] == ["A"]
    assert said(stream.receive({"action": "subscribe", "quotes": ["*"]}))["quotes"] == ["A", "*"]


def test_channels_without_a_limit_have_one_all_the_same() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    many = [a + b + c + d for a in letters for b in letters for c in letters for d in letters]
    assert len(many) > ENTRIES_MAX
    assert code(logged_in().receive({"action": "subscribe", "bars": many})) == 405


# --- anything at all ---------------------------------------------------------------------------

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner)
)
actions = st.sampled_from([*{action for _, action in DEEDS}, "listen", ""])
messages = anything | st.fixed_dictionaries(
    {"action": actions},
    optional={
        "key": st.just(KEY) | anything,
        "secret": st.just(SECRET) | anything,
        "trades": st.lists(st.sampled_from(["AAPL", "*", PUT, ""])) | anything,
        "quotes": anything,
    },
)


@given(path=st.sampled_from(["/v2/iex", "/v1beta1/opra"]), sent=st.lists(messages, max_size=12))
def test_any_message_is_answered_by_one_and_errors_change_nothing(
    path: str, sent: list[Any]
) -> None:
    stream = session(path)
    for message in sent:
        before, state = dict(stream.subscriptions), stream.state
        answer = stream.receive(message)
        if state is State.ENDED:
            assert answer.messages == []
        elif said(answer)["T"] == "error":
            assert code(answer) in ERRORS
            assert stream.subscriptions == before
            assert stream.state is (State.ENDED if answer.ends else state)


@given(st.binary())
def test_frames_of_any_bytes_are_read_or_refused(frame: bytes) -> None:
    for codec in (JSON_TEXT, JSON_BINARY, MSGPACK):
        for each in (frame, frame.decode("latin-1")):
            try:
                session().receive(codec.read(each))
            except UnreadableError:
                continue


def test_deep_nesting_is_unreadable() -> None:
    for codec, frame in ((JSON_TEXT, "[" * 200_000), (MSGPACK, b"\x91" * 200_000)):
        with pytest.raises(UnreadableError):
            codec.read(frame)


def test_an_array_of_events_is_cut_into_frames() -> None:
    events = [{"T": "t", "S": str(n)} for n in range(1_001)]
    frames = logged_in().frames(events)
    assert [len(frame) for frame in frames] == [500, 500, 1]
    assert [event for frame in frames for event in frame] == events


def test_message_pack_has_instants_where_json_has_text() -> None:
    event = {"T": "t", "S": "AAPL", "t": "2020-02-03T14:31:00.000000Z", "p": 1.5}
    packed = msgspec.msgpack.decode(MSGPACK.write([event]))
    assert packed[0]["t"].isoformat() == "2020-02-03T14:31:00+00:00"
    assert msgspec.json.decode(JSON_TEXT.write([event])) == [event]


# --- what the documentation says ---------------------------------------------------------------


def test_the_documentation_names_every_error_channel_and_feed() -> None:
    text = (Path(__file__).parents[3] / "docs" / "exchange.md").read_text(encoding="utf-8")
    for number, error in ERRORS.items():
        end = "ends" if error.ends else "stays"
        assert f"| {number} | {error.text} | {error.when} | {end} |" in text
    for name in (*STOCK_CHANNELS, *StreamLimits.__struct_fields__):
        assert f"`{name}`" in text, name
    for feed in (*STOCK_FEEDS, *OPTION_FEEDS):
        assert feed in text, feed
        assert any(feed in words for words in STREAMS.values()), feed
    assert ORDERS_PATH in STREAMS
