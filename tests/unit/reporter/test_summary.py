"""A trading day from its books: what is counted, and what is not."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from libs.common.contracts import (
    AlpacaEnv,
    AssetClass,
    BotMode,
    LedgerEvent,
    PositionView,
    Severity,
    Side,
)
from services.reporter.summary import (
    Counted,
    DayBooks,
    DaySummary,
    EventRow,
    FillRow,
    LedgerRow,
    OrderRow,
    TickRow,
    summarise,
    unrealised_of,
)

DAY = dt.date(2020, 2, 7)
NOON = dt.datetime(2020, 2, 7, 17, tzinfo=dt.UTC)
YESTERDAY = NOON - dt.timedelta(days=1)
PUT = "KO200207P00058000"
CALL = "KO200214C00060000"


def books(
    *,
    orders: list[OrderRow] | None = None,
    ledger: list[LedgerRow] | None = None,
    fills_before: list[FillRow] | None = None,
    ledger_before: list[LedgerRow] | None = None,
    positions: list[PositionView] | None = None,
    opening_positions: list[PositionView] | None = None,
) -> DayBooks:
    return DayBooks(
        session=DAY,
        mode=BotMode.LIVE,
        env=AlpacaEnv.PAPER,
        orders=orders or [],
        ledger=ledger or [],
        fills_before=fills_before or [],
        ledger_before=ledger_before or [],
        positions=positions or [],
        opening_positions=opening_positions or [],
    )


def filled(side: Side, qty: int, symbol: str, price: str, *, minute: int = 0) -> OrderRow:
    return OrderRow(
        strategy="wheel:cash_secured_put",
        symbol=symbol,
        side=side,
        qty=Decimal(qty),
        order_type="limit",
        status="filled",
        changed_at=NOON + dt.timedelta(minutes=minute),
        filled_qty=Decimal(qty),
        filled_avg_price=Decimal(price),
    )


def fill(side: Side, qty: int, symbol: str, price: str, at: dt.datetime = YESTERDAY) -> FillRow:
    return FillRow(at=at, symbol=symbol, side=side, qty=Decimal(qty), price=Decimal(price))


def ended(event: LedgerEvent, symbol: str, qty: int = 1) -> LedgerRow:
    return LedgerRow(event=event, underlying="KO", symbol=symbol, qty=Decimal(qty), date=DAY)


def position(symbol: str, qty: int, price: str, unrealised: str | None = None) -> PositionView:
    return PositionView(
        symbol=symbol,
        asset_class=AssetClass.OPTION if len(symbol) > 6 else AssetClass.STOCK,
        qty=Decimal(qty),
        qty_available=Decimal(qty),
        avg_entry_price=Decimal(price),
        unrealized_pl=None if unrealised is None else Decimal(unrealised),
    )


# --- a put's life ------------------------------------------------------------------------------


def test_a_put_sold_today_is_premium_but_not_yet_realised() -> None:
    summary = summarise(books(orders=[filled(Side.SELL, 2, PUT, "0.85")]))
    assert summary.premium_collected == 170
    assert summary.realised == 0
    assert [(line.symbol, line.qty, line.price) for line in summary.fills] == [
        (PUT, 2, Decimal("0.85"))
    ]


def test_a_put_bought_back_realises_the_difference() -> None:
    summary = summarise(
        books(
            fills_before=[fill(Side.SELL, 2, PUT, "0.85")],
            orders=[filled(Side.BUY, 1, PUT, "0.25")],
        )
    )
    assert summary.realised == 60
    assert summary.premium_collected == 0


def test_a_put_that_expires_realises_its_whole_premium() -> None:
    summary = summarise(
        books(
            fills_before=[fill(Side.SELL, 1, PUT, "0.85")],
            ledger=[ended(LedgerEvent.EXPIRED, PUT)],
        )
    )
    assert summary.realised == 85
    assert [(line.event, line.symbol) for line in summary.ledger] == [(LedgerEvent.EXPIRED, PUT)]


def test_an_assigned_put_realises_its_premium_and_the_shares_come_at_the_strike() -> None:
    sold_put = [fill(Side.SELL, 1, PUT, "0.85")]
    shares_row = LedgerRow(
        event=LedgerEvent.ASSIGNED,
        underlying="KO",
        symbol="KO",
        qty=Decimal(100),
        price=Decimal(58),
        net_amount=Decimal(-5800),
    )
    assigned = [ended(LedgerEvent.ASSIGNED, PUT), shares_row]
    friday = summarise(books(fills_before=sold_put, ledger=assigned))
    assert friday.realised == 85
    assert len(friday.ledger) == 1  # the shares' own row is the same fact again

    monday = summarise(
        books(
            fills_before=sold_put,
            ledger_before=assigned,
            orders=[filled(Side.SELL, 100, "KO", "57.50")],
        )
    )
    assert monday.realised == -50
    assert monday.without_basis == []


def test_shares_called_away_realise_premium_and_gain_at_the_strike() -> None:
    summary = summarise(
        books(
            fills_before=[fill(Side.BUY, 100, "KO", "58.00"), fill(Side.SELL, 1, CALL, "0.40")],
            ledger=[ended(LedgerEvent.CALLED_AWAY, CALL)],
        )
    )
    assert summary.realised == 40 + 200


def test_a_call_sold_on_shares_assigned_before_it_knows_their_basis() -> None:
    """Assignment on Thursday evening, sale of the shares on Friday: ledger and fills interleave."""
    thursday = dt.date(2020, 2, 6)
    assignment = LedgerRow(
        event=LedgerEvent.ASSIGNED,
        underlying="KO",
        symbol="KO200206P00058000",
        qty=Decimal(1),
        date=thursday,
    )
    summary = summarise(
        books(
            fills_before=[fill(Side.SELL, 1, "KO200206P00058000", "1", YESTERDAY)],
            ledger_before=[assignment],
            orders=[filled(Side.SELL, 100, "KO", "59")],
        )
    )
    assert summary.realised == 100


def test_only_what_opens_a_short_option_is_premium_collected() -> None:
    """Three calls sold with one held long: one closes, two open."""
    summary = summarise(
        books(
            fills_before=[fill(Side.BUY, 1, CALL, "0.10")],
            orders=[filled(Side.SELL, 3, CALL, "0.40")],
        )
    )
    assert summary.premium_collected == 80
    assert summary.realised == 30


# --- stock -------------------------------------------------------------------------------------


def test_stock_is_realised_against_its_average() -> None:
    summary = summarise(
        books(
            fills_before=[fill(Side.BUY, 10, "KO", "50"), fill(Side.BUY, 30, "KO", "58")],
            orders=[
                filled(Side.SELL, 20, "KO", "60", minute=2),
                filled(Side.BUY, 20, "KO", "60", minute=1),
            ],
        )
    )
    # (10 x 50 + 30 x 58 + 20 x 60) / 60 = 57.333…, by time: bought first, then sold.
    assert round(summary.realised, 2) == Decimal("53.33")
    assert [line.side for line in summary.fills] == [Side.BUY, Side.SELL]


def test_shares_from_before_the_books_have_no_basis_unless_it_is_given() -> None:
    sale = [filled(Side.SELL, 15, "KO", "60")]
    unknown = summarise(books(orders=sale, fills_before=[fill(Side.BUY, 5, "KO", "50")]))
    assert unknown.realised == 50
    assert unknown.without_basis == ["KO"]
    given = summarise(books(orders=sale, opening_positions=[position("KO", 20, "55")]))
    assert given.realised == 75
    assert given.without_basis == []


def test_what_had_no_basis_on_an_earlier_day_is_not_told_again() -> None:
    assert summarise(books(fills_before=[fill(Side.SELL, 5, "KO", "50")])).without_basis == []


def test_an_option_that_ends_without_having_begun_counts_for_nothing() -> None:
    summary = summarise(books(ledger=[ended(LedgerEvent.EXPIRED, PUT)]))
    assert summary.realised == 0
    assert summary.without_basis == [PUT]


def test_an_order_that_fills_over_two_days_counts_each_part_once() -> None:
    order = OrderRow(
        strategy="trailing_stop",
        symbol="KO",
        side=Side.SELL,
        qty=Decimal(30),
        order_type="trailing_stop",
        status="filled",
        changed_at=NOON,
        filled_qty=Decimal(30),
        filled_avg_price=Decimal(59),
        filled_qty_before=Decimal(10),
        filled_avg_price_before=Decimal(57),
    )
    [line] = summarise(
        books(
            orders=[order],
            fills_before=[fill(Side.BUY, 30, "KO", "50"), fill(Side.SELL, 10, "KO", "57")],
        )
    ).fills
    assert (line.qty, line.price, line.realised) == (20, 60, 200)


def test_long_options_are_exercised_at_the_strike() -> None:
    bought = [fill(Side.BUY, 1, CALL, "1.50")]
    exercised = ended(LedgerEvent.EXERCISED, CALL)
    assert summarise(books(fills_before=bought, ledger=[exercised])).realised == -150
    shares = summarise(
        books(
            fills_before=bought,
            ledger_before=[exercised],
            orders=[filled(Side.SELL, 100, "KO", "63")],
        )
    )
    assert shares.realised == 300


def test_a_dividend_is_realised_and_a_deposit_is_not() -> None:
    def row(event: LedgerEvent, amount: str) -> LedgerRow:
        return LedgerRow(
            event=event, underlying="KO", symbol="KO", qty=Decimal(0), net_amount=Decimal(amount)
        )

    summary = summarise(
        books(ledger=[row(LedgerEvent.DIVIDEND, "41.00"), row(LedgerEvent.OTHER, "5000")])
    )
    assert summary.realised == 41
    assert len(summary.ledger) == 1


# --- the account -------------------------------------------------------------------------------


def account_day(previous: str | None, ticks: list[tuple[int, str]]) -> DaySummary:
    return summarise(
        DayBooks(
            session=DAY,
            mode=BotMode.DRY,
            env=AlpacaEnv.SIM,
            previous_equity=None if previous is None else Decimal(previous),
            ticks=[
                TickRow(
                    ts=NOON + dt.timedelta(minutes=minute),
                    equity=Decimal(equity),
                    cash=Decimal("12.50"),
                )
                for minute, equity in ticks
            ],
        )
    )


def test_equity_is_the_latest_ticks_and_its_change_is_against_the_day_before() -> None:
    summary = account_day("100000", [(15, "101500"), (0, "99000")])
    assert summary.equity == 101500
    assert summary.equity_change == 1500
    assert summary.equity_change_pct == Decimal("1.5")
    assert summary.cash == Decimal("12.50")
    assert summary.synthetic


def test_what_is_not_known_is_none_and_not_nought() -> None:
    first = account_day(None, [(0, "100000")])
    assert (first.equity, first.equity_change, first.equity_change_pct) == (100000, None, None)
    silent = account_day("100000", [])
    assert (silent.equity, silent.equity_change, silent.cash) == (None, None, None)
    assert account_day("0", [(0, "10")]).equity_change_pct is None


def test_unrealised_is_the_brokers_or_follows_from_what_it_gives() -> None:
    short_put = position(PUT, -1, "0.85")
    assert unrealised_of(position("KO", 10, "50", "-3.20")) == Decimal("-3.20")
    assert unrealised_of(short_put) is None
    priced = PositionView(
        symbol=PUT,
        asset_class=AssetClass.OPTION,
        qty=Decimal(-1),
        qty_available=Decimal(0),
        avg_entry_price=Decimal("0.85"),
        current_price=0.35,
    )
    assert unrealised_of(priced) == 50
    summary = summarise(books(positions=[position("KO", 10, "50", "12"), short_put]))
    assert summary.unrealised == 12
    assert summary.unpriced == [PUT]


def test_open_short_options_come_nearest_first_with_their_days() -> None:
    summary = summarise(
        books(
            positions=[
                position(CALL, -2, "0.40", "10"),
                position("KO", 100, "58"),
                position(PUT, -1, "0.85"),
                position("AAPL200214C00330000", 1, "2"),
            ]
        )
    )
    assert [(o.symbol, o.contracts, o.days_left) for o in summary.short_options] == [
        (PUT, 1, 0),
        (CALL, 2, 7),
    ]


# --- what went wrong ---------------------------------------------------------------------------


def test_blocks_and_errors_are_counted_most_frequent_first() -> None:
    rejected = OrderRow(
        strategy="trailing_stop",
        symbol="KO",
        side=Side.SELL,
        qty=Decimal(1),
        order_type="trailing_stop",
        status="rejected",
        changed_at=NOON,
        note="insufficient qty",
    )
    silence = EventRow(kind="broker", severity=Severity.ERROR, text="no answer")
    summary = summarise(
        DayBooks(
            session=DAY,
            mode=BotMode.LIVE,
            env=AlpacaEnv.PAPER,
            approved=3,
            blocks={"max short puts": 2, "cash": 7, "age": 2},
            orders=[rejected],
            events=[
                silence,
                silence,
                EventRow(kind="quote", severity=Severity.WARNING, text="crossed"),
            ],
        )
    )
    assert (summary.approved, summary.blocked, summary.warnings) == (3, 11, 1)
    assert [(b.text, b.count) for b in summary.blocks] == [
        ("cash", 7),
        ("age", 2),
        ("max short puts", 2),
    ]
    assert summary.errors == [
        Counted(text="broker: no answer", count=2),
        Counted(text="order sell KO rejected: insufficient qty", count=1),
    ]


def test_an_intent_that_fails_several_gates_is_one_block() -> None:
    summary = summarise(
        DayBooks(
            session=DAY,
            mode=BotMode.DRY,
            env=AlpacaEnv.SIM,
            blocked=2,
            blocks={"cash": 2, "position": 1},
        )
    )
    assert summary.blocked == 2


@pytest.mark.parametrize("status", ["dry_run", "accepted", "canceled"])
def test_orders_that_did_not_fill_are_no_fills(status: str) -> None:
    order = OrderRow(
        strategy="wheel:covered_call",
        symbol=CALL,
        side=Side.SELL,
        qty=Decimal(1),
        order_type="limit",
        status=status,
        changed_at=NOON,
    )
    summary = summarise(books(orders=[order]))
    assert summary.fills == []
    assert summary.dry_runs == (status == "dry_run")
