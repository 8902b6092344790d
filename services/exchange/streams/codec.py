"""Frames to values and back: JSON as text, JSON in binary frames, or MessagePack."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

Frame = str | bytes
MSGPACK_TYPE = "application/msgpack"
_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)


class UnreadableError(Exception):
    """A frame that is neither JSON nor, where that is spoken, MessagePack."""


class Codec(msgspec.Struct, frozen=True):
    """`write` makes a frame of a message; `binary` says how binary frames are read."""

    write: Callable[[Any], Frame]
    binary: Callable[[bytes], Any]

    def read(self, frame: Frame) -> Any:
        """Text frames are JSON in every codec. Raises UnreadableError."""
        try:
            return msgspec.json.decode(frame) if isinstance(frame, str) else self.binary(frame)
        except _UNREADABLE:
            raise UnreadableError from None


@lru_cache(maxsize=1024)
def _instant(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _packed(message: Any) -> bytes:
    """The `t` of an event is MessagePack's timestamp extension, as alpaca-py expects it."""
    if isinstance(message, list):
        message = [e | {"t": _instant(e["t"])} if "t" in e else e for e in message]
    return msgspec.msgpack.encode(message)


def _text(message: Any) -> str:
    return msgspec.json.encode(message).decode()


JSON_TEXT = Codec(write=_text, binary=msgspec.json.decode)
JSON_BINARY = Codec(write=msgspec.json.encode, binary=msgspec.json.decode)
MSGPACK = Codec(write=_packed, binary=msgspec.msgpack.decode)
