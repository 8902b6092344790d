"""The accounts' voices: what tests say on the bus, each message as the account that may say it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

import nats
from nats.aio.client import Client

from libs.common.bus import Bus, MessageT
from libs.common.bus_accounts import ACCOUNTS, BY_NAME, OPERATOR, inbox_prefix, write_subject
from libs.common.contracts import AlertRaised, Message
from libs.common.nkey_files import read_seed, seed_path
from libs.common.provisioning import provision
from libs.embedded.nats import NatsServer

WRITERS = [
    (account.name, write_subject(account, written))
    for account in ACCOUNTS
    for written in account.writes
]


def writer_of(subject: str) -> str:
    """The first account of the table that may publish to a subject."""
    return next(name for name, pattern in WRITERS if fnmatchcase(subject, pattern))


async def raw_client(server: NatsServer, account: str, **options: object) -> Client:
    """Plain nats-py under an account's key, without anything the Bus takes care of."""
    given: dict[str, object] = {
        "nkeys_seed_str": read_seed(seed_path(server.seeds_folder, account)),
        "inbox_prefix": inbox_prefix(account),
    }
    return await nats.connect(server.url, **(given | options))  # type: ignore[arg-type]


class Voices:
    """One connection per account, made when it first speaks."""

    def __init__(self, server: NatsServer) -> None:
        self._server = server
        self._buses: dict[str, Bus] = {}

    async def of(self, account: str) -> Bus:
        if account not in self._buses:
            self._buses[account] = await Bus.connect(self._server.settings, account=account)
        return self._buses[account]

    async def publish(self, message: Message, *, patience_seconds: float = 5.0) -> None:
        writer = writer_of(message.subject)
        if isinstance(message, AlertRaised) and message.service in BY_NAME:
            writer = message.service
        await (await self.of(writer)).publish(message, patience_seconds=patience_seconds)

    async def append(self, message: Message, pattern: str, after: int) -> int:
        bus = await self.of(writer_of(message.subject))
        return await bus.append(message, pattern, after)

    async def publish_raw(self, subject: str, payload: bytes) -> None:
        client = await raw_client(self._server, writer_of(subject))
        try:
            await client.jetstream().publish(subject, payload)
        finally:
            await client.close()

    async def provision(self) -> list[str]:
        return await provision(self._server.settings)

    async def watch(self, subject: str, handle: Callable[[str, bytes], None]) -> None:
        await (await self.of(OPERATOR)).watch(subject, handle)

    async def request(
        self, message: Message, reply_type: type[MessageT], *, timeout_seconds: float
    ) -> MessageT:
        bus = await self.of(OPERATOR)
        return await bus.request(message, reply_type, timeout_seconds=timeout_seconds)

    async def stream_counts(self, names: Iterable[str]) -> dict[str, int]:
        return await (await self.of(OPERATOR)).stream_counts(names)

    @property
    def reconnects(self) -> int:
        return sum(bus.reconnects for bus in self._buses.values())

    async def close(self) -> None:
        for bus in self._buses.values():
            await bus.close()
