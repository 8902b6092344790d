"""Five simulated weeks through alpaca-py, every answer held against Alpaca's OpenAPI documents."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.exchange.http.endpoints import all_routes
from tests.conformity.player import EXERCISES, Player
from tests.conformity.recorder import Endpoint, Recorder
from tests.conformity.served import serving

pytestmark = pytest.mark.integration

SEED = 11
SESSIONS = 25  # 2020-02-03 to 2020-03-09: a monthly expiration, and a fall of a seventh
MOUNTED: list[Endpoint] = [(route.method, route.path) for route in all_routes().all]


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Player, Recorder]]:
    with serving(paused=True) as served:
        recorder = Recorder(MOUNTED)
        player = Player(served, recorder, SEED)
        try:
            play(player)
            yield player, recorder
        finally:
            player.close()


def play(player: Player, sessions: int = SESSIONS) -> None:
    """Each day some orders and a seeded handful of deeds; every deed at the start and the end."""
    deeds = [EXERCISES[endpoint] for endpoint in MOUNTED if endpoint in EXERCISES]
    for day in range(sessions):
        player.step(minutes=20)
        for _ in range(8):
            player.stock_order()
            player.option_order()
        player.step(minutes=90)
        everything = day in (1, sessions - 2)
        chosen = deeds if everything else player.rng.choice(len(deeds), size=6, replace=False)
        for each in chosen:
            player.attempt(each if callable(each) else deeds[int(each)])
        player.step(to="close")
        player.attempt(EXERCISES["GET", "/v2/account"])
        player.attempt(EXERCISES["GET", "/v2/positions"])
        player.submit_while_closed()
        player.step(to="open")
        player.attempt(EXERCISES["GET", "/v2/account/activities"])


def test_every_mounted_endpoint_has_a_deed() -> None:
    assert [endpoint for endpoint in MOUNTED if endpoint not in EXERCISES] == []


def test_every_mounted_endpoint_was_answered_with_success(
    played: tuple[Player, Recorder],
) -> None:
    _, recorder = played
    assert recorder.unexercised() == []
    assert dict(recorder.elsewhere) == {}


def test_no_answer_is_outside_the_documents(played: tuple[Player, Recorder]) -> None:
    _, recorder = played
    assert dict(recorder.wrong) == {}


def test_no_answer_has_fields_that_no_document_knows(played: tuple[Player, Recorder]) -> None:
    _, recorder = played
    assert dict(recorder.unexplained()) == {}


def test_the_session_met_what_it_was_made_for(played: tuple[Player, Recorder]) -> None:
    """Otherwise it would prove little: fills, refusals, assignments, expirations, exercises."""
    player, recorder = played
    assert sum(recorder.counts.values()) > 1500
    assert player.refused > 20
    kinds = {row["activity_type"] for row in player.all_activities()}
    assert kinds >= {"FILL", "OPASN", "OPEXP", "OPEXC", "OPTRD"}
    statuses = {str(order.status.value) for order in player.all_orders()}
    assert statuses >= {"filled", "canceled", "expired", "replaced"}
    types = {str(order.type.value) for order in player.all_orders()}
    assert types == {"market", "limit", "stop", "stop_limit", "trailing_stop"}


def test_the_same_seed_and_the_same_requests_give_the_same_books() -> None:
    ends = []
    for _ in range(2):
        with serving(paused=True) as served:
            player = Player(served, Recorder(MOUNTED), SEED)
            play(player, sessions=4)
            ends.append([served.books(), player.all_activities(), player.served.get("/sim/state")])
            player.close()
    assert ends[0] == ends[1]


def test_a_request_too_many_is_refused_within_the_documents() -> None:
    with serving(paused=True, rate_limit_per_minute=2) as served:
        recorder = Recorder(MOUNTED)
        served.session.hooks["response"].append(recorder)
        answers = [served.ask("GET", path) for path in ("/v2/clock", "/v2/account", "/v2/clock")]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json() == {"code": 42910000, "message": "rate limit exceeded"}
    assert dict(recorder.wrong) == {}
