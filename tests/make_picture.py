"""
Make the README's picture from a real run of the demo in a terminal.

    python -m tests.make_picture docs/demo.svg
    python -m tests.make_picture page.svg download --help      # of any other command

The bar, which is gone when a run has ended, is shown as it was on the way.
"""

import fcntl
import os
import pty
import re
import struct
import sys
import tempfile
import termios
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

COLUMNS, ROWS = 90, 60
HOW_FAR = 0.55
"""Through the bar's frames: where it is shown."""

FRAMES = 4

CONTROL = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)")

BLANK = re.compile(r"<text [^>]*>(?:\s|&#160;)*</text>")

FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
    font-size: {char_height}px; line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
<rect fill="#1b1d23" width="{width}" height="{height}" rx="8"/>
<g transform="translate({terminal_x}, 14)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""


def in_terminal(arguments: list[str], folder: Path, more: Mapping[str, str] | None = None) -> str:
    """Run the program in a terminal of its own; return all that it wrote there."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        binaries = Path(sys.executable).parent
        environment = {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "HOME": str(folder),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            **(more or {}),
        }
        os.execve(sys.executable, [sys.executable, "-m", "bulkaudio", *arguments], environment)  # noqa: S606
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    written = bytearray()
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        written += piece
    os.waitpid(child, 0)
    return written.decode()


def rows_of(written: str) -> list[str]:
    """Return what a terminal shows in the end, with a frame of each bar left standing."""
    rows, at = [""], 0
    frames: dict[int, list[list[str]]] = {}
    erased: list[str] = []
    for token in CONTROL.split(written):
        if token == "\n":
            at += 1
            rows += [""] if at == len(rows) else []
        elif token == "\x1b[2K":
            erased.insert(0, rows[at])
            rows[at] = ""
        elif token == "\x1b[1A":
            at -= 1
        elif token not in {"", "\r"} and not token.startswith("\x1b[?"):
            if any(erased):
                frames.setdefault(at, []).append(erased)
            erased = []
            rows[at] += token
    for at, shown in sorted(frames.items(), reverse=True):
        # A run that was over at once has a bar of a few frames, and nothing to show.
        rows[at:at] = [*shown[int(len(shown) * HOW_FAR)], ""] if len(shown) > FRAMES else []
    return "\n".join(rows).rstrip().split("\n")


def svg_of(rows: list[str]) -> str:
    """Draw rows of a terminal."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(
            record=True, file=nowhere, width=COLUMNS, force_terminal=True, color_system="truecolor"
        )
        for row in rows:
            console.print(Text.from_ansi(row), soft_wrap=True, highlight=False)
        drawn = console.export_svg(theme=SVG_EXPORT_THEME, code_format=FORMAT, unique_id="t")
    return BLANK.sub("", drawn)


def main(target: str, *arguments: str) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        written = in_terminal(list(arguments) or ["demo"], Path(folder))
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg_of(rows_of(written)).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
