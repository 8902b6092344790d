"""The bus's keys: made, kept in files that only their owner reads, and their public halves.

The only door to `nkeys`. An nkey is an Ed25519 key written in base32; a user proves to own it by
signing what the server sends, so no secret travels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import nkeys

from libs.common.small_files import read_small_text

SUFFIX = ".nk"


class SeedError(ValueError):
    """A file that holds no seed; the text names the file and never what is in it."""


def seed_path(folder: Path, user: str) -> Path:
    return folder / f"{user}{SUFFIX}"


def make_seeds(folder: Path, users: Iterable[str]) -> dict[str, str]:
    """The public keys of `users`, from seeds in `folder`; those that are missing are made, with
    mode 0600. Raises SeedError for a damaged file, OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {user: _public_key(seed_path(folder, user)) for user in users}


def _public_key(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return public_key(read_seed(path), path)
    seed: bytes = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    with os.fdopen(descriptor, "wb") as file:
        file.write(seed + b"\n")
    return public_key(seed.decode(), path)


def read_seed(path: Path) -> str:
    """Raises SeedError when the file cannot be read."""
    try:
        return read_small_text(path).strip()
    except FileNotFoundError:
        raise SeedError(
            f"there is no seed {path}; `alpaclaudia provision --out FOLDER` makes them"
        ) from None
    except OSError as error:
        raise SeedError(f"the seed {path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise SeedError(f"{path} holds no seed of an nkey") from None


def public_key(seed: str, source: object = "the seed") -> str:
    """The public half of a user's seed. Raises SeedError, naming `source`."""
    try:
        pair = nkeys.from_seed(bytearray(seed.encode()))
        public: bytes = pair.public_key
    except Exception:  # the package raises whatever its parts do, some of them with the seed
        raise SeedError(f"{source} holds no seed of an nkey") from None
    if not public.startswith(b"U"):
        raise SeedError(f"{source} holds the seed of something else than a user")
    return public.decode()
