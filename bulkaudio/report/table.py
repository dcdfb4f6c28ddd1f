"""
The table's calls as a script reads them: columns, and little beside.

An id of PolyAI's is sixteen bytes, whatever it looks like, and twenty thousand of them in hex
would fill most of a megabyte: they are packed, and unpacked by ``page.js``.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from bulkaudio.model import Direction, Status
from bulkaudio.observe.page import reason_words
from bulkaudio.report.figures import CallLine, Leg
from bulkaudio.report.markup import Markup, json_text

LETTERS = {
    Status.SAVED: "s",
    Status.ABSENT: "a",
    Status.DEFERRED: "d",
    Status.FAILED: "f",
    Status.OPEN: "o",
    Status.PURGED: "e",
}
UNASKED = "-"

MOST_CODECS = 26

_SID = re.compile(r"CA[0-9a-f]{32}")


def table_data(
    lines: Sequence[CallLine],
    fixed: Mapping[str, Any],
    callers: Mapping[str, str],
    most_bytes: int,
) -> tuple[Markup, int]:
    """
    Write as many calls as fit, troubled ones first; return the JSON and how many there are.

    Args:
        lines: Newest first.
        fixed: What the script is told beside the calls.
    """
    kept = lines
    while True:
        data = json_text({**fixed, "calls": columns(kept, callers)})
        if len(data) <= most_bytes or not kept:
            return data, len(kept)
        kept = most_telling(kept, min(len(kept) - 1, len(kept) * most_bytes // len(data)))


def most_telling(lines: Sequence[CallLine], count: int) -> Sequence[CallLine]:
    """Leave so many, in their order: those that lack something, then the newest."""
    troubled = [line for line in lines if not line.is_settled][:count]
    calm = [line for line in lines if line.is_settled]
    kept = {line.id for line in (*troubled, *calm[: count - len(troubled)])}
    return [line for line in lines if line.id in kept]


def columns(lines: Sequence[CallLine], callers: Mapping[str, str]) -> dict[str, Any]:
    """Turn calls into columns; those without a start come last."""
    lines = sorted(lines, key=lambda line: line.started_at is None)
    starts = [line.started_at for line in lines if line.started_at is not None]
    directions = [d for d in Direction if any(leg.direction is d for x in lines for leg in x.legs)]
    codecs = sorted({line.codec for line in lines if line.codec})[:MOST_CODECS]
    reasons = sorted({leg.reason for line in lines for leg in line.legs if leg.reason})
    names = sorted({callers[line.id] for line in lines if line.id in callers})
    place_of = {name: place for place, name in enumerate(names)}
    return {
        "n": len(lines),
        **_packed(lines),
        "start": starts[:1] + [a - b for a, b in pairwise(starts)],
        "seconds": [int(line.seconds + 0.5) for line in lines],
        "codecs": codecs,
        "codec": "".join(_mark(codecs, line.codec) for line in lines),
        "directions": [direction.value for direction in directions],
        "states": ["".join(_letter(line, direction) for line in lines) for direction in directions],
        "reasons": [reason_words(reason) for reason in reasons],
        "why": _of_legs(
            lines, directions, lambda leg: reasons.index(leg.reason) if leg.reason else None
        ),
        "paths": _of_legs(lines, directions, lambda leg: leg.path),
        "names": names,
        "callers": [place_of[callers[x.id]] if x.id in callers else -1 for x in lines]
        if names
        else [],
    }


def _packed(lines: Sequence[CallLine]) -> dict[str, Any]:
    """Pack the ids of the usual form, sixteen bytes each; name the others by their row."""
    usual = [line.id[2:] for line in lines if _SID.fullmatch(line.id)]
    return {
        "packed": base64.b64encode(bytes.fromhex("".join(usual))).decode(),
        "others": [[n, x.id] for n, x in enumerate(lines) if not _SID.fullmatch(x.id)],
    }


def _mark(codecs: Sequence[str], codec: str | None) -> str:
    return chr(ord("a") + codecs.index(codec)) if codec in codecs else UNASKED


def _letter(line: CallLine, direction: Direction) -> str:
    found = [leg.status for leg in line.legs if leg.direction is direction]
    return LETTERS[found[0]] if found else UNASKED


def _of_legs(
    lines: Sequence[CallLine],
    directions: Sequence[Direction],
    value_of: Callable[[Leg], int | str | None],
) -> list[list[int | str]]:
    """Name what few legs have: row, place of the direction, value."""
    return [
        [number, directions.index(leg.direction), value]
        for number, line in enumerate(lines)
        for leg in line.legs
        if (value := value_of(leg)) is not None
    ]
