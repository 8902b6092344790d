"""The table of settings as pages: `.env.example` and docs/settings.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

from libs.common.settings_entry import Entry
from libs.common.settings_table import TABLE, text_of


def env_example() -> str:
    lines = [
        "# Settings of alpaclaudia. Copy to .env and uncomment what you change; what is commented",
        "# out shows its default. Variables of the environment win over this file.",
        "# Secrets may be given as a file instead: ALPACA_SECRET_KEY_FILE=/run/secrets/alpaca",
        "# Generated: python -m libs.common.settings_table > .env.example",
    ]
    for group, entries in _groups():
        lines += ["", f"# === {group} ==="]
        for entry in entries:
            lines += ["", *_comment(entry.explanation), *_comment(_allowed(entry))]
            lines.append(f"# {entry.variable}={text_of(entry.default)}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, 96)]


def _allowed(entry: Entry) -> str:
    default = f" Default: {entry.default_note}." if entry.default_note else ""
    also = f" Or set {entry.variable}_FILE." if entry.from_file else ""
    also = f" Secret; or set {entry.variable}_FILE." if entry.secret else also
    return f"Allowed: {entry.parser.allowed}.{default}{also}"


def markdown() -> str:
    lines = [
        "# Settings",
        "",
        "Set in the environment or in `.env`; the environment wins, and a variable that is set to",
        "nothing counts as not set. All errors are told at once when a process starts.",
        "`alpaclaudia config` shows what holds and where each value comes from. A secret can be",
        "given as a file: set its variable's name with `_FILE` at the end to the path.",
        "",
        "Generated: `python -m libs.common.settings_table --markdown > docs/settings.md`.",
    ]
    for group, entries in _groups():
        lines += ["", f"## {group}", "", "| Variable | Default | Allowed | What it does |"]
        lines.append("|---|---|---|---|")
        lines += [_markdown_row(entry) for entry in entries]
    return "\n".join(lines) + "\n"


def _markdown_row(entry: Entry) -> str:
    default = entry.default_note or (
        f"`{text_of(entry.default)}`" if text_of(entry.default) else ""
    )
    secret = f" Or `{entry.variable}_FILE`." if entry.from_file else ""
    secret = " Secret." if entry.secret else secret
    cells = (f"`{entry.variable}`", default, entry.parser.allowed, entry.explanation + secret)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _groups() -> Iterator[tuple[str, list[Entry]]]:
    for group, entries in groupby(TABLE, key=lambda entry: entry.group):
        yield group, list(entries)
