"""SIGKILL to each container's process: the engine starts it again and the loop goes on."""

from __future__ import annotations

import pytest

from tests.containers.books import books_agree, strangers_at_the_broker
from tests.containers.engine import SERVERS, SERVICES, Stack, health, until


@pytest.mark.parametrize("service", [*SERVICES, *SERVERS])
def test_a_killed_one_comes_back(session_stack: Stack, service: str) -> None:
    (before,) = session_stack.inspect(service)
    session_stack.kill(service)

    def back() -> bool:
        (now,) = session_stack.inspect(service)
        return now["RestartCount"] > before["RestartCount"] and health(now) == "healthy"

    until(back, f"{service} to be well again")


def test_after_all_of_them_the_loop_goes_on_and_nothing_is_doubled(stack: Stack) -> None:
    ticks = stack.ticks()
    until(lambda: stack.ticks() > ticks + 2, "ticks after the kills")
    assert not strangers_at_the_broker(stack)
    until(lambda: books_agree(stack), "books that agree with the broker's")
