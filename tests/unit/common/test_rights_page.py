"""docs/security.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from libs.common.rights_page import bus_table, roles_table

PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_accounts_are_as_generated() -> None:
    assert f"\n\n{bus_table()}\n\n" in PAGE, "run python -m libs.common.rights_page"


def test_the_roles_are_as_generated() -> None:
    assert f"\n\n{roles_table()}\n\n" in PAGE, "run python -m libs.common.rights_page"
