"""What a person reads: on the terminal, and on Discord within its limits whatever comes in."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts import AlpacaEnv, BotMode, LedgerEvent, Side
from libs.common.symbols import Right
from services.reporter.render import discord_payload, notes, text
from services.reporter.summary import (
    Counted,
    DaySummary,
    FillLine,
    LedgerLine,
    ShortOption,
)

DAY = dt.date(2020, 2, 7)
QUIET = DaySummary(
    session=DAY,
    mode=BotMode.LIVE,
    env=AlpacaEnv.PAPER,
    equity=Decimal("101500.00"),
    equity_change=Decimal("-1500.5"),
    equity_change_pct=Decimal("-1.4567"),
    cash=Decimal("50000"),
    realised=Decimal("125"),
    unrealised=Decimal("-20.255"),
    premium_collected=Decimal("85"),
    fills=[],
    ledger=[],
    short_options=[],
    approved=2,
    blocked=3,
    blocks=[],
    errors=[],
    warnings=0,
    dry_runs=0,
    without_basis=[],
    unpriced=[],
)
FILL = FillLine(
    symbol="KO200207P00058000",
    side=Side.SELL,
    qty=Decimal(1),
    price=Decimal("0.85"),
    strategy="wheel:cash_secured_put",
    realised=Decimal(0),
)
BUSY = msgspec.structs.replace(
    QUIET,
    fills=[FILL, msgspec.structs.replace(FILL, side=Side.BUY, realised=Decimal("60"))],
    ledger=[
        LedgerLine(
            event=LedgerEvent.CALLED_AWAY, symbol="KO", qty=Decimal(1), realised=Decimal("240")
        )
    ],
    short_options=[
        ShortOption(
            symbol="KO200214C00060000",
            underlying="KO",
            right=Right.CALL,
            strike=Decimal("60"),
            expiration=dt.date(2020, 2, 14),
            contracts=Decimal(2),
            days_left=7,
            unrealised=Decimal("-12"),
        )
    ],
    blocks=[Counted(text="not enough free cash", count=3)],
    errors=[Counted(text="broker: no answer", count=1)],
)


def fields_of(payload: dict[str, Any]) -> dict[str, str]:
    [embed] = payload["embeds"]
    return {field["name"]: field["value"] for field in embed["fields"]}


def test_the_terminal_tells_the_whole_day() -> None:
    said = text(BUSY)
    assert said.splitlines()[0] == "alpaclaudia 2020-02-07 (live, paper)"
    for part in (
        "$101,500.00 (-$1,500.50, -1.46%)",
        "+$125.00",
        "-$20.26",
        "2 approved, 3 blocked",
        "sell 1 KO200207P00058000 at 0.85 (wheel:cash_secured_put)\n",
        "realised +$60.00",
        "called away 1 KO, realised +$240.00",
        "KO 2 call 60.00 2020-02-14, 7 days left, unrealised -$12.00",
        "3 × not enough free cash",
        "broker: no answer",
    ):
        assert part in said, part


def test_a_quiet_day_has_figures_and_no_empty_lists() -> None:
    assert "Fills" not in text(QUIET)
    assert set(fields_of(discord_payload(QUIET))) == {
        "Equity",
        "Cash",
        "Realised",
        "Unrealised",
        "Premium collected",
        "Intents",
        "Warnings",
    }


def test_what_is_not_known_is_said() -> None:
    unknown = msgspec.structs.replace(
        QUIET, equity=None, equity_change=None, equity_change_pct=None, cash=None
    )
    assert text(unknown).count("not known") == 2


def test_every_screen_says_when_prices_are_synthetic_when_nothing_was_sent_and_real_money() -> None:
    dry_sim = msgspec.structs.replace(QUIET, mode=BotMode.DRY, env=AlpacaEnv.SIM, dry_runs=4)
    for said in (text(dry_sim), json.dumps(discord_payload(dry_sim))):
        assert "prices of option chains are synthetic" in said
        assert "no order was sent; 4 would have been" in said
        assert "dry, sim" in said
    real = msgspec.structs.replace(QUIET, env=AlpacaEnv.LIVE)
    assert "Real money" in text(real)
    assert "synthetic" not in text(real)
    assert "Dry mode" not in text(real)


def test_what_is_left_out_of_the_figures_is_named() -> None:
    partial = msgspec.structs.replace(
        QUIET, without_basis=["KO"], unpriced=[f"S{i}" for i in range(12)]
    )
    assert "Ended without a known basis, not in realised: KO." in text(partial)
    assert "S9 and 2 more." in text(partial)


def test_long_lists_are_cut_on_discord_and_whole_on_the_terminal() -> None:
    many = msgspec.structs.replace(QUIET, fills=[FILL] * 100)
    value = fields_of(discord_payload(many))["Fills"]
    shown = value.count("KO200207P00058000")
    assert 5 < shown < 100
    assert value.endswith(f"and {100 - shown} more\n```")
    assert text(many).count("KO200207P00058000") == 100


def test_nobody_is_pinged_and_no_markup_of_others_is_read() -> None:
    nasty = "@everyone ```\n**boo** [x](http://evil) <@1>"
    payload = discord_payload(msgspec.structs.replace(QUIET, errors=[Counted(text=nasty, count=1)]))
    assert payload["allowed_mentions"] == {"parse": []}
    value = fields_of(payload)["Errors"]
    assert value.startswith("```\n")
    assert value.endswith("\n```")
    assert value.count("```") == 2
    assert "@everyone" not in str(payload["content"])


def test_an_errors_line_breaks_do_not_break_the_terminal() -> None:
    broken = msgspec.structs.replace(QUIET, errors=[Counted(text="a\r\n\x1b[31mb", count=1)])
    assert "\x1b" not in text(broken)
    assert "  a [31mb\n" in text(broken)


# --- limits, whatever comes in -----------------------------------------------------------------


def units(said: str) -> int:
    return len(said.encode("utf-16-le", "surrogatepass")) // 2


anything = st.text(max_size=400)
dollars = st.decimals("-1e12", "1e12", places=4)
summaries = st.builds(
    DaySummary,
    session=st.just(DAY),
    mode=st.sampled_from(BotMode),
    env=st.sampled_from(AlpacaEnv),
    equity=st.none() | dollars,
    equity_change=st.none() | dollars,
    equity_change_pct=st.none() | dollars,
    cash=st.none() | dollars,
    realised=dollars,
    unrealised=dollars,
    premium_collected=dollars,
    fills=st.integers(0, 200).map(lambda n: [FILL] * n),
    ledger=st.lists(
        st.builds(
            LedgerLine,
            event=st.sampled_from(LedgerEvent),
            symbol=anything,
            qty=dollars,
            realised=dollars,
        ),
        max_size=20,
    ),
    short_options=st.integers(0, 100).map(lambda n: BUSY.short_options * n),
    approved=st.integers(0, 10**9),
    blocked=st.integers(0, 10**9),
    blocks=st.lists(st.builds(Counted, text=anything, count=st.integers(1, 10**6)), max_size=30),
    errors=st.lists(
        st.builds(Counted, text=st.text("😀é\n`@", max_size=900), count=st.just(2)), max_size=30
    ),
    warnings=st.integers(0, 10**9),
    dry_runs=st.integers(0, 10**9),
    without_basis=st.lists(st.text(max_size=24), max_size=30),
    unpriced=st.lists(st.text(max_size=24), max_size=30),
)


@settings(max_examples=60, deadline=None)
@given(summary=summaries)
def test_discord_never_has_a_reason_to_refuse(summary: DaySummary) -> None:
    payload: dict[str, Any] = discord_payload(summary)
    [embed] = payload["embeds"]
    fields = embed["fields"]
    description = embed.get("description", "x")
    assert 1 <= units(payload["content"]) <= 2000
    assert 1 <= units(embed["title"]) <= 256
    assert 1 <= units(description) <= 4096
    assert len(fields) <= 25
    assert all(1 <= units(field["name"]) <= 256 for field in fields)
    assert all(1 <= units(field["value"]) <= 1024 for field in fields)
    in_all = units(embed["title"]) + units(description)
    in_all += sum(units(field["name"]) + units(field["value"]) for field in fields)
    assert in_all <= 6000
    json.dumps(payload, allow_nan=False)
    assert text(summary).endswith("\n")


def test_a_report_says_first_when_trading_is_not_active() -> None:
    halted = msgspec.structs.replace(QUIET, trading="halted (halt by ann: quotes\nlook wrong)")
    assert notes(halted)[0] == "Trading is halted (halt by ann: quotes look wrong)."
    assert not any("Trading is" in note for note in notes(QUIET))
