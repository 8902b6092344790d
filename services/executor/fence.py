"""One active executor: an advisory lock says who, an epoch in a table says since when.

The lock's connection is asked every half second. The server ends it when it has been silent for
IDLE_SECONDS, so that a process that was stopped, or is cut off, holds up nobody. Whoever gets the
lock raises the epoch before doing anything else; from then on Postgres refuses every write of the
one before, which learns of it by that or by looking before a POST.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa

from libs.common import database as db
from libs.common.database import database_errors
from libs.common.promises import BrokenPromiseError, RestartNeededError

ACTIVE_EXECUTOR_LOCK = 7_305_002
STALE_EPOCH = "AC001"
"""The SQLSTATE of the fence's refusal."""
IDLE_SECONDS = 3

T = TypeVar("T")


class FencedError(RestartNeededError):
    """Another executor took over; this one must do nothing any more."""


class Fence:
    """The blocking methods are for one thread; `take` and `held` use one of their own, so that no
    queue before the other threads can make the lock look abandoned.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._connection: sa.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "fence")
        self.epoch: int | None = None
        """None before the lock was taken: nothing can be written then."""

    async def take(self) -> bool:
        return await self._apart(self.take_now)

    async def held(self) -> bool:
        return await self._apart(self.held_now)

    async def _apart(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def take_now(self) -> bool:
        """True when this process is now the one active executor. Raises DatabaseError."""
        try:
            with database_errors("taking the executor's lock"):
                if self._connection is None:
                    self._connection = self._engine.connect()
                    self._connection.execute(
                        sa.text(f"set idle_session_timeout = '{IDLE_SECONDS}s'")
                    )
                taken = self._connection.scalar(
                    sa.text("select pg_try_advisory_lock(:key)"), {"key": ACTIVE_EXECUTOR_LOCK}
                )
                if taken:
                    self.epoch = self._raise_the_epoch(self._connection)
                self._connection.commit()
                return bool(taken)
        except db.DatabaseError:
            self.release()
            raise

    def _raise_the_epoch(self, connection: sa.Connection) -> int:
        table = db.executor_epoch
        epoch: int | None = connection.scalar(
            sa.update(table)
            .where(table.c.id == 1)
            .values(
                epoch=table.c.epoch + 1,
                holder=f"pid {os.getpid()}",
                taken_at=sa.func.clock_timestamp(),
            )
            .returning(table.c.epoch)
        )
        if epoch is None:
            raise BrokenPromiseError("the table executor_epoch lost its row; restore a back-up")
        return epoch

    def held_now(self) -> bool:
        """Whether the connection that holds the lock still lives."""
        try:
            with database_errors("asking after the executor's lock"):
                if self._connection is None:
                    return False
                self._connection.execute(sa.text("select 1"))
                self._connection.commit()
                return True
        except db.DatabaseError:
            return False

    def check(self, connection: sa.Connection) -> None:
        """Holds the epoch as it is until the transaction ends; raises FencedError when it is not
        ours. For what no trigger guards.
        """
        epochs = db.executor_epoch.c
        epoch = connection.scalar(
            sa.select(epochs.epoch).where(epochs.id == 1).with_for_update(read=True)
        )
        if epoch != self.epoch:
            raise FencedError(f"another executor took over (epoch {epoch})")

    def release(self) -> None:
        """Drops the connection and with it the lock; one that broke once stays broken."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """As a process that ends does."""
        self._thread.shutdown(wait=True)
        self.release()
