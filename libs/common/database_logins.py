"""The roles' rights and passwords, brought to Postgres: who signs in as what.

Passwords are drawn here, kept in files that only their owner reads, and reach the server as
SCRAM verifiers (RFC 5802), so that not even its log could hold one.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import sqlalchemy as sa

from libs.common import database as db
from libs.common.database import DatabaseError, Engine, database_errors
from libs.common.database_roles import ROLES, creations, grants, login_path

_ROLES_LOCK = 7_305_003
_REVISIONS_TABLE = "alembic_version"


def apply_roles(engine: Engine) -> None:
    """Makes the roles that are missing and gives each its rights. Again it changes nothing.

    Raises DatabaseError, with what to do, when the database's owner may not make roles.
    """
    tables = (*(table.name for table in db.metadata.sorted_tables), _REVISIONS_TABLE)
    with database_errors("giving the roles their rights"), engine.begin() as connection:
        connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": _ROLES_LOCK})
        try:
            for statement in creations():
                connection.execute(sa.text(statement))
        except sa.exc.ProgrammingError as error:
            names = ", ".join(role.login for role in ROLES)
            raise DatabaseError(
                f"the roles {names} are missing and this user may not make them; let one with"
                " CREATEROLE run `alpaclaudia migrate`, or make them (NOLOGIN) beforehand"
            ) from error
        for statement in grants(tables):
            connection.execute(sa.text(statement))


def make_logins(engine: Engine, address: str, folder: Path) -> list[str]:
    """Lets each role sign in with the password of its file in `folder`, made where missing. The
    files hold whole addresses: `address` with the role's name and password.

    Returns the files that were made or changed. Raises DatabaseError, OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    changed: list[str] = []
    with database_errors("letting the roles sign in"), engine.begin() as connection:
        connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": _ROLES_LOCK})
        for role in ROLES:
            path = login_path(folder, role.name)
            password = _kept_password(path) or secrets.token_urlsafe(24)
            _let_in(connection, role.login, password)
            url = sa.make_url(address).set(username=role.login, password=password)
            text = url.render_as_string(hide_password=False)
            if not path.exists() or path.read_text(encoding="utf-8").strip() != text:
                _write(path, text)
                changed.append(path.name)
    return changed


def _let_in(connection: sa.Connection, login: str, password: str) -> None:
    pgconn = connection.connection.driver_connection.pgconn  # type: ignore[union-attr]
    verifier = pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    connection.exec_driver_sql(f"alter role {login} login password '{verifier.decode()}'")


def _kept_password(path: Path) -> str | None:
    try:
        return sa.make_url(path.read_text(encoding="utf-8").strip()).password
    except (OSError, ValueError, sa.exc.ArgumentError):
        return None


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    part.replace(path)
