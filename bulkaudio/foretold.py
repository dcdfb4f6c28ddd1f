"""What was found out about a download that has not happened, and how it is gathered."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bulkaudio import forecast
from bulkaudio.events import Emit
from bulkaudio.forecast import Held, Limits, Load, Rates, Share
from bulkaudio.ledger.lookup import PURGED, SAVED
from bulkaudio.ledger.planning import PUT_OFF
from bulkaudio.ledger.rehearsal import Rehearsed
from bulkaudio.ledger.tombs import Interruption
from bulkaudio.model import BareConversations, Batch, Direction, Plan, Status
from bulkaudio.observe.tally import Counts, Tally
from bulkaudio.settings import Elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Starts of the earliest and of the latest of some calls."""

    first: datetime
    last: datetime

    @classmethod
    def over(cls, starts: Iterable[datetime | None], before: "Span | None") -> "Span | None":
        """Widen a span by what is known of these."""
        known = [each for each in starts if each is not None]
        if before is not None:
            known += [before.first, before.last]
        return cls(first=min(known), last=max(known)) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """
    What a download with the same options would do.

    Attributes:
        is_new: There is no archive yet.
        counts: As its summary would have them; `open` is what is to be fetched.
        named, left: Starts of the calls that the source named, and of those that earlier runs left.
        elsewhere: Where the recordings go when that is not the archive's folder.
        free_bytes: Where the archive's folder is, or would be.
        interruption: An erasure that was killed, which the download would finish.
    """

    archive: Path
    is_new: bool
    scope: Mapping[str, Any]
    counts: Counts
    shares: Sequence[Share]
    duration_s: float | None
    limits: Limits
    named: Span | None
    left: Span | None
    elsewhere: Elsewhere | None = None
    free_bytes: int
    min_free_bytes: int
    stops_at: str | None
    notes: Sequence[str]
    interruption: Interruption | None = None

    @property
    def bytes(self) -> int:
        """All directions together."""
        return sum(share.estimate.bytes for share in self.shares)

    @property
    def audio_seconds(self) -> float:
        """All directions together."""
        return sum(share.estimate.audio_seconds for share in self.shares)

    @property
    def backlog(self) -> int:
        """Recordings that earlier runs left."""
        return sum(share.backlog for share in self.shares)

    @property
    def fits(self) -> bool:
        """Whether the disk will hold what is kept there."""
        kept = self.bytes if self.elsewhere is None else 0
        return forecast.will_fit(kept, self.free_bytes, self.min_free_bytes)


@dataclass(slots=True, kw_only=True)
class Gathering:
    """Counts plans by direction; grows with none of them."""

    tally: Tally
    emit: Emit
    loads: dict[Direction, Load] = field(default_factory=dict)
    held: dict[Direction, Held] = field(default_factory=dict)
    sums: Counter[tuple[Direction, str]] = field(default_factory=Counter)
    backlog: Counter[Direction] = field(default_factory=Counter)
    named: Span | None = None
    left: Span | None = None

    def take_left(self, plan: Plan) -> None:
        """Take a page of the backlog."""
        self.backlog.update(task.recording.direction for task in plan.todo)
        self.left = Span.over((task.recording.started_at for task in plan.todo), self.left)
        self._load(plan, {})

    def take(self, batch: Batch, found: Rehearsed) -> None:
        """Take a batch of the source."""
        self.sums.update(found.sums)
        self.named = Span.over(starts_of(batch), self.named)
        lengths = lengths_of(batch)
        self._load(found.plan, lengths)
        for conversation_id, direction in found.told:
            self._learn(direction, lengths[conversation_id])

    def _learn(self, direction: Direction, length: float) -> None:
        """Take the length of a call whose recording was taken without."""
        before = self.loads.get(direction, Load())
        # One without a date may be left out where the layout needs it, and is named all the same.
        if before.known < before.recordings:
            self.loads[direction] = replace(
                before, known=before.known + 1, call_seconds=before.call_seconds + length
            )

    def _load(self, plan: Plan, lengths: Mapping[str, float]) -> None:
        for task in plan.todo:
            direction = task.recording.direction
            before = self.loads.get(direction, Load())
            length = lengths.get(task.recording.conversation_id)
            self.loads[direction] = Load(
                recordings=before.recordings + 1,
                known=before.known + (length is not None),
                call_seconds=before.call_seconds + (length or 0.0),
            )

    @property
    def all_held(self) -> Held:
        """What is held of all directions together."""
        held = self.held.values()
        return Held(
            recordings=sum(each.recordings for each in held),
            bytes=sum(each.bytes for each in held),
            audio_seconds=sum(each.audio_seconds for each in held),
        )

    def share(self, direction: Direction, limits: Limits) -> Share:
        """Foretell one direction."""
        load = self.loads.get(direction, Load())
        rates = Rates.of(load, self.held.get(direction, Held()), self.all_held)
        estimate = forecast.estimate(load, rates)
        deferred = Status.DEFERRED.value
        return Share(
            direction=direction,
            already=self.sums[direction, SAVED] + self.sums[direction, PURGED],
            erased=self.sums[direction, PURGED],
            absent=self.sums[direction, Status.ABSENT.value],
            deferred=self.sums[direction, deferred] + self.sums[direction, PUT_OFF],
            backlog=self.backlog[direction],
            load=load,
            rates=rates,
            estimate=estimate,
            duration_s=forecast.duration_s(load.recordings, estimate.bytes, limits),
        )


def lengths_of(batch: Batch) -> Mapping[str, float]:
    """Return the lengths of a batch's calls, as far as the source told them."""
    if isinstance(batch.conversations, BareConversations):
        return {}
    return {each.id: each.duration_s for each in batch.conversations if each.duration_s}


def starts_of(batch: Batch) -> list[datetime]:
    """Return the starts of a batch's calls, as far as the source told them."""
    if isinstance(batch.conversations, BareConversations):
        return []
    return [each.started_at for each in batch.conversations if each.started_at is not None]
