"""What the server's log tells of a trial."""

import json
from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path

from tests.benchmarks.measure import Usage
from tests.benchmarks.server import Server

USED, REFUSED, SAVED = "limit used %", "refused %", "saved %"
AT_ONCE = "most at once"
FIRST_REQUEST = "first request s"
OK, THROTTLED = 200, 429

Observe = Callable[[Usage, Path], Mapping[str, float]]


def of_limit(server: Server, rate: int, count: int) -> Observe:
    """Return what holds a trial to the requests that the server would have answered."""

    def observe(usage: Usage, stdout: Path) -> Mapping[str, float]:  # noqa: ARG001  as it is called
        seen = server.requests()
        answered = sum(request.status == OK for request in seen)
        refused = sum(request.status == THROTTLED for request in seen)
        span_s = max(r.ended_at for r in seen) - min(r.began_at for r in seen)
        counts = json.loads(stdout.read_text().splitlines()[-1])["counts"]
        return {
            # What it takes at once after a pause, it takes at the start as well.
            USED: 100 * answered / (rate + rate * span_s),
            REFUSED: 100 * refused / len(seen),
            SAVED: 100 * counts["saved"] / count,
        }

    return observe


def of_first_request(server: Server) -> Observe:
    """Return what tells when a program asked for something first, from its start on."""

    def observe(usage: Usage, stdout: Path) -> Mapping[str, float]:  # noqa: ARG001  as it is called
        first = min(request.began_at for request in server.requests())
        return {FIRST_REQUEST: first - usage.started_at}

    return observe


def of_overlap(server: Server) -> Observe:
    """Return what tells how many requests the server had in hand at once."""

    def observe(usage: Usage, stdout: Path) -> Mapping[str, float]:  # noqa: ARG001  as it is called
        seen = server.requests()
        moments = [(r.began_at, 1) for r in seen] + [(r.ended_at, -1) for r in seen]
        return {AT_ONCE: max(accumulate(step for _, step in sorted(moments)))}

    return observe
