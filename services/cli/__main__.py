"""The `alpaclaudia` command."""

from __future__ import annotations


def main() -> None:
    """The console script: imports as late as possible, so that `--help` is quick."""
    from services.cli.commands import app

    app()


if __name__ == "__main__":
    main()
