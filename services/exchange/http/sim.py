"""What is not Alpaca's: the simulation's own endpoints, under /sim. They need no keys."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec

from services.exchange.config import AccountConfig, account_trouble
from services.exchange.engine.numbers import ordinary
from services.exchange.engine.refusals import malformed, unprocessable
from services.exchange.http import page
from services.exchange.http.call import Call, Endpoints
from services.exchange.http.views import View, account_view, clock_view, money, plain
from services.exchange.prices.actions import CashDividend, Split
from services.exchange.prices.calendar import Session
from services.exchange.prices.market import Moment
from services.exchange.venue import SYNTHETIC_NOTE, Tenant

STEP_MINUTES_MAX = 60 * 24 * 366


class StepRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far to move the clock: one of the three."""

    minutes: float | None = None
    sessions: int | None = None  # to the open of the n-th next session
    to: str | None = None  # "open", "close" or a time (RFC 3339)


class ClockRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    paused: bool | None = None
    speed: float | None = None


class ActionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dividend (`rate` dollars a share) or a split (`new_rate` for `old_rate`)."""

    type: str
    symbol: str
    ex_date: dt.date
    rate: str | float | None = None
    new_rate: str | float | None = None
    old_rate: str | float | None = None
    record_date: dt.date | None = None
    payable_date: dt.date | None = None


def health(_call: Call) -> Any:
    return {"status": "ok"}


def state(call: Call) -> Any:
    venue, market = call.venue, call.market
    clock = clock_view(market.calendar, call.moment)
    return {
        "simulated_time": call.moment.now,
        "is_open": call.moment.is_open,
        "waiting_for_client": venue.waiting,
        "paused": venue.clock.paused,
        "ended": venue.ended,
        "speed": venue.clock.speed,
        "seed": market.seed,
        "symbols": market.history.symbols,
        "accounts": [_summary(call, tenant) for tenant in venue.tenants.values()],
        "open_orders": sum(len(t.books.open_orders) for t in venue.tenants.values()),
        "positions": sum(len(t.books.positions) for t in venue.tenants.values()),
        "note": SYNTHETIC_NOTE,
        "next_open": clock["next_open"],
        "next_close": clock["next_close"],
    }


def _summary(call: Call, tenant: Tenant) -> View:
    books = tenant.books
    figures = account_view(books, call.market, call.moment)
    return {
        "key": tenant.key,
        "account_number": figures["account_number"],
        "equity": figures["equity"],
        "cash": money(books.cash),
        "options_level": books.options_level,
        "open_orders": len(books.open_orders),
        "positions": {symbol: plain(p.qty) for symbol, p in books.positions.items()},
    }


# --- the clock ---------------------------------------------------------------------------------


def step(call: Call) -> Any:
    """Move simulated time on; every account is played up to there before the answer."""
    request = _read(call, StepRequest)
    wishes = [w for w in (request.minutes, request.sessions, request.to) if w is not None]
    if len(wishes) > 1:
        raise unprocessable("only one of minutes, sessions or to is accepted")
    call.venue.begin()
    call.venue.changes += 1
    return _clock(call, call.venue.step_to(_target(call, request)))


def _target(call: Call, request: StepRequest) -> dt.datetime:
    now, calendar = call.moment.now, call.market.calendar
    if request.sessions is not None:
        if not 1 <= request.sessions <= 10_000:
            raise unprocessable("sessions must be 1 to 10000")
        return _session_after(call, request.sessions - 1).open
    match request.to:
        case None:
            minutes = 1.0 if request.minutes is None else request.minutes
            if not 0 < minutes <= STEP_MINUTES_MAX:
                raise unprocessable(f"minutes must be above 0, at most {STEP_MINUTES_MAX}")
            return now + dt.timedelta(minutes=minutes)
        case "open":
            return _session_after(call, 0).open
        case "close":
            return (calendar.current_or_next(now) or call.moment.session).close
        case text:
            return _time(text)


def _session_after(call: Call, count: int) -> Session:
    """The session that opens next, or `count` after that."""
    now, calendar = call.moment.now, call.market.calendar
    upcoming = calendar.current_or_next(now) or call.moment.session
    first = upcoming.index + (1 if upcoming.open <= now else 0)
    return calendar.session(min(first + count, len(calendar) - 1))


def _time(text: str) -> dt.datetime:
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        raise unprocessable(f"to {text[:40]!r}: open, close or an RFC 3339 time") from None
    if at.tzinfo is None:
        raise unprocessable(f"to {text[:40]!r} has no time zone")
    try:
        return at.astimezone(dt.UTC)
    except OverflowError:
        raise unprocessable(f"to {text[:40]!r} is out of range") from None


def set_clock(call: Call) -> Any:
    request, venue = _read(call, ClockRequest), call.venue
    if request.speed is not None:
        if not 0 < request.speed <= 1_000_000:
            raise unprocessable("speed must be above 0, at most 1000000")
        venue.clock.set_speed(request.speed, venue.elapsed)
    if request.paused is True:
        venue.clock.pause(venue.elapsed)
    elif request.paused is False:
        venue.begin()
        venue.clock.resume(venue.elapsed)
    return _clock(call, call.moment)


def get_clock(call: Call) -> Any:
    return _clock(call, call.moment)


def _clock(call: Call, moment: Moment) -> View:
    clock = call.venue.clock
    return {
        "simulated_time": moment.now,
        "is_open": moment.is_open,
        "paused": clock.paused,
        "speed": clock.speed,
        "ended": call.venue.ended,
    }


# --- accounts ----------------------------------------------------------------------------------


def accounts(call: Call) -> Any:
    return [_summary(call, tenant) for tenant in call.venue.tenants.values()]


def open_account(call: Call) -> Any:
    return _summary(call, call.venue.open_account(_account_config(call)))


def reset_account(call: Call) -> Any:
    """Without a body the account begins again with the cash it had first."""
    key = call.path["key"]
    if not call.body.strip():
        return _summary(call, call.venue.reset_account(key))
    tenant = call.venue.tenant(key)
    body = call.json()
    if isinstance(body, dict):
        body = {"key": key, "secret": tenant.secret} | body
    config = _converted(body, AccountConfig)
    if (config.key, config.secret) != (key, tenant.secret):
        raise unprocessable("a reset keeps key and secret")
    _check_account(config)
    return _summary(call, call.venue.reset_account(key, config))


def close_account(call: Call) -> Any:
    call.venue.close_account(call.path["key"])


def _account_config(call: Call) -> AccountConfig:
    config: AccountConfig = _read(call, AccountConfig)
    _check_account(config)
    return config


def _check_account(config: AccountConfig) -> None:
    trouble = account_trouble(config)
    if trouble:
        raise unprocessable(trouble)


# --- corporate actions -------------------------------------------------------------------------


def inject_action(call: Call) -> Any:
    """A dividend or split of the future; raises Refusal for one that is not possible."""
    request = _read(call, ActionRequest)
    number = len(call.market.actions.all) + 1
    name = f"sim-{number}"
    action: CashDividend | Split
    try:
        if request.type == "cash_dividend":
            action = CashDividend(
                id=name,
                symbol=request.symbol,
                rate=_rate(request.rate, "rate"),
                ex_date=request.ex_date,
                record_date=request.record_date or request.ex_date,
                payable_date=request.payable_date or request.ex_date + dt.timedelta(days=14),
            )
        elif request.type == "split":
            action = Split(
                id=name,
                symbol=request.symbol,
                new_rate=_rate(request.new_rate, "new_rate"),
                old_rate=_rate(request.old_rate, "old_rate"),
                ex_date=request.ex_date,
            )
        else:
            raise unprocessable(f"type {request.type[:40]!r}: cash_dividend or split")
        call.market.inject(action, call.moment.now)
    except ValueError as error:
        raise unprocessable(str(error)) from None
    except OverflowError:  # two weeks after the last dates there are
        raise unprocessable(f"ex_date {request.ex_date} is out of range") from None
    call.venue.changes += 1
    return msgspec.to_builtins(action)


def actions(call: Call) -> Any:
    return [msgspec.to_builtins(action) for action in call.market.actions.all]


def _rate(value: str | float | None, name: str) -> Decimal:
    if value is None:
        raise ValueError(f"{name} is required")
    number = ordinary(value)
    if number is None:
        raise ValueError(f"{name} {str(value)[:40]!r} is not a number")
    return number


def _read(call: Call, kind: type[Any]) -> Any:
    body = call.json() if call.body.strip() else {}
    return _converted(body, kind)


def _converted(body: object, kind: type[Any]) -> Any:
    if not isinstance(body, dict):
        raise malformed("request body must be a JSON object")
    try:
        return msgspec.convert(body, kind, strict=False)
    except msgspec.ValidationError as error:
        raise unprocessable(f"invalid body: {error}") from None


ENDPOINTS: Endpoints = page.ENDPOINTS | {
    ("GET", "/sim/health"): health,
    ("GET", "/sim/state"): state,
    ("GET", "/sim/clock"): get_clock,
    ("PATCH", "/sim/clock"): set_clock,
    ("POST", "/sim/step"): step,
    ("GET", "/sim/accounts"): accounts,
    ("POST", "/sim/accounts"): open_account,
    ("POST", "/sim/accounts/{key}/reset"): reset_account,
    ("DELETE", "/sim/accounts/{key}"): close_account,
    ("GET", "/sim/corporate-actions"): actions,
    ("POST", "/sim/corporate-actions"): inject_action,
}
