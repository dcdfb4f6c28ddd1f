"""An archive of a few calls with everything about their callers, and what betrays one of them."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from bulkaudio.model import Direction
from tests.audio import wav_of
from tests.inside import Inside
from tests.plans import subject
from tests.program import Done, ledger_rows
from tests.wire import Exchange, Script, WireServer, in_thread, says, says_json

IDS = ("CA1", "CA2", "CA3", "CA4")
SIDES = tuple(direction.value for direction in Direction)
WINDOW = ("--since", "2026-11-01", "--until", "2026-11-27", "--account", "ws-1")
DATED = "{year}/{month}/{day}/{direction}/{id}.wav"


def record(id_: str) -> dict[str, Any]:
    """Return a listed call with personal details that no other call has; CA1 on the 1st, and so on."""
    day = int(id_.removeprefix("CA"))
    return {
        "id": id_,
        "started_at": f"2026-11-{day:02d}T10:00:00Z",
        "channel": "VOICE-SIP",
        "in_progress": False,
        "total_duration": 12.5,
        "from_number": f"+4477009001{day:02d}",
        "summary": f"Quibble-{id_}-wants-her-balance",
        "turns": [{"user_input": f"my-card-{id_}"}],
    }


def support_id(id_: str, side: str) -> str:
    """Return PolyAI's support id of a recording."""
    return f"support-{id_}-{side}-0123456789"


def polyai(ids: Iterable[str] = IDS) -> Script:
    """List these calls, describe each, and answer for every recording with a support id."""
    records = {id_: record(id_) for id_ in ids}

    async def script(exchange: Exchange) -> None:
        target = exchange.head.target
        if target.startswith("/v3/"):
            page = {"conversations": list(records.values()), "cursor": None}
            await says_json(200, page)(exchange)
        elif "/audio" not in target:
            await says_json(200, records[target.rpartition("/")[2]])(exchange)
        else:
            id_, side = subject(target)
            await says(
                200,
                wav_of(id_, side),
                content_type="audio/wav",
                x_polyai_correlation_id=support_id(id_, side),
            )(exchange)

    return script


def fill(inside: Inside, *words: str) -> None:
    """Download every side and all metadata of the calls."""
    done = inside.download(*WINDOW, "--direction", "all", "--metadata", "full", *words)
    assert done.code == 0, done.stderr


@contextmanager
def filled(inside: Inside, *words: str) -> Iterator[WireServer]:
    """Serve the calls, and download all of them first."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside, *words)
        yield server


def asked_for(server: WireServer) -> set[tuple[str, str]]:
    """Return which recordings were requested."""
    return {subject(target) for target in server.targets if "/audio" in target}


def traces(root: Path, id_: str, sides: Iterable[str] = SIDES) -> dict[str, set[str]]:
    """
    Return every file below a folder that still knows a call's audio or details, and what of them.

    The id itself is what a tombstone is made of, and no trace.
    """
    call = record(id_)
    marks = {name: str(call[name]).encode() for name in ("from_number", "summary")}
    marks["turns"] = f"my-card-{id_}".encode()
    return _found(root, marks) | audio_traces(root, id_, sides)


def audio_traces(root: Path, id_: str, sides: Iterable[str]) -> dict[str, set[str]]:
    """Return every file that knows the audio of these sides, its hash or its support id."""
    marks: dict[str, bytes] = {}
    for side in sides:
        wav = wav_of(id_, side)
        # Any sixteen bytes of noise: a part of a file that is left is found as well.
        marks |= {
            f"{side} audio at {at}": wav[at : at + 16] for at in range(44, len(wav) - 16, 128)
        }
        marks[f"{side} sha256"] = sha256(wav).hexdigest().encode()
        marks[f"{side} support id"] = support_id(id_, side).encode()
    return _found(root, marks)


def _found(root: Path, marks: dict[str, bytes]) -> dict[str, set[str]]:
    found = {}
    for path in root.rglob("*"):
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        if hits := {name for name, mark in marks.items() if mark in content}:
            found[str(path.relative_to(root))] = hits
    return found


def statuses(root: Path, id_: str) -> dict[str, str]:
    """Return how each side of a call stands in the ledger."""
    rows = ledger_rows(root)
    return {side: row.status for (each, side), row in rows.items() if each == id_}


def counts_add_up(done: Done, ids: Collection[str]) -> None:
    """Hold a summary to the contract: every recording that was considered is in one place."""
    counts = done.summary["counts"]
    parts = sum(counts[name] for name in ("saved", "already", "absent", "deferred", "failed"))
    assert counts["recordings"] == parts + counts["open"] == len(ids) * len(SIDES)
