"""The variables of the message bus, the database and the metrics: part of settings_table.py."""

from __future__ import annotations

from libs.common import settings_parsers as form
from libs.common.settings_entry import Entry

_WIRING = "Message bus and database"
_METRICS = "Health and metrics"

WIRING: tuple[Entry, ...] = (
    Entry(
        _WIRING,
        "NATS_URL",
        "bus.url",
        form.bus_url(),
        "The NATS server. Left empty: `alpaclaudia loop` starts one of its own.",
    ),
    Entry(
        _WIRING,
        "NATS_NKEY_SEED",
        "bus.nkey_seed",
        form.nkey_seed(),
        "The key this process signs in to NATS with; `alpaclaudia provision --out` makes one for "
        "each service.",
        secret=True,
    ),
    Entry(
        _WIRING,
        "NATS_SEEDS_FOLDER",
        "bus.seeds_folder",
        form.file_path(),
        "The folder `seeds` that `alpaclaudia provision --out` made, from which `loop` gives each "
        "service its own and the commands take the operator's; used where NATS_NKEY_SEED is not "
        "set.",
    ),
    Entry(
        _WIRING,
        "NATS_TLS_CA",
        "bus.tls_ca",
        form.file_path(),
        "The certificate (PEM) of the authority that signed the NATS server's; with it nothing "
        "goes in the clear and no other authority is trusted.",
    ),
    Entry(
        _WIRING,
        "DATABASE_URL",
        "database.url",
        form.database_url(),
        "The Postgres database. Left empty: `alpaclaudia loop` starts one of its own.",
        secret=True,
    ),
    Entry(
        _WIRING,
        "DATABASE_LOGINS_FOLDER",
        "database.logins_folder",
        form.file_path(),
        "The folder that `alpaclaudia migrate --logins` made, from which `loop` gives each service "
        "the address of its own role and the commands take the operator's. DATABASE_URL is then "
        "the owner's, and only `migrate` needs it.",
    ),
    Entry(
        _WIRING,
        "DATABASE_TLS_CA",
        "database.tls_ca",
        form.file_path(),
        "The certificate (PEM) of the authority that signed the Postgres server's; with it only a "
        "server with such a certificate and the name in DATABASE_URL is spoken to.",
    ),
)

METRICS: tuple[Entry, ...] = (
    Entry(
        _METRICS,
        "METRICS_PORT",
        "metrics.port",
        form.whole(0, 65530),
        "The port on which a service answers /live, /ready and /metrics; 0: on none. `loop` "
        "gives it to market, and the next ones to planner, risk, executor and reporter.",
    ),
    Entry(
        _METRICS,
        "METRICS_HOST",
        "metrics.host",
        form.listen_address(),
        "The address it listens on. Nothing there asks for a password: keep it on loopback or on a "
        "network that only your Prometheus shares.",
    ),
)
