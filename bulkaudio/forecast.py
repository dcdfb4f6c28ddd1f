"""
What a run is going to take: pure arithmetic, from counts and call lengths to bytes and hours.

The formulas, for each direction:

- audio = length of the calls x (audio per second of call); a recording whose call's length nobody
  tells has the mean of those that are saved, else that of the calls whose length is known.
- bytes = audio x (bytes per second of audio).
- time = the longest of recordings / (recordings per second) and bytes / (bytes per second), at the
  pace of the latest runs and below what was set as a ceiling.

What the archive has seen is believed; where it has seen nothing, the defaults below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bulkaudio.model import Direction

BYTES_PER_AUDIO_S = 16_000.0
"""Telephony as PCM: 8,000 samples a second of two bytes each, one channel."""

AUDIO_PER_CALL_S = 1.0
CALL_S = 180.0
"""Of a call whose length nobody tells, in an archive that holds none."""

ENOUGH_S = 1.0
"""Less audio than this says nothing about any other."""

MOST = 2.0**62

ENOUGH_RECORDINGS = 20
"""A run that saved fewer says nothing about the pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    What is to be fetched of one direction.

    Attributes:
        call_seconds: Of those whose call's length is known; `known` is their number.
    """

    recordings: int = 0
    known: int = 0
    call_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """
    What an archive holds of one direction, as far as it helps to guess.

    Attributes:
        paired_audio_seconds, paired_call_seconds: Of recordings whose call's length was told, too.
    """

    recordings: int = 0
    bytes: int = 0
    audio_seconds: float = 0.0
    paired_audio_seconds: float = 0.0
    paired_call_seconds: float = 0.0


class Basis(StrEnum):
    """What the mean length of a recording was taken from."""

    SAVED = "saved"
    """Recordings of this direction that the archive holds."""
    OTHER_DIRECTIONS = "other_directions"
    """Recordings of the archive's other directions: all are sides of the same calls."""
    NAMED = "named"
    """Calls that are to be fetched and whose length was told."""
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """
    What one recording of a direction is expected to be like.

    Attributes:
        basis: Of `mean_audio_seconds`.
        is_size_measured: Whether saved recordings say how many bytes a second has.
    """

    bytes_per_audio_second: float
    audio_per_call_second: float
    mean_audio_seconds: float
    basis: Basis
    is_size_measured: bool

    @classmethod
    def of(cls, load: Load, held: Held, all_held: Held) -> "Rates":
        """
        Believe what was measured; else what is planned; else the defaults.

        Args:
            all_held: Of all directions together.
        """
        is_measured = held.audio_seconds >= ENOUGH_S
        ratio = (
            held.paired_audio_seconds / held.paired_call_seconds
            if held.paired_call_seconds >= ENOUGH_S
            else AUDIO_PER_CALL_S
        )
        if held.recordings and is_measured:
            basis, mean = Basis.SAVED, held.audio_seconds / held.recordings
        elif load.known:
            basis, mean = Basis.NAMED, load.call_seconds / load.known * ratio
        elif all_held.recordings and all_held.audio_seconds >= ENOUGH_S:
            basis, mean = Basis.OTHER_DIRECTIONS, all_held.audio_seconds / all_held.recordings
        else:
            basis, mean = Basis.ASSUMED, CALL_S * ratio
        return cls(
            bytes_per_audio_second=held.bytes / held.audio_seconds
            if is_measured
            else BYTES_PER_AUDIO_S,
            audio_per_call_second=ratio,
            mean_audio_seconds=mean,
            basis=basis,
            is_size_measured=is_measured,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Bytes and seconds of audio of one direction."""

    bytes: int
    audio_seconds: float


def estimate(load: Load, rates: Rates) -> Estimate:
    """Guess what a direction's recordings come to."""
    audio = load.call_seconds * rates.audio_per_call_second
    audio += (load.recordings - load.known) * rates.mean_audio_seconds
    # A spoilt length must not end in an infinity.
    size = min(audio * rates.bytes_per_audio_second, MOST)
    return Estimate(bytes=round(size), audio_seconds=min(audio, MOST))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How fast a run can be; None: nothing is known.

    Attributes:
        recordings_per_s, bytes_per_s: Of the latest runs.
        max_rate, bandwidth: Ceilings that were set.
    """

    recordings_per_s: float | None = None
    bytes_per_s: float | None = None
    max_rate: float | None = None
    bandwidth: float | None = None

    @property
    def is_measured(self) -> bool:
        """Whether any run has shown its pace; else only a least duration can be told."""
        return self.recordings_per_s is not None


def limits(
    summaries: Sequence[Mapping[str, Any]],
    *,
    slots: float = 1.0,
    max_rate: float | None = None,
    bandwidth: float | None = None,
) -> Limits:
    """
    Read the pace from summaries of runs.

    Args:
        slots: How many requests at once the run may have, as a share of what those had.
    """
    recordings, size, seconds = 0, 0, 0.0
    for summary in summaries:
        saved = (summary.get("counts") or {}).get("saved") or 0
        duration = float(summary.get("duration_s") or 0.0)
        if saved >= ENOUGH_RECORDINGS and duration > 0:
            recordings += saved
            size += summary.get("bytes") or 0
            seconds += duration
    share = min(1.0, slots)
    return Limits(
        recordings_per_s=recordings / seconds * share if seconds else None,
        bytes_per_s=size / seconds * share if seconds and size else None,
        max_rate=max_rate,
        bandwidth=bandwidth,
    )


def duration_s(recordings: int, size: int, limits: Limits) -> float | None:
    """Say how long it takes, or at least; None when nothing limits it that is known."""
    if not recordings:
        return 0.0
    rates = [rate for rate in (limits.recordings_per_s, limits.max_rate) if rate]
    speeds = [speed for speed in (limits.bytes_per_s, limits.bandwidth) if speed]
    times = [recordings / rate for rate in rates] + [size / speed for speed in speeds]
    return max(times) if times else None


def will_fit(size: int, free_bytes: int, min_free_bytes: int) -> bool:
    """Whether a disk takes so much and still has free what must stay free."""
    return size <= free_bytes - min_free_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """
    One direction of a plan.

    Attributes:
        erased: Those of `already` of which nothing but a tombstone is left.
        backlog: Those of `load.recordings` that earlier runs left.
        duration_s: What it takes by itself; None: unknown.
    """

    direction: Direction
    already: int = 0
    erased: int = 0
    absent: int = 0
    deferred: int = 0
    backlog: int = 0
    load: Load = field(default_factory=Load)
    rates: Rates
    estimate: Estimate
    duration_s: float | None = None

    @property
    def recordings(self) -> int:
        """All that are considered."""
        return self.already + self.absent + self.deferred + self.load.recordings
