"""Archives made by hand: any state of any call, on a real ledger and with real files."""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import (
    Audio,
    Batch,
    Conversation,
    Direction,
    Evidence,
    Outcome,
    Recording,
    Status,
)
from bulkaudio.naming import Layout
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.stores.local import LocalStore
from tests.audio import RATE_HZ, pcm_wav

NOW = datetime(2026, 11, 27, 3, tzinfo=UTC)

EVERYWHERE: Mapping[Direction, Status] = dict.fromkeys(Direction, Status.SAVED)
COMBINED: Mapping[Direction, Status] = {Direction.COMBINED: Status.SAVED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A call as an archive is to know it."""

    id: str
    started_at: datetime | None = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    statuses: Mapping[Direction, Status] = field(default_factory=lambda: COMBINED)
    seconds: float = 0.5
    codec: str = "pcm"
    reason: str | None = None
    correlation_id: str | None = None


def mulaw_wav(seconds: float, seed: str = "") -> bytes:
    """Return 8-bit mono μ-law at 8 kHz, as telephones speak it."""
    samples = hashlib.shake_256(seed.encode()).digest(round(seconds * RATE_HZ))
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 7, 1, RATE_HZ, RATE_HZ, 1, 8)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data


async def make_archive(
    root: Path,
    calls: Sequence[Sketch],
    *,
    layout: str = DEFAULT_LAYOUT,
    has_files: bool = True,
) -> None:
    """Make an archive that knows these calls."""
    store = await LocalStore.open(root, layout=Layout.parse(layout))
    ledger = await Ledger.open(root / ".bulkaudio" / "ledger.db", is_new_allowed=True)
    try:
        await ledger.pin({"region": "uk", "agent": "PROJECT-1", "layout": layout})
        await ledger.start_run("run-1", NOW - timedelta(hours=1), "{}")
        for begin in range(0, len(calls), 500):
            part = calls[begin : begin + 500]
            for directions in {tuple(call.statuses) for call in part}:
                those = [call for call in part if tuple(call.statuses) == directions]
                known = tuple(Conversation(id=c.id, started_at=c.started_at) for c in those)
                await ledger.plan(Batch(conversations=known), directions, NOW)
            outcomes = [o for call in part for o in _outcomes(root, layout, call, has_files)]
            await ledger.settle(outcomes, "run-1", NOW)
        await ledger.finish_run("run-1", NOW, _SUMMARY)
    finally:
        await ledger.aclose()
        await store.aclose()


_SUMMARY = (
    '{"schema":"bulkaudio.run/1","run_id":"run-1","status":"partial","exit_code":3,'
    '"started_at":"2026-11-27T02:00:00.000Z","finished_at":"2026-11-27T03:00:00.000Z",'
    '"duration_s":3600.0,"bytes":870000000,"http":{"200":290,"429":7},'
    '"counts":{"saved":290,"failed":1,"retries":12}}'
)


def _outcomes(root: Path, layout: str, call: Sketch, has_files: bool) -> list[Outcome]:  # noqa: FBT001
    found = []
    for direction, status in call.statuses.items():
        recording = Recording(
            conversation_id=call.id, direction=direction, started_at=call.started_at
        )
        if status is Status.OPEN and call.reason is None:
            continue
        if status is not Status.SAVED:
            evidence = Evidence(http_status=500, attempts=5, correlation_id=call.correlation_id)
            reason = call.reason or "http_500"
            found.append(
                Outcome(recording=recording, status=status, reason=reason, evidence=evidence)
            )
            continue
        path = Layout.parse(layout).path(recording)
        wav = _wav(call, direction) if has_files else b""
        if has_files:
            (root / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (root / path).write_bytes(wav)
        found.append(_saved(call, recording, path, wav))
    return found


def _wav(call: Sketch, direction: Direction) -> bytes:
    make = mulaw_wav if call.codec == "mulaw" else pcm_wav
    return make(call.seconds, f"{call.id}/{direction}")


def _saved(call: Sketch, recording: Recording, path: PurePosixPath, wav: bytes) -> Outcome:
    size = len(wav) or round(call.seconds * 2 * RATE_HZ)
    audio = Audio(
        codec=call.codec,
        sample_rate_hz=RATE_HZ,
        channels=1,
        data_bytes=size,
        seconds=call.seconds,
    )
    return Outcome(
        recording=recording,
        status=Status.SAVED,
        path=Path(path),
        evidence=Evidence(http_status=200, attempts=1),
        bytes=size,
        sha256=hashlib.sha256(wav).hexdigest(),
        audio=audio,
    )
