"""TLS by settings, with an authority made for the test: the right one is believed, another's
certificate, another's name and an answer in the clear are refused, each in one clear line.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from libs.common.bus import Bus, BusError, BusRefusedError
from libs.common.bus_accounts import OPERATOR
from libs.common.contracts import PortfolioObserved
from libs.common.database import DatabaseError, check_schema, engine_for
from libs.common.promises import BrokenPromiseError
from libs.common.provisioning import provision
from libs.common.settings import BusSettings, DatabaseSettings
from libs.embedded.nats import NatsServer, nats_server_binary
from libs.embedded.postgres import PostgresServer
from libs.embedded.processes import accepts, free_port
from tests.integration.authority import Authority, in_front_of
from tests.integration.servers import make_database
from tests.integration.stories import portfolio
from tests.integration.world import LEFT_OPEN

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("refused_connections"),
    pytest.mark.filterwarnings(LEFT_OPEN),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("another"), "theirs")


# --- NATS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secured(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BusSettings]:
    """A server from the files that `provision --out` wrote, and the settings that go with it."""
    folder = tmp_path_factory.mktemp("bus")
    certificate, key = authority.certify("127.0.0.1")
    port = free_port()
    command = [sys.executable, "-m", "services.cli", "provision", "--out", str(folder)]
    command += ["--listen", f"127.0.0.1:{port}", "--store", str(folder / "store")]
    subprocess.run([*command, "--tls-cert", certificate, "--tls-key", key], check=True)
    server = subprocess.Popen(
        [nats_server_binary(), "-c", str(folder / "nats.conf"), "-l", str(folder / "log")]
    )
    deadline = time.monotonic() + 20
    while not accepts(port):
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.02)
    yield BusSettings(
        url=f"nats://127.0.0.1:{port}",
        seeds_folder=str(folder / "seeds"),
        tls_ca=str(authority.certificate_path),
    )
    server.kill()
    server.wait()


def with_ca(settings: BusSettings, ca: Path | None) -> BusSettings:
    return msgspec.structs.replace(settings, tls_ca=None if ca is None else str(ca))


async def test_the_bus_works_under_tls(secured: BusSettings) -> None:
    await provision(secured)
    assert await provision(secured) == []
    market = await Bus.connect(secured, account="market")
    await market.publish(portfolio())
    operator = await Bus.connect(secured, account=OPERATOR)
    found = await operator.last("MARKET", PortfolioObserved.SUBJECT, PortfolioObserved)
    assert found is not None
    await market.close()
    await operator.close()


def test_provision_runs_against_a_server_from_its_own_files(secured: BusSettings) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "ALPACLAUDIA_ENV_FILE": "",
        "NATS_URL": secured.url or "",
        "NATS_SEEDS_FOLDER": secured.seeds_folder or "",
        "NATS_TLS_CA": secured.tls_ca or "",
    }
    command = [sys.executable, "-m", "services.cli", "provision"]
    asyncio.run(provision(secured))
    done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    assert done.stdout == "everything was there already\n"


async def test_another_authoritys_word_is_not_taken(
    secured: BusSettings, another: Authority
) -> None:
    with pytest.raises(BusRefusedError, match="its certificate is not trusted"):
        await Bus.connect(with_ca(secured, another.certificate_path), account="market")


async def test_a_certificate_for_another_name_is_refused(secured: BusSettings) -> None:
    elsewhere = msgspec.structs.replace(
        secured, url=(secured.url or "").replace("127.0.0.1", "localhost")
    )
    with pytest.raises(BusRefusedError, match=r"not trusted: .*[Hh]ostname mismatch"):
        await Bus.connect(elsewhere, account="market")


async def test_a_server_in_the_clear_is_refused_when_tls_is_asked_for(
    nats: NatsServer, authority: Authority
) -> None:
    """Whether it never spoke TLS or somebody between talks us out of it."""
    with pytest.raises(BusRefusedError, match="does not speak TLS"):
        await Bus.connect(with_ca(nats.settings, authority.certificate_path), account="market")
    by_scheme = msgspec.structs.replace(nats.settings, url=nats.url.replace("nats://", "tls://"))
    with pytest.raises(BusRefusedError, match="does not speak TLS"):
        await Bus.connect(by_scheme, account="market")


async def test_the_server_takes_nobody_in_the_clear(secured: BusSettings) -> None:
    with pytest.raises(BusError, match="NATS_TLS_CA if it speaks TLS"):
        await Bus.connect(with_ca(secured, None), account="market", patience_seconds=2.5)


async def test_an_authority_that_is_no_certificate_is_named(
    secured: BusSettings, tmp_path: Path
) -> None:
    (tmp_path / "empty.crt").touch()
    for path in (tmp_path / "empty.crt", tmp_path / "missing.crt", tmp_path):
        with pytest.raises(BrokenPromiseError, match=r"^NATS_TLS_CA: .* holds no certificate"):
            await Bus.connect(with_ca(secured, path), account="market")


# --- Postgres ------------------------------------------------------------------------------------


def connects(url: str, ca: Path | None) -> None:
    """Raises what a service's start would."""
    settings = DatabaseSettings(url=url, tls_ca=None if ca is None else str(ca))
    engine = engine_for(settings.address or "", application="tests")
    try:
        check_schema(engine)
    finally:
        engine.dispose()


@pytest.fixture
def secured_url(postgres: PostgresServer, authority: Authority) -> Iterator[str]:
    url = make_database(postgres)
    with in_front_of(postgres.port, *authority.certify("127.0.0.1")) as front:
        yield url.replace(f":{postgres.port}/", f":{front.port}/")


def test_the_database_works_under_tls(secured_url: str, authority: Authority) -> None:
    connects(secured_url, authority.certificate_path)


def test_another_authoritys_database_is_refused(secured_url: str, another: Authority) -> None:
    with pytest.raises(DatabaseError, match="certificate verify failed"):
        connects(secured_url, another.certificate_path)


def test_a_database_of_another_name_is_refused(secured_url: str, authority: Authority) -> None:
    with pytest.raises(DatabaseError, match="does not match host name"):
        connects(secured_url.replace("127.0.0.1", "localhost"), authority.certificate_path)


def test_a_database_in_the_clear_is_refused(database_url: str, authority: Authority) -> None:
    with pytest.raises(DatabaseError, match="server does not support SSL, but SSL was required"):
        connects(database_url, authority.certificate_path)
    with pytest.raises(DatabaseError, match="server does not support SSL"):
        connects(f"{database_url}?sslmode=disable", authority.certificate_path)
    connects(database_url, None)


def test_an_authority_of_the_database_that_is_not_there_is_named(
    secured_url: str, tmp_path: Path
) -> None:
    with pytest.raises(DatabaseError, match=r"missing\.crt"):
        connects(secured_url, tmp_path / "missing.crt")
