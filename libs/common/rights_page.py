"""The tables of docs/security.md, from the tables of rights. Pure.

python -m libs.common.rights_page
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from libs.common.bus_accounts import ACCOUNTS, PROVISION, Account, feeds, stream_of, write_subject
from libs.common.contracts import subject_filter
from libs.common.database_roles import ROLES, Role


def bus_table() -> str:
    rows = [_bus_row(account) for account in ACCOUNTS]
    rows.append((PROVISION, "", "", "makes, changes and removes streams and consumers", ""))
    heading = ("Account", "Writes", "Consumes", "Looks up, hears", "Asks, answers")
    return _table(heading, rows)


def roles_table() -> str:
    rows = [
        (
            f"`{role.login}`",
            ", ".join(role.inserts),
            "; ".join(_columns(role, table) for table in role.updates),
        )
        for role in ROLES
    ]
    return _table(("Role", "Inserts into", "Changes the columns"), rows)


def _bus_row(account: Account) -> tuple[str, ...]:
    heard = [f"the last `{read.SUBJECT}` of {stream_of(read)}" for read in account.reads_last]
    heard += [f"`{feed}`" for feed in feeds(account)]
    if account.stream_info:
        heard.append("every stream's figures")
    asked = [f"asks `{subject_filter(message)}`" for message in account.asks]
    asked += [f"answers `{subject_filter(message)}`" for message in account.answers]
    return (
        account.name,
        ", ".join(f"`{write_subject(account, message)}`" for message in account.writes),
        ", ".join(f"{consumer.stream}/{consumer.name}" for consumer in account.consumes),
        ", ".join(heard),
        ", ".join(asked),
    )


def _columns(role: Role, table: str) -> str:
    return f"{table}: {', '.join(role.updates[table])}"


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(heading)
    lines = [names, ["---"] * len(names), *([cell or "–" for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(f"{bus_table()}\n\n{roles_table()}\n")
