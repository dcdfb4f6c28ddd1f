"""
A process that has read the program already, and forks a new one for each request.

Reading the program takes half a second of a core, most tests of it a tenth; so hundreds of real
processes are affordable. It listens on a Unix socket: a request is one line of JSON, the answers
are two, ``{"pid": …}`` and, when that process has ended, ``{"status": …, …}``.
"""

import asyncio
import gc
import importlib
import json
import os
import pkgutil
import random
import resource
import selectors
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import bulkaudio

OPTIONAL = ("bulkaudio.catalogue.parquet", "bulkaudio.cluster", "bulkaudio.stores.objects")
"""What stands on an extra: it may not be installed, and reading it would take a second more."""

FOREIGN = (
    *("logging.handlers", "encodings.idna"),
    *("rich.live", "rich.padding", "rich.progress_bar", "rich.table"),
)
"""What of other packages the commands import when they are asked for."""

CLOSING_S = 1.0
"""How long a descriptor may stay after the program's end that is no leak, in real seconds."""


class _Clock:
    """Monotonic time that may run faster than the real one; timers and time-outs follow it."""

    def __init__(self) -> None:
        self.speed = 1.0
        self._monotonic = time.monotonic
        self._select = selectors.EpollSelector.select

    def install(self) -> None:
        """Take the place of the real clock; done before anything binds it."""
        clock = self

        def select(
            selector: selectors.EpollSelector, timeout: float | None = None
        ) -> list[tuple[selectors.SelectorKey, int]]:
            return clock._select(selector, None if timeout is None else timeout / clock.speed)

        time.monotonic = lambda: clock._monotonic() * clock.speed
        vars(selectors)["EpollSelector"].select = select


def serve(address: str) -> int | None:
    """
    Answer requests until standard input ends.

    Returns:
        In a forked child, the program's exit code; in the zygote itself, None.
    """
    clock = _Clock()
    clock.install()
    _read_all()
    # A collection in the child would write to every page that it shares with this process.
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the supervisors
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(address)
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        os.write(1, b"ready\n")
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if sys.stdin in ready:
                return None
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                selector.close()
                return _supervise(connection, clock)
            connection.close()


def _read_all() -> None:
    """
    Import what any command imports when it is asked for, so that no child has to.

    A child that becomes another user could not: this checkout may lie where only its owner reads.
    """
    found = (each.name for each in pkgutil.walk_packages(bulkaudio.__path__, "bulkaudio."))
    for name in (*FOREIGN, *found):
        if not name.startswith(OPTIONAL) and not name.endswith("__main__"):
            importlib.import_module(name)


def _supervise(connection: socket.socket, clock: _Clock) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection:
        request: dict[str, Any] = json.loads(connection.makefile("rb").readline())
        pid = os.fork()
        if pid:
            # Whoever asked may have gone: the process is waited for all the same.
            with suppress(BrokenPipeError):
                connection.sendall(json.dumps({"pid": pid}).encode() + b"\n")
            _, status, usage = os.wait4(pid, 0)
            answer = {
                "status": status,
                "peak_rss_kib": usage.ru_maxrss,
                "cpu_s": usage.ru_utime + usage.ru_stime,
            }
            with suppress(BrokenPipeError):
                connection.sendall(json.dumps(answer).encode() + b"\n")
            os._exit(0)
    return _become(request, clock)


def _become(request: dict[str, Any], clock: _Clock) -> int:
    """Turn this process into the one that was asked for, and run the program in it."""
    os.setpgid(0, 0)
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if fd == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        opened = os.open(request[name], flags, 0o600)
        os.dup2(opened, fd)
        os.close(opened)
    # Opened now: afterwards this process may not be allowed to.
    report = os.open(request["report"], os.O_WRONLY | os.O_CREAT, 0o600)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    warnings.simplefilter("error")
    random.seed()
    clock.speed = request["speed"]
    tasks = _watch_tasks()
    if request["hook"]:
        module, _, function = request["hook"].partition(":")
        getattr(importlib.import_module(module), function)(*request["hook_arguments"])
    from bulkaudio.cli.app import main

    before = _descriptors()
    try:
        return main(request["arguments"])
    finally:
        # What the program had to do without must not be wanting for the look at what it left.
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        # The interpreter would wait for them, too, but without an end. A daemon that was told to
        # end holds its descriptors until it has: on a busy machine that is later.
        threads = threading.enumerate()[1:]
        for thread in threads:
            thread.join(5.0)
        left = {
            "descriptors": sorted(_left_open(before)),
            "threads": [each.name for each in threads if each.is_alive()],
            "tasks": tasks,
        }
        os.write(report, json.dumps(left).encode())


def _watch_tasks() -> list[str]:
    """
    Return a list that gets the name of each task that a program leaves to its loop.

    When the main coroutine is over, `asyncio.run` cancels what is still there, and tells nobody.
    """
    left: list[str] = []
    runners = vars(asyncio.runners)
    cancel_all = runners["_cancel_all_tasks"]

    def cancel(loop: asyncio.AbstractEventLoop) -> None:
        left.extend(sorted(task.get_name() for task in asyncio.all_tasks(loop)))
        cancel_all(loop)

    runners["_cancel_all_tasks"] = cancel
    return left


def _left_open(before: set[str]) -> set[str]:
    """
    Say what was opened since `before` and stays open.

    Python counts a thread as ended before the system does: in between, the C library gives its
    memory back, and reads ``/proc/sys/vm/overcommit_memory`` for that.
    """
    left = _descriptors() - before
    give_up_at = time.perf_counter() + CLOSING_S
    while left and time.perf_counter() < give_up_at:
        time.sleep(0.002)
        left &= _descriptors()
    return left


def _descriptors() -> set[str]:
    """Say what every open descriptor leads to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # the listing's own one is gone after
        with suppress(FileNotFoundError):
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")  # noqa: PTH115
    return found


def run(arguments: Sequence[str]) -> int | None:
    """Serve at the address given."""
    return serve(arguments[0])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
