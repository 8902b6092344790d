"""What processes write to their logs: lines for people, or one JSON object a line.

As JSON every published message is a line too, and each that belongs to a symbol of a tick carries
`correlation_id`: the tick and the stock. It is the same from the snapshot over plan, intent and
decision to the order's last fill, whoever writes it and however often it was restarted.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Mapping
from types import MappingProxyType

from libs.common.contracts import (
    AlertRaised,
    Heartbeat,
    IntentApproved,
    IntentBlocked,
    Message,
    OrderChanged,
)

_said = logging.getLogger("alpaclaudia.said")
_NOISY = ("asyncio", "urllib3", "nats", "alembic")
_TOLD = "told"


def configure_logging(service: str, level: str, form: str = "text") -> None:
    """`form` is LOG_FORMAT."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service) if form == "json" else _text(service))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # For people the view and `watch` show messages; a log of them would hide what matters.
    _said.setLevel(logging.NOTSET if form == "json" else logging.WARNING)


def tell(message: Message) -> None:
    """A line for a message that was published. Beats come every second, and alerts have a line."""
    if not _said.isEnabledFor(logging.INFO) or isinstance(message, Heartbeat | AlertRaised):
        return
    _said.info(message.subject, extra={_TOLD: fields_of(message)})


def fields_of(message: Message) -> dict[str, str]:
    """What a log is searched for by."""
    fields = {"message_id": message.message_id}
    if message.tick_id:
        fields["tick_id"] = message.tick_id
    stock = _stock(message)
    if message.tick_id and stock:
        fields["correlation_id"] = f"{message.tick_id}/{stock}"
    match message:
        case IntentApproved() | IntentBlocked():
            fields["intent_id"] = message.intent.message_id
        case OrderChanged():
            fields |= {"intent_id": message.intent_id, "status": message.status}
            if message.filled_qty:
                fields["filled_qty"] = str(message.filled_qty)
        case _:
            pass
    return fields


def _stock(message: Message) -> str | None:
    if isinstance(message, IntentApproved | IntentBlocked):
        return message.intent.underlying
    found = getattr(message, "underlying", None) or getattr(message, "symbol", None)
    return found if isinstance(found, str) else None


class JsonLines(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        at = dt.datetime.fromtimestamp(record.created, dt.UTC)
        told: dict[str, str] = dict(getattr(record, _TOLD, {}))
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        level = record.levelname.lower()
        return json_line(at, self._service, record.getMessage(), level=level, told=told)


def json_line(
    at: dt.datetime,
    service: str,
    text: str,
    *,
    level: str = "info",
    told: Mapping[str, str] = MappingProxyType({}),
) -> str:
    line = {"at": at.isoformat(timespec="milliseconds"), "level": level, "service": service}
    return json.dumps({**line, "text": text, **told}, ensure_ascii=False)


def _text(service: str) -> logging.Formatter:
    return logging.Formatter(
        f"%(asctime)s.%(msecs)03d {service:<8} %(levelname)-7s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
