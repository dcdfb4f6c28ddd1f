"""
A run and its archive in the text format that Prometheus reads; the names here are documented ones.

Rules of this file: pure. Gauges only: a run's figures begin anew with each run, and what is counted
over runs is the archive's. No sample bears a time, which the collector would refuse, and none says
more of whose calls they are than the archive's path, which keeps two archives of one machine apart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bulkaudio.ledger.rows import Total
from bulkaudio.model import Direction, Status
from bulkaudio.observe.tally import Counts
from bulkaudio.version import __version__

HELP = {
    "bulkaudio_build_info": "Always 1; the version that wrote this.",
    "bulkaudio_updated_timestamp_seconds": "When this was written.",
    "bulkaudio_run_in_progress": "1 while a run is going on, else 0.",
    "bulkaudio_last_success_timestamp_seconds": "When the last run with exit code 0 ended, by what "
    "it took its conversations from.",
    "bulkaudio_last_run_start_timestamp_seconds": "When the last run that has ended began.",
    "bulkaudio_last_run_end_timestamp_seconds": "When the last run that has ended did.",
    "bulkaudio_last_run_duration_seconds": "How long the last run that has ended took.",
    "bulkaudio_last_run_exit_code": "The exit code of the last run that has ended.",
    "bulkaudio_run_start_timestamp_seconds": "When the run of the following figures began.",
    "bulkaudio_run_conversations": "Conversations that this run considered.",
    "bulkaudio_run_recordings": "Recordings that this run considered, by what became of them.",
    "bulkaudio_run_rejected": "Input rows and listed records of this run that are no conversation.",
    "bulkaudio_run_saved_bytes": "Bytes of the recordings that this run saved.",
    "bulkaudio_run_received_bytes": "Bytes of recordings that arrived, repeated attempts included.",
    "bulkaudio_run_saved_audio_seconds": "Length of the recordings that this run saved.",
    "bulkaudio_run_retries": "Attempts that failed and were followed by another.",
    "bulkaudio_run_http_responses": "Answers of PolyAI to this run, by HTTP status.",
    "bulkaudio_archive_recordings": "Recordings that the ledger knows, by direction and status.",
    "bulkaudio_archive_bytes": "Bytes of all saved recordings, by direction.",
    "bulkaudio_archive_audio_seconds": "Length of all saved recordings, by direction.",
    "bulkaudio_archive_oldest_open_timestamp_seconds": "Start of the oldest call with a recording "
    "that is open, failed or deferred; absent when there is none.",
}
"""Every family, in the order of the file."""

STATUSES = tuple(status for status in Status if status is not Status.ALREADY)

RUN_STATUSES = ("saved", "already", "absent", "deferred", "failed", "open")

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """When a run began and ended, and with what."""

    started_at: datetime
    finished_at: datetime
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """
    What the ledger knows.

    Attributes:
        successes: When the last run with exit code 0 ended, by its source.
        oldest_open: Start of the oldest call that is not settled, or when it was first seen.
    """

    totals: Mapping[tuple[Direction, Status], Total] = field(default_factory=dict)
    oldest_open: datetime | None = None
    successes: Mapping[str, datetime] = field(default_factory=dict)
    last: Ended | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """What a run has done so far."""

    started_at: datetime
    counts: Counts
    saved_bytes: int
    received_bytes: int
    audio_seconds: float
    http: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    Everything that is told.

    Attributes:
        archive: Its absolute path.
        ended: How the last run ended; None: none has, or nobody knows.
        run: Of the run that is going on, or that ended just now.
        holdings: None when the ledger could not be read.
    """

    archive: str
    now: datetime
    in_progress: bool
    ended: Ended | None
    run: RunFigures
    holdings: Holdings | None


def exposition(facts: Facts) -> str:
    """Write the whole file."""
    where: Labels = (("archive", facts.archive),)
    found: dict[str, list[tuple[Labels, float]]] = {}
    for name, labels, value in _samples(facts):
        found.setdefault(name, []).append((where + labels, value))
    lines: list[str] = []
    for name, text in HELP.items():
        samples = found.get(name, ())
        if samples:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        lines += [f"{name}{{{_labels(labels)}}} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _samples(facts: Facts) -> Iterator[tuple[str, Labels, float]]:
    yield "bulkaudio_build_info", (("version", __version__),), 1
    yield "bulkaudio_updated_timestamp_seconds", (), facts.now.timestamp()
    yield "bulkaudio_run_in_progress", (), int(facts.in_progress)
    if facts.ended is not None:
        yield from _ended(facts.ended)
    yield from _run(facts.run)
    if facts.holdings is not None:
        yield from _holdings(facts.holdings)


def _ended(run: Ended) -> Iterator[tuple[str, Labels, float]]:
    duration_s = (run.finished_at - run.started_at).total_seconds()
    yield "bulkaudio_last_run_start_timestamp_seconds", (), run.started_at.timestamp()
    yield "bulkaudio_last_run_end_timestamp_seconds", (), run.finished_at.timestamp()
    yield "bulkaudio_last_run_duration_seconds", (), max(0.0, duration_s)
    yield "bulkaudio_last_run_exit_code", (), run.exit_code


def _run(run: RunFigures) -> Iterator[tuple[str, Labels, float]]:
    counts = run.counts
    yield "bulkaudio_run_start_timestamp_seconds", (), run.started_at.timestamp()
    yield "bulkaudio_run_conversations", (), counts.conversations
    for status in RUN_STATUSES:
        yield "bulkaudio_run_recordings", (("status", status),), getattr(counts, status)
    yield "bulkaudio_run_rejected", (), counts.rejected
    yield "bulkaudio_run_saved_bytes", (), run.saved_bytes
    yield "bulkaudio_run_received_bytes", (), run.received_bytes
    yield "bulkaudio_run_saved_audio_seconds", (), run.audio_seconds
    yield "bulkaudio_run_retries", (), counts.retries
    for code, number in run.http.items():
        yield "bulkaudio_run_http_responses", (("code", str(code)),), number


def _holdings(held: Holdings) -> Iterator[tuple[str, Labels, float]]:
    for source, moment in sorted(held.successes.items()):
        name = "bulkaudio_last_success_timestamp_seconds"
        yield name, (("source", source),), moment.timestamp()
    nothing = Total(count=0, bytes=0, seconds=0.0)
    for direction in Direction:
        where = (("direction", direction.value),)
        for status in STATUSES:
            total = held.totals.get((direction, status), nothing)
            labels: Labels = (*where, ("status", status.value))
            yield "bulkaudio_archive_recordings", labels, total.count
        saved = held.totals.get((direction, Status.SAVED), nothing)
        yield "bulkaudio_archive_bytes", where, saved.bytes
        yield "bulkaudio_archive_audio_seconds", where, saved.seconds
    if held.oldest_open is not None:
        oldest = held.oldest_open.timestamp()
        yield "bulkaudio_archive_oldest_open_timestamp_seconds", (), oldest


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    # What is no text, as the bytes of an odd path, becomes text that shows it.
    plain = value.encode("utf-8", "backslashreplace").decode()
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"
