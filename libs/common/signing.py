"""Signed approvals: the only door to `cryptography`.

An approval is signed (Ed25519, RFC 8032) over all it says: what will be sent, the account and
environment it is meant for, the limits it was judged by, a nonce and the moment it ends, so that
no other writer on the bus, and no later change on the way, can make the executor send anything
risk did not approve.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import math
from decimal import Decimal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from libs.common.contracts import IntentApproved

_DOMAIN = b"alpaclaudia/approval/2\n"
_JOINED_LATER = frozenset({"replaces"})
"""Left out while they say nothing, so that what was signed before they were there still holds."""


class KeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """An Ed25519 key pair, each half its 32 raw bytes in base64."""

    private: str
    public: str

    def __repr__(self) -> str:
        return f"KeyPair(private=<hidden>, public={self.public!r})"


def generate_keypair() -> KeyPair:
    key = Ed25519PrivateKey.generate()
    raw = key.private_bytes(
        serialization.Encoding.Raw,
        serialization.PrivateFormat.Raw,
        serialization.NoEncryption(),
    )
    return KeyPair(private=base64.b64encode(raw).decode(), public=_public_text(key))


def public_key_of(private_key: str) -> str:
    """The public half of a private key. Raises ValueError for a malformed key."""
    return _public_text(Ed25519PrivateKey.from_private_bytes(_key_bytes(private_key, "private")))


def signable_bytes(approved: IntentApproved) -> bytes:
    """What a signature covers: a domain tag and every field as JSON with sorted keys.

    Canonical: decimals as they print, times in UTC, numbers without a needless point, so that it
    comes out the same after the bus and after a JSONB column. Raises ValueError for a time
    without a zone or an amount that is no number.
    """
    unsigned = msgspec.structs.replace(approved, signature="")
    return _DOMAIN + msgspec.json.encode(_canonical(unsigned), order="sorted")


def _canonical(value: object) -> object:
    found: object
    match value:
        case msgspec.Struct():
            fields = {name: getattr(value, name) for name in value.__struct_fields__}
            found = {
                name: _canonical(item)
                for name, item in fields.items()
                if not (item is None and name in _JOINED_LATER)
            }
        case dict():
            found = {str(name): _canonical(item) for name, item in value.items()}
        case list():
            found = [_canonical(item) for item in value]
        case Decimal():
            found = _decimal_text(value)
        case dt.datetime():
            found = _time_text(value)
        case dt.date():
            found = value.isoformat()
        case bool() | None:
            found = value
        case int() | float():
            found = ["number", _number_text(value)]
        case _:
            found = str(value)  # texts and the words of enumerations
    return found


def _number_text(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a number")
    return str(int(value)) if value == int(value) else repr(value)


def sign(private_key: str, approved: IntentApproved) -> IntentApproved:
    """The approval with its signature (base64). Raises ValueError for a malformed key."""
    key = Ed25519PrivateKey.from_private_bytes(_key_bytes(private_key, "private"))
    signature = base64.b64encode(key.sign(signable_bytes(approved))).decode()
    return msgspec.structs.replace(approved, signature=signature)


def verify(public_key: str, approved: IntentApproved) -> bool:
    """Whether the approval's signature is this key's, over exactly what it says.

    Raises ValueError for a malformed key only: the executor must not start with one.
    """
    key = Ed25519PublicKey.from_public_bytes(_key_bytes(public_key, "public"))
    try:
        key.verify(base64.b64decode(approved.signature, validate=True), signable_bytes(approved))
    except (InvalidSignature, ValueError):  # binascii.Error is a ValueError
        return False
    return True


class Verified:
    """`verify`, which remembers the last approval that it found signed: on its way one and the
    same is looked at several times. Equal approvals send the same order.
    """

    def __init__(self) -> None:
        self._last: tuple[str, IntentApproved] | None = None

    def __call__(self, public_key: str, approved: IntentApproved) -> bool:
        if self._last == (public_key, approved):
            return True
        if not verify(public_key, approved):
            return False
        self._last = (public_key, approved)
        return True


def _public_text(key: Ed25519PrivateKey) -> str:
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def _key_bytes(text: str, kind: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise ValueError(f"the {kind} signing key is not 32 bytes in base64")
    return raw


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"{value} is not an amount")
    return str(value)


def _time_text(value: dt.datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a time without a zone")
    return value.astimezone(dt.UTC).isoformat(timespec="microseconds")
