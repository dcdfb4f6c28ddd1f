"""What is done to a forked program before it runs: see `tests.forked.Order.hook`."""

import asyncio
import asyncio.base_events
import faulthandler
import importlib
import json
import logging
import os
import sys
import traceback
from typing import Any

BROKEN = "broken on purpose"
OWN = "/bulkaudio/"


def break_at(module: str, path: str) -> None:
    """
    Make one function of the program fail when it is called, as a bug would.

    The locals of the program's own functions on the way are printed with the traceback, as
    crash reporters do.
    """
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)

    def fails(*arguments: object, **named: object) -> None:
        raise RuntimeError(f"{BROKEN}: {path}, given {len(arguments) + len(named)}")

    setattr(owner, name, fails)
    failure: Any = importlib.import_module("bulkaudio.cli.failure")
    tell = failure.tell

    def tell_all(error: BaseException, *, verbosity: int = 0) -> Any:
        seen: set[int] = set()
        left: list[BaseException | None] = [error]
        while left:
            each = left.pop()
            if each is None or id(each) in seen:
                continue
            seen.add(id(each))
            _print_locals(each)
            left += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
        return tell(error, verbosity=verbosity)

    failure.tell = tell_all


def _print_locals(error: BaseException) -> None:
    for frame, line in traceback.walk_tb(error.__traceback__):
        if OWN in frame.f_code.co_filename:
            held = {name: repr(value) for name, value in frame.f_locals.items()}
            sys.stderr.write(f"LOCALS {frame.f_code.co_name}:{line} {held}\n")


def debug_everything() -> None:
    """Have asyncio tell of every callback as of a slow one, and every library all it knows."""
    os.environ["PYTHONASYNCIODEBUG"] = "1"
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    loops: Any = asyncio.base_events.BaseEventLoop
    begin = loops.__init__

    def begin_strict(loop: Any) -> None:
        begin(loop)
        loop.slow_callback_duration = 0.0

    loops.__init__ = begin_strict


def dump_on_abort() -> None:
    """Have Python's own crash handler write every thread's stack on SIGABRT."""
    faulthandler.enable()


EVENTS = frozenset(
    {
        *("open", "os.listdir", "os.scandir", "sqlite3.connect", "import", "ctypes.dlopen"),
        *("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"),
        *("socket.bind", "subprocess.Popen", "os.system", "os.posix_spawn", "os.spawn", "os.exec"),
        *("os.fork", "os.forkpty", "pty.spawn", "os.startfile", "webbrowser.open", "syslog.syslog"),
        *("os.putenv", "urllib.Request", "http.client.connect", "ftplib.connect", "shutil.move"),
    }
)


def watch(report: str) -> None:
    """Write down every file that is opened, every address and every process that is asked for."""
    to = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS:
            words = [each.decode() if isinstance(each, bytes) else each for each in arguments]
            os.write(to, json.dumps([event, *words], default=str).encode() + b"\n")

    sys.addaudithook(heard)
