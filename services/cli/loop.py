"""`alpaclaudia loop`: all services against your own settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from libs.common.promises import BrokenPromiseError
from libs.common.runtime import ENV_FILE
from libs.common.settings import Settings
from libs.common.settings_sources import require
from libs.common.settings_table import BY_VARIABLE
from services.cli.stack import StackPlan
from services.cli.supervisor import SERVICES

_MADE_BY_THE_STACK = (
    "NATS_URL",
    "NATS_NKEY_SEED",
    "DATABASE_URL",
    "RISK_SIGNING_KEY",
    "RISK_VERIFY_KEY",
)


def loop_plan(settings: Settings, environ: Mapping[str, str]) -> StackPlan:
    """What to run. Raises BrokenPromiseError, naming every setting that is missing."""
    missing = [
        problem
        for service in SERVICES
        for problem in require(settings, service)
        if not problem.startswith(_MADE_BY_THE_STACK)
    ]
    if settings.bus.url is not None and settings.bus.seeds_folder is None:
        missing.append(
            "NATS_SEEDS_FOLDER is not set: with a server of your own, the folder of seeds that"
            " `alpaclaudia provision --out` made for it"
        )
    if missing:
        raise BrokenPromiseError("settings:\n" + "\n".join(dict.fromkeys(missing)))
    return StackPlan(
        environ=settings_environ(environ),
        embedded_nats=settings.bus.url is None,
        embedded_postgres=settings.database.url is None,
    )


def settings_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings as variables, the environment over `.env`, so that each service can be given
    just what it may know.
    """
    name = environ.get(ENV_FILE, ".env")
    from_file = dotenv_values(Path(name), interpolate=False) if name else {}
    known = {*BY_VARIABLE, *(f"{variable}_FILE" for variable in BY_VARIABLE)}
    merged = {**from_file, **environ}
    return {name: value for name, value in merged.items() if name in known and value}
