"""The id an order carries at the broker. Pure."""

from __future__ import annotations

import base64
import hashlib

_ORDER_ID_DOMAIN = b"alpaclaudia/client-order-id/1"
_ORDER_ID_BYTES = 20  # 32 characters of base32
_PREFIX = "acl-"


def client_order_id(account_number: str, intent_id: str) -> str:
    """The id an intent's order carries at the broker: `acl-` and 32 characters of base32.

    A pure function of account and intent, so that an order can be looked up after any crash and
    the broker's own uniqueness stops a second one. The lengths keep two pairs from meeting.
    """
    digest = hashlib.sha256(_ORDER_ID_DOMAIN)
    for part in (account_number.encode(), intent_id.encode()):
        digest.update(len(part).to_bytes(4, "big") + part)
    text = base64.b32encode(digest.digest()[:_ORDER_ID_BYTES]).decode().lower()
    return f"{_PREFIX}{text}"


def is_ours(client_order_id: str) -> bool:
    """Whether an order looks like one of the executor's, and not like one placed by hand."""
    return client_order_id.startswith(_PREFIX)
