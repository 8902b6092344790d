"""From the text of a variable to its value: one parser for each form a setting can have.

A parser carries the sentence that says what is allowed, so that check and explanation cannot
drift apart. It returns the value or raises ValueError, never anything else: arbitrary text may
come in. The ValueError's own text is not shown (it might quote a secret).
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

import msgspec

from libs.common.settings import Secret
from libs.common.symbols import is_stock_symbol

_WHOLE = re.compile(r"[+-]?\d{1,15}", re.ASCII)
# No digits without end and no `nan` or `inf`: neither is ever a sensible setting.
_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(?:[eE][+-]?\d{1,2})?", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{16}", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+\-/]{0,63}", re.ASCII)
_TOKEN = re.compile(r"[!-~]{1,512}", re.ASCII)
_NKEY_SEED = re.compile(r"SU[A-Z2-7]{56}")
_ACCOUNT = re.compile(r"[A-Za-z0-9-]{4,40}", re.ASCII)
_SYMBOLS_ALLOWED = "stock symbols with commas between, such as AAPL,MSFT,BRK.B"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})
_ED25519_KEY_BYTES = 32
_Bounded = TypeVar("_Bounded", int, Decimal)


class Parser(msgspec.Struct, frozen=True, kw_only=True):
    allowed: str
    """Completes "allowed: …" in plain English."""
    parse: Callable[[str], object]


def whole(low: int, high: int) -> Parser:
    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise ValueError("not a whole number")
        return _within(int(text), low, high)

    return Parser(allowed=f"a whole number from {low} to {high}", parse=parse)


def number(low: str, high: str) -> Parser:
    """A float between two bounds, both included."""

    def parse(text: str) -> float:
        return float(_within(_decimal(text), Decimal(low), Decimal(high)))

    return Parser(allowed=f"a number from {low} to {high}", parse=parse)


def decimal(low: str, high: str) -> Parser:
    """An exact decimal between two bounds, both included: money and what is sent in orders."""

    def parse(text: str) -> Decimal:
        return _within(_decimal(text), Decimal(low), Decimal(high))

    return Parser(allowed=f"a number from {low} to {high}", parse=parse)


def _decimal(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return Decimal(text)


def _within(value: _Bounded, low: _Bounded, high: _Bounded) -> _Bounded:
    if not low <= value <= high:
        raise ValueError("out of range")
    return value


def one_of(kind: type[StrEnum]) -> Parser:
    def parse(text: str) -> StrEnum:
        return kind(text.lower())

    return Parser(allowed=_either([member.value for member in kind]), parse=parse)


def word(*words: str) -> Parser:
    """One of a few words, in whatever case it is written."""
    by_lower = {w.lower(): w for w in words}

    def parse(text: str) -> str:
        if text.lower() not in by_lower:
            raise ValueError("none of the words")
        return by_lower[text.lower()]

    return Parser(allowed=_either(list(words)), parse=parse)


def _either(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def yes_or_no() -> Parser:
    def parse(text: str) -> bool:
        if text.lower() in _YES:
            return True
        if text.lower() in _NO:
            return False
        raise ValueError("neither")

    return Parser(allowed="true or false", parse=parse)


def stock_symbols() -> Parser:
    """Upper-cased, each once, in the order written."""
    return Parser(allowed=_SYMBOLS_ALLOWED, parse=_symbols)


def stock_symbol_set() -> Parser:
    def parse(text: str) -> frozenset[str]:
        return frozenset(_symbols(text))

    return Parser(allowed=_SYMBOLS_ALLOWED, parse=parse)


def _symbols(text: str) -> tuple[str, ...]:
    symbols = [part.strip().upper() for part in text.split(",") if part.strip()]
    if not all(is_stock_symbol(symbol) for symbol in symbols):
        raise ValueError("not stock symbols")
    return tuple(dict.fromkeys(symbols))


def dates() -> Parser:
    def parse(text: str) -> frozenset[dt.date]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not all(_DATE.fullmatch(part) for part in parts):
            raise ValueError("not dates")
        return frozenset(dt.date.fromisoformat(part) for part in parts)

    return Parser(allowed="dates as YYYY-MM-DD with commas between", parse=parse)


def hex_words() -> Parser:
    """Short hashes, as `alpaclaudia config` shows them."""

    def parse(text: str) -> frozenset[str]:
        words = [part.strip() for part in text.split(",") if part.strip()]
        if not all(_HEX.fullmatch(word) for word in words):
            raise ValueError("not versions")
        return frozenset(words)

    return Parser(allowed="versions of 16 hexadecimal digits with commas between", parse=parse)


def time_of_day() -> Parser:
    def parse(text: str) -> dt.time:
        match = _TIME.fullmatch(text)
        if match is None:
            raise ValueError("not a time")
        return dt.time(int(match[1]), int(match[2]))

    return Parser(allowed="a time of day as HH:MM, 00:00 to 23:59", parse=parse)


def time_zone() -> Parser:
    def parse(text: str) -> str:
        if not _ZONE.fullmatch(text):
            raise ValueError("not a zone's name")
        try:
            ZoneInfo(text)
        except (KeyError, OSError):  # unknown; a folder of zones such as `America`
            raise ValueError("no such zone") from None
        return text

    return Parser(allowed="a time zone of the IANA list, such as America/New_York", parse=parse)


def account_number() -> Parser:
    def parse(text: str) -> str:
        if not _ACCOUNT.fullmatch(text):
            raise ValueError("not an account number")
        return text

    return Parser(
        allowed="the account's number, letters and digits, as Alpaca shows it", parse=parse
    )


def plain_text() -> Parser:
    def parse(text: str) -> str:
        if not text.isprintable():
            raise ValueError("not printable")
        return text

    return Parser(allowed="printable text", parse=parse)


def secret_text() -> Parser:
    """A key or password: goes into headers and protocols, so visible ASCII without blanks."""

    def parse(text: str) -> Secret:
        if not _TOKEN.fullmatch(text):
            raise ValueError("not a token")
        return Secret(text)

    return Parser(allowed="up to 512 visible ASCII characters, no blanks", parse=parse)


def nkey_seed() -> Parser:
    def parse(text: str) -> Secret:
        if not _NKEY_SEED.fullmatch(text):
            raise ValueError("not the seed of a user's nkey")
        return Secret(text)

    return Parser(
        allowed="the seed of a user's nkey: SU and 56 more letters and digits", parse=parse
    )


def file_path() -> Parser:
    def parse(text: str) -> str:
        if "\x00" in text:
            raise ValueError("no path holds NUL")
        return text

    return Parser(allowed="the path of a file", parse=parse)


def ed25519_key(*, secret: bool) -> Parser:
    def parse(text: str) -> str:
        if len(base64.b64decode(text, validate=True)) != _ED25519_KEY_BYTES:
            raise ValueError("not 32 bytes")
        return Secret(text) if secret else text

    return Parser(allowed="the 32 bytes of an Ed25519 key in base64 (44 characters)", parse=parse)


def broker_url() -> Parser:
    """Without the trailing `/v2` the SDK would double; see `broker_url_notice`."""

    def parse(text: str) -> str:
        bare = _without_version(text)
        parts = _web_address(bare)
        if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("more than a host")
        return bare

    return Parser(
        allowed="https://host or, on this machine or with ALPACA_ENV=sim, http://host:port",
        parse=parse,
    )


def broker_url_notice(text: str) -> str | None:
    bare = _without_version(text)
    if bare == text:
        return None
    return "the end `/v2` or `/` is left out: the SDK adds the version itself"


def _without_version(text: str) -> str:
    return text.rstrip("/").removesuffix("/v2").rstrip("/")


def webhook_url() -> Parser:
    """Where it may point is a rule of its own, see settings_rules."""

    def parse(text: str) -> Secret:
        if "@" in _web_address(text).netloc:
            raise ValueError("holds credentials")
        return Secret(text)

    return Parser(allowed="a full https:// address", parse=parse)


def listen_address() -> Parser:
    def parse(text: str) -> str:
        return str(ipaddress.ip_address(text))

    return Parser(
        allowed="an IP address, such as 127.0.0.1, or 0.0.0.0 for every one of this machine",
        parse=parse,
    )


def network_place() -> Parser:
    def parse(text: str) -> str:
        parts = _split(f"//{text}")
        if not parts.hostname or parts.netloc != text or "@" in text:
            raise ValueError("more than a host")
        return text.lower()

    return Parser(allowed="host or host:port", parse=parse)


def bus_url() -> Parser:
    def parse(text: str) -> str:
        parts = _split(text)
        if parts.scheme not in {"nats", "tls", "ws", "wss"} or not parts.hostname:
            raise ValueError("not a NATS address")
        if "@" in parts.netloc:
            raise ValueError("holds credentials")
        return text

    return Parser(
        allowed="nats://host:port or tls://host:port; user and password are variables of their own",
        parse=parse,
    )


def database_url() -> Parser:
    """SQLAlchemy does not know the short scheme `postgres`, so it is written out."""

    def parse(text: str) -> Secret:
        parts = _split(text)
        if parts.scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
            raise ValueError("not Postgres")
        if not (parts.hostname or "host=" in parts.query):
            raise ValueError("no host")
        if parts.scheme == "postgres":
            return Secret("postgresql" + text[len("postgres") :])
        return Secret(text)

    return Parser(allowed="postgresql://user:password@host:port/database", parse=parse)


def is_loopback(url: str) -> bool:
    """Whether a valid address points at this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def _web_address(text: str) -> SplitResult:
    parts = _split(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not a web address")
    return parts


def _split(text: str) -> SplitResult:
    if not _TOKEN.fullmatch(text):
        raise ValueError("blanks or control characters in an address")
    parts = urlsplit(text)
    _ = parts.port  # raises ValueError when it is no port
    return parts
