"""Settings that differ by symbol, and arbitrary text wherever a setting is read."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.settings_sources import LoadedSettings, SettingsError, load_settings
from libs.common.settings_table import TABLE


def load(cwd: Path, toml: str) -> LoadedSettings:
    (cwd / "symbols.toml").write_text(toml)
    environ = {"SYMBOL_OVERRIDES": "symbols.toml", "DTE_MAX": "30"}
    return load_settings(environ, env_file=None, cwd=cwd)


def complaints(cwd: Path, toml: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(cwd, toml)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_a_symbol_differs_where_it_says_so_and_else_is_like_all(tmp_path: Path) -> None:
    planner = load(
        tmp_path, "[AAPL]\ntarget_delta = 0.2\nenabled = false\n[KO]\ntrail_percent = 12.5\n"
    ).settings.planner
    assert planner.wheel_for("AAPL").target_delta == 0.2
    assert planner.wheel_for("AAPL").enabled is False
    assert planner.wheel_for("AAPL").dte_max == 30
    assert planner.wheel_for("KO") is planner.wheel
    assert planner.trail_percent_for("KO") == Decimal("12.5")
    assert planner.trail_percent_for("AAPL") == planner.trailing_stop.trail_percent


def test_every_error_names_file_table_and_key(tmp_path: Path) -> None:
    lines = complaints(
        tmp_path,
        """
        target_delta = 0.3
        [aapl]
        dte_min = 3
        [KO]
        target_delta = 2
        otm_pct = "five"
        enabled = 1
        dte_max = 7.5
        min_annual_yield = nan
        max_spread_pct = true
        target_deltas = 0.2
        trail_percent = 90
        [MSFT]
        dte_min = 40
        """,
    )
    where = f"SYMBOL_OVERRIDES: {tmp_path / 'symbols.toml'}"
    assert [line.removeprefix(where).split(";")[0] for line in lines] == [
        " [target_delta]: stands outside of a table",
        " [aapl]: is not a stock's symbol",
        " [KO] target_delta is 2",
        " [KO] otm_pct is 'five'",
        " [KO] enabled is 1",
        " [KO] dte_max is 7.5",
        " [KO] min_annual_yield is NaN",
        " [KO] max_spread_pct is True",
        " [KO] target_deltas: unknown",
        " [KO] trail_percent is 90",
        " [MSFT]: dte_max must not be less than dte_min",
    ]


@pytest.mark.parametrize(
    "toml",
    [
        "[AAPL",
        "[AAPL]\nx = " + "9" * 5000,
        "[AAPL]\ndte_min = 0x" + "f" * 6000,
        "[AAPL]\nx = " + "[" * 5000,
        "[AAPL]\ntarget_delta = 1e999999999",
        "[AAPL]\ntarget_delta = [0.2]",
        "[AAPL]\ntarget_delta = 1979-05-27",
    ],
)
def test_a_file_that_is_wrong_in_itself_is_an_error_never_a_crash(
    tmp_path: Path, toml: str
) -> None:
    [line] = complaints(tmp_path, toml)
    assert "symbols.toml" in line
    assert len(line) < 600


def test_a_missing_or_unreadable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("none.toml", ".", "bytes"):
        with pytest.raises(SettingsError, match="SYMBOL_OVERRIDES"):
            load_settings({"SYMBOL_OVERRIDES": name}, env_file=None, cwd=tmp_path)


VARIABLES = [name for entry in TABLE for name in entry.variables]
ODD = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"[+-]?[0-9]{0,6}(\.[0-9]{0,6})?([eE][0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[a-z+]{1,12}://[\[\]a-z0-9:@/.?]{0,30}", fullmatch=True),
    st.sampled_from(["nan", "-inf", "1e999", "\x00", "\ud800", "https://[", "America", "/", "."]),
)


@pytest.mark.parametrize("variable", VARIABLES)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=ODD)
def test_any_text_in_any_variable_gives_settings_or_an_error_that_names_it(
    tmp_path: Path, variable: str, text: str
) -> None:
    told = variable
    try:
        load_settings({variable: text}, env_file=None, cwd=tmp_path)
    except SettingsError as error:
        told = str(error)
    assert variable.removesuffix("_FILE") in told
    told.encode()  # can be printed, whatever came in


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.one_of(st.text(max_size=80), st.lists(ODD, max_size=3).map("\n".join)))
def test_any_text_in_the_files_gives_settings_or_an_error(tmp_path: Path, text: str) -> None:
    for environ, file in (({}, ".env"), ({"SYMBOL_OVERRIDES": "symbols.toml"}, "symbols.toml")):
        (tmp_path / ".env").write_bytes(b"")
        (tmp_path / file).write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            load_settings(environ, env_file=Path(".env"), cwd=tmp_path)
        except SettingsError as error:
            str(error).encode()
