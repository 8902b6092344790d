"""Dates of trading, New York dates all of them. The broker's calendar is market's to read."""

from __future__ import annotations

import datetime as dt


def days_to_expiration(expiration: dt.date, session: dt.date) -> int:
    """Calendar days from a session to an expiration: 0 on the day itself, negative after it."""
    return (expiration - session).days
