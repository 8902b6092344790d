"""What both doors to alpaca-py share: one try, refusals in words, and the right account."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from libs.common.broker import (
    BrokerRefusedError,
    BrokerUnreachableError,
    PacedClock,
    check_account,
    one_request,
    refusal_of,
)
from libs.common.contracts import AlpacaEnv, BotMode
from libs.common.promises import BrokenPromiseError
from libs.common.settings import AlpacaSettings, BotSettings, Settings

# --- refusals ----------------------------------------------------------------------------------


def test_a_refusal_keeps_alpacas_code_and_words() -> None:
    refusal = refusal_of(403, b'{"code":40310000,"message":"insufficient buying power","x":1}')
    assert (refusal.status, refusal.code) == (403, 40310000)
    assert str(refusal) == "403 40310000 insufficient buying power"
    assert refusal.certain


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no reason given"),
        (b"{}", "no reason given"),
        (b"<html>bad gateway</html>", "<html>bad gateway</html>"),
        (b'{"message":null}', '{"message":null}'),
        (b'{"code":"E1","message":"x"}', '{"code":"E1","message":"x"}'),
        (b"[1]", "[1]"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 5000, "x" * 200),
        (b"[" * 100_000, "[" * 200),
    ],
)
def test_any_other_body_is_quoted_as_far_as_it_makes_sense(body: bytes, words: str) -> None:
    refusal = refusal_of(502, body)
    assert (refusal.code, refusal.message) == (None, words)
    assert not refusal.certain


@hypothesis_settings(deadline=None)
@given(st.integers(300, 599), st.binary(max_size=300))
def test_any_answer_becomes_a_refusal_of_its_status(status: int, body: bytes) -> None:
    refusal = refusal_of(status, body)
    assert refusal.status == status
    assert refusal.certain is (400 <= status < 500)
    assert str(status) in str(refusal)


# --- one request -------------------------------------------------------------------------------


class Session:
    """Answers each request with what it was made with, once."""

    def __init__(self, answer: Exception | tuple[int, bytes]) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        self.asked.append({"method": method, "url": url, **options})
        if isinstance(self.answer, Exception):
            raise self.answer
        response = requests.Response()
        response.status_code, response._content = self.answer
        return response


def post(answer: Exception | tuple[int, bytes]) -> tuple[bytes, Session]:
    session = Session(answer)
    request = one_request(session, AlpacaSettings(), PacedClock(limit=10, speed=1.0))
    return request("POST", "http://broker/v2/orders", {"json": {"qty": 1}}, 3), session


def test_an_answer_comes_as_bytes_and_is_waited_for_so_long() -> None:
    body, session = post((200, b'{"id":"o1"}'))
    assert body == b'{"id":"o1"}'
    assert session.asked == [
        {
            "method": "POST",
            "url": "http://broker/v2/orders",
            "timeout": (3.0, 10.0),
            "json": {"qty": 1},
        }
    ]


@pytest.mark.parametrize("status", [302, 401, 403, 422, 429, 500, 504])
def test_a_refusal_is_raised_and_never_tried_again(status: int) -> None:
    session = Session((status, b'{"message":"no"}'))
    request = one_request(session, AlpacaSettings(), PacedClock(limit=10, speed=1.0))
    with pytest.raises(BrokerRefusedError, match="no"):
        request("POST", "http://broker", {}, 3)
    assert len(session.asked) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.ReadTimeout("host='x': Read timed out. (read timeout=10)"), "no answer in time"),
        (requests.ConnectTimeout("Connection to x timed out."), "no connection in time"),
        (requests.ConnectionError("[Errno 111] Connection refused"), "connection refused"),
        (requests.ConnectionError("https://user:secret@host/ broke"), "ConnectionError"),
        (ConnectionResetError("secret"), "ConnectionResetError"),
        (requests.exceptions.ChunkedEncodingError("half"), "ChunkedEncodingError"),
    ],
)
def test_no_whole_answer_is_said_in_a_few_words_without_secrets(error: OSError, words: str) -> None:
    with pytest.raises(BrokerUnreachableError) as caught:
        post(error)
    assert str(caught.value) == words
    assert caught.value.__cause__ is None


# --- the account -------------------------------------------------------------------------------


def settings(mode: BotMode, env: AlpacaEnv, named: str | None) -> Settings:
    return Settings(bot=BotSettings(mode=mode), alpaca=AlpacaSettings(env=env, live_account=named))


@pytest.mark.parametrize("mode", BotMode)
@pytest.mark.parametrize("env", AlpacaEnv)
@pytest.mark.parametrize("named", [None, "", "123", "1234"])
def test_only_real_money_needs_its_account_named(
    mode: BotMode, env: AlpacaEnv, named: str | None
) -> None:
    real = mode is BotMode.LIVE and env is AlpacaEnv.LIVE
    if real and named != "123":
        with pytest.raises(BrokenPromiseError, match="the keys belong to account 123"):
            check_account(settings(mode, env, named), "123")
    else:
        check_account(settings(mode, env, named), "123")
