"""The books after a kill are the books before it, byte for byte, whenever it comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.exchange.config import ExchangeConfig, ExchangeError
from services.exchange.service import Running

KEYS = [(b"apca-api-key-id", b"k"), (b"apca-api-secret-key", b"s")]
OTHER = [(b"apca-api-key-id", b"other"), (b"apca-api-secret-key", b"s2")]
BUY = {"symbol": "KO", "qty": 5, "side": "buy", "type": "market", "time_in_force": "day"}
REST = BUY | {"type": "limit", "limit_price": "20", "time_in_force": "gtc"}
PUT = "KO200207P00050000"


Open = Callable[[Path], Running]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Exchanges whose files are closed at the end, as a kill would."""
    found: list[Running] = []

    def start(folder: Path) -> Running:
        folder.mkdir(exist_ok=True)
        found.append(running(folder))
        return found[-1]

    yield start
    for exchange in found:
        exchange.close()


def running(folder: Path, **changes: Any) -> Running:
    fields: dict[str, Any] = {
        "key": "k",
        "secret": "s",
        "symbols": ["AAPL", "KO"],
        "stocks": {"AAPL": Decimal(100)},
        "seed": 5,
        "paused": True,
        "rate_limit_per_minute": 10**6,
        "state_path": str(folder / "exchange.json"),
    }
    return Running(ExchangeConfig(**(fields | changes)))


def ask(
    exchange: Running, method: str, path: str, body: Any = None, keys: Any = KEYS, query: str = ""
) -> Any:
    scope = {"method": method, "path": path, "query_string": query.encode(), "headers": keys}
    answer = exchange.face.answer(scope, b"" if body is None else json.dumps(body).encode())
    assert answer.status < 300, answer.body
    return msgspec.json.decode(answer.body) if answer.body else None


def story(exchange: Running) -> None:
    """Two weeks of everything that changes something."""
    ask(exchange, "POST", "/v2/orders", BUY)
    rests = ask(exchange, "POST", "/v2/orders", REST)
    new = ask(exchange, "PATCH", f"/v2/orders/{rests['id']}", {"limit_price": "21"})
    ask(exchange, "POST", "/sim/accounts", {"key": "other", "secret": "s2", "cash": 9000})
    ask(exchange, "POST", "/sim/step", {"minutes": 95})
    ask(exchange, "POST", "/v2/orders", BUY, OTHER)
    put = {"symbol": PUT, "side": "sell", "qty": 1, "type": "market", "time_in_force": "day"}
    ask(exchange, "POST", "/v2/orders", put)
    dividend = {"type": "cash_dividend", "symbol": "KO", "ex_date": "2020-02-05", "rate": "0.5"}
    ask(exchange, "POST", "/sim/corporate-actions", dividend)
    ask(exchange, "POST", "/sim/step", {"sessions": 3})
    ask(exchange, "PATCH", "/v2/account/configurations", {"no_shorting": True})
    ask(exchange, "DELETE", f"/v2/orders/{new['id']}")
    ask(exchange, "DELETE", "/v2/positions/KO", query="qty=2")
    ask(exchange, "POST", "/sim/step", {"sessions": 4})
    ask(exchange, "POST", "/sim/accounts/other/reset")
    ask(exchange, "POST", "/v2/orders", BUY, OTHER)
    ask(exchange, "DELETE", "/v2/positions", query="cancel_orders=true")
    ask(exchange, "POST", "/sim/step", {"minutes": 7})


def kept(exchange: Running, folder: Path) -> bytes:
    """What a snapshot now holds."""
    exchange.save()
    saved = msgspec.json.decode((folder / "exchange.json").read_bytes())
    del saved["sequence"]  # counts the journal's lines, restarts included
    return msgspec.json.encode(saved)


def test_the_same_seed_and_the_same_requests_give_the_same_books_byte_for_byte(
    opened: Open, tmp_path: Path
) -> None:
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        exchange = opened(folder)
        exchange.save()
        story(exchange)
        found.append(kept(exchange, folder))
    assert found[0] == found[1]
    assert len(found[0]) > 10_000


def test_a_journal_is_played_to_the_books_that_were_lost(opened: Open, tmp_path: Path) -> None:
    exchange = opened(tmp_path)
    exchange.save()
    story(exchange)  # and the process is gone: nothing was saved since
    again = opened(tmp_path)
    with_journal = kept(again, tmp_path)
    assert with_journal == kept(exchange, tmp_path)


def test_a_fast_clock_does_not_run_while_the_journal_is_played(tmp_path: Path) -> None:
    exchange = running(tmp_path)
    exchange.save()
    story(exchange)
    again = running(tmp_path, paused=False, speed=10**6)
    for mine, theirs in zip(
        exchange.venue.tenants.values(), again.venue.tenants.values(), strict=True
    ):
        assert theirs.books.final_orders == mine.books.final_orders
        assert theirs.books.activities == mine.books.activities
    for one in (exchange, again):
        one.close()


def test_after_each_line_of_the_journal_the_story_can_be_taken_up(
    opened: Open, tmp_path: Path
) -> None:
    """A kill after any request: the books are those after it, and the rest goes on alike."""
    whole = tmp_path / "whole"
    exchange = opened(whole)
    exchange.save()
    story(exchange)
    snapshot = (whole / "exchange.json").read_bytes()
    lines = (whole / "exchange.json.journal").read_bytes().splitlines(keepends=True)
    end = kept(exchange, whole)
    assert len(lines) > 10
    for cut in range(len(lines)):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / "exchange.json").write_bytes(snapshot)
        torn = lines[cut][: len(lines[cut]) // 2]  # its request was not answered
        (folder / "exchange.json.journal").write_bytes(b"".join(lines[:cut]) + torn)
        taken_up = opened(folder)
        taken_up.save()
        for line in lines[cut:]:
            play(taken_up, msgspec.json.decode(line))
        assert kept(taken_up, folder) == end, f"after line {cut}"


def play(exchange: Running, line: dict[str, Any]) -> None:
    """A journal's line as the request it was, at the time it came."""
    if "method" in line:
        keys = OTHER if line.get("key") == "other" else KEYS
        body = json.loads(line["body"]) if line.get("body") else None
        ask(exchange, line["method"], line["path"], body, keys, line.get("query", ""))


def test_a_snapshot_says_which_lines_of_an_old_journal_it_contains(
    opened: Open, tmp_path: Path
) -> None:
    """A kill after the snapshot was replaced and before the journal was begun anew."""
    exchange = opened(tmp_path)
    exchange.save()
    story(exchange)
    journal = (tmp_path / "exchange.json.journal").read_bytes()
    after = kept(exchange, tmp_path)
    (tmp_path / "exchange.json.journal").write_bytes(journal)
    assert kept(opened(tmp_path), tmp_path) == after


def test_a_journal_that_is_damaged_in_the_middle_is_not_played_over(
    opened: Open, tmp_path: Path
) -> None:
    exchange = opened(tmp_path)
    exchange.save()
    story(exchange)
    path = tmp_path / "exchange.json.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"#" + lines[3], *lines[4:]]))
    with pytest.raises(ExchangeError, match="is damaged"):
        opened(tmp_path)


def test_on_a_full_disk_an_order_is_not_promised_and_later_ones_are_kept_all_the_same(
    opened: Open, tmp_path: Path
) -> None:
    """The order is in doubt, as after any 500. With room again everything is in the snapshot."""
    exchange = opened(tmp_path)
    exchange.save()
    ask(exchange, "POST", "/v2/orders", REST | {"client_order_id": "before"})
    journal = exchange._file._journal
    exchange._file._journal = Full()
    for name in ("torn", "in doubt"):
        scope = {"method": "POST", "path": "/v2/orders", "query_string": b"", "headers": KEYS}
        body = json.dumps(REST | {"client_order_id": name}).encode()
        if name == "in doubt":  # a snapshot cannot be written either
            (tmp_path / "exchange.json.new").mkdir()
        answer = exchange.face.answer(scope, body)
        assert answer.status == 500
        assert msgspec.json.decode(answer.body)["message"]
    (tmp_path / "exchange.json.new").rmdir()
    exchange._file._journal = journal
    ask(exchange, "POST", "/v2/orders", REST | {"client_order_id": "after"})
    again = opened(tmp_path)
    found = ask(again, "GET", "/v2/orders")
    assert [order["id"] for order in found] == [
        order["id"] for order in ask(exchange, "GET", "/v2/orders")
    ]
    assert {order["client_order_id"] for order in found} >= {"before", "after"}


class Full:
    """A journal on a disk with room for ten bytes."""

    def write(self, line: bytes) -> int:
        return min(len(line), 10)
