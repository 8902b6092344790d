"""TradingClient's account, reference data, contracts, watchlists and announcements."""

from __future__ import annotations

import datetime as dt
from uuid import uuid4

import pytest
from alpaca.trading.enums import (
    AssetClass,
    ContractType,
    CorporateActionDateType,
    CorporateActionType,
)
from alpaca.trading.models import (
    AccountConfiguration,
    Asset,
    Calendar,
    Clock,
    CorporateActionAnnouncement,
    OptionContract,
    PortfolioHistory,
    TradeAccount,
    Watchlist,
)
from alpaca.trading.requests import (
    CreateWatchlistRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetCorporateAnnouncementsRequest,
    GetOptionContractsRequest,
    GetPortfolioHistoryRequest,
    UpdateWatchlistRequest,
)

from tests.conformity.sdk.desk import CALL, Desk, Rows

TRADING_ACCOUNT = Rows("TradingClient")
works = TRADING_ACCOUNT.works


@works("get_account")
def _(at: Desk) -> None:
    account = at.trading.get_account()
    assert isinstance(account, TradeAccount)
    assert (account.cash, account.multiplier, account.options_trading_level) == ("100000", "1", 3)
    assert float(account.equity) > 100_000


@works("get_account_configurations")
def _(at: Desk) -> None:
    configurations = at.trading.get_account_configurations()
    assert isinstance(configurations, AccountConfiguration)
    assert configurations.suspend_trade is False


@works("set_account_configurations", "", "suspend_trade and the options level take effect")
def _(at: Desk) -> None:
    configurations = at.trading.get_account_configurations()
    configurations.suspend_trade = True
    assert at.trading.set_account_configurations(configurations).suspend_trade is True
    body = {"symbol": "KO", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
    at.refusal(40310000, lambda: at.trading.post("/orders", body))


@works("get_portfolio_history", "days and minutes", "market hours only")
def _(at: Desk) -> None:
    at.step(minutes=2)
    for period, timeframe in (("1D", "1Min"), ("1M", "1D")):
        history = at.trading.get_portfolio_history(
            GetPortfolioHistoryRequest(period=period, timeframe=timeframe)
        )
        assert isinstance(history, PortfolioHistory)
        assert len(history.timestamp) == len(history.equity)
    minutes = at.trading.get_portfolio_history(
        GetPortfolioHistoryRequest(period="1D", timeframe="1Min")
    )
    assert minutes.equity[-1] > 100_000


@works("get_clock")
def _(at: Desk) -> None:
    clock = at.trading.get_clock()
    assert isinstance(clock, Clock)
    assert clock.next_close > clock.timestamp


@works("get_calendar", "", "1990 to 2028, half days included")
def _(at: Desk) -> None:
    asked = GetCalendarRequest(start=dt.date(2020, 11, 26), end=dt.date(2020, 11, 30))
    days = at.trading.get_calendar(asked)
    assert all(isinstance(day, Calendar) for day in days)
    assert [(day.date.day, day.close.hour) for day in days] == [(27, 13), (30, 16)]


@works("get_all_assets", "", "the exchange's stocks; other classes are empty")
def _(at: Desk) -> None:
    assets = at.trading.get_all_assets(GetAssetsRequest())
    assert all(isinstance(asset, Asset) for asset in assets)
    assert [asset.symbol for asset in assets] == ["AAPL", "KO", "MSFT"]
    assert at.trading.get_all_assets(GetAssetsRequest(asset_class=AssetClass.CRYPTO)) == []


@works("get_asset", "", "by symbol or id")
def _(at: Desk) -> None:
    asset = at.trading.get_asset("KO")
    assert at.trading.get_asset(asset.id).symbol == "KO"
    at.refusal(40410000, lambda: at.trading.get_asset("NONE"))


@works("get_option_contracts", "every filter, paging", "without bounds up to the next weekend")
def _(at: Desk) -> None:
    asked = GetOptionContractsRequest(
        underlying_symbols=["AAPL"],
        expiration_date=dt.date(2020, 2, 21),
        type=ContractType.CALL,
        root_symbol="AAPL",
        strike_price_gte="78",
        strike_price_lte="80",
        limit=2,
    )
    first = at.trading.get_option_contracts(asked)
    asked.page_token = first.next_page_token
    second = at.trading.get_option_contracts(asked)
    found = [*first.option_contracts, *second.option_contracts]
    assert all(isinstance(contract, OptionContract) for contract in found)
    assert [contract.strike_price for contract in found] == [78, 79, 80]
    assert second.next_page_token is None
    today = at.trading.get_clock().timestamp.date()
    soon = at.trading.get_option_contracts(GetOptionContractsRequest(underlying_symbols=["KO"]))
    assert all((c.expiration_date - today).days < 8 for c in soon.option_contracts)


@works("get_option_contract", "", "by symbol or id")
def _(at: Desk) -> None:
    contract = at.trading.get_option_contract(CALL)
    assert at.trading.get_option_contract(contract.id).symbol == CALL
    at.refusal(40410000, lambda: at.trading.get_option_contract("AAPL200221C99999000"))


# --- watchlists --------------------------------------------------------------------------------


def watchlist(at: Desk, name: str = "mine") -> Watchlist:
    made = at.trading.create_watchlist(CreateWatchlistRequest(name=name, symbols=["KO"]))
    assert isinstance(made, Watchlist)
    return made


def symbols(found: Watchlist) -> list[str]:
    return [asset.symbol for asset in found.assets]


@works("create_watchlist")
def _(at: Desk) -> None:
    assert symbols(watchlist(at)) == ["KO"]


@works("get_watchlists")
def _(at: Desk) -> None:
    made = {watchlist(at, "one").id, watchlist(at, "two").id}
    assert {found.id for found in at.trading.get_watchlists()} == made


@works("get_watchlist_by_id")
def _(at: Desk) -> None:
    made = watchlist(at)
    assert at.trading.get_watchlist_by_id(made.id).name == "mine"
    at.refusal(40410000, lambda: at.trading.get_watchlist_by_id(uuid4()))


@works("update_watchlist_by_id")
def _(at: Desk) -> None:
    request = UpdateWatchlistRequest(name="new", symbols=["MSFT", "KO"])
    changed = at.trading.update_watchlist_by_id(watchlist(at).id, request)
    assert (changed.name, sorted(symbols(changed))) == ("new", ["KO", "MSFT"])


@works("add_asset_to_watchlist_by_id")
def _(at: Desk) -> None:
    changed = at.trading.add_asset_to_watchlist_by_id(watchlist(at).id, "AAPL")
    assert sorted(symbols(changed)) == ["AAPL", "KO"]


@works("remove_asset_from_watchlist_by_id")
def _(at: Desk) -> None:
    changed = at.trading.remove_asset_from_watchlist_by_id(watchlist(at).id, "KO")
    assert symbols(changed) == []


@works("delete_watchlist_by_id")
def _(at: Desk) -> None:
    at.trading.delete_watchlist_by_id(watchlist(at).id)
    assert at.trading.get_watchlists() == []


# --- announcements -----------------------------------------------------------------------------


def announced(at: Desk) -> list[CorporateActionAnnouncement]:
    today = at.trading.get_clock().timestamp.date()
    at.served.ask(
        "POST",
        "/sim/corporate-actions",
        json={"type": "cash_dividend", "symbol": "MSFT", "ex_date": "2020-04-01", "rate": "0.5"},
    )
    request = GetCorporateAnnouncementsRequest(
        ca_types=[CorporateActionType.DIVIDEND],
        since=today,
        until=today + dt.timedelta(days=80),
        symbol="MSFT",
        date_type=CorporateActionDateType.EX_DATE,
    )
    with pytest.warns(DeprecationWarning, match="CorporateActionsClient"):
        found: list[CorporateActionAnnouncement] = at.trading.get_corporate_announcements(request)
    return found


@works("get_corporate_announcements", "", "those that were injected")
def _(at: Desk) -> None:
    (found,) = announced(at)
    assert isinstance(found, CorporateActionAnnouncement)
    assert (found.target_symbol or found.initiating_symbol, float(found.cash)) == ("MSFT", 0.5)


@works("get_corporate_announcement_by_id")
def _(at: Desk) -> None:
    found = announced(at)[0]
    assert at.trading.get_corporate_announcement_by_id(found.id) == found
