"""
Which request goes wrong, and how: decided from the seed alone, so that a failure can be replayed.

Rules of this file: every plan heals. A client with five attempts gets every recording: at most
four faults of a plan use up an attempt, throttled answers come on top. HTML under a 200 only ever
comes first, because more than a few of those mean that something else than PolyAI answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Self

from bulkaudio.simulator.journal import What


class Fault(StrEnum):
    """One way in which an answer goes wrong."""

    RESET = "reset before headers"
    RESET_BODY = "reset in the body"
    SHORT_BODY = "shorter than Content-Length"
    CUT_CHUNKS = "chunks without an end"
    HTTP_408 = "408"
    HTTP_429 = "429"
    HTTP_500 = "500"
    HTTP_502 = "502"
    HTTP_503 = "503"
    HTTP_504 = "504"
    HTML = "HTML under a 200"
    DRIP = "byte by byte at first"
    HANG = "silence before the headers"

    @property
    def http_status(self) -> int | None:
        """The status to answer with; None when the fault is of another kind."""
        return int(self) if self.isdigit() else None

    @property
    def replaces_answer(self) -> bool:
        """Whether a whole answer is sent, but another one."""
        return self is Fault.HTML or self.http_status is not None

    @property
    def costs_an_attempt(self) -> bool:
        """Whether a patient client has to ask again, and counts it."""
        return self not in {Fault.HTTP_429, Fault.DRIP, Fault.HANG}


_RARE = (Fault.HTTP_429, Fault.HTTP_408, Fault.DRIP, Fault.HANG, Fault.HTTP_500, Fault.HTTP_504)
_BROKEN = (Fault.RESET, Fault.RESET_BODY, Fault.SHORT_BODY, Fault.CUT_CHUNKS)
_BUSY = (Fault.HTTP_502, Fault.HTTP_503)
FOR_RECORDINGS = _BROKEN * 2 + _BUSY * 2 + _RARE
FOR_PAGES = _BROKEN + _BUSY + (Fault.HTTP_500,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """
    A plan of faults for everything that can be asked.

    Attributes:
        share: Of recordings and pages whose first answers go wrong.
        longest: Most faults in a row that cost an attempt.
        kinds: What goes wrong, drawn evenly; empty: the usual mixture.
        heals: False: what goes wrong goes on doing so, for ever.
        pause_s: How long a hang and a drip last.
        retry_after: Of throttled answers.
        script: Plans for particular requests, before anything else.
    """

    share: float = 0.0
    longest: int = 2
    seed: int = 1
    kinds: tuple[Fault, ...] = ()
    heals: bool = True
    pause_s: float = 0.5
    retry_after: str = "1"
    script: Mapping[What, tuple[Fault, ...]] = field(default_factory=dict)

    @classmethod
    def none(cls) -> Self:
        """Return a host that never fails."""
        return cls()

    @classmethod
    def some(cls, *, seed: int = 1) -> Self:
        """Return an ordinary bad day: about one request in twelve, at most two in a row."""
        return cls(share=0.062, longest=2, seed=seed)

    @classmethod
    def storm(cls, *, seed: int = 1) -> Self:
        """Return a host in trouble: about two requests in five, up to four in a row."""
        return cls(share=0.29, longest=4, seed=seed)

    @classmethod
    def always(cls, *kinds: Fault) -> Self:
        """Return an outage: every answer is one of `kinds`, until the faults are replaced."""
        return cls(share=1.0, kinds=kinds, heals=False)

    def fault(self, what: What, attempt: int) -> Fault | None:
        """Return what goes wrong with this attempt, counted from 0."""
        if not self.share and not self.script:
            return None
        plan = self.plan(what)
        if attempt < len(plan):
            return plan[attempt]
        return plan[attempt % len(plan)] if plan and not self.heals else None

    def plan(self, what: What) -> tuple[Fault, ...]:
        """Return the faults of one recording or page, in order."""
        if what in self.script:
            return self.script[what]
        rng = Random(f"{self.seed}/{what.kind}/{what.id}/{what.direction}")  # noqa: S311
        if rng.random() >= self.share:
            return ()
        kinds = self.kinds or (FOR_RECORDINGS if what.kind == "recording" else FOR_PAGES)
        wanted = 1
        while wanted < self.longest and rng.random() < self.share + 0.16:
            wanted += 1
        plan = [Fault.HTML] if not self.kinds and rng.random() < 0.05 else []
        # A plan of drips alone would never cost the attempts it was meant to.
        while sum(fault.costs_an_attempt for fault in plan) < wanted and len(plan) < 2 * wanted:
            plan.append(rng.choice(kinds))
        return tuple(plan)
