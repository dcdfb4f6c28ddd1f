"""
``.bulkaudio/status.json``: what outsiders see of a run, replaced atomically every second.

The ledger is opened exclusively, so ``status`` cannot read it while a run goes on.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulkaudio.events import Event, Started
from bulkaudio.observe.pace import Rate, Speedometer
from bulkaudio.observe.summary import utc_text
from bulkaudio.observe.tally import Snapshot, Tally

SCHEMA = "bulkaudio.status/1"
FILE_NAME = "status.json"
STATE_FOLDER = ".bulkaudio"
EVERY_S = 1.0


@dataclass(slots=True, kw_only=True)
class StatusFile:
    """
    Writes the file from the moment the archive is this run's; not an `Emit` that blocks.

    Attributes:
        clock: Wall clock; aware.
    """

    tally: Tally
    every_s: float = EVERY_S
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _started: Started | None = None
    _speed: Speedometer = field(default_factory=Speedometer)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, event: Event) -> None:
        """Learn from `Started` where to write; see `Emit`."""
        if isinstance(event, Started):
            self._started = event

    @contextmanager
    def writing(self) -> Iterator[None]:
        """
        Keep the file fresh while the block runs, and leave the last state in it soon after.

        For use on the loop, where nothing may touch a disk or wait for a thread: the thread writes
        the last state by itself, and only the end of the process waits for that.
        """
        done = threading.Event()
        threading.Thread(target=self._tick, args=(done,), name="bulkaudio status").start()
        try:
            yield
        finally:
            done.set()

    def _tick(self, done: threading.Event) -> None:
        self.write()
        while not done.wait(self.every_s):
            self.write()
        self.write(has_ended=True)

    def write(self, *, has_ended: bool = False) -> None:
        """Replace the file; never raises: a run does not end for want of a status."""
        started = self._started
        if started is None:
            return
        folder = started.archive / STATE_FOLDER
        with self._lock, suppress(OSError, MemoryError):
            if has_ended and _is_later_run_s(read_status(started.archive), started):
                return
            snapshot = self.tally.snapshot()
            document = self._document(started, snapshot, self._speed.read(snapshot))
            if has_ended:
                document["phase"] = "ended"
            _replace(folder / FILE_NAME, json.dumps(document, separators=(",", ":")) + "\n")

    def _document(self, started: Started, now: Snapshot, rate: Rate) -> dict[str, Any]:
        waiting = now.waiting()
        return {
            "schema": SCHEMA,
            "run_id": started.run_id,
            "pid": os.getpid(),
            "phase": _phase(now),
            "started_at": utc_text(started.started_at),
            "updated_at": utc_text(self.clock()),
            "counts": asdict(now.counts),
            "is_total_known": now.is_total_known,
            "bytes": now.saved_bytes,
            "received_bytes": now.received_bytes,
            "rate": {
                "recordings_per_s": round(rate.recordings, 2),
                "bytes_per_s": round(rate.bytes),
            },
            "throttled": now.throttled,
            "slots": {host: gauge.slots for host, gauge in now.gates.items()},
            "waiting": {"seconds": round(waiting[0], 1), "reason": waiting[1]} if waiting else None,
            "open": now.counts.open,
            "stopping": now.stopping,
        }


def read_status(archive: Path) -> dict[str, Any] | None:
    """Read the file; None when there is none that can be read."""
    path = archive / STATE_FOLDER / FILE_NAME
    try:
        with open(path, "rb", opener=_open_plainly) as file:  # Path.open has no opener
            document = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _open_plainly(path: str, flags: int) -> int:
    """Open without following a link, or waiting for the other end of a FIFO."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _is_later_run_s(document: dict[str, Any] | None, ours: Started) -> bool:
    """Whether the next run, which the lock no longer keeps away, has written already."""
    if document is None or document.get("run_id") == ours.run_id:
        return False
    return str(document.get("started_at", "")) >= utc_text(ours.started_at)


def _phase(now: Snapshot) -> str:
    if now.stopping is not None:
        return "stopping"
    return "downloading" if now.is_total_known else "planning and downloading"


def _replace(path: Path, text: str) -> None:
    """
    Write `text` under `path`, so that readers see the old or the new, whole.

    The temporary name is fixed, because only one run holds the archive, and is never followed: a
    link planted there is removed. There is no fsync: after a power cut nobody misses the file.
    """
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
    temporary.replace(path)
