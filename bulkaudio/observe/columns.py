"""Numbers in columns, for windows of any width: as a table, without what is nothing, or in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

NOTHING = frozenset({"0", "0 B", "0.0s", "-", ""})

ANY_WIDTH = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: what it is about, and its cells; without any it is the title of those below."""

    label: str
    cells: Sequence[str] = ()
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """
    Lines under headings; nothing is ever cut off.

    Attributes:
        first: Heading of the labels.
        words: How a cell is said outside a table where its heading behind it is not how.
    """

    first: str
    headings: Sequence[str]
    lines: Sequence[Line]
    words: Mapping[str, str] = field(default_factory=dict)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Take the first form that fits."""
        every = range(len(self.headings))
        telling = [n for n in every if self._tells(n)] or [0]
        for chosen in (every, telling):
            table = self._table(chosen)
            wide = options.update(width=ANY_WIDTH)
            if console.measure(table, options=wide).maximum <= options.max_width:
                yield table
                return
        yield self._in_words()

    def _tells(self, number: int) -> bool:
        return any(line.cells and line.cells[number] not in NOTHING for line in self.lines)

    def _table(self, chosen: Sequence[int]) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column(self.first, no_wrap=True)
        for number in chosen:
            table.add_column(self.headings[number], justify="right", no_wrap=True)
        for line in self.lines:
            cells = (line.cells[number] for number in chosen) if line.cells else ()
            table.add_row(line.label, *cells, style=line.style)
        return table

    def _in_words(self) -> RenderableType:
        parts: list[RenderableType] = [Text(self.first, style="dim")] if self.first else []
        for line in self.lines:
            parts.append(Text(line.label, style=line.style))
            if line.cells:
                parts.append(Padding(Text(self._said(line.cells), style=line.style), (0, 0, 0, 2)))
        return Group(*parts)

    def _said(self, cells: Sequence[str]) -> str:
        if NOTHING.issuperset(cells):
            return "nothing"
        if len(set(cells)) == 1:
            return cells[0]
        told = (pair for pair in zip(self.headings, cells, strict=True) if pair[1] not in NOTHING)
        return ", ".join(self.words.get(name, f"{{}} {name}").format(cell) for name, cell in told)
