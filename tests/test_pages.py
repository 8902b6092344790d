"""The docs say what the code does: every generated page is as `make docs` would write it."""

from __future__ import annotations

import pytest

from tests.pages import PAGES, LostPartError, Page, put


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_as_generated(page: Page) -> None:
    assert page.make(page.now) == page.now, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_made_again_stays_the_same(page: Page) -> None:
    once = page.make(page.now)
    assert page.make(once) == once


TABLE = "| a | b |\n|---|---|\n| 1 | 2 |"
DIAGRAM = "```mermaid\nstateDiagram-v2\n  [*] --> a\n```"


def test_a_part_takes_the_place_of_the_one_before() -> None:
    page = f"# Page\n\n{TABLE}\n| old | row |\n<!-- end -->\n\n{DIAGRAM}\n\nAfter.\n"
    newer = TABLE + "\n| 3 | 4 |"
    assert put(page, newer) == f"# Page\n\n{newer}\n<!-- end -->\n\n{DIAGRAM}\n\nAfter.\n"
    longer = DIAGRAM.replace("\n```", "\n  a --> b\n```")
    assert put(page, longer) == page.replace(DIAGRAM, longer)
    assert put(f"{TABLE}\n| old | row |", TABLE) == TABLE


@pytest.mark.parametrize("page", ["# Page\n", f"{TABLE}\n\n{TABLE}\n"], ids=["none", "two"])
def test_a_part_without_its_one_place_is_an_error(page: str) -> None:
    with pytest.raises(LostPartError, match="parts of the page, not one"):
        put(page, TABLE)
