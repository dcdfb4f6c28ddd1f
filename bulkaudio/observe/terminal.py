"""What a stream can show: colours, a moving bar, or plain lines only."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

PLAIN_WIDTH = 100
"""Of pages in files and mails, where nothing says how wide the reader's window is."""


def is_terminal(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether `stream` understands cursor codes. FORCE_COLOR is ignored: a file stays plain."""
    environ = os.environ if environ is None else environ
    try:
        is_tty = stream.isatty()
    except ValueError:
        return False  # closed
    return is_tty and environ.get("TERM", "") != "dumb"


def is_lively(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether a person watches, so that a moving bar is welcome: not so in CI."""
    environ = os.environ if environ is None else environ
    in_ci = environ.get("CI", "").lower() not in {"", "0", "false"}
    return is_terminal(stream, environ) and not in_ci


def visible(text: str) -> str:
    """Escape whatever a terminal would act upon; line ends stay."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )


class _Visible(Console):
    """Shows what a name, an id or a path holds; only styles and the bar's own codes are obeyed."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def on_broken_pipe(self) -> None:
        """Leave it to whoever prints: rich would end the program with its own exit code."""
        raise  # noqa: PLE0704  rich calls this while it handles the error


def console(stream: TextIO, environ: Mapping[str, str] | None = None) -> Console:
    """Make a console that writes control codes to terminals only, and no colour on NO_COLOR."""
    environ = os.environ if environ is None else environ
    terminal = is_terminal(stream, environ)
    plain = not terminal or bool(environ.get("NO_COLOR"))
    return _Visible(
        file=stream,
        force_terminal=terminal,
        color_system=None if plain else "auto",
        no_color=plain,
        width=None if terminal else PLAIN_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A page without the blanks that tables put at the end of lines, for files and for copying."""

    page: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Lay the page out, line by line."""
        # Not cropped to the window: a command that was cut could not be typed again.
        for line in Segment.split_lines(console.render(self.page, options)):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                last = line.pop()
                line.append(Segment(last.text.rstrip(), last.style))
            yield from line
            yield Segment.line()
