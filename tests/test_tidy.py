"""House law: what docs/architecture.md and docs/decisions promise of this tree, looked up in it."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from libs.common.contracts import MESSAGES
from libs.common.topology import STREAMS

ROOT = Path(__file__).parents[1]
LINES_MAX = 450
LONG_ON_PURPOSE: set[str] = set()
NAMES = {message.__name__ for message in MESSAGES}
ROOMS = sorted(p.parent.name for p in (ROOT / "services").glob("*/__init__.py"))
SHELVES = sorted(p.parent.name for p in (ROOT / "libs").glob("*/__init__.py"))


@cache
def tracked() -> tuple[Path, ...]:
    """Every file git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def sources() -> list[Path]:
    return sorted(path for room in ("services", "libs") for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# --- messages ----------------------------------------------------------------------------------


def test_subjects_are_unique() -> None:
    subjects = [message.SUBJECT for message in MESSAGES]
    assert len(set(subjects)) == len(subjects)


def test_no_subject_of_a_stream_is_in_another() -> None:
    subjects = [subject for stream in STREAMS for subject in stream.subjects]
    assert len(set(subjects)) == len(subjects)


def test_every_message_class_is_listed_and_restates_what_is_not_inherited() -> None:
    """A Struct's subclass is neither frozen nor keyword-only by its parent's word."""
    declared = {
        node.name: {word.arg: ast.literal_eval(word.value) for word in node.keywords}
        for node in tree_of(ROOT / "libs/common/contracts.py").body
        if isinstance(node, ast.ClassDef)
        and {"Message", "Struct"} & {ast.unparse(base).split(".")[-1] for base in node.bases}
    }
    assert set(declared) >= NAMES
    for name, words in declared.items():
        assert words.get("frozen") is True, name
        assert words.get("kw_only") is True, name
    for message in MESSAGES:
        assert message.__struct_config__.frozen, message
        assert message.__struct_config__.omit_defaults, message
    assert {c.__name__ for c in MESSAGES[0].__base__.__subclasses__()} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_message_has_a_recording(name: str) -> None:
    assert (ROOT / "tests" / "contracts" / "golden" / f"{name}.json").is_file()


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))


@cache
def produced() -> frozenset[str]:
    """Messages constructed somewhere."""
    return frozenset(
        call.func.id
        for path in sources()
        for call in calls(path)
        if isinstance(call.func, ast.Name) and call.func.id in NAMES
    )


@cache
def consumed() -> frozenset[str]:
    """Messages that are told apart, looked up or asked for by their type somewhere: in a `match`,
    an `isinstance`, a table's key, or as an argument (`bus.last`, `bus.answer`, `bus.request`).
    """
    return frozenset(
        node.id
        for path in sources()
        if path.name not in ("contracts.py", "topology.py")
        for where in ast.walk(tree_of(path))
        for part in _where_types_are_named(where)
        for node in ast.walk(part)
        if isinstance(node, ast.Name) and node.id in NAMES
    )


def _where_types_are_named(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.MatchClass():
            return [node.cls]
        case ast.Dict():
            return [key for key in node.keys if key is not None]
        case ast.Call():
            return [a for a in node.args if isinstance(a, ast.Name | ast.BinOp | ast.Tuple)]
    return []


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_message_has_a_producer_and_a_consumer(name: str) -> None:
    assert name in produced(), f"nobody makes {name}"
    assert name in consumed(), f"nobody reads {name}"


# --- docs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [*ROOMS, *SHELVES])
def test_the_readmes_map_names_every_room(room: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ways = rf"(?:services|libs)/{room}\b|`{room}/?`|^[\s│├└─|*-]*{room}/"
    assert re.search(ways, readme, re.MULTILINE), f"{room} is not on the map"


def test_links_between_our_pages_lead_somewhere() -> None:
    broken = [
        f"{name_of(page)}: {target}"
        for page in tracked()
        if page.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


# --- the tree ----------------------------------------------------------------------------------

MACHINE_PATH = re.compile(r"(?<![\w.>}])/(?:root|home|work)/")
REGISTRY = re.compile(
    r"(?:extra-)?index-url|find-links|trusted-host"
    r"|(?:pypi|pythonhosted|npmjs|artifactory|nexus|devpi)[\w-]*\.(?:\w+\.)*(?:org|com|io|net|local)"
)


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        if path.suffix != ".gz" and path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1)
        if MACHINE_PATH.search(line) or REGISTRY.search(line)
    ]
    assert found == []


def test_the_search_for_machines_and_registries_finds_some() -> None:
    for planted in ("/" + "root/.cache", "'/" + "home/me'", "open(/" + "work/main)"):
        assert MACHINE_PATH.search(planted)
    for planted in ("--index" + "-url http://x", "https://files.python" + "hosted.org/x"):
        assert REGISTRY.search(planted)
    assert not MACHINE_PATH.search("$HOME/work/thing")
    assert not REGISTRY.search("real servers from PyPI wheels")


def pins() -> dict[str, str]:
    """Names as PEP 503 compares them, and their versions."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found: dict[str, str] = {}
    for line in lines:
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9][\w.-]*)==([0-9][\w.+!]*)", line)
        assert match, f"constraints.txt: {line!r} is not name==version"
        assert _normal(match[1]) not in found, f"constraints.txt: {line!r} comes twice"
        found[_normal(match[1])] = match[2]
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(each for extra in extras for each in extra)]
    names = {_normal(re.split(r"[\[<>=!~ ;]", each)[0]) for each in wanted}
    assert names - set(pins()) == set()


def test_files_stay_short() -> None:
    long = {
        name_of(path): lines
        for path in sources()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }
    assert set(long) <= LONG_ON_PURPOSE, long


def swallowed(tree: ast.Module) -> Iterator[int]:
    """Lines where any exception at all is dropped without a word."""
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(type=caught, body=body):
                silent = all(isinstance(part, ast.Pass | ast.Continue) for part in body)
                if silent and _catches_all(caught):
                    yield node.lineno
            case ast.Call(func=func, args=args) if ast.unparse(func).endswith("suppress"):
                if any(_catches_all(argument) for argument in args):
                    yield node.lineno


def _catches_all(caught: ast.expr | None) -> bool:
    names = {"Exception", "BaseException"}
    return caught is None or bool(
        names & {node.id for node in ast.walk(caught) if isinstance(node, ast.Name)}
    )


def test_no_error_is_swallowed_whole() -> None:
    found = [f"{name_of(path)}:{line}" for path in sources() for line in swallowed(tree_of(path))]
    assert found == []


def test_the_search_for_swallowed_errors_finds_some() -> None:
    planted = (
        "try:\n    f()\nexcept Exception:\n    pass\n"
        "for x in y:\n    try:\n        f()\n    except (ValueError, BaseException):\n"
        "        continue\nwith contextlib.suppress(Exception):\n    f()\n"
        "try:\n    f()\nexcept ValueError:\n    pass\n"
    )
    assert sorted(swallowed(ast.parse(planted))) == [3, 8, 10]
