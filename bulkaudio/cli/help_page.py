"""How help looks: headings and two columns, no boxes, the same on a terminal and in a file."""

import textwrap
from typing import Any

from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console, ConsoleOptions
from rich.text import Text

INDENT = 2
OPTION_COLUMN = 30
"""Where an option's sentence begins, in every group; longer names get a line of their own."""
COMMAND_COLUMN = 14
MAX_WIDTH = 100


class HelpPage:
    """Cyclopts' help formatter of this program."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one group of options or commands."""
        del options
        if not panel.entries:
            return
        rows = [(_name(entry), _description(entry)) for entry in panel.entries]
        column = OPTION_COLUMN
        if panel.format == "command" and not rows[0][0].startswith("-"):
            column = COMMAND_COLUMN
        page = Text(f"\n{_plain(panel.title)}:", style="bold")
        for name, description in rows:
            page.append_text(_row(name, description, column, _width(console)))
        console.print(page, soft_wrap=True)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        del options
        text = _plain(usage).strip().removeprefix("Usage: ")
        if text:
            line = Text("Usage: ", style="bold").append(text, style="not bold")
            console.print(line, soft_wrap=True)

    def render_description(
        self, console: Console, options: ConsoleOptions, description: Any
    ) -> None:
        """Print what the command is for; indented paragraphs are examples and stay as they are."""
        del options
        for paragraph in _plain(description).strip("\n").split("\n\n"):
            if paragraph.startswith(" "):
                console.print(Text("\n" + paragraph.rstrip()), soft_wrap=True)
            elif paragraph.strip():
                filled = textwrap.fill(" ".join(paragraph.split()), _width(console))
                console.print(Text("\n" + filled), soft_wrap=True)


def _width(console: Console) -> int:
    return max(OPTION_COLUMN + 30, min(MAX_WIDTH, console.width))


def _row(name: str, description: str, column: int, width: int) -> Text:
    row = Text("\n" + " " * INDENT).append(name, style="not bold cyan")
    used = INDENT + len(name)
    if used + 2 > column:
        row.append("\n")
        used = 0
    lines = textwrap.wrap(description, width - column, break_on_hyphens=False)
    for line in lines:
        row.append(" " * (column - used) + line, style="not bold")
        row.append("" if line is lines[-1] else "\n")
        used = 0
    return row


def _name(entry: HelpEntry) -> str:
    if entry.positional_label:
        return entry.positional_label
    shorts = entry.positive_shorts
    longs = entry.positive_names
    if not any(name.startswith("-") for name in longs):
        return ", ".join((*longs, *shorts))  # a command
    name = ", ".join((*shorts, *longs[:1]))
    if entry.negative_names:
        name += f"/{entry.negative_names[0]}"
    return f"{name} {entry.metavar}" if entry.metavar else name


def _description(entry: HelpEntry) -> str:
    text = _plain(entry.description).strip()
    notes = []
    if entry.choices:
        notes.append(", ".join(entry.choices))
    if entry.default not in {None, "False"}:
        notes.append(f"default: {entry.default}")
    if entry.required:
        notes.append("required")
    return f"{text} [{'; '.join(notes)}]" if notes else text


def _plain(value: Any) -> str:
    if value is None:
        return ""
    for name in ("plain", "markup"):
        text = getattr(value, name, None)
        if isinstance(text, str):
            return text
    return str(getattr(value, "primary_renderable", None) or value)
