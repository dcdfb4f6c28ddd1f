"""
What a demonstration needs besides the download itself: calls, a host in trouble, a folder.

The host is the simulator, and it serves in a thread of its own: in the run's own loop its work
would slow the run and the run's would slow its answers. A process of its own was no quicker.
"""

import asyncio
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from bulkaudio.errors import StorageError, UsageError
from bulkaudio.model import Direction
from bulkaudio.settings import REPORT_FILE as PAGE
from bulkaudio.simulator import Calls, Faults, Simulator
from bulkaudio.simulator.calls import Form
from bulkaudio.simulator.faults import Fault
from bulkaudio.stores.disk import STATE_FOLDER
from bulkaudio.stores.lock import ArchiveLock

CONVERSATIONS = 120
RECORDINGS = CONVERSATIONS * len(Direction)
SPEECH_S = (4.0, 16.0)
LATENCY_S = 0.04
"""As of a host some way off: on bare loopback nobody would see anything happen."""

HEADER = "conversation_id,started_at"

MARK = "Made by the demo of bulkaudio."
ABOUT = f"""\
{MARK}

The voices are synthetic and the calls never took place. A demo that finds this file replaces a
demo that was finished, or goes on with one that was not. Remove the folder when you like.
"""


def make_simulator(now: datetime) -> Simulator:
    """Return a PolyAI with calls of yesterday, on an ordinary bad day; the same one every time."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    calls = Calls(
        count=CONVERSATIONS,
        since=today - timedelta(days=1),
        until=today,
        speech_s=SPEECH_S,
        chat_share=0.0,
        opt_out_share=0.0,
    )
    return Simulator(calls=calls, faults=Faults.some(), latency_s=LATENCY_S)


@contextmanager
def serving(simulator: Simulator) -> Iterator[None]:
    """Let it listen in a thread of its own while the block runs."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with simulator:
            ready.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()

    def live() -> None:
        try:
            asyncio.run(serve())
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=live, name="simulator", daemon=True)
    thread.start()
    loop, stop = ready.result()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


class Earlier(StrEnum):
    """What became of an earlier demo in the same folder."""

    NONE = "none"
    STOPPED = "stopped"
    """It was stopped, and this one goes on with it."""
    REPLACED = "replaced"
    """It was finished, and is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Where a demo keeps everything it writes."""

    root: Path

    @property
    def csv(self) -> Path:
        """The conversation ids."""
        return self.root / "calls.csv"

    @property
    def archive(self) -> Path:
        """What `download` fills."""
        return self.root / "archive"

    @property
    def key(self) -> Path:
        """The key of the simulated account, which opens nothing else."""
        return self.root / "demo.key"

    @property
    def _about(self) -> Path:
        return self.root / "about.txt"

    def prepare(self, rows: list[str], key: str) -> Earlier:
        """
        Make the folder ready; say what was found there.

        Args:
            rows: Of the CSV, see `rows_of`.

        Raises:
            UsageError: Something else than a demo is in it.
            ArchiveBusyError: A demo is at work in it.
            StorageError: It cannot be written.
        """
        try:
            earlier = self._earlier()
            if earlier is Earlier.REPLACED:
                self._clear()
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._about.write_text(ABOUT, encoding="utf-8")
            self.csv.write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
            self.key.touch(mode=0o600)
            self.key.write_text(f"{key}\n", encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"{self.root} cannot be used: {error.strerror}", fix="name another --out"
            ) from error
        return earlier

    def _earlier(self) -> Earlier:
        if not self._has_demo():
            return Earlier.NONE
        return Earlier.REPLACED if self._is_finished() else Earlier.STOPPED

    def _has_demo(self) -> bool:
        if not self.root.exists():
            return False
        if not self.root.is_dir():
            raise UsageError(f"{self.root} is not a folder", fix="name another --out")
        names = {path.name for path in self.root.iterdir()}
        if not names:
            return False
        ours = {path.name for path in (self.csv, self.key, self.archive, self._about)}
        is_marked = self._about.is_file() and self._about.read_bytes().startswith(MARK.encode())
        if is_marked and names <= ours:
            return True
        stranger = next(iter(sorted(names - ours)), None)
        raise self._strange(self.root if stranger is None else self.root / stranger)

    def _strange(self, path: Path) -> UsageError:
        named = "" if path == self.root else f", {path}"
        return UsageError(
            f"{self.root} holds something other than a demo{named}, and is left alone",
            fix="name another --out, or move what is in it",
        )

    def _is_finished(self) -> bool:
        return len(list(self.archive.glob("*/*.wav"))) >= RECORDINGS

    def _clear(self) -> None:
        for path in sorted(self.archive.rglob("*")):
            if not self._is_own(path):
                raise self._strange(path)
        # The lock keeps a demo that is still at work from losing its files.
        with ArchiveLock(self.archive / STATE_FOLDER / "lock"):
            shutil.rmtree(self.archive)

    def _is_own(self, path: Path) -> bool:
        """Whether a demo, or a look at its archive, left this there."""
        first, *rest = path.relative_to(self.archive).parts
        match rest:
            case []:
                return first in {*Direction, STATE_FOLDER, PAGE}
            case [name]:
                return first == STATE_FOLDER or name.endswith(".wav")
            case _:
                return first == STATE_FOLDER


def rows_of(simulator: Simulator) -> list[str]:
    """Return the calls as rows of a CSV, with their starts: a report has a calendar then."""
    listed = (call for call in simulator.calls.all() if call.is_listed)
    return [f"{call.id},{call.started_at.isoformat()}" for call in listed]


def mishaps(simulator: Simulator) -> Counter[Fault]:
    """Count what went wrong on the way to the recordings, by the plan of faults."""
    return Counter(
        fault
        for what, attempts in simulator.requests.counts.items()
        for fault in simulator.faults.plan(what)[:attempts]
    )


def differing(simulator: Simulator, folder: Folder) -> list[Path]:
    """Return the files that are missing or other, byte for byte, than what the host holds."""
    return [
        path
        for id_ in simulator.calls.ids()
        for direction in Direction
        if not _holds(
            path := folder.archive / direction / f"{id_}.wav",
            simulator.expected_bytes(id_, direction),
        )
    ]


def _holds(path: Path, expected: bytes) -> bool:
    try:
        return path.read_bytes() == expected
    except OSError:
        return False


def listening(simulator: Simulator, folder: Folder) -> Path:
    """Return a recording that every player understands."""
    plain = next(call for call in simulator.calls.all() if call.form is Form.PCM)
    return folder.archive / Direction.COMBINED / f"{plain.id}.wav"
