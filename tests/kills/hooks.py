"""
What happens inside a forked program before it runs: something is put in the way of its steps.

The only way to break a step is to start the program from within, as here: nothing that the program
itself can be told to do, by option, variable or file, leads to this.
"""

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from bulkaudio import conduct
from bulkaudio.committer import Committer
from bulkaudio.steps import Step
from bulkaudio.stores import staging
from bulkaudio.stores.local import LocalStore

ATTACH_S = 20.0


class Action(StrEnum):
    """What befalls a program at a step."""

    KILL = "SIGKILL"
    TERM = "SIGTERM"
    TERM_TWICE = "SIGTERM twice"
    EIO = "EIO"
    ENOSPC = "ENOSPC"
    EDQUOT = "EDQUOT"
    EROFS = "EROFS"
    EMFILE = "EMFILE"


SIGNALS = (Action.KILL, Action.TERM, Action.TERM_TWICE)
ERRORS = (Action.EIO, Action.ENOSPC, Action.EDQUOT, Action.EROFS, Action.EMFILE)


def break_step(order: dict[str, Any]) -> None:
    """
    Let the n-th reach of a step end as the order says, and leave a note that it did.

    Batches are made small, so that there are several; with `has_links` false, no hard link can be
    made, as on file systems that have none.
    """
    _small_batches(order["batch"])
    vars(staging)["PIECE_BYTES"] = order["piece"]
    strike = _once(order["step"], order["number"], partial(_act, Action(order["action"])))
    note = Path(order["note"])

    def hook(event: str, _: tuple[Any, ...]) -> None:
        if event == Step.PUBLISH_LINK and not order["has_links"]:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        strike(event, note)

    sys.addaudithook(hook)


def hold_thread(order: dict[str, Any]) -> None:
    """
    Hold the first thread of a kind at its first step until strace has its calls.

    The store has one thread, so that the order of its calls is the same in every run.
    """
    _small_batches(order["batch"])
    # What asyncio makes for itself: what follows the first call must be in the same thread.
    setattr(futures, "ThreadPoolExecutor", partial(futures.ThreadPoolExecutor, 1))  # noqa: B010
    opened = LocalStore.open
    setattr(LocalStore, "open", partial(opened, executor_threads=1))  # noqa: B010  # a method
    lock = threading.Lock()
    held: list[int] = []

    def hook(event: str, _: tuple[Any, ...]) -> None:
        if not event.startswith("bulkaudio.") or held:
            return
        if not threading.current_thread().name.startswith(order["thread"]):
            return
        with lock:
            if held:
                return
            held.append(threading.get_native_id())
        _wait_for_tracer(held[0], Path(order["note"]), Path(order["log"]))

    sys.addaudithook(hook)


def _small_batches(batch: int) -> None:
    setattr(conduct, "Committer", partial(Committer, batch=batch))  # noqa: B010  # a class


def _once(step: str, number: int, act: Callable[[], None]) -> Callable[[str, Path], None]:
    """Count the reaches of one step, in whatever threads they are."""
    lock = threading.Lock()
    reached = 0

    def strike(event: str, note: Path) -> None:
        nonlocal reached
        if event != step:
            return
        with lock:
            reached += 1
            is_it = reached == number
        if is_it:
            note.touch()
            act()

    return strike


def _act(action: Action) -> None:
    match action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.TERM:
            os.kill(os.getpid(), signal.SIGTERM)
        case Action.TERM_TWICE:
            os.kill(os.getpid(), signal.SIGTERM)
            # Two that are pending at once are one.
            time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
        case _:
            number = getattr(errno, action.value)
            raise OSError(number, os.strerror(number))


def _wait_for_tracer(thread: int, note: Path, log: Path) -> None:
    """Tell which thread it is, and go on once a call of it has come into the log."""
    written = note.with_name(f"{note.name}.new")
    written.write_text(str(thread))
    written.rename(note)
    give_up_at = time.monotonic() + ATTACH_S
    while not (log.exists() and log.stat().st_size):
        if time.monotonic() > give_up_at:
            raise AssertionError("nobody traces this thread")
        time.sleep(0.002)
        os.getppid()
