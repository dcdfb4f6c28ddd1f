"""
Who may do how much: one budget of requests and bytes, divided among the workers there are.

The run publishes a notice, in which each worker finds its share by its own name, and every worker
looks at it a few times a second. Nobody asks PolyAI for anything before its name is there: so the
shares never add up to more than the budget, whoever comes, goes, or wakes up after a minute. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LOOK_S = 0.25
"""Between two looks at the notice; and how long a newcomer waits for the others to have looked."""

MOST_KEPT = 8
"""Pauses in a notice; each is looked at long before so many more were said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """
    What one worker may do.

    Attributes:
        max_rate: Requests a second; None: no ceiling. Zero: nothing for now.
        slots: Requests at once; None: as its gate finds out.
        part: Of the bandwidth.
    """

    max_rate: float | None = None
    slots: int | None = None
    part: float = 1.0


NOTHING = Share(max_rate=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A host asked one worker to wait: all of them do. Numbers grow."""

    number: int
    seconds: float
    reason: str
    heard_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What the run has to say to its workers."""

    shares: Mapping[str, Share] = field(default_factory=dict)
    pauses: Sequence[Pause] = ()

    def share_of(self, worker: str) -> Share:
        """Return a worker's share: nothing when it is not named."""
        return self.shares.get(worker, NOTHING)

    def pauses_for(self, worker: str, last: int) -> Sequence[Pause]:
        """Return the pauses that a worker has not heard of, others' ones only."""
        return [p for p in self.pauses if p.number > last and p.heard_by != worker]

    def plain(self) -> dict[str, Any]:
        """Write it as what the scheduler keeps."""
        return {
            "shares": {w: [s.max_rate, s.slots, s.part] for w, s in self.shares.items()},
            "pauses": [[p.number, p.seconds, p.reason, p.heard_by] for p in self.pauses],
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Notice":
        """Read what `plain` wrote."""
        return cls(
            shares={
                worker: Share(max_rate=share[0], slots=share[1], part=share[2])
                for worker, share in plain["shares"].items()
            },
            pauses=[
                Pause(number=p[0], seconds=p[1], reason=p[2], heard_by=p[3])
                for p in plain["pauses"]
            ],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """What is divided; None: no ceiling. `part` is that of the bandwidth."""

    max_rate: float | None = None
    slots: int | None = None
    part: float = 1.0

    def divided(self, workers: Sequence[str]) -> Mapping[str, Share]:
        """Give every worker as much as the others."""
        count = len(workers)
        return {
            worker: Share(
                max_rate=None if self.max_rate is None else self.max_rate / count,
                slots=None if self.slots is None else _slots(self.slots, count, place),
                part=self.part / count,
            )
            for place, worker in enumerate(sorted(workers))
        }


def _slots(whole: int, count: int, place: int) -> int:
    """Divide what cannot be halved; each worker needs one to do anything at all."""
    return max(1, whole // count + (place < whole % count))
