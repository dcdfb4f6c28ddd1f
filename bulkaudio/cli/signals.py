"""Signals during a run: the first one drains, the second stops now, SIGUSR1 tells how it goes."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bulkaudio.cli.failure import say
from bulkaudio.observe.pace import Speedometer, status_line
from bulkaudio.observe.tally import Tally
from bulkaudio.quantities import format_duration
from bulkaudio.stopper import Stopper

STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")


@dataclass(slots=True, kw_only=True)
class Signals:
    """What to do about signals; `handled` is for the loop's thread."""

    stopper: Stopper
    tally: Tally
    grace_s: float
    is_quiet: bool = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """
        Take signals over while the block runs.

        One that is ignored stays ignored: ``nohup`` and shells in the background mean it.
        """
        loop = asyncio.get_running_loop()
        speed = Speedometer()
        speed.read(self.tally.snapshot())
        taken: dict[signal.Signals, Any] = {}
        for name in STOPPING:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                taken[number] = signal.getsignal(number)
                loop.add_signal_handler(number, self._stop, loop, number)
        if hasattr(signal, "SIGUSR1"):
            taken[signal.SIGUSR1] = signal.getsignal(signal.SIGUSR1)
            loop.add_signal_handler(signal.SIGUSR1, self._tell, speed)
        try:
            yield
        finally:
            for number, before in taken.items():
                loop.remove_signal_handler(number)
                if before is not None:
                    signal.signal(number, before)

    def _stop(self, loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
        if self.stopper.is_stopping:
            self.stopper.stop(number.name, 128 + number, now=True)
            # Should even that hang, the next one ends the process, also one on the keyboard: a
            # KeyboardInterrupt would come up anywhere in the loop and be told as an error.
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
            self._say("stopping now; what is unfinished is left for the next run")
            return
        self.stopper.stop(number.name, 128 + number)
        again = "press Ctrl-C" if number == signal.SIGINT else f"send {number.name}"
        self._say(
            f"stopping: waiting up to {format_duration(self.grace_s)} for what is under way; "
            f"{again} again to stop now"
        )

    def _tell(self, speed: Speedometer) -> None:
        snapshot = self.tally.snapshot()
        say(status_line(snapshot, speed.read(snapshot)))

    def _say(self, text: str) -> None:
        if not self.is_quiet:
            say(text)
