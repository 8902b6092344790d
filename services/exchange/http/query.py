"""Reading query parameters: each returns a value or raises a Refusal that names the parameter."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Mapping

from services.exchange.engine.numbers import ordinary
from services.exchange.engine.refusals import Refusal, unprocessable
from services.exchange.prices.calendar import NEW_YORK

Query = Mapping[str, str]
SYMBOLS_MAX = 1000
NUMBER_MAX = 10**9
YEAR_MIN, YEAR_MAX = 1900, 2200


def _wrong(name: str, value: str, allowed: str) -> Refusal:
    return unprocessable(f"invalid {name} {value[:40]!r}: {allowed}")


def symbols(query: Query, name: str = "symbols") -> list[str]:
    """A comma-separated list, without doubles, in the order given."""
    found = list(dict.fromkeys(s.strip() for s in query.get(name, "").split(",") if s.strip()))
    if len(found) > SYMBOLS_MAX:
        raise unprocessable(f"{name}: at most {SYMBOLS_MAX}")
    return found


def whole(query: Query, name: str, *, default: int, maximum: int) -> int:
    text = query.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9):
        raise _wrong(name, text, f"a whole number from 1 to {maximum}")
    value = int(text)
    if not 1 <= value <= maximum:
        raise _wrong(name, text, f"a whole number from 1 to {maximum}")
    return value


def choice(query: Query, name: str, allowed: tuple[str, ...], default: str) -> str:
    value = query.get(name) or default
    if value not in allowed:
        raise _wrong(name, value, "one of " + ", ".join(allowed))
    return value


def needed(query: Query, name: str, allowed: tuple[str, ...]) -> str:
    """A choice without a default."""
    if not query.get(name):
        raise unprocessable(f"{name} is required: one of " + ", ".join(allowed))
    return choice(query, name, allowed, "")


def flag(query: Query, name: str) -> bool | None:
    value = query.get(name)
    if not value:
        return None
    if value.lower() not in ("true", "false"):
        raise _wrong(name, value, "true or false")
    return value.lower() == "true"


def number(query: Query, name: str) -> float | None:
    text = query.get(name)
    if not text:
        return None
    value = ordinary(text)
    if value is None or abs(value) > NUMBER_MAX:
        raise _wrong(name, text, "a number of ordinary size")
    return float(value)


def date(query: Query, name: str) -> dt.date | None:
    """A date, or the New York date of a date with a time."""
    text = query.get(name)
    if not text:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return _instant(name, text).astimezone(NEW_YORK).date()


def instant(query: Query, name: str) -> dt.datetime | None:
    """An aware UTC time; a bare date is its New York midnight, a bare time is UTC."""
    text = query.get(name)
    if not text:
        return None
    return _instant(name, text)


def _instant(name: str, text: str) -> dt.datetime:
    try:
        if len(text) == 10:
            midnight = dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), NEW_YORK)
            return _of_our_time(name, text, midnight.astimezone(dt.UTC))
        # A plus sign that was not escaped arrives as a space.
        value = dt.datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        value = (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise _wrong(name, text, "an RFC 3339 time or a date") from None
    return _of_our_time(name, text, value)


def _of_our_time(name: str, text: str, value: dt.datetime) -> dt.datetime:
    if not YEAR_MIN <= value.year <= YEAR_MAX:  # beyond, conversions between zones overflow
        raise _wrong(name, text, f"a time of the years {YEAR_MIN} to {YEAR_MAX}")
    return value


def page_token(query: Query, name: str = "page_token") -> str | None:
    """What `token` wrote."""
    text = query.get(name)
    if not text:
        return None
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise _wrong(name, text, "a token from next_page_token") from None


def token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()
