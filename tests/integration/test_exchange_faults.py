"""Each fault on request as the unmodified alpaca-py meets it, and what the books say after it."""

from __future__ import annotations

import datetime as dt
import json
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import OptionHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.requests import (
    OptionChainRequest,
    OptionSnapshotRequest,
    StockLatestQuoteRequest,
    StockSnapshotRequest,
)
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest

from tests.conformity.served import KEY, KEYS, SECRET, Served, serving

pytestmark = pytest.mark.integration

ORDERS = "/v2/orders"


@pytest.fixture
def exchange(caplog: pytest.LogCaptureFixture) -> Iterator[Served]:
    """Whatever happens, nothing fails inside it."""
    with serving(paused=True) as served:
        yield served
    errors = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert errors == []


@pytest.fixture
def trading(exchange: Served) -> Iterator[TradingClient]:
    client = TradingClient(KEY, SECRET, url_override=exchange.url)
    client._retry_wait = 0
    yield client
    client._session.close()


def set_fault(exchange: Served, kind: str, **rule: Any) -> str:
    answer = exchange.ask("POST", "/sim/faults", json={"kind": kind} | rule)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def heal(exchange: Served) -> None:
    assert exchange.ask("DELETE", "/sim/faults").status_code == 204


def asked(exchange: Served, **which: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = exchange.ask("GET", "/sim/requests", params=which).json()
    return found


def submit(trading: TradingClient, name: str = "mine") -> Any:
    return trading.submit_order(
        LimitOrderRequest(
            symbol="KO", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.GTC,
            limit_price=10, client_order_id=name,
        )
    )  # fmt: skip


def names(exchange: Served) -> list[str]:
    return [order["client_order_id"] for order in exchange.get(ORDERS, status="all")]


# --- before and after acting ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("error", {"status": 500}),
        ("error", {"status": 503}),
        ("error", {"status": 403, "code": 40310000, "message": "insufficient buying power"}),
        ("error_after", {"status": 500}),
        ("error_after", {"status": 502, "body": "<html>bad gateway</html>"}),
    ],
)
def test_an_error_is_raised_and_the_order_is_there_only_when_it_came_after(
    exchange: Served, trading: TradingClient, kind: str, rule: dict[str, Any]
) -> None:
    set_fault(exchange, kind, method="POST", path=ORDERS, times=1, **rule)
    with pytest.raises(APIError) as caught:
        submit(trading)
    assert caught.value.status_code == rule["status"]
    if "code" in rule:
        assert (caught.value.code, caught.value.message) == (rule["code"], rule["message"])
    assert names(exchange) == (["mine"] if kind == "error_after" else [])
    assert submit(trading, "another").status == "new"


@pytest.mark.parametrize("kind", ["reset", "reset_after", "hang", "hang_after"])
def test_a_connection_ends_without_an_answer(
    exchange: Served, trading: TradingClient, kind: str
) -> None:
    seconds = {"seconds": 0.1} if kind.startswith("hang") else {}
    set_fault(exchange, kind, method="POST", path=ORDERS, times=1, **seconds)
    with pytest.raises(requests.ConnectionError) as caught:
        submit(trading)
    assert ("reset by peer" in str(caught.value)) == kind.startswith("reset")
    assert names(exchange) == (["mine"] if kind.endswith("_after") else [])
    (request,) = asked(exchange, method="POST")
    assert (request["status"], request["fault"]) == (None, "fault-1")
    assert submit(trading, "another").status == "new"


@pytest.mark.parametrize("kind", ["malformed", "malformed_after"])
def test_malformed_json_comes_with_a_status_of_success(
    exchange: Served, trading: TradingClient, kind: str
) -> None:
    set_fault(exchange, kind, method="POST", path=ORDERS, times=1)
    with pytest.raises(requests.JSONDecodeError):
        submit(trading)
    assert names(exchange) == (["mine"] if kind == "malformed_after" else [])


def test_the_sdk_tries_a_504_after_accepting_again_and_is_told_of_its_first_order(
    exchange: Served, trading: TradingClient
) -> None:
    set_fault(exchange, "error_after", method="POST", path=ORDERS, times=1, status=504)
    with pytest.raises(APIError, match="client_order_id must be unique"):
        submit(trading)
    assert names(exchange) == ["mine"]
    assert [r["status"] for r in asked(exchange, method="POST")] == [504, 422]


def test_too_many_requests_are_told_as_alpaca_tells_it_and_the_sdk_tries_again(
    exchange: Served, trading: TradingClient
) -> None:
    set_fault(exchange, "rate_limited", method="POST", path=ORDERS, times=2)
    assert submit(trading).client_order_id == "mine"
    assert [r["status"] for r in asked(exchange, method="POST")] == [429, 429, 200]
    set_fault(exchange, "rate_limited", path="/v2/clock", times=1)
    answer = exchange.ask("GET", "/v2/clock")
    assert (answer.status_code, answer.json()["code"]) == (429, 42910000)
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert int(answer.headers["x-ratelimit-limit"]) > 0
    assert int(answer.headers["x-ratelimit-reset"]) > 0
    assert exchange.ask("GET", "/v2/clock").status_code == 200


# --- hanging and delays --------------------------------------------------------------------------


def in_a_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """What it returned, or raised, once it ends."""
    ends: list[Any] = []

    def run() -> None:
        try:
            ends.append(work())
        except Exception as error:  # looked at by the test
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ends


def until(check: Callable[[], object], what: str) -> None:
    for _ in range(2000):
        if check():
            return
    raise AssertionError(f"in vain waited for {what}")


def wait_until_asked(exchange: Served, **which: str) -> None:
    until(lambda: asked(exchange, **which), f"{which} to be asked")


def test_who_hangs_is_let_go_by_healing_and_others_are_answered_meanwhile(
    exchange: Served, trading: TradingClient
) -> None:
    set_fault(exchange, "hang_after", method="POST", path=ORDERS)
    thread, ends = in_a_thread(lambda: submit(trading))
    wait_until_asked(exchange, method="POST")
    assert exchange.get("/v2/clock")["is_open"]
    assert names(exchange) == ["mine"], "accepted before it hung"
    assert ends == []
    heal(exchange)
    thread.join(20)
    assert isinstance(ends[0], requests.ConnectionError)
    assert submit(trading, "another").status == "new"


def test_clients_that_vanish_before_their_connection_is_reset_harm_nobody(
    exchange: Served,
) -> None:
    set_fault(exchange, "reset_after", path=ORDERS)
    lines = "".join(f"{name}: {value}\r\n" for name, value in KEYS.items())
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", exchange.port), timeout=20) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(f"GET {ORDERS} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    until(lambda: asked(exchange), "some to arrive")
    heal(exchange)
    assert exchange.get(ORDERS) == []


def test_a_client_that_leaves_while_it_hangs_leaves_nothing(exchange: Served) -> None:
    set_fault(exchange, "hang", path="/v2/account")
    with pytest.raises(requests.ReadTimeout):
        requests.get(exchange.url + "/v2/account", headers=KEYS, timeout=0.2)
    heal(exchange)
    assert exchange.get("/v2/account")["status"] == "ACTIVE"


def test_removing_one_rule_lets_go_only_what_hangs_because_of_it(exchange: Served) -> None:
    clock = set_fault(exchange, "hang", path="/v2/clock")
    account = set_fault(exchange, "hang", path="/v2/account")
    first = in_a_thread(lambda: requests.get(exchange.url + "/v2/clock", headers=KEYS, timeout=20))
    other = in_a_thread(
        lambda: requests.get(exchange.url + "/v2/account", headers=KEYS, timeout=20)
    )
    wait_until_asked(exchange, path="/v2/clock")
    wait_until_asked(exchange, path="/v2/account")
    assert exchange.ask("DELETE", f"/sim/faults/{clock}").status_code == 204
    first[0].join(20)
    assert isinstance(first[1][0], requests.ConnectionError)
    assert other[1] == []
    assert exchange.ask("DELETE", f"/sim/faults/{account}").status_code == 204
    other[0].join(20)
    assert isinstance(other[1][0], requests.ConnectionError)


def test_a_delayed_order_is_accepted_although_its_client_has_given_up(exchange: Served) -> None:
    set_fault(exchange, "delay", method="POST", path=ORDERS, seconds=300)
    order = {
        "symbol": "KO", "qty": 1, "side": "buy", "type": "limit", "limit_price": 10,
        "time_in_force": "gtc", "client_order_id": "late",
    }  # fmt: skip
    with pytest.raises(requests.ReadTimeout):
        requests.post(exchange.url + ORDERS, json=order, headers=KEYS, timeout=0.2)
    assert names(exchange) == []
    heal(exchange)  # ends the waiting
    until(lambda: names(exchange) == ["late"], "the order to be accepted")


def test_an_exchange_with_somebody_hanging_ends_all_the_same() -> None:
    with serving(paused=True) as served:
        set_fault(served, "hang", path="/v2/clock")
        thread, ends = in_a_thread(
            lambda: requests.get(served.url + "/v2/clock", headers=KEYS, timeout=20)
        )
        wait_until_asked(served, path="/v2/clock")
    thread.join(20)
    assert isinstance(ends[0], requests.ConnectionError)


def test_a_pipelined_request_behind_a_reset_is_not_carried_out(exchange: Served) -> None:
    set_fault(exchange, "reset", method="DELETE", path=ORDERS)
    lines = "".join(f"{name}: {value}\r\n" for name, value in KEYS.items())
    body = (
        '{"symbol":"KO","qty":1,"side":"buy","type":"limit","limit_price":10,"time_in_force":"gtc"}'
    )
    with socket.create_connection(("127.0.0.1", exchange.port), timeout=20) as sock:
        sock.sendall(
            f"DELETE {ORDERS} HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
            f"POST {ORDERS} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
            f"{body}".encode()
        )
        with pytest.raises(ConnectionResetError):
            sock.recv(1000)
    assert names(exchange) == []


# --- market data ---------------------------------------------------------------------------------


@pytest.fixture
def options(exchange: Served) -> Iterator[OptionHistoricalDataClient]:
    client = OptionHistoricalDataClient(KEY, SECRET, url_override=exchange.url)
    yield client
    client._session.close()


@pytest.fixture
def stocks(exchange: Served) -> Iterator[StockHistoricalDataClient]:
    client = StockHistoricalDataClient(KEY, SECRET, url_override=exchange.url)
    yield client
    client._session.close()


def test_greeks_go_missing_from_a_chain(
    exchange: Served, options: OptionHistoricalDataClient
) -> None:
    request = OptionChainRequest(underlying_symbol="KO", root_symbol="KO")
    before = options.get_option_chain(request)
    set_fault(exchange, "missing_greeks", path="/v1beta1/options/snapshots/*", share=0.5, times=1)
    struck = options.get_option_chain(request)
    assert struck.keys() == before.keys()
    had = {s for s, snapshot in before.items() if snapshot.greeks}
    has = {s for s, snapshot in struck.items() if snapshot.greeks}
    assert len(had) * 0.2 < len(has) < len(had) * 0.8
    assert all(struck[s].latest_quote == before[s].latest_quote for s in before)
    assert options.get_option_chain(request) == before


def test_quotes_go_missing(
    exchange: Served, options: OptionHistoricalDataClient, stocks: StockHistoricalDataClient
) -> None:
    chain = options.get_option_chain(OptionChainRequest(underlying_symbol="KO", root_symbol="KO"))
    symbol = next(s for s, snapshot in chain.items() if snapshot.latest_quote and snapshot.greeks)
    set_fault(exchange, "missing_quotes")
    found = options.get_option_snapshot(OptionSnapshotRequest(symbol_or_symbols=symbol))[symbol]
    assert found.latest_quote is None
    assert found.greeks == chain[symbol].greeks
    snapshot = stocks.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="KO"))["KO"]
    assert snapshot.latest_quote is None
    assert snapshot.latest_trade is not None
    assert stocks.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="KO")) == {}


def test_quotes_are_stale_and_say_so_while_trading_goes_on_at_the_present(
    exchange: Served, trading: TradingClient, stocks: StockHistoricalDataClient
) -> None:
    exchange.ask("POST", "/sim/step", json={"minutes": 60})
    request = StockLatestQuoteRequest(symbol_or_symbols="KO")
    then = stocks.get_stock_latest_quote(request)["KO"]
    exchange.ask("POST", "/sim/step", json={"minutes": 45})
    now = stocks.get_stock_latest_quote(request)["KO"]
    set_fault(exchange, "stale_quotes", seconds=45 * 60)
    stale = stocks.get_stock_latest_quote(request)["KO"]
    assert stale == then
    assert now.timestamp - stale.timestamp == dt.timedelta(minutes=45)
    assert trading.get_clock().timestamp == now.timestamp
    heal(exchange)
    assert stocks.get_stock_latest_quote(request)["KO"] == now


def test_an_account_is_blocked_as_far_as_its_client_can_see(
    exchange: Served, trading: TradingClient
) -> None:
    set_fault(exchange, "altered", path="/v2/account", fields={"account_blocked": True})
    row = {"id": "20200203::1", "activity_type": "JNLC", "date": "2020-02-03", "net_amount": "5"}
    set_fault(exchange, "altered", path="/v2/account/activities", rows=[row])
    assert trading.get_account().account_blocked is True
    assert exchange.get("/v2/account/activities")[-1] == row
    heal(exchange)
    assert trading.get_account().account_blocked is False


# --- seeds, keys, the log ------------------------------------------------------------------------


def played(rule: dict[str, Any]) -> list[int]:
    """The statuses of fifty looks at the clock of an exchange begun anew."""
    with serving(paused=True) as served:
        served.ask("POST", "/sim/faults", json=rule)
        return [served.ask("GET", "/v2/clock").status_code for _ in range(50)]


def test_the_same_seed_and_requests_meet_the_same_faults() -> None:
    rule = {"kind": "error", "status": 503, "rate": 0.4, "seed": 5}
    first = played(rule)
    assert set(first) == {200, 503}
    assert played(rule) == first
    assert played(rule | {"seed": 6}) != first


def test_a_rule_counts_what_it_saw_and_struck(exchange: Served) -> None:
    set_fault(exchange, "error", path="/v2/clock", skip=1, times=2)
    statuses = [exchange.ask("GET", "/v2/clock").status_code for _ in range(4)]
    assert statuses == [200, 500, 500, 200]
    (rule,) = exchange.get("/sim/faults")
    assert (rule["matched"], rule["injected"]) == (4, 2)


def test_faults_of_one_account_leave_the_others_alone(exchange: Served) -> None:
    exchange.ask("POST", "/sim/accounts", json={"key": "other", "secret": "s", "cash": 10})
    set_fault(exchange, "error", key="other")
    other = {"APCA-API-KEY-ID": "other", "APCA-API-SECRET-KEY": "s"}
    assert exchange.ask("GET", "/v2/account", headers=other).status_code == 500
    assert exchange.ask("GET", "/v2/account").status_code == 200


def test_what_is_the_simulations_own_and_wrong_keys_meet_no_faults(exchange: Served) -> None:
    set_fault(exchange, "error", path="*")
    assert exchange.get("/sim/health") == {"status": "ok"}
    assert exchange.ask("GET", "/openapi.json").status_code == 200
    wrong = KEYS | {"APCA-API-SECRET-KEY": "wrong"}
    assert exchange.ask("GET", "/v2/clock", headers=wrong).status_code == 401
    assert exchange.ask("GET", "/v2/nowhere").status_code == 404
    assert exchange.get("/sim/faults")[0]["matched"] == 0


def test_what_was_asked_is_kept_without_secrets(exchange: Served, trading: TradingClient) -> None:
    exchange.ask("DELETE", "/sim/requests")
    submit(trading)
    exchange.ask("GET", "/v2/nowhere", params={"a": "b c"})
    order, nowhere = asked(exchange)
    assert (order["method"], order["path"], order["status"]) == ("POST", ORDERS, 200)
    assert json.loads(order["body"])["client_order_id"] == "mine"
    assert order["body_bytes"] == len(order["body"])
    assert order["key"] == KEY
    assert (nowhere["status"], nowhere["query"], nowhere["body"]) == (404, {"a": "b c"}, "")
    assert SECRET not in exchange.ask("GET", "/sim/requests").text
    assert [r["path"] for r in asked(exchange, method="POST")] == [ORDERS]
    assert [r["path"] for r in asked(exchange, limit="1")] == ["/v2/nowhere"]
    assert exchange.ask("DELETE", "/sim/requests").status_code == 204
    assert asked(exchange) == []


def test_an_order_accepted_and_never_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    state = str(tmp_path / "exchange.json")
    order = {
        "symbol": "KO", "qty": 1, "side": "buy", "type": "limit", "limit_price": 10,
        "time_in_force": "gtc", "client_order_id": "mine",
    }  # fmt: skip
    with serving(paused=True, state_path=state) as served:
        set_fault(served, "reset_after", method="POST", path=ORDERS)
        with pytest.raises(requests.ConnectionError):
            served.ask("POST", ORDERS, json=order)
        journal = (tmp_path / "exchange.json.journal").read_text()
        assert '\\"client_order_id\\": \\"mine\\"' in journal, "written before the fault"
    with serving(paused=True, state_path=state) as served:
        assert names(served) == ["mine"]
        assert served.get("/sim/faults") == []
        assert served.ask("POST", ORDERS, json=order).status_code == 422
