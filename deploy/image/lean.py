"""For the Dockerfile: what pyproject.toml names, as requirements, and a venv made smaller.

python lean.py requirements | build-requirements    # one a line
python lean.py strip /opt/alpaclaudia               # leave out what no process reads
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

SUITES = ("tests", "testing")
NEEDED = {"numpy/testing", "scipy/_lib/array_api_compat"}
"""Folders of such a name that the packages import themselves."""


def requirements(section: str, key: str) -> str:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    return "\n".join(project[section][key])


def strip(venv: Path) -> None:
    """Removes the packages' own test suites and the sources of what is compiled."""
    (site,) = venv.glob("lib/python3*/site-packages")
    for folder in sorted(site.glob("*/**/tests")):
        if folder.is_dir() and folder.relative_to(site).as_posix() not in NEEDED:
            shutil.rmtree(folder, ignore_errors=True)
    for pattern in ("*.pyx", "*.pxd", "*.pyi", "*.c", "*.h", "*.hpp", "*.f", "*.f90", "*.a"):
        for file in site.rglob(pattern):
            file.unlink()


def main() -> None:
    match sys.argv[1:]:
        case ["requirements"]:
            print(requirements("project", "dependencies"))
        case ["build-requirements"]:
            print(requirements("build-system", "requires"))
        case ["strip", venv]:
            strip(Path(venv))
        case _:
            sys.exit(__doc__)


main()
