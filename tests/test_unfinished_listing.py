"""A listing that nobody finishes is spoken of until somebody does."""

import json

import pytest

from bulkaudio.listings import Errand, Memory, left_behind
from tests.inside import Inside
from tests.plans import whole
from tests.test_listings import DAY, NOW, row
from tests.wire import Exchange, WireServer, in_thread, says

BEGUN = row(NOW - 9 * DAY, NOW - 8 * DAY)


@pytest.mark.parametrize(
    ("window", "is_left"),
    [
        (Errand(since=NOW - DAY, until=NOW), True),
        (Errand(since=NOW - 9 * DAY, until=NOW - 8.5 * DAY), True),
        (Errand(since=NOW - 9 * DAY, until=NOW - 8 * DAY), False),
        (Errand(since=NOW - 10 * DAY, until=NOW), False),
        (Errand(since=NOW - 9 * DAY, until=NOW - 8 * DAY, row=BEGUN), False),
    ],
)
def test_what_a_window_does_not_hold_is_left_behind(window: Errand, *, is_left: bool) -> None:
    """Unless the window goes on with it or lists all of it anew."""
    memory = Memory(unfinished=BEGUN, high_water=None)
    assert left_behind(memory, [window]) == (BEGUN if is_left else None)
    assert left_behind(Memory(unfinished=None, high_water=None), [window]) is None


def test_a_night_with_another_window_says_what_it_leaves(inside: Inside) -> None:
    """Summary and status name the window, until a run without --since has finished it."""
    is_broken = True

    async def serve(exchange: Exchange) -> None:
        target = exchange.head.target
        if "/audio" in target:
            await whole(exchange)
        elif is_broken and "cursor" in target:
            await says(403)(exchange)
        else:
            cursor = None if "cursor" in target or not is_broken else "p2"
            page: dict[str, object] = {"conversations": [], "cursor": cursor}
            await says(200, json.dumps(page).encode())(exchange)

    def noted(summary: dict[str, list[str]]) -> bool:
        return any("was not finished" in note for note in summary["notes"])

    with in_thread(WireServer(serve)) as server:
        inside.reach(server)
        first = ("--account", "ws-1", "--since", "2026-11-01", "--until", "2026-11-02")
        assert inside.download(*first).code == 4
        is_broken = False
        second = ("--account", "ws-1", "--since", "2026-11-02", "--until", "2026-11-03")
        done = inside.download(*second)
        assert done.code == 0
        assert noted(done.summary)
        page = inside.run("status", inside.archive).stdout
        assert "Not listed to its end yet: 2026-11-01T00:00:00Z up to 2026-11-02" in page
        status = json.loads(inside.run("status", inside.archive, "--json").stdout)
        assert [each["since"] for each in status["unfinished_listings"]] == [
            "2026-11-01T00:00:00.000Z"
        ]
        third = inside.download("--account", "ws-1")
        assert (third.code, noted(third.summary)) == (0, False)
        assert "Not listed" not in inside.run("status", inside.archive).stdout
