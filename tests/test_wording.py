"""How errors are worded, in every constructor of the package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulkaudio
from bulkaudio import errors

PACKAGE = Path(bulkaudio.__file__).parent
ERRORS = {name for name in vars(errors) if name.endswith("Error")}
NAMES = ("API", "HOME", "PolyAI")
"""With a capital wherever they stand."""


def sentences() -> Iterator[tuple[str, str, str]]:
    """Yield where each message and fix stands, how it begins and how it ends."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in ERRORS:
                where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                fixes = [keyword.value for keyword in node.keywords if keyword.arg == "fix"]
                for text in (*node.args, *fixes):
                    yield where, edge(text, 0), edge(text, -1)


def edge(text: ast.expr, position: int) -> str:
    """Return the first or last piece of a text as far as it is written out."""
    if isinstance(text, ast.JoinedStr):
        return edge(text.values[position], position)
    is_text = isinstance(text, ast.Constant) and isinstance(text.value, str)
    return str(text.value) if is_text and isinstance(text, ast.Constant) else ""


def test_the_wordings_are_found() -> None:
    """The search below does not pass because it looks at nothing."""
    assert len(list(sentences())) > 150


@pytest.mark.parametrize(("where", "start", "end"), sorted(set(sentences())))
def test_errors_and_fixes_are_worded_alike(where: str, start: str, end: str) -> None:
    """They begin small, for they follow a colon, and end without a full stop."""
    assert not start[:1].isupper() or start.startswith(NAMES), where
    assert not end.endswith(".") or end.endswith("..."), where
