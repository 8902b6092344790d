"""The version of risk's limits: a short hash of every one of them as resolved. Pure."""

from __future__ import annotations

import hashlib

import msgspec

from libs.common.settings import RiskSettings

_DIGITS = 16
_SECRET = "signing_key"  # noqa: S105  # a field's name


def risk_config_version(settings: RiskSettings) -> str:
    """16 hexadecimal digits, another for any other limit; the key is no limit."""
    limits = {
        name: sorted(str(item) for item in value) if isinstance(value, frozenset) else str(value)
        for name in settings.__struct_fields__
        if name != _SECRET
        for value in (getattr(settings, name),)
    }
    text = msgspec.json.encode(limits, order="sorted")
    return hashlib.sha256(b"alpaclaudia/risk-config/1\n" + text).hexdigest()[:_DIGITS]
