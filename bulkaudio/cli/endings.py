"""SIGTERM and SIGHUP where no run drains: they end a command as Ctrl-C does, in words and with a line."""

import atexit
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from bulkaudio.cli.failure import HangupError, InterruptionError, TerminationError

TAKEN = {"SIGTERM": TerminationError, "SIGHUP": HangupError}


@dataclass(slots=True)
class Endings:
    """
    What one command was sent.

    Attributes:
        name: The signal that ended it; None: Ctrl-C did, if anything.
        is_told: Its result is on its way out, and what is told is how it ended.
    """

    name: str | None = None
    is_told: bool = False
    before: dict[signal.Signals, Any] = field(default_factory=dict)

    def error(self) -> InterruptionError:
        """Say what ended it."""
        if self.name is None:
            return InterruptionError("interrupted before it ended")
        return TAKEN[self.name](f"stopped by {self.name} before it ended")

    def take(self, number: int, frame: FrameType | None) -> None:
        """Do as for Ctrl-C: that cancels a loop's main task, and interrupts what is no loop."""
        if self.is_told:
            # Once: should the reader of the result hang, the next one ends the process.
            signal.signal(number, signal.SIG_DFL)
            return
        self.name = signal.Signals(number).name
        interrupt = signal.getsignal(signal.SIGINT)
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)
        else:
            # A shell in the background ignores Ctrl-C, and so nobody has a handler for it.
            raise KeyboardInterrupt


_NOW: ContextVar[Endings | None] = ContextVar("endings", default=None)


@contextmanager
def handled(*, is_last: bool) -> Iterator[Endings]:
    """
    Take both over while the block runs; what is ignored stays so, and what others handle is theirs.

    Args:
        is_last: The process ends with the block: nothing that comes later may change its exit code.
    """
    endings = Endings()
    _NOW.set(endings)
    for name in TAKEN:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL and _is_main():
            endings.before[number] = signal.SIG_DFL
            signal.signal(number, endings.take)
    try:
        yield endings
    finally:
        endings.is_told = True
        if is_last:
            # Python gives them back before it has ended. Not ignored at once: a thread that hangs
            # must not make a process that only SIGKILL ends.
            atexit.register(_give_back, dict.fromkeys(endings.before, signal.SIG_IGN))
        else:
            _give_back(endings.before)


def told() -> None:
    """Call the work done: what is printed from here on is how the command ended."""
    endings = _NOW.get()
    if endings is not None:
        endings.is_told = True


def _give_back(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
