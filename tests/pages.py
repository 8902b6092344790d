"""Every page of the docs, and every part of one, that is generated: `make docs` writes them.

Examples of messages are the recordings of tests/contracts, so what the docs show is what decodes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from libs.common import rights_page, settings_pages, trading_state
from libs.common.bus_document import Examples, asyncapi
from libs.common.bus_page import bus_page
from libs.common.contracts import MESSAGES
from libs.common.meters_table import meters_table
from services.exchange.engine import order_states
from services.executor import lifecycle
from services.risk.gates.table import gate_table
from tests.conformity.sdk import table as sdk
from tests.contracts.recordings import recording

ROOT = Path(__file__).parents[1]


class Page(msgspec.Struct, frozen=True):
    """A file, and what it should hold, given what it holds now."""

    name: str
    make: Callable[[str], str]

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @property
    def now(self) -> str:
        return self.path.read_text(encoding="utf-8") if self.path.exists() else ""


class LostPartError(ValueError):
    """A page no longer has the place where a generated part belongs."""


def examples() -> Examples:
    """One of each message: its recording, which has every field, less what its kind of order has
    no use for.
    """
    return {
        message_type: _as_sent(json.loads(recording(message_type))) for message_type in MESSAGES
    }


def _as_sent(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_sent(each) for each in value]
    if not isinstance(value, dict):
        return value
    left_out = {"stop_price", "trail_percent"} if value.get("order_type") == "limit" else set()
    return {name: _as_sent(each) for name, each in value.items() if name not in left_out}


def version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def asyncapi_text() -> str:
    document = asyncapi(version(), examples())
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def whole(make: Callable[[], str]) -> Callable[[str], str]:
    return lambda _now: make()


def parts(*makes: Callable[[], str]) -> Callable[[str], str]:
    """Puts each part where its two first lines stand: a table up to its last row, a diagram up to
    its fence.
    """

    def put_all(page: str) -> str:
        for make in makes:
            page = put(page, make())
        return page

    return put_all


def put(page: str, part: str) -> str:
    """Raises LostPartError when the part's first two lines are not found, or found twice."""
    lines, new = page.split("\n"), part.split("\n")
    starts = [at for at in range(len(lines)) if lines[at : at + 2] == new[:2]]
    if len(starts) != 1:
        raise LostPartError(f"{new[0]!r} begins {len(starts)} parts of the page, not one")
    ends = _end(lines, starts[0])
    return "\n".join([*lines[: starts[0]], *new, *lines[ends:]])


def _end(lines: list[str], start: int) -> int:
    """The line after a part."""
    if lines[start].startswith("```"):
        return lines.index("```", start) + 1
    rows = (at for at in range(start, len(lines)) if not lines[at].startswith("|"))
    return next(rows, len(lines))


def mermaid(diagram: Callable[[], str]) -> Callable[[], str]:
    return lambda: f"```mermaid\n{diagram()}\n```"


PAGES: tuple[Page, ...] = (
    Page(".env.example", whole(settings_pages.env_example)),
    Page("docs/settings.md", whole(settings_pages.markdown)),
    Page("docs/bus.md", whole(lambda: bus_page(examples()))),
    Page("docs/asyncapi.json", whole(asyncapi_text)),
    Page("docs/metrics.md", parts(meters_table)),
    Page("docs/security.md", parts(rights_page.bus_table, rights_page.roles_table)),
    Page("docs/life-of-an-order.md", parts(mermaid(lifecycle.diagram))),
    Page("docs/risk.md", parts(mermaid(trading_state.diagram), gate_table)),
    Page("docs/exchange.md", lambda page: sdk.written(parts(mermaid(order_states.diagram))(page))),
)


def write(pages: Iterable[Page]) -> list[str]:
    """The names of those that changed."""
    changed = []
    for page in pages:
        made = page.make(page.now)
        if made != page.now:
            page.path.write_text(made, encoding="utf-8")
            changed.append(page.name)
    return changed


if __name__ == "__main__":
    print("\n".join(f"wrote {name}" for name in write(PAGES)) or "all pages are current")
