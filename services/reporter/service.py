"""The reporter room's shell: posts the day's summary once, when its time has come."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from zoneinfo import ZoneInfo

from libs.common.contracts import Severity
from libs.common.database import DatabaseError, address_for, engine_for, wait_for_schema
from libs.common.runtime import Context, run_service
from services.reporter.notify import Outcome
from services.reporter.posting import Posted, post_once
from services.reporter.schedule import due_sessions
from services.reporter.store import ReportStore

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
RETRY_SECONDS = (10.0, 30.0, 60.0, 300.0, 900.0)
START_SECONDS = 20.0


class ReporterService:
    def __init__(self, context: Context) -> None:
        self.context = context
        settings = context.settings
        self.report = settings.report
        self.zone = ZoneInfo(self.report.timezone)
        self.engine = engine_for(address_for(settings.database, "reporter"), application="reporter")
        self.store = ReportStore(self.engine)
        self.settled: set[dt.date] = set()
        self.retry_at_seconds: dict[dt.date, float] = {}
        self.refusals: dict[dt.date, int] = {}

    async def run(self) -> None:
        await asyncio.to_thread(wait_for_schema, self.engine, patience_seconds=START_SECONDS)
        await self.context.follow_market_time()
        for session in await asyncio.to_thread(self.store.abandon_unfinished):
            await self.context.alert(
                Severity.WARNING,
                "report",
                f"whether the report of {session} arrived is not known; it is not sent again",
            )
        self.context.ready()
        while True:
            try:
                await self._look()
            except DatabaseError as error:
                await self.context.alert(Severity.ERROR, "database", str(error))
                await asyncio.sleep(5)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        now = self.context.market_now
        if now is None:
            return
        due = due_sessions(now, self.context.recent_sessions, self.report.time, self.zone)
        for session in due:
            waiting = asyncio.get_running_loop().time() < self.retry_at_seconds.get(session, 0.0)
            if session not in self.settled and not waiting:
                await self._report(session)

    async def _report(self, session: dt.date) -> None:
        posted = await asyncio.to_thread(post_once, self.store, session, self.report)
        if posted is None:  # it went out before, or the bot did not trade that day
            self.settled.add(session)
            return
        await self._after(session, posted)

    async def _after(self, session: dt.date, posted: Posted) -> None:
        if posted.outcome is not Outcome.REFUSED:
            self.settled.add(session)
        match posted.outcome:
            case None:
                log.info("no DISCORD_WEBHOOK_URL, so the report stays here:\n%s", posted.text)
            case Outcome.SENT:
                self.context.count("reports")
                log.info(posted.text)
            case Outcome.UNKNOWN:
                await self.context.alert(Severity.WARNING, "report", posted.text)
            case Outcome.REFUSED:
                refusals = self.refusals.get(session, 0)
                self.refusals[session] = refusals + 1
                pause = max(
                    RETRY_SECONDS[min(refusals, len(RETRY_SECONDS) - 1)],
                    posted.retry_after_seconds or 0.0,
                )
                self.retry_at_seconds[session] = asyncio.get_running_loop().time() + pause
                await self.context.alert(
                    Severity.ERROR, "report", f"{posted.text}; it is tried again in {pause:.0f} s"
                )


async def serve(context: Context) -> None:
    await ReporterService(context).run()


def main() -> int:
    return run_service("reporter", serve)
