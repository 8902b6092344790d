"""What a fault is: which requests or stream events it may strike, how often, and what it does.

A rule is asked in the order rules were added. Whether it strikes is a pure function of its seed,
its id and how many requests reached it before, so the same rules and the same requests give the
same faults. Nothing here acts: the HTTP face and the streams carry out what is decided.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import msgspec

from services.exchange.prices.draws import key_of, uniform

Kind = Literal[
    "delay", "rate_limited", "error", "error_after", "reset", "reset_after", "hang", "hang_after",
    "malformed", "malformed_after", "altered", "missing_greeks", "missing_quotes", "stale_quotes",
    "drop", "mute", "duplicate", "reorder",
]  # fmt: skip
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "*"]
Stream = Literal["trade_updates", "stocks", "options", "*"]
STREAM_KINDS = frozenset(("drop", "mute", "duplicate", "reorder"))
FIELDS: dict[str, tuple[str, ...]] = {
    "delay": ("seconds",),
    "rate_limited": (),
    "error": ("status", "code", "message", "body"),
    "error_after": ("status", "code", "message", "body"),
    "reset": (),
    "reset_after": (),
    "hang": ("seconds",),
    "hang_after": ("seconds",),
    "malformed": ("body",),
    "malformed_after": ("body",),
    "altered": ("fields", "rows"),
    "missing_greeks": ("share",),
    "missing_quotes": ("share",),
    "stale_quotes": ("seconds",),
    "drop": (), "mute": (), "duplicate": (), "reorder": (),
}  # fmt: skip
"""What each kind takes besides what all take."""

SPECIFIC = tuple(dict.fromkeys(name for names in FIELDS.values() for name in names))
SECONDS = {"delay": 1.0, "hang": 60.0, "hang_after": 60.0, "stale_quotes": 900.0}  # unless given
SECONDS_MAX = {"delay": 600.0, "hang": 600.0, "hang_after": 600.0, "stale_quotes": 86_400.0 * 30}
TEXT_LENGTH_MAX = 200
BODY_LENGTH_MAX = 100_000
COUNT_MAX = 10**9
SEED_MAX = 2**63 - 1


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`path` is an endpoint's template (`/v2/orders/{order_id}`), a path, or a pattern with `*`."""

    kind: Kind
    id: str = ""  # named by the exchange when empty
    method: Method = "*"
    path: str = "*"
    stream: Stream = "*"
    key: str | None = None  # of the account; None: any
    rate: float = 1.0  # of the requests that are neither skipped nor beyond `times`
    seed: int = 1
    skip: int = 0  # so many matching requests pass first
    times: int | None = None  # so many faults at most; None: for ever
    seconds: float | None = None
    status: int | None = None
    code: int | None = None
    message: str | None = None
    body: str | None = None
    share: float | None = None  # of the symbols in an answer
    fields: dict[str, Any] | None = None  # put over those of an object that is answered
    rows: list[dict[str, Any]] | None = None  # added to a list that is answered

    @property
    def for_streams(self) -> bool:
        return self.kind in STREAM_KINDS

    @property
    def lasting_seconds(self) -> float:
        return SECONDS[self.kind] if self.seconds is None else self.seconds

    def matches_request(self, method: str, path: str, template: str, key: str) -> bool:
        """`path` as it came, `template` of the endpoint it led to."""
        if self.for_streams or self.method not in ("*", method) or self.key not in (None, key):
            return False
        return self.path in ("*", path, template) or fnmatchcase(path, self.path)

    def matches_stream(self, stream: str, key: str) -> bool:
        return self.for_streams and self.stream in ("*", stream) and self.key in (None, key)

    def strikes(self, matched: int, struck: int) -> bool:
        """Whether it strikes, when so many matched before and so many of them were struck."""
        if matched < self.skip or (self.times is not None and struck >= self.times):
            return False
        return self.draw(matched) < self.rate

    def draw(self, number: int, *of: str) -> float:
        """In [0, 1); the same for the same rule, number and names."""
        return float(uniform(key_of(self.seed, self.id, *of), [number])[0])


def trouble(fault: Fault) -> str | None:
    """What is wrong with a rule, in one line that names the field."""
    for name in SPECIFIC:
        if getattr(fault, name) is not None and name not in FIELDS[fault.kind]:
            takes = ", ".join(FIELDS[fault.kind]) or "no field of its own"
            return f"{name} is not for a fault of kind {fault.kind}, which takes {takes}"
    return _wrong_place(fault) or _wrong_number(fault) or _wrong_answer(fault)


def _wrong_place(fault: Fault) -> str | None:
    for name in ("id", "path", "key", "message"):
        text = getattr(fault, name)
        if text is not None and (len(text) > TEXT_LENGTH_MAX or not text.isprintable()):
            return f"{name} must be printable and at most {TEXT_LENGTH_MAX} long"
    if "/" in fault.id:
        return "id must not contain a slash: it is part of a path"
    if fault.path != "*" and not fault.path.startswith("/"):
        return f"path {fault.path[:40]!r} must be *, or begin with a slash"
    if fault.for_streams and (fault.path, fault.method) != ("*", "*"):
        return f"path and method are not for a fault of kind {fault.kind}; it takes stream"
    if not fault.for_streams and fault.stream != "*":
        return f"stream is not for a fault of kind {fault.kind}; it takes method and path"
    return None


def _wrong_number(fault: Fault) -> str | None:
    bounds: tuple[tuple[str, float | None, float, float], ...] = (
        ("rate", fault.rate, 0, 1),
        ("share", fault.share, 0, 1),
        ("seed", fault.seed, -SEED_MAX, SEED_MAX),
        ("skip", fault.skip, 0, COUNT_MAX),
        ("times", fault.times, 1, COUNT_MAX),
        ("status", fault.status, 400, 599),
        ("code", fault.code, 0, COUNT_MAX),
        ("seconds", fault.seconds, 0, SECONDS_MAX.get(fault.kind, 0)),
    )
    for name, value, low, high in bounds:
        if value is not None and not low <= value <= high:
            return f"{name} must be {low:g} to {high:g}"
    return None


def _wrong_answer(fault: Fault) -> str | None:
    if fault.body is not None and len(fault.body) > BODY_LENGTH_MAX:
        return f"body must be at most {BODY_LENGTH_MAX} long"
    if fault.body is not None and (fault.code is not None or fault.message is not None):
        return "body is the whole answer: it excludes code and message"
    if fault.kind == "altered" and (fault.fields is None) == (fault.rows is None):
        return "a fault of kind altered takes fields or rows: one of them"
    return None


KINDS: tuple[str, ...] = get_args(Kind)
