"""
Write the table of the options of ``download``, from the options themselves.

    python -m tests.make_options
"""

import re
from pathlib import Path

from rich.console import Console

from bulkaudio.cli.app import make_app
from bulkaudio.cli.help_page import HelpPage

PAGE = Path(__file__).parent.parent / "docs" / "options.md"
BEGIN, END = "<!-- options: begin -->", "<!-- options: end -->"

ROW = re.compile(r"  (?:(?P<short>-\w), )?(?P<names>--\S+)(?: (?P<value>\S+))?(?:  |$)")


def table() -> str:
    """Return the table; what ``--help`` says is what it says."""
    lines = [BEGIN, "", "| option | value | what it does |", "|---|---|---|"]
    for group, rows in _groups():
        lines.append(f"| **{group}** | | |")
        lines += [f"| {names} | {value} | {text} |" for names, value, text in rows]
    return "\n".join([*lines, "", END])


def replaced(text: str) -> str:
    """Return the page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + table() + after


def _groups() -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Read the help page: headings, and under them each option with its sentence."""
    groups: list[tuple[str, list[tuple[str, str, str]]]] = []
    for line in _help().splitlines():
        found = ROW.match(line)
        if line.endswith(":") and not line.startswith(" "):
            groups.append((line[:-1], []))
        elif found and groups:
            names = ", ".join(f"`{name}`" for name in (found["names"], found["short"]) if name)
            value = f"`{found['value']}`".replace("|", "\\|") if found["value"] else ""
            groups[-1][1].append((names, value, _escaped(line[found.end() :])))
        elif line.startswith("   ") and groups and groups[-1][1]:
            name, value, text = groups[-1][1][-1]
            groups[-1][1][-1] = (name, value, f"{text} {_escaped(line)}".strip())
    return [(name, rows) for name, rows in groups if rows and name != "Help"]


def _help() -> str:
    console = Console(width=100, color_system=None, force_terminal=False)
    app = make_app()
    app.help_formatter = HelpPage()
    with console.capture() as captured:
        app.help_print(["download"], console=console)
    return captured.get()


def _escaped(text: str) -> str:
    return text.strip().replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
