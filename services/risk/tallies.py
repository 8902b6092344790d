"""How much was decided lately: what the throttles count. The same in whatever order decisions are
seen, so that a replay comes to the same.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right, insort
from collections import Counter

from libs.common.contracts import IntentApproved, IntentBlocked, Side

MINUTE = dt.timedelta(minutes=1)

Kin = tuple[str, str, Side]
"""Strategy, underlying and side: orders alike in these repeat one another, unless one takes the
place of the other.
"""


class Tallies:
    """Decisions of the last minute of wall time, and the approvals of the newest session."""

    def __init__(self) -> None:
        self._messages: list[dt.datetime] = []
        self._orders: list[dt.datetime] = []
        self._session: dt.date | None = None
        self._of_session: Counter[tuple[Kin, bool]] = Counter()
        """Orders by kin, and whether they took another's place."""

    @property
    def facts(self) -> tuple[object, ...]:
        """All of it, to be compared."""
        kept = (self._messages, self._orders)
        return (*map(tuple, kept), self._session, frozenset(self._of_session.items()))

    def messages_since(self, moment: dt.datetime) -> int:
        return len(self._messages) - bisect_right(self._messages, moment)

    def orders_since(self, moment: dt.datetime) -> int:
        return len(self._orders) - bisect_right(self._orders, moment)

    def orders_on(self, session: dt.date) -> int:
        return self._of_session.total() if session == self._session else 0

    def repeats_on(self, session: dt.date, kin: Kin) -> int:
        return self._of_session[kin, False] if session == self._session else 0

    def count(self, decision: IntentApproved | IntentBlocked) -> None:
        """Expects each intent's decision once."""
        insort(self._messages, decision.at)
        if isinstance(decision, IntentApproved):
            insort(self._orders, decision.at)
            self._count_in_session(decision)
        since = self._messages[-1] - MINUTE
        for kept in (self._messages, self._orders):
            del kept[: bisect_right(kept, since)]

    def _count_in_session(self, approved: IntentApproved) -> None:
        session, intent = approved.session, approved.intent
        if session is None or (self._session is not None and session < self._session):
            return
        if session != self._session:
            self._session = session
            self._of_session = Counter()
        kin = (intent.strategy, intent.underlying, intent.side)
        self._of_session[kin, intent.replaces is not None] += 1
