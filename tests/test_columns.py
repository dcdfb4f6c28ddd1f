"""Numbers in columns: whole words and whole numbers, however narrow the window."""

import io

import pytest

from bulkaudio.observe.columns import Columns, Line
from bulkaudio.observe.terminal import Trimmed, console

COLUMNS = Columns(
    first="day (UTC)",
    headings=("known", "saved", "no recording", "missing", "size"),
    words={"size": "{}"},
    lines=[
        Line(label="combined", style="bold"),
        Line(label="2026-11-25", cells=("1,029", "1,007", "0", "22", "61.1 MB")),
        Line(label="2026-11-26", cells=("?",) * 5),
        Line(label="2026-11-27", cells=("0", "0", "0", "0", "0 B")),
    ],
)


def shown(width: int, columns: Columns = COLUMNS) -> list[str]:
    """Print it into a window of this width."""
    stream = io.StringIO()
    out = console(stream, {})
    out.width = width
    out.print(Trimmed(columns))
    return stream.getvalue().splitlines()


def test_all_columns_where_there_is_room() -> None:
    """Also those that hold nothing."""
    assert shown(80) == [
        "day (UTC)   known  saved  no recording  missing     size",
        "combined",
        "2026-11-25  1,029  1,007             0       22  61.1 MB",
        "2026-11-26      ?      ?             ?        ?        ?",
        "2026-11-27      0      0             0        0      0 B",
    ]


def test_in_words_where_columns_find_no_room() -> None:
    """What is zero is not said, and what is nowhere known once."""
    assert shown(30) == [
        "day (UTC)",
        "combined",
        "2026-11-25",
        "  1,029 known, 1,007 saved, 22",
        "  missing, 61.1 MB",
        "2026-11-26",
        "  ?",
        "2026-11-27",
        "  nothing",
    ]


def test_columns_of_nothing_go_first() -> None:
    """A narrow window keeps a table as long as it can."""
    known = Columns(
        first=COLUMNS.first,
        headings=COLUMNS.headings,
        lines=[line for line in COLUMNS.lines if "?" not in line.cells],
    )
    assert shown(43, known)[0] == "day (UTC)   known  saved  missing     size"


@pytest.mark.parametrize("width", range(20, 90))
def test_nothing_is_cut_off(width: int) -> None:
    """No heading and no number, at any width."""
    text = " ".join(shown(width))
    assert "…" not in text
    for word in ("1,029", "1,007", "22", "61.1", "saved", "missing", "2026-11-26"):
        assert word in text
