"""What is said of one variable."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from libs.common.settings import Settings
from libs.common.settings_parsers import Parser


class Entry(msgspec.Struct, frozen=True):
    """One variable. `path` leads into the Settings struct: `planner.wheel.target_delta`."""

    group: str
    variable: str
    path: str
    parser: Parser
    explanation: str
    secret: bool = False
    from_file: bool = False
    """Whether `…_FILE` may name a file that holds it, as for every secret."""
    default_note: str = ""
    """Said instead of the struct's default where that depends on another variable."""
    notice: Callable[[str], str | None] | None = None
    """From a valid text, a warning to show with it."""

    @property
    def default(self) -> object:
        return value_at(Settings(), self.path)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that set it: a secret's may also be read from a file."""
        return (self.variable, f"{self.variable}_FILE") if self.filed else (self.variable,)

    @property
    def filed(self) -> bool:
        return self.secret or self.from_file


def value_at(settings: Settings, path: str) -> object:
    value: object = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value
