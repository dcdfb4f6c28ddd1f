"""What a run has done so far, counted from its events and from nothing else."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bulkaudio.events import (
    Answered,
    ErasureFinished,
    Event,
    GateMoved,
    Noted,
    Planned,
    Received,
    Relayed,
    Retrying,
    Settled,
    SidecarSettled,
    SourceEnded,
    Started,
    Stopping,
)
from bulkaudio.model import Outcome, Rejected, Status
from bulkaudio.observe.lookalikes import Lookalike, Lookalikes
from bulkaudio.policy import Reason

MAX_FAILURES = 100
MAX_REJECTIONS = 20
MAX_NOTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """
    Numbers of a run, as its summary names them.

    ``recordings = saved + already + absent + deferred + failed + open`` at every moment.

    Attributes:
        conversations: Distinct ones considered.
        rejected: Input rows that are no conversation id.
        skipped: Conversations that cannot have a recording.
        retries: Attempts that failed and were followed by another.
        put_off: Those of `deferred` that PolyAI asked to wait with.
        erased: Those of `already` of which nothing but a tombstone is left.
        open: Considered and not settled: still to do, or left open by a stop.
    """

    conversations: int = 0
    recordings: int = 0
    saved: int = 0
    already: int = 0
    absent: int = 0
    deferred: int = 0
    failed: int = 0
    rejected: int = 0
    skipped: int = 0
    retries: int = 0
    open: int = 0
    put_off: int = 0
    erased: int = 0

    @property
    def settled(self) -> int:
        """Recordings that this run need not look at again."""
        return self.recordings - self.open


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """
    A host's gate as last heard of.

    Attributes:
        opens_at: Monotonic seconds until which no request is admitted.
    """

    slots: int
    opens_at: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """
    A run at one moment; safe to hand to another thread.

    Attributes:
        at: Monotonic seconds.
        received_bytes: Over the wire, repeated attempts included; `saved_bytes` without them.
        is_total_known: The source has ended: `counts.recordings` will not grow.
        started: None until the archive is this run's.
        stopping: Why no more work is taken; None while the run goes on.
        gates: By host.
    """

    at: float
    counts: Counts
    received_bytes: int
    saved_bytes: int
    audio_seconds: float
    throttled: int
    is_total_known: bool
    started: Started | None
    stopping: str | None
    gates: dict[str, Gauge]

    @property
    def slots(self) -> int | None:
        """Requests at once that all hosts together are given; None before any is known."""
        return sum(gauge.slots for gauge in self.gates.values()) if self.gates else None

    def waiting(self) -> tuple[float, str] | None:
        """Name the longest closed gate's remaining seconds and reason."""
        closed = [g for g in self.gates.values() if g.opens_at > self.at]
        longest = max(closed, key=lambda gauge: gauge.opens_at, default=None)
        return (longest.opens_at - self.at, longest.reason) if longest else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecars:
    """Metadata files of this run."""

    written: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """
    What a summary tells beyond the counts; every list is bounded.

    Attributes:
        named: Conversations that the source has named so far, chats and known ones included.
        erasure: An interrupted one that the run has finished.
    """

    named: int
    http: dict[int, int]
    failures: tuple[Outcome, ...]
    rejections: tuple[Rejected, ...]
    notes: tuple[str, ...]
    lookalikes: tuple[Lookalike, ...]
    sidecars: Sidecars
    erasure: ErasureFinished | None = None


@dataclass(slots=True, kw_only=True)
class Tally:
    """
    Counts events: an `Emit` by being called. Memory does not grow with the run.

    Called on the loop's thread and read from others, hence the lock.
    """

    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _by_status: Counter[Status] = field(default_factory=Counter)
    _conversations: int = 0
    _recordings: int = 0
    _named: int = 0
    _rejected: int = 0
    _skipped: int = 0
    _retries: int = 0
    _put_off: int = 0
    _erased: int = 0
    _throttled: int = 0
    _received_bytes: int = 0
    _saved_bytes: int = 0
    _audio_seconds: float = 0.0
    _is_total_known: bool = False
    _stopping: str | None = None
    _gates: dict[str, Gauge] = field(default_factory=dict)
    _http: Counter[int] = field(default_factory=Counter)
    _failures: list[Outcome] = field(default_factory=list)
    _started: Started | None = None
    _rejections: list[Rejected] = field(default_factory=list)
    _notes: dict[str, None] = field(default_factory=dict)
    _lookalikes: Lookalikes = field(default_factory=Lookalikes)
    _sidecars: Sidecars = field(default_factory=Sidecars)
    _erasure: ErasureFinished | None = None

    def __call__(self, event: Event) -> None:
        """Take an event into account; see `Emit`."""
        with self._lock:
            self._count(event)

    def snapshot(self) -> Snapshot:
        """Return the numbers at this moment."""
        with self._lock:
            return Snapshot(
                at=self.clock(),
                counts=self._counts(),
                received_bytes=self._received_bytes,
                saved_bytes=self._saved_bytes,
                audio_seconds=self._audio_seconds,
                throttled=self._throttled,
                is_total_known=self._is_total_known,
                started=self._started,
                stopping=self._stopping,
                gates=dict(self._gates),
            )

    def details(self) -> Details:
        """Return what the summary tells beyond the counts."""
        with self._lock:
            return Details(
                named=self._named,
                http=dict(sorted(self._http.items())),
                failures=tuple(self._failures),
                rejections=tuple(self._rejections),
                notes=tuple(self._notes),
                lookalikes=self._lookalikes.found(),
                sidecars=self._sidecars,
                erasure=self._erasure,
            )

    def _counts(self) -> Counts:
        by_status = self._by_status
        settled = sum(n for status, n in by_status.items() if status is not Status.OPEN)
        return Counts(
            conversations=self._conversations,
            recordings=self._recordings,
            saved=by_status[Status.SAVED],
            already=by_status[Status.ALREADY] + by_status[Status.PURGED],
            absent=by_status[Status.ABSENT],
            deferred=by_status[Status.DEFERRED],
            failed=by_status[Status.FAILED],
            rejected=self._rejected,
            skipped=self._skipped,
            retries=self._retries,
            open=self._recordings - settled,
            put_off=self._put_off,
            erased=self._erased + by_status[Status.PURGED],
        )

    def _count(self, event: Event) -> None:
        match event:
            case Received(bytes=size):
                self._received_bytes += size
            case Answered(http_status=http_status):
                self._http[http_status] += 1
            case Settled(outcome=outcome):
                self._settle(outcome)
            case Planned():
                self._plan(event)
            case Retrying(reason=reason):
                self._retries += 1
                self._throttled += reason == Reason.THROTTLED
            case Relayed():
                self._relay(event)
            case GateMoved():
                self._move_gate(event)
            case SidecarSettled(reason=failure):
                self._settle_sidecar(failure)
            case _:
                self._turn(event)

    def _turn(self, event: Started | SourceEnded | Stopping | Noted | ErasureFinished) -> None:
        """Count what happens a few times a run."""
        match event:
            case ErasureFinished():
                self._erasure = event
            case Started():
                self._started = event
            case SourceEnded():
                self._is_total_known = True
            case Stopping(reason=reason):
                self._stopping = reason
            case Noted(text=text):
                if len(self._notes) < MAX_NOTES:
                    self._notes[text] = None

    def _relay(self, event: Relayed) -> None:
        self._http.update(event.http)
        self._received_bytes += event.received_bytes
        self._retries += event.retries
        self._throttled += event.throttled

    def _settle_sidecar(self, failure: str | None) -> None:
        kept = self._sidecars
        if failure is None:
            self._sidecars = replace(kept, written=kept.written + 1)
        else:
            self._sidecars = replace(kept, failed=kept.failed + 1)

    def _move_gate(self, event: GateMoved) -> None:
        now = self.clock()
        opens_at, reason = now + event.closed_s, event.reason
        before = self._gates.get(event.host)
        if before is not None and now < opens_at <= before.opens_at + 0.05:
            # Still closed for what closed it, whatever else has moved since.
            reason = before.reason
        self._gates[event.host] = Gauge(slots=event.slots, opens_at=opens_at, reason=reason)

    def _plan(self, event: Planned) -> None:
        plan = event.plan
        self._conversations += plan.conversations
        self._recordings += len(plan.todo) + plan.already + plan.absent + plan.deferred
        self._by_status[Status.ALREADY] += plan.already
        self._by_status[Status.ABSENT] += plan.absent
        self._by_status[Status.DEFERRED] += plan.deferred
        self._put_off += plan.put_off
        self._erased += plan.erased
        if not event.from_backlog:
            self._named += plan.conversations + plan.duplicates + event.skipped
        self._skipped += event.skipped
        self._rejected += len(event.rejected)
        room = MAX_REJECTIONS - len(self._rejections)
        self._rejections.extend(event.rejected[: max(0, room)])

    def _settle(self, outcome: Outcome) -> None:
        self._by_status[outcome.status] += 1
        is_deferred = outcome.status is Status.DEFERRED
        self._put_off += is_deferred and outcome.reason == Reason.THROTTLED
        if outcome.status is Status.SAVED:
            self._saved_bytes += outcome.bytes or 0
            self._audio_seconds += outcome.audio.seconds if outcome.audio else 0.0
            self._lookalikes.add(outcome)
        elif outcome.status is Status.FAILED and len(self._failures) < MAX_FAILURES:
            self._failures.append(outcome)
