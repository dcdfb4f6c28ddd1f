"""GUARANTEES.md promises nothing that no test breaks."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "GUARANTEES.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)*)`", TEXT)))


def promises() -> list[list[str]]:
    """Return the cells of each row of each table of promises."""
    rows = re.findall(r"^\| (\d+ \|.*) \|$", TEXT, re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows]


@cache
def definitions(path: Path) -> frozenset[str]:
    """
    Return the names of the tests that a module holds: what pytest collects, and nothing else.

    A helper of that name breaks nothing by itself.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    scopes: list[ast.Module | ast.ClassDef] = [tree, *classes]
    plain = {
        node.name
        for scope in scopes
        for node in scope.body
        if isinstance(node, functions) and node.name.startswith("test_")
    }
    # A state machine's test is an assignment: TestX = Machine.TestCase.
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    named = assigned | {node.name for node in classes}
    return frozenset(plain | {name for name in named if name.startswith("Test")})


@pytest.mark.parametrize("named", NAMED)
def test_every_named_test_exists(named: str) -> None:
    """A file, and in it a test of that name."""
    file, *names = named.split("::")
    assert (ROOT / file).is_file()
    for name in names:
        assert name in definitions(ROOT / file)


@pytest.mark.parametrize(
    ("module", "name", "is_one"),
    [
        ("tests/test_forked.py", "test_oracle_notices", True),
        ("tests/test_forked.py", "hold_file", False),
        ("tests/properties/test_archive_machine.py", "TestNights", True),
        ("tests/kills/ground.py", "Ground", False),
    ],
)
def test_only_what_pytest_collects_is_a_test(module: str, name: str, *, is_one: bool) -> None:
    """Functions and classes by the names of tests, at the top of a module or of a class."""
    assert (name in definitions(ROOT / module)) == is_one


def test_every_promise_has_a_test_that_breaks_it() -> None:
    """One sentence, at least one test by its name, and a figure, in each row; numbered in order."""
    rows = promises()
    assert len(rows) >= 20
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    for number, sentence, tests, figure in rows:
        assert sentence.endswith("."), number
        assert re.search(r"`tests/[\w/]+\.py::\w+`", tests), number
        assert figure, number


def test_front_page_leads_here() -> None:
    """The README links to it."""
    assert "](GUARANTEES.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
