"""A listing page as large as the API's documentation warns of."""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.corpus import id_of
from tests.benchmarks.server import ACCOUNT, AGENT

PAGE_BYTES = 200_000_000
CALLS, CHATS = 20, 980
TURN = {"text": "hello, how can I help you? " * 8, "at": 1.5}


def ids_with_recordings() -> Sequence[str]:
    """Return the conversations of the page that are calls."""
    return [id_of(number) for number in range(CALLS)]


def write_page(path: Path, size: int) -> None:
    """Write a thousand conversations whose transcripts make up the size."""
    each = size // (CALLS + CHATS)
    turns = [TURN] * max(1, each // len(json.dumps(TURN)))
    with path.open("w", encoding="utf-8") as page:
        page.write('{"conversations": [')
        for number in range(CALLS + CHATS):
            page.write("," * (number > 0))
            json.dump(_record(number) | {"turns": turns}, page)
        page.write('], "cursor": null}')


def _record(number: int) -> dict[str, object]:
    return {
        "id": id_of(number),
        "account_id": ACCOUNT,
        "project_id": AGENT,
        "environment": "live",
        "started_at": f"2026-11-01T{number // 60:02}:{number % 60:02}:00Z",
        "channel": "VOICE-SIP" if number < CALLS else "WEBCHAT",
        "in_progress": False,
    }
