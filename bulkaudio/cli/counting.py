"""A progress view of work whose end nobody knows: numbers that grow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.console import RenderableType

from bulkaudio.observe.progress import bar_row

P = TypeVar("P")


@dataclass(slots=True, kw_only=True)
class Counting(Generic[P]):
    """
    How far something got.

    Attributes:
        opening: What is said before anything is counted.
        words: Of what was counted last.
    """

    opening: str
    words: Callable[[P], Sequence[str]]
    now: P | None = None

    def see(self, progress: P) -> None:
        """Remember the last state."""
        self.now = progress

    def line(self) -> str:
        """Say it in one line."""
        return ", ".join(self._parts())

    def render(self) -> RenderableType:
        """Draw it."""
        return bar_row(None, 0, *self._parts())

    def _parts(self) -> Sequence[str]:
        return (self.opening,) if self.now is None else self.words(self.now)
