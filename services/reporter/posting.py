"""Sending a day's report at most once: claim it in the books, send, write what came of it.

The claim is committed before anything leaves. A report whose answer went missing may have arrived
and is never sent again; one that was certainly refused may be claimed anew.
"""

from __future__ import annotations

import datetime as dt

import msgspec

from libs.common.settings import ReportSettings
from services.reporter.notify import Outcome, post
from services.reporter.render import discord_payload, text
from services.reporter.store import ReportStore
from services.reporter.summary import summarise

POST_TIMEOUT_SECONDS = 10.0


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one try; `outcome` None means that there is no webhook to send to."""

    text: str
    outcome: Outcome | None
    retry_after_seconds: float | None = None


def post_once(store: ReportStore, session: dt.date, report: ReportSettings) -> Posted | None:
    """None when the report went out before, or may have, or there is nothing to report: no tick
    was recorded that day. Blocking; raises DatabaseError.
    """
    webhook_url = report.discord_webhook_url
    if not store.traded(session) or not store.claim(session, to_send=webhook_url is not None):
        return None
    books = store.books(session)
    if books is None:
        return None
    summary = summarise(books)
    if webhook_url is None:
        store.settle(session, "printed", "")
        return Posted(text=text(summary), outcome=None)
    result = post(
        webhook_url,
        discord_payload(summary),
        timeout=POST_TIMEOUT_SECONDS,
        own_host=report.webhook_host,
    )
    store.settle(session, result.outcome.value, result.detail)
    said = {
        Outcome.SENT: f"the report of {session} was posted",
        Outcome.REFUSED: f"Discord refused the report of {session} ({result.detail})",
        Outcome.UNKNOWN: f"whether the report of {session} arrived is not known"
        f" ({result.detail}); it is not sent again",
    }
    return Posted(
        text=said[result.outcome],
        outcome=result.outcome,
        retry_after_seconds=result.retry_after_seconds,
    )
