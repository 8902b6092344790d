"""One test per row of the table: each method of alpaca-py, unmodified, with its own models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformity.sdk.desk import Desk, Row
from tests.conformity.sdk.table import BEGIN, PAGE, ROWS, methods, written
from tests.conformity.served import Served, serving

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def exchange() -> Iterator[Served]:
    with serving(paused=True) as served:
        served.ask("POST", "/sim/step", json={"minutes": 30})
        yield served


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.client}.{row.method} {row.what}")
def test_a_method(exchange: Served, row: Row) -> None:
    desk = Desk(exchange)
    try:
        row.check(desk)
    finally:
        desk.close()


def test_every_method_of_the_sdk_has_a_row_and_no_row_is_of_another() -> None:
    assert {(row.client, row.method) for row in ROWS} == methods()


def test_the_table_in_the_documents_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert written(page) == page, "run: python -m tests.conformity.sdk.table"
