"""What was found out about a download that has not happened, and how it is gathered."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bulkaudio import forecast
from bulkaudio.events import Emit
from bulkaudio.forecast import Held, Limits, Load, Rates, Share
from bulkaudio.ledger.lookup import PURGED, SAVED
from bulkaudio.ledger.planning import PUT_OFF
from bulkaudio.ledger.rehearsal import Sums
from bulkaudio.model import BareConversations, Batch, Direction, Plan, Status
from bulkaudio.observe.tally import Counts, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """
    What a download with the same options would do.

    Attributes:
        is_new: There is no archive yet.
        counts: As its summary would have them; `open` is what is to be fetched.
        first, last: Starts of the earliest and of the latest call that the source named.
        free_bytes: Where the archive is, or would be.
    """

    archive: Path
    is_new: bool
    scope: Mapping[str, Any]
    counts: Counts
    shares: Sequence[Share]
    duration_s: float | None
    limits: Limits
    first: datetime | None
    last: datetime | None
    free_bytes: int
    min_free_bytes: int
    stops_at: str | None
    notes: Sequence[str]

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
        """Whether the disk will hold it."""
        return forecast.will_fit(self.bytes, self.free_bytes, self.min_free_bytes)


@dataclass(slots=True, kw_only=True)
class Gathering:
    """Counts plans by direction; grows with none of them."""

    tally: Tally
    emit: Emit
    loads: dict[Direction, Load] = field(default_factory=dict)
    held: dict[Direction, Held] = field(default_factory=dict)
    sums: Counter[tuple[Direction, str]] = field(default_factory=Counter)
    backlog: Counter[Direction] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None

    def left(self, plan: Plan) -> None:
        """Take a page of the backlog."""
        self.backlog.update(task.recording.direction for task in plan.todo)
        self._load(plan, {})

    def planned(self, batch: Batch, plan: Plan, sums: Sums) -> None:
        """Take a batch of the source."""
        self.sums.update(sums)
        if starts := starts_of(batch):
            self.first = min(starts if self.first is None else [*starts, self.first])
            self.last = max(starts if self.last is None else [*starts, self.last])
        self._load(plan, lengths_of(batch))

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

    def share(self, direction: Direction, limits: Limits) -> Share:
        """Foretell one direction."""
        load = self.loads.get(direction, Load())
        rates = Rates.of(load, self.held.get(direction, Held()))
        estimate = forecast.estimate(load, rates)
        deferred = Status.DEFERRED.value
        return Share(
            direction=direction,
            already=self.sums[direction, SAVED] + self.sums[direction, PURGED],
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
