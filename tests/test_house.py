"""The house: imports go one way, risky libraries have one room, rooms stay small."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "bulkaudio"

STOREYS = [
    [
        "version",
        "errors",
        "steps",
        "model",
        "naming",
        "object_url",
        "place",
        "quantities",
        "bounds",
        "cells",
        "clocks",
        "policy",
        "wav",
        "windows",
        "timetable",
        "events",
    ],
    ["settings", "keys"],
    ["bandwidth", "slots", "put_off", "rate", "ticket", "gate", "retry", "stopper"],
    ["polyai"],
    ["ping_url", "ping"],
    ["sources"],
    ["stores"],
    ["ledger"],
    [
        "gaps",
        "survey",
        "verdicts",
        "fetch",
        "sidecars",
        "budget",
        "committer",
        "crew",
        "run",
        "tombstones",
        "registered",
        "interrupted",
        "holding",
        "erasure",
        "purge",
        "catalogue",
        "identity",
        "archive",
        "told",
        "listings",
        "returned",
        "verify",
        "found",
        "rebuild",
    ],
    ["observe"],
    ["report"],
    ["schedule"],
    ["simulator"],
    [
        "choices",
        "conduct",
        "remember",
        "assembly",
        "cluster",
        "repair",
        "job",
        "forecast",
        "relist",
        "inquiry",
        "foretold",
        "rehearse",
        "doctor",
        "api",
        "demo",
    ],
    ["cli"],
    ["__init__", "__main__"],
]
"""A room imports only from storeys above its own, and from its left neighbours."""

ORDER = {room: number for number, room in enumerate(room for floor in STOREYS for room in floor)}

ONE_ROOM = {
    "aiohttp": {"polyai", "simulator", "ping"},
    "sqlite3": {"ledger"},
    "tenacity": {"retry"},
    "ijson": {"polyai"},
    "aiofiles": {"stores"},
    "cyclopts": {"cli"},
    "rich": {"observe", "cli"},
    "pyarrow": {"catalogue"},
    "obstore": {"stores"},
    "dask": {"cluster"},
    "distributed": {"cluster"},
}

MODULES = sorted(ROOT.rglob("*.py"))


def room_of(module: Path) -> str:
    """Name the room a file belongs to: its top folder, or itself."""
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_imports_go_one_way(module: Path) -> None:
    """No module imports from a storey below it, nor a library that belongs elsewhere."""
    room = room_of(module)
    assert room in ORDER, f"{room} has no storey: give it one in STOREYS"
    for name in imports_of(ast.parse(module.read_text())):
        first, _, rest = name.partition(".")
        if first == "bulkaudio" and rest:
            other = rest.partition(".")[0]
            assert ORDER[other] <= ORDER[room], f"{room} imports {other}, which is below it"
        if first in ONE_ROOM:
            assert room in ONE_ROOM[first], f"{room} imports {first}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_rooms_stay_small(module: Path) -> None:
    """Modules stay under 400 lines and functions under 60."""
    text = module.read_text()
    assert len(text.splitlines()) < 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length < 60, f"{node.name} has {length} lines"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_imports_stand_at_the_top(module: Path) -> None:
    """Only the front door imports inside functions, so that --help stays light."""
    if room_of(module) in {"cli", "__init__", "__main__"}:
        return
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert not list(imports_of(node)), f"{node.name} imports"


def test_no_task_is_left_without_an_owner() -> None:
    """Tasks come from task groups: nothing calls create_task of the loop or ensure_future."""
    for module in MODULES:
        text = module.read_text()
        # The iterator of outcomes owns one task, which its aclose awaits; the committer one, which
        # it awaits to its end even when it is cancelled: a group would cancel it too. What a worker
        # has of a run outlives the shards there: one task, ended with the worker, looks after it.
        owners = {"api.py", "committer.py", "work.py"}
        assert "asyncio.create_task(" not in text or module.name in owners, module
        assert "ensure_future(" not in text, module
        assert "asyncio.gather(" not in text, module
