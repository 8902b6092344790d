"""`alpaclaudia hand-out`: each process's secrets in a folder that it alone is given.

What can be made is made once and kept: the keys to the bus, the passwords of the database, risk's
signing key, the simulated exchange's keys. What only its owner can give (Alpaca's keys, a webhook)
is copied from where compose.yaml puts it, at every run, so that a new one arrives.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from urllib.parse import quote

import msgspec

from libs.common.bus_accounts import USERS
from libs.common.contracts import AlpacaEnv
from libs.common.database_roles import ROLES, login_path
from libs.common.nats_configuration import ServerPlace, render
from libs.common.nkey_files import SeedError, make_seeds
from libs.common.promises import BrokenPromiseError
from libs.common.signing import generate_keypair
from libs.common.small_files import read_small_text
from services.cli.home import HomeError, write_private

DATABASE = "postgres:5432/alpaclaudia"
DATABASE_OWNER = "alpaclaudia"
PLACE = ServerPlace(listen="0.0.0.0:4222", store_folder="/data/jetstream", monitor="127.0.0.1:8222")
HOLDERS = ("nats", "postgres", "migrate", "exchange", *USERS)
"""The folders there are; compose.yaml has a volume for each, and a test holds them together."""
STORES = ("nats-data", "exchange-data")
"""Folders of those who are not root and keep something: they are given, not looked into."""
WITH_ALPACA_KEYS = ("market", "executor")
OWNER_ONLY, ALL_MAY_READ = 0o400, 0o444


class _Hands:
    """Writes files and remembers which of them are new or other than before."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.made: list[str] = []

    def put(self, name: str, text: str) -> None:
        path = self.out / name
        if self.kept(name) == text:
            return
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(path, text.encode())
        self.made.append(name)

    def kept(self, name: str) -> str | None:
        try:
            return read_small_text(self.out / name)
        except FileNotFoundError:
            return None

    def drawn(self, name: str) -> str:
        """A password made once."""
        kept = self.kept(name)
        if kept is None:
            kept = secrets.token_urlsafe(24)
            self.put(name, kept)
        return kept


def hand_out(out: Path, given: Path, env: AlpacaEnv, *, owner: int | None = None) -> list[str]:
    """The names of what was made or changed. With `owner` all belongs to that user.

    Raises HomeError, BrokenPromiseError when a key that only a person can give was not given.
    """
    missing = [name for name in HOLDERS if not (out / name).is_dir()]
    if missing:
        raise HomeError(f"{out} has no folder {', '.join(missing)}: nowhere to put secrets")
    hands = _Hands(out)
    try:
        _bus(hands)
        _database(hands)
        _signing(hands)
        _alpaca(hands, given, env)
        _webhook(hands, given)
        if owner is not None:
            _give(out, owner)
    except OSError as error:
        raise HomeError(f"{error.filename or out}: {error.strerror}") from error
    except SeedError as error:
        raise HomeError(f"{error}; remove it to have a new one made") from error
    return hands.made


def _bus(hands: _Hands) -> None:
    public: dict[str, str] = {}
    for user in USERS:
        new = not (hands.out / user / f"{user}.nk").exists()
        public |= make_seeds(hands.out / user, [user])
        if new:
            hands.made.append(f"{user}/{user}.nk")
    hands.put("nats/nats.conf", render(PLACE, public))


def _database(hands: _Hands) -> None:
    password = hands.drawn("postgres/password")
    hands.put("migrate/owner.url", _address(DATABASE_OWNER, password))
    for role in ROLES:
        # Migrate lets the role in with it; the file it finds has just the text it would write.
        name = login_path(Path(role.name), role.name).as_posix()
        address = hands.kept(name) or _address(role.login, secrets.token_urlsafe(24)) + "\n"
        hands.put(name, address)
        hands.put(f"migrate/logins/{role.name}.url", address)


def _address(user: str, password: str) -> str:
    return f"postgresql://{user}:{quote(password, safe='')}@{DATABASE}"


def _signing(hands: _Hands) -> None:
    if hands.kept("risk/signing_key") is None or hands.kept("executor/verify_key") is None:
        pair = generate_keypair()
        hands.put("risk/signing_key", pair.private)
        hands.put("executor/verify_key", pair.public)


def _alpaca(hands: _Hands, given: Path, env: AlpacaEnv) -> None:
    if env is AlpacaEnv.SIM:
        key, secret = _exchange_keys(hands)
    else:
        key = _given(given, "alpaca_api_key")
        secret = _given(given, "alpaca_secret_key")
        if not key or not secret:
            raise BrokenPromiseError(
                f"ALPACA_ENV={env.value} needs keys: set ALPACA_API_KEY_FILE and"
                " ALPACA_SECRET_KEY_FILE to two files that hold them"
            )
    for service in WITH_ALPACA_KEYS:
        hands.put(f"{service}/alpaca_api_key", key)
        hands.put(f"{service}/alpaca_secret_key", secret)


def _exchange_keys(hands: _Hands) -> tuple[str, str]:
    kept = hands.kept("exchange/keys.json")
    if kept is None:
        key = f"SIM{secrets.token_hex(8).upper()}"
        kept = msgspec.json.encode({"key": key, "secret": secrets.token_urlsafe(30)}).decode()
        hands.put("exchange/keys.json", kept)
    keys = msgspec.json.decode(kept, type=dict[str, str])
    return keys["key"], keys["secret"]


def _webhook(hands: _Hands, given: Path) -> None:
    for reader in ("reporter", "operator"):
        hands.put(f"{reader}/discord_webhook_url", _given(given, "discord_webhook_url"))


def _given(folder: Path, name: str) -> str:
    """Empty where nothing was given: compose.yaml then puts a device there."""
    path = folder / name
    if not path.is_file():
        return ""
    return read_small_text(path).strip()


def _give(out: Path, owner: int) -> None:
    """To one user, read-only. Postgres runs as a user of its image's own, whose number differs
    from image to image, so its password may be read by all: all who mount that volume.
    """
    for path in (*out.glob("*"), *out.glob("*/*"), *out.glob("*/*/*")):
        if path.parent != out and path.relative_to(out).parts[0] in STORES:
            continue
        os.chown(path, owner, owner, follow_symlinks=False)
        public = path.is_relative_to(out / "postgres")
        if path.is_dir():
            path.chmod(0o755 if public else 0o700)
        elif stat.S_ISREG(path.lstat().st_mode):
            path.chmod(ALL_MAY_READ if public else OWNER_ONLY)
