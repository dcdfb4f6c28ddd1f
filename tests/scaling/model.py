"""
What some millions of recordings come to, computed from what was measured of some thousands.

Rules of this module: pure; figures in, figures out. Whatever is assumed and not measured is a field of
`Fleet`, where a reader may doubt it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

RECORDING_S, BYTE_S = 0.6e-3, 2e-9
"""Processor time of a recording on a worker: README, "Where the time goes"."""

PAGE, PART = 1000, 1000
"""Calls of a listing's page; rows of a manifest's part."""

DIRECTIONS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    Of one machine.

    Attributes:
        row_bytes: Of the ledger, for each recording.
        told_bytes: Of the manifest, for each recording.
        driver_us: Processor time of the run itself for each recording.
        waited_us: Wall time of the same, with the disk's syncs.
        page_s: Processor time for a page of the listing.
        answers_us: Processor time of a question to the whole ledger, for each row.
        take_up_us: What `rebuild` adds for each file that it has read.
    """

    row_bytes: float
    told_bytes: float
    driver_us: float
    waited_us: float
    page_s: float
    answers_us: Mapping[str, float]
    take_up_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """
    What is to be fetched, and by what.

    Attributes:
        size: Bytes of a recording.
        rate: Requests a second that PolyAI allows for all together; None: no limit.
        worker_bytes_per_s: Of a worker's line, in and out together where recordings go on to an
            object store.
        passes: How often a recording's bytes pass that line: once, or twice with an object store.
        page_latency_s: From asking for a page of the listing to its end.
        put_latency_s: Of a manifest's part.
    """

    recordings: int
    workers: int = 50
    size: float = 2.88e6
    rate: float | None = None
    worker_bytes_per_s: float = 125e6
    passes: int = 2
    page_latency_s: float = 1.0
    put_latency_s: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Recordings a second that one part of the whole is good for."""

    name: str
    per_s: float


def bounds(fleet: Fleet, measured: Measured) -> tuple[Bound, ...]:
    """Say what each part is good for, the narrowest first."""
    worker_s = RECORDING_S + fleet.size * BYTE_S
    found = [
        Bound(name="the workers' processors", per_s=fleet.workers / worker_s),
        Bound(
            name="the workers' lines",
            per_s=fleet.workers * fleet.worker_bytes_per_s / (fleet.passes * fleet.size),
        ),
        Bound(name="the listing", per_s=PAGE * DIRECTIONS / page_s(fleet, measured)),
        Bound(name="the driver's disk", per_s=1e6 / measured.waited_us),
        Bound(name="the driver's processor", per_s=1e6 / driver_us(measured)),
    ]
    if fleet.rate is not None:
        found.append(Bound(name="PolyAI's limit", per_s=fleet.rate))
    return tuple(sorted(found, key=lambda bound: bound.per_s))


def page_s(fleet: Fleet, measured: Measured) -> float:
    """Return how long a page takes: the next one is asked for with what this one says at its end."""
    return max(fleet.page_latency_s, measured.page_s)


def driver_us(measured: Measured) -> float:
    """Return the run's own processor time for each recording, its share of a page included."""
    return measured.driver_us + 1e6 * measured.page_s / PAGE


def duration_s(fleet: Fleet, measured: Measured) -> float:
    """Return how long all of it takes, with nothing in the way but the narrowest part."""
    return fleet.recordings / bounds(fleet, measured)[0].per_s


def listing_s(fleet: Fleet, measured: Measured) -> float:
    """Return how long a listing takes that nothing waits for."""
    return pages(fleet) * page_s(fleet, measured)


def pages(fleet: Fleet) -> int:
    """Count the listing's pages."""
    return -(-fleet.recordings // (PAGE * DIRECTIONS))


def parts(fleet: Fleet) -> int:
    """Count the manifest's parts, where each is full."""
    return -(-fleet.recordings // PART)


def driver_share(fleet: Fleet, measured: Measured) -> float:
    """Return how much of one core the run itself needs meanwhile."""
    return bounds(fleet, measured)[0].per_s * driver_us(measured) / 1e6


def lost_disk_s(fleet: Fleet, measured: Measured) -> float:
    """Return how long it takes to read the manifest and make the ledger anew, one part at a time."""
    return parts(fleet) * fleet.put_latency_s + fleet.recordings * measured.take_up_us / 1e6
