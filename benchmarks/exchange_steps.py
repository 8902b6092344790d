"""The exchange's engine without HTTP: steps of a minute, and a year of them."""

from __future__ import annotations

import datetime as dt
import time
from decimal import Decimal
from statistics import median

import numpy as np

from benchmarks.result import Result
from libs.common.symbols import OptionSymbol, Right
from services.exchange.engine.account import Account, open_books
from services.exchange.prices.calendar import load_calendar
from services.exchange.prices.history import load_history
from services.exchange.prices.market import Market
from services.exchange.terms import Terms

START = dt.date(2019, 1, 2)
STEP_TARGET_US = 200.0
SESSIONS = 5
YEAR_SESSIONS = 252
CASH = Decimal(10**9)
MINUTE = dt.timedelta(minutes=1)


def run() -> list[Result]:
    """Raises AssertionError when stepping minute by minute gives other books than one leap."""
    _step(**BASE)  # caches and allocators warm
    step_us, worst_us = _step(**BASE)
    curve = [f"{name} {_along(name, values)}" for name, values in CURVE.items()]
    rate, seconds = _year()
    return [
        Result(
            name="a step: 20 symbols, 200 resting orders, 100 option positions",
            figure=step_us,
            unit="us",
            target=STEP_TARGET_US,
            notes=f"mean over whole sessions, opens and closes included; the longest minute "
            f"inside a session {worst_us:.0f} us; along " + "; ".join(curve),
        ),
        Result(
            name="a year of 20 symbols, minute by minute",
            figure=seconds,
            unit="s",
            notes=f"{rate:,.0f} steps a second, prices drawn on the way",
        ),
    ]


BASE = {"symbols": 20, "orders": 200, "positions": 100}
CURVE = {
    "orders": (0, 100, 200, 400, 800),
    "positions": (0, 50, 100, 200, 400),
    "symbols": (5, 10, 20),
}


def _along(name: str, values: tuple[int, ...]) -> str:
    """Microseconds a step with one of the three changed; the others as in BASE."""
    figures = [f"{value}: {_step(**(BASE | {name: value}))[0]:.0f}" for value in values]
    return ", ".join(figures)


def _account(symbols: int, orders: int, positions: int) -> Account:
    history = load_history()
    market = Market(load_calendar(), history.only(history.symbols[:symbols]), 1)
    start = market.calendar.session(market.calendar.first_from(START))
    books = open_books(
        market,
        at=start.open,
        cash=CASH,
        positions={symbol: (Decimal(100_000), None) for symbol in market.history.symbols},
        options_level=3,
        seed=1,
    )
    account = Account(market, books, Terms(early_assignment_rate=0.0))
    account.advance(start.open)
    rng = np.random.default_rng(3)
    for number in range(positions):
        _open_position(account, number, start.open)
    for _ in range(orders):
        symbol = market.history.symbols[int(rng.integers(symbols))]
        last = float(market.session_quotes(symbol, start).value[0])
        selling = bool(rng.random() < 0.5)
        away = rng.uniform(0.3, 0.6)
        price = last * (1 + away) if selling else last * (1 - away)
        account.submit(
            {
                "symbol": symbol,
                "side": "sell" if selling else "buy",
                "qty": 1,
                "type": "limit",
                "limit_price": f"{price:.2f}",
                "time_in_force": "gtc",
            },
            start.open,
        )
    return account


def _open_position(account: Account, number: int, now: dt.datetime) -> None:
    """A far put or call, sold; the contracts differ."""
    market, moment = account.market, account.market.moment(now)
    names = market.history.symbols
    underlying = names[number % len(names)]
    listing = market.listing(underlying, moment)
    contracts = [c for c in listing.contracts if not c.parts.adjusted and _far(c.parts, moment.now)]
    contract = contracts[(number // len(names) * 7) % len(contracts)]
    account.books.move(contract.symbol, Decimal(-1), Decimal(1), now)


def _far(parts: OptionSymbol, now: dt.datetime) -> bool:
    return (parts.expiration - now.date()).days > 30 and parts.right in Right


def _step(*, symbols: int, orders: int, positions: int) -> tuple[float, float]:
    """Microseconds a step, the mean over whole sessions; and the longest within a session."""
    account = _account(symbols, orders, positions)
    leaping = _account(symbols, orders, positions)
    total, longest, steps = 0.0, [], 0
    calendar, first = account.market.calendar, account.books.day
    for day in range(first, first + SESSIONS):
        session = calendar.session(day)
        inside = []
        for minute in range(session.minutes + 1):
            began = time.thread_time()
            account.advance(session.open + minute * MINUTE)
            took = time.thread_time() - began
            total, steps = total + took, steps + 1
            if 0 < minute < session.minutes:
                inside.append(took)
        longest.append(max(inside))
    leaping.advance(calendar.session(first + SESSIONS - 1).close)
    assert account.books.cash == leaping.books.cash, "cash differs after one leap"
    assert account.books.equity_closes == leaping.books.equity_closes, "equity differs"
    assert list(account.books.open_orders) == list(leaping.books.open_orders), "orders differ"
    return total / steps * 1e6, median(longest) * 1e6


def _year() -> tuple[float, float]:
    """Steps a second, and seconds for the whole."""
    account = _account(symbols=20, orders=40, positions=20)
    calendar, first = account.market.calendar, account.books.day
    began, steps = time.thread_time(), 0
    for day in range(first, first + YEAR_SESSIONS):
        session = calendar.session(day)
        for minute in range(session.minutes + 1):
            account.advance(session.open + minute * MINUTE)
            steps += 1
    seconds = time.thread_time() - began
    return steps / seconds, seconds
