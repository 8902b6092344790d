"""A new image under a running stack: `up -d` puts it in place, with orders in flight."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.books import books_agree, strangers_at_the_broker
from tests.containers.engine import SERVICES, Stack, docker, service_of, until

WORKING = "orders where state in ('accepted', 'partially_filled', 'submitting')"
IN_FLIGHT = f"select client_order_id from {WORKING}"  # noqa: S608  # both are written here


@pytest.fixture
def newer(image: str) -> Iterator[str]:
    """The same program as another image."""
    name = f"{image}-next"
    docker("build", "-q", "-t", name, "--build-arg", f"BASE={image}", "tests/containers/newer")
    yield name
    docker("image", "rm", "-f", name)


def test_upgrade_in_place_with_orders_in_flight(stack: Stack, newer: str) -> None:
    until(lambda: stack.count(WORKING) > 0, "an order at work")
    flying = {row[0] for row in stack.sql(IN_FLIGHT)}
    old_image, stack.environ["ALPACLAUDIA_IMAGE"] = stack.environ["ALPACLAUDIA_IMAGE"], newer
    try:
        stack.up("--no-build")
        images = {service_of(one): one["Config"]["Image"] for one in stack.inspect()}
        assert {images[service] for service in (*SERVICES, "exchange", "operator")} == {newer}

        ticks = stack.ticks()
        until(lambda: stack.ticks() > ticks + 1, "ticks by the new ones")
        until(lambda: books_agree(stack), "books that agree with the broker's")
        kept = {row[0] for row in stack.sql("select client_order_id from orders")}
        assert flying <= kept
        assert not strangers_at_the_broker(stack)
    finally:
        stack.environ["ALPACLAUDIA_IMAGE"] = old_image
        stack.up("--no-build")
