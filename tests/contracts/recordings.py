"""The recordings in golden/, one of each message."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from libs.common.contracts import MESSAGES, Message

GOLDEN = Path(__file__).parent / "golden"
every_message = pytest.mark.parametrize("message_type", MESSAGES, ids=lambda t: t.__name__)


def recording(message_type: type[Message]) -> bytes:
    return (GOLDEN / f"{message_type.__name__}.json").read_bytes()


def decoded(message_type: type[Message]) -> Message:
    return msgspec.json.decode(recording(message_type), type=message_type)
