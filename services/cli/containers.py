"""What only containers need: secrets handed out to volumes, and a service's status beside it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from libs.common.beat_file import READY, read_beat
from services.cli.options import report_line


def hand_out(
    out: Annotated[Path, typer.Option(help="A folder with one for each that holds secrets.")],
    given: Annotated[
        Path, typer.Option(help="The folder of what only you can give: Alpaca's keys, a webhook.")
    ] = Path("/run/secrets"),
    owner: Annotated[int | None, typer.Option(help="The user id that may read them.")] = None,
) -> None:
    """Every process's secrets into a folder of its own; makes those that can be made. For
    compose.yaml, where each folder is a volume that one container mounts.

    Running it again changes nothing but what was given anew.
    """
    from libs.common.runtime import settings_from
    from services.cli.commands import clear_errors
    from services.cli.secret_files import hand_out as hand_out_all

    with clear_errors():
        env = settings_from(os.environ).settings.alpaca.env
        made = hand_out_all(out, given, env, owner=owner)
    report_line(f"handed out: {', '.join(made)}" if made else "everything was there already")


def show_own(path: Path, *, as_json: bool) -> int:
    """Beside one service: what it last said. Its key to the bus hears of no other."""
    beat, trouble = read_beat(path)
    if as_json:
        sys.stdout.write(json.dumps({"state": READY[0], **beat, "trouble": trouble}) + "\n")
        return 0 if trouble is None else 1
    name = beat.get("service", "this service")
    counters = "  ".join(f"{what} {n}" for what, n in sorted(beat.get("counters", {}).items()))
    sys.stdout.write(f"{name}: {trouble or beat.get('state', 'ready')}  {counters}\n")
    sys.stdout.write("the whole system: docker compose exec operator alpaclaudia status\n")
    return 0 if trouble is None else 1
