"""What `alpaclaudia provision --out` writes: the server's configuration and everybody's seeds."""

from __future__ import annotations

from pathlib import Path

from libs.common.bus_accounts import USERS
from libs.common.nats_configuration import ServerPlace, render
from libs.common.nkey_files import SeedError, make_seeds, seed_path
from services.cli.home import HomeError, write_private

CONFIGURATION = "nats.conf"
SEEDS = "seeds"


def write_bus_files(folder: Path, place: ServerPlace) -> list[str]:
    """The names of what was made or changed. Seeds that are there stay, so running it again
    changes nothing, and after an upgrade only the rights. Raises HomeError.
    """
    seeds = folder / SEEDS
    new = [user for user in USERS if not seed_path(seeds, user).exists()]
    try:
        text = render(place, make_seeds(seeds, USERS))
        path = folder / CONFIGURATION
        changed = not path.exists() or path.read_text() != text
        if changed:
            write_private(path, text.encode())
            path.chmod(0o644)  # only public keys, and the server may run as another user
    except OSError as error:
        raise HomeError(f"{folder} cannot be written ({error.strerror})") from error
    except SeedError as error:
        raise HomeError(f"{error}; remove it to have a new one made") from error
    return [*(f"{SEEDS}/{user}.nk" for user in new), *([CONFIGURATION] if changed else [])]
