"""
What a worker notes of a shard: which of its recordings are in the bucket, until the ledger has them.

Rules of this file: bytes in, values out; nothing is requested.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from bulkaudio.model import Audio, Direction, Outcome, Recording, Status
from bulkaudio.stores.disk import STATE_FOLDER

SCHEMA = "bulkaudio.shard/1"

SHARDS_FOLDER = PurePosixPath(STATE_FOLDER, "shards")
MOST_BYTES = 4 * 1024 * 1024
"""Of a note: many times what a shard can come to."""

_NOTE = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*/[A-Za-z0-9-]+/worker-[0-9a-f]{16}\.jsonl")

Kept = Mapping[tuple[str, str], Outcome]
"""What is noted, by conversation and direction."""


class NoteError(ValueError):
    """These bytes are no note of a worker's."""


def folder_of(shard: str) -> PurePosixPath:
    """Name the folder of all notes of a shard, relative to the archive."""
    return SHARDS_FOLDER / shard.rpartition("-")[0] / shard


def note_path(shard: str, bench: str) -> PurePosixPath:
    """Name a worker's note of a shard."""
    return folder_of(shard) / f"{bench}.jsonl"


def is_note(path: PurePosixPath) -> bool:
    """Whether a name is one that `note_path` makes."""
    start = f"{SHARDS_FOLDER}/"
    text = str(path)
    return text.startswith(start) and _NOTE.fullmatch(text.removeprefix(start)) is not None


def encode(outcomes: Sequence[Outcome]) -> bytes:
    """Write a note of what was saved among some outcomes."""
    saved = [_line(each) for each in outcomes if each.status is Status.SAVED]
    lines = [json.dumps(each, separators=(",", ":")) for each in ({"schema": SCHEMA}, *saved)]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _line(outcome: Outcome) -> Mapping[str, Any]:
    audio = outcome.audio
    line: dict[str, Any] = {
        "conversation": outcome.recording.conversation_id,
        "direction": outcome.recording.direction,
        "bytes": outcome.bytes,
        "sha256": outcome.sha256,
    }
    if audio is not None:
        line["audio"] = {
            "codec": audio.codec,
            "sample_rate_hz": audio.sample_rate_hz,
            "channels": audio.channels,
            "data_bytes": audio.data_bytes,
            "seconds": audio.seconds,
            "notes": audio.notes,
        }
    return line


def decode(body: bytes) -> Kept:
    """Read what `encode` wrote; raises `NoteError`."""
    try:
        first, *lines = [json.loads(line) for line in body.splitlines()]
        _check_schema(first)
        outcomes = [_outcome(line) for line in lines]
    except NoteError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NoteError(f"it cannot be read ({type(error).__name__})") from error
    return {
        (each.recording.conversation_id, str(each.recording.direction)): each for each in outcomes
    }


def _check_schema(first: Mapping[str, Any]) -> None:
    if first["schema"] != SCHEMA:
        raise NoteError(f"its schema is not {SCHEMA}")


def _outcome(line: Mapping[str, Any]) -> Outcome:
    """Read a line; its path is for whoever knows the layout to say."""
    audio = line["audio"]
    return Outcome(
        recording=Recording(
            conversation_id=_text(line["conversation"]), direction=Direction(line["direction"])
        ),
        status=Status.SAVED,
        bytes=int(line["bytes"]),
        sha256=_text(line["sha256"]),
        audio=Audio(
            codec=_text(audio["codec"]),
            sample_rate_hz=int(audio["sample_rate_hz"]),
            channels=int(audio["channels"]),
            data_bytes=int(audio["data_bytes"]),
            seconds=float(audio["seconds"]),
            notes=tuple(map(_text, audio["notes"])),
        ),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NoteError("it has a number where a word belongs")
    return value
