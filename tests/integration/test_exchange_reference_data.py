"""Watchlists, corporate actions, assets and the calendar through the unmodified alpaca-py."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment
from alpaca.data.requests import (
    CorporateActionsRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.enums import CorporateActionType
from alpaca.trading.requests import (
    CreateWatchlistRequest,
    GetAssetsRequest,
    GetCorporateAnnouncementsRequest,
    UpdateWatchlistRequest,
)

from tests.conformity.served import serving
from tests.integration.data_desk import STARTED, SYMBOLS, TOKEN, Desk, day_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """On the eighth session, two hours after the open."""
    with serving(paused=True) as served:
        desk = Desk(served)
        desk.step(sessions=7)
        desk.step(minutes=120)
        yield desk
        desk.close()


def test_assets_are_filtered_and_contracts_tell_what_they_deliver(desk: Desk) -> None:
    found = desk.trading.get_all_assets(GetAssetsRequest(exchange="NYSE"))
    assert [asset.symbol for asset in found] == ["KO"]
    options = GetAssetsRequest(attributes="has_options,ipo")
    assert len(desk.trading.get_all_assets(options)) == len(SYMBOLS)
    assert desk.trading.get_all_assets(GetAssetsRequest(attributes="ipo")) == []
    query = {"underlying_symbols": "AAPL", "limit": 1, "show_deliverables": True}
    (contract,) = desk.served.get("/v2/options/contracts", **query)["option_contracts"]
    (delivered,) = contract["deliverables"]
    assert (delivered["symbol"], delivered["amount"]) == ("AAPL", contract["size"])
    (plain,) = desk.served.get("/v2/options/contracts", **(query | {"show_deliverables": False}))[
        "option_contracts"
    ]
    assert "deliverables" not in plain


def test_the_calendar_may_be_asked_for_by_settlement(desk: Desk) -> None:
    days = desk.served.get(
        "/v2/calendar", start="2020-02-14", end="2020-02-18", date_type="SETTLEMENT"
    )
    assert [(day["date"], day["settlement_date"]) for day in days] == [
        ("2020-02-13", "2020-02-14"),
        ("2020-02-14", "2020-02-18"),  # a long weekend
    ]


def test_the_story_of_a_watchlist(desk: Desk) -> None:
    trading = desk.trading
    made = trading.create_watchlist(CreateWatchlistRequest(name="wheel", symbols=["MSFT", "KO"]))
    assert [asset.symbol for asset in made.assets] == ["MSFT", "KO"]
    for name, symbols in (("wheel", ["KO"]), ("other", ["ZZZZ"]), ("x" * 65, [])):
        with pytest.raises(APIError) as refusal:
            trading.create_watchlist(CreateWatchlistRequest(name=name, symbols=symbols))
        assert refusal.value.status_code == 422
    desk.step(minutes=1)
    added = trading.add_asset_to_watchlist_by_id(made.id, "AAPL")
    assert [asset.symbol for asset in added.assets] == ["MSFT", "KO", "AAPL"]
    assert added.updated_at > made.updated_at == made.created_at
    removed = trading.remove_asset_from_watchlist_by_id(made.id, "KO")
    assert [asset.symbol for asset in removed.assets] == ["MSFT", "AAPL"]
    renamed = trading.update_watchlist_by_id(made.id, UpdateWatchlistRequest(name="mine"))
    assert (renamed.name, renamed.assets) == ("mine", removed.assets)
    (listed,) = trading.get_watchlists()
    assert (listed.id, listed.name, listed.assets) == (made.id, "mine", None)
    by_name = desk.served.get("/v2/watchlists:by_name", name="mine")
    assert by_name["id"] == str(trading.get_watchlist_by_id(made.id).id)
    trading.delete_watchlist_by_id(made.id)
    for deed in (trading.get_watchlist_by_id, trading.delete_watchlist_by_id):
        with pytest.raises(APIError) as refusal:
            deed(made.id)
        assert refusal.value.status_code == 404
    assert trading.get_watchlists() == []


def test_watchlists_survive_a_restart(tmp_path: Path) -> None:
    lists = []
    for _ in range(2):
        with serving(paused=True, state_path=str(tmp_path / "state.json")) as served:
            if not lists:
                body = {"name": "kept", "symbols": ["KO"]}
                assert served.ask("POST", "/v2/watchlists", json=body).status_code == 200
            lists.append(served.get("/v2/watchlists:by_name", name="kept"))
    assert lists[0] == lists[1]


@pytest.fixture(scope="module")
def after_actions() -> Iterator[Desk]:
    """A dividend of KO, a split of AAPL, and four sessions later."""
    with serving(paused=True) as served:
        desk = Desk(served)
        desk.inject(type="cash_dividend", symbol="KO", ex_date="2020-02-05", rate="0.5")
        desk.inject(type="split", symbol="AAPL", ex_date="2020-02-06", new_rate="4", old_rate="1")
        desk.inject(type="split", symbol="MSFT", ex_date="2020-02-10", new_rate="1", old_rate="8")
        desk.step(sessions=4)
        desk.step(minutes=30)
        yield desk
        desk.close()


def test_corporate_actions_are_read_by_the_sdk(after_actions: Desk) -> None:
    year = {"start": dt.date(2020, 1, 1), "end": dt.date(2020, 12, 31)}
    found = after_actions.actions.get_corporate_actions(CorporateActionsRequest(**year)).data
    assert set(found) == {"cash_dividends", "forward_splits", "reverse_splits"}
    (dividend,), (split,) = found["cash_dividends"], found["forward_splits"]
    assert (dividend.symbol, dividend.rate, dividend.ex_date) == ("KO", 0.5, dt.date(2020, 2, 5))
    assert dividend.process_date == dividend.payable_date
    assert (split.symbol, split.new_rate, split.old_rate) == ("AAPL", 4, 1)
    (reverse,) = found["reverse_splits"]
    assert (reverse.symbol, reverse.new_rate, reverse.old_rate) == ("MSFT", 1, 8)
    some = CorporateActionsRequest(**year, symbols=["AAPL", "KO"], types=["forward_split"])
    assert set(after_actions.actions.get_corporate_actions(some).data) == {"forward_splits"}
    by_id = CorporateActionsRequest(ids=[str(dividend.id)])
    assert after_actions.actions.get_corporate_actions(by_id).data["cash_dividends"] == [dividend]
    assert after_actions.actions.get_corporate_actions(CorporateActionsRequest()).data == {}


def test_pages_of_corporate_actions_together_are_the_whole(after_actions: Desk) -> None:
    path, query = "/v1/corporate-actions", {"start": "2020-01-01", "end": "2020-12-31"}
    for sort in ("asc", "desc"):
        dates, token = [], None
        for _ in range(3):
            page = after_actions.served.get(path, **query, limit=1, sort=sort, page_token=token)
            ((row,),) = page["corporate_actions"].values()
            dates.append(row["process_date"])
            token = page[TOKEN]
        assert token is None
        assert dates == sorted(dates, reverse=sort == "desc")
        assert len(set(dates)) == 3


def test_announcements_are_read_by_the_sdk(after_actions: Desk) -> None:
    request = GetCorporateAnnouncementsRequest(
        ca_types=[CorporateActionType.DIVIDEND, CorporateActionType.SPLIT],
        since=dt.date(2020, 2, 1),
        until=dt.date(2020, 2, 28),
    )
    with pytest.warns(DeprecationWarning, match="get_corporate_announcements"):
        found = after_actions.trading.get_corporate_announcements(request)
    told = [(one.initiating_symbol, one.ca_sub_type.value, one.cash) for one in found]
    assert told == [("KO", "cash", 0.5), ("AAPL", "stock_split", 0), ("MSFT", "reverse_split", 0)]
    one = after_actions.trading.get_corporate_announcement_by_id(found[1].id)
    assert (one, one.new_rate, one.old_rate) == (found[1], 4, 1)
    with pytest.raises(APIError) as refusal:
        after_actions.trading.get_corporate_announcement_by_id(found[1].id.hex[::-1])
    assert refusal.value.status_code == 404


def test_adjusted_bars_undo_a_split(after_actions: Desk) -> None:
    raw = after_actions.bars("AAPL", TimeFrame.Day, STARTED)
    adjusted = after_actions.bars("AAPL", TimeFrame.Day, STARTED, adjustment=Adjustment.SPLIT)
    before, after = slice(0, 3), slice(3, 5)
    assert raw[after] == adjusted[after]
    for shown, traded in zip(adjusted[before], raw[before], strict=True):
        assert shown.close == pytest.approx(traded.close / 4, abs=1e-4)
        assert shown.volume == traded.volume * 4
    returns = [b.close / a.close - 1 for a, b in pairwise(adjusted)]
    assert max(map(abs, returns)) < 0.1
    dividends_only = after_actions.bars(
        "AAPL", TimeFrame.Day, STARTED, adjustment=Adjustment.DIVIDEND
    )
    assert dividends_only == raw


def test_adjusted_bars_undo_a_dividend(after_actions: Desk) -> None:
    raw = after_actions.bars("KO", TimeFrame.Minute, STARTED)
    adjusted = after_actions.bars("KO", TimeFrame.Minute, STARTED, adjustment=Adjustment.ALL)
    last_before = [bar for bar in raw if day_of(bar) < dt.date(2020, 2, 5)][-1]
    factor = 1 - 0.5 / last_before.close
    for shown, traded in zip(adjusted, raw, strict=True):
        expected = factor if day_of(traded) < dt.date(2020, 2, 5) else 1.0
        assert shown.close == pytest.approx(traded.close * expected, abs=1e-4)
        assert shown.volume == traded.volume
    assert after_actions.bars("KO", TimeFrame.Minute, STARTED, adjustment=Adjustment.SPLIT) == raw
