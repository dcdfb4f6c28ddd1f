"""What ``purge`` did, or would do: a receipt for a file, a line for scripts, a page for people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Group, RenderableType
from rich.text import Text

from bulkaudio.cli.counting import Counting
from bulkaudio.erasure import NAMED, Progress, Report, Wish
from bulkaudio.errors import StorageError
from bulkaudio.interrupted import document, words
from bulkaudio.ledger.erasing import Doom
from bulkaudio.model import is_return
from bulkaudio.naming import printable
from bulkaudio.observe.outlets import replacing
from bulkaudio.observe.summary import utc_text
from bulkaudio.observe.terminal import Trimmed
from bulkaudio.quantities import format_bytes, plural
from bulkaudio.sources.receipt import SCHEMA, refuse_receipt
from bulkaudio.stores.address import argument_of, store_of
from bulkaudio.version import __version__

MAX_LISTED = 100
SHOWN = 5
HELD_EXIT_CODE = 3


def purge_view() -> Counting[Progress]:
    """Make a view of how far erasing got."""
    return Counting(
        opening="opening the archive",
        words=lambda now: (
            f"{plural(now.conversations, 'conversation')} looked at",
            plural(now.recordings, "recording"),
        ),
    )


@dataclass(slots=True, kw_only=True)
class Ids:
    """The erased conversations, as they come: to a file all of them, and the first for a line."""

    file: BinaryIO | None
    first: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    def take(self, dooms: Sequence[Doom]) -> None:
        """Write some more down."""
        self._take(dooms, {})

    def take_resumed(self, dooms: Sequence[Doom]) -> None:
        """Write down some of what an interrupted erasure had begun."""
        self._take(dooms, {"resumed": True})

    def _take(self, dooms: Sequence[Doom], more: Mapping[str, bool]) -> None:
        for doom in dooms:
            entry = {
                "id": doom.conversation_id,
                "directions": [side.value for side in doom.directions],
                "known": doom.is_known,
                **more,
            }
            if self.file is not None:
                self.file.write(b",\n" if self.count else b"\n")
                self.file.write(json.dumps(entry, separators=(",", ":")).encode())
            if self.count < MAX_LISTED:
                self.first.append(entry)
            self.count += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    What was asked for.

    Attributes:
        before: Calls that began before this time; None when conversations were named.
    """

    archive: Path
    wish: Wish
    before: datetime | None

    def heading(self) -> dict[str, Any]:
        """Return what a receipt says before the ids."""
        order = self.wish.order
        return {
            "schema": SCHEMA,
            "archive": str(self.archive),
            "store": store_of(self.archive),
            "version": __version__,
            "at": utc_text(order.at),
            "who": order.who,
            "reason": order.reason,
            "dry_run": not self.wish.is_acting,
            "before": None if self.before is None else utc_text(self.before),
            "directions": list(self.wish.directions) or "all",
            "resume": self.wish.is_rest,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was asked for, and what became of it."""

    job: Job
    report: Report
    ids: Ids

    @property
    def exit_code(self) -> int:
        """0 unless a hold was in the way of something."""
        return HELD_EXIT_CODE if self.report.held_count else 0

    def line(self) -> str:
        """Return what ``--json`` prints."""
        erased = {
            "erased": self.ids.first,
            "erased_truncated": self.ids.count > len(self.ids.first),
        }
        whole = self.job.heading() | erased | self.ending()
        return json.dumps(whole, separators=(",", ":"))

    def ending(self, most: int = MAX_LISTED) -> dict[str, Any]:
        """Return what a receipt says after the ids, naming so many of a kind at most."""
        report = self.report
        return {
            "conversations": report.conversations,
            "recordings": report.recordings,
            "bytes": report.bytes,
            "tombstones": report.tombstones,
            "metadata_files": report.metadata,
            "unknown": report.unknown[:most],
            "unknown_count": report.unknown_count,
            "already_erased": report.already,
            "came_back": {
                "recordings": report.came_back.recordings,
                "bytes": report.came_back.bytes,
                "metadata_files": report.came_back.metadata,
            },
            "held": [{"id": id_, "reason": why or None} for id_, why in report.held[:most]],
            "held_count": report.held_count,
            "ledger_copies": list(report.ledger_copies),
            "reports": list(report.pages),
            "resumed": self._resumed(),
            "interrupted_erasure": document(report.interruption),
            "exit_code": self.exit_code,
        }

    def _resumed(self) -> dict[str, Any] | None:
        resumed = self.report.resumed
        if resumed is None:
            return None
        return {
            "conversations": resumed.conversations,
            "recordings": resumed.recordings,
            "who": resumed.order.who,
            "at": utc_text(resumed.order.at),
            "reason": resumed.order.reason,
        }

    def page(self, file: Path | None) -> RenderableType:
        """Lay it out for people."""
        return Trimmed(Group(*self._parts(file)))

    def _parts(self, file: Path | None) -> Iterator[RenderableType]:
        report, is_acting = self.report, self.job.wish.is_acting
        yield self._headline()
        yield from self._resumed_lines()
        if report.held_count:
            named = [f"{id_} ({printable(why)})" if why else id_ for id_, why in report.held]
            yield Text(
                f"{plural(report.held_count, 'conversation')} held, left alone: {_some(named)}",
                style="yellow",
            )
        if report.unknown_count:
            sides = ", ".join(self.job.wish.directions)
            yield Text(
                f"{plural(report.unknown_count, 'conversation')} not in this archive, and never to be "
                f"fetched{f' ({sides})' if sides else ''}: {_some(report.unknown)}"
            )
        if report.already:
            yield Text(self._already_words())
        if report.ledger_copies:
            gone = "removed" if is_acting else "to be removed"
            yield Text(
                f"{plural(len(report.ledger_copies), 'file')} of older ledgers {gone}: "
                f"{_some(report.ledger_copies)}"
            )
        if report.pages:
            gone = "removed" if is_acting else "to be removed"
            yield Text(
                f"{plural(len(report.pages), 'report')} in the archive {gone}, for calls that it tells "
                f"of: {_some(report.pages)}"
            )
        if file is not None:
            yield Text(f"Receipt: {file}")
        if not is_acting and (report.conversations or report.unknown_count or report.resumed):
            yield Text("Nothing is erased yet: the same command with --yes does it, for good.")
        elif is_acting and (report.conversations or self._strays()):
            yield Text(
                "Logs, exports, backups, and reports and copies elsewhere are not the archive's: erase "
                "them where they are."
            )
            if store := store_of(self.job.archive):
                yield Text(
                    f"{store}: a bucket that keeps versions, or retains objects, keeps what was erased "
                    "until they expire; see docs/object-stores.md."
                )

    def _already_words(self) -> str:
        already = self.report.already
        text = f"{plural(already, 'conversation')} erased before"
        if not self.job.wish.is_acting:
            return (
                f"{text}; whether anything of {'it' if already == 1 else 'them'} is there again, this "
                f"tells: bulkaudio verify {argument_of(self.job.archive)}"
            )
        files = self.report.came_back.recordings + self.report.came_back.metadata
        if not files:
            return f"{text}."
        return f"{text}. {plural(files, 'file')} of these had come back, and {'is' if files == 1 else 'are'} erased again."

    def _resumed_lines(self) -> Iterator[Text]:
        """Tell of an interrupted erasure: that it is finished, or what of it is left."""
        report, resumed, wish = self.report, self.report.resumed, self.job.wish
        if resumed is not None and resumed.conversations and is_return(resumed.order.reason):
            yield Text(
                f"Of these, {plural(resumed.recordings, 'recording')} of "
                f"{plural(resumed.conversations, 'conversation')} were erased before, and were there "
                f"again; found by {printable(resumed.order.who)} at {utc_text(resumed.order.at)}."
            )
        elif resumed is not None and resumed.conversations:
            end = "which is finished now" if wish.is_acting else "which this would finish"
            whole = " What that had not come to is whole: repeat it." if wish.is_rest else ""
            yield Text(
                f"Of these, {plural(resumed.recordings, 'recording')} of "
                f"{plural(resumed.conversations, 'conversation')} are an interrupted erasure's, {end}; "
                f"ordered by {printable(resumed.order.who)} at {utc_text(resumed.order.at)}.{whole}"
            )
        if report.interruption is not None and not (resumed and not wish.is_acting):
            yield Text(words(report.interruption, self.job.archive), style="bold yellow")

    def _strays(self) -> str:
        """Say which files of unknown conversations went, where that is all there was."""
        report = self.report
        files = (
            (report.removed.recordings, "file of audio", "files of audio"),
            (report.metadata, "metadata file", None),
        )
        return " and ".join(plural(count, *words) for count, *words in files if count)

    def _headline(self) -> Text:
        report = self.report
        word, style = (
            ("Erased", "bold green") if self.job.wish.is_acting else ("To be erased", "bold")
        )
        if not report.conversations:
            if strays := self._strays():
                text = f": {strays} of conversations not in this archive."
                return Text(word, style=style).append(text)
            if report.came_back.recordings or report.came_back.metadata:
                text = ": what had come back of conversations that were erased before."
                return Text(word, style=style).append(text)
            if report.resumed is not None:
                return Text("Nothing to erase", style="bold").append(" but what the ledger tells.")
            return Text("Nothing to erase", style="bold").append(
                f": no call before {utc_text(self.job.before)} has anything left."
                if self.job.before is not None and not report.held_count
                else "."
            )
        # Of what came back, the ledger does not know it.
        size = f" ({format_bytes(report.bytes)})" if report.bytes or not report.recordings else ""
        text = (
            f": {plural(report.recordings, 'recording')}{size} of "
            f"{plural(report.conversations, 'conversation')}"
        )
        if report.metadata:
            text += f", {plural(report.metadata, 'metadata file')}"
        if others := report.tombstones - report.recordings:
            text += f", and {others:,} entr{'y' if others == 1 else 'ies'} without audio"
        if self.job.before is not None:
            text += f"; calls before {utc_text(self.job.before)}"
        return Text(word, style=style).append(text + ".")


@contextmanager
def receipt_file(path: Path | None, job: Job) -> Iterator[BinaryIO | None]:
    """
    Lend the file that a receipt is written to, or None.

    It is opened before anything is erased: what cannot be put on record is not done.

    Raises:
        StorageError: It cannot be written.
        UsageError: It is the receipt of an earlier erasure, which nobody could write again.
    """
    if path is None:
        yield None
        return
    refuse_receipt(path)
    try:
        with replacing(path) as file:
            opening = json.dumps(job.heading(), separators=(",", ":")).encode()
            file.write(opening.removesuffix(b"}") + b',"erased":[')
            file.flush()
            yield file
    except OSError as error:
        raise StorageError(
            f"the receipt {path} cannot be written: {error.strerror or error}",
            fix="choose another --receipt",
        ) from error


def close_receipt(file: BinaryIO | None, receipt: Receipt) -> None:
    """Write what comes after the ids."""
    if file is not None:
        ending = json.dumps(receipt.ending(NAMED), separators=(",", ":")).encode()
        file.write(b"\n]," + ending.removeprefix(b"{") + b"\n")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
