"""What a run's summary tells, counted from its events."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bulkaudio.errors import BulkAudioError, KeyRefusedError
from bulkaudio.events import (
    Answered,
    GateMoved,
    Noted,
    Planned,
    Received,
    Relayed,
    Retrying,
    Settled,
    SidecarSettled,
    SourceEnded,
    Stopping,
)
from bulkaudio.model import (
    Audio,
    Direction,
    Evidence,
    Outcome,
    Plan,
    Recording,
    Rejected,
    Status,
    Task,
)
from bulkaudio.observe.lookalikes import MAX_WATCHED, Lookalikes
from bulkaudio.observe.page import human
from bulkaudio.observe.summary import Summary, Tally

START = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run's end, as told by the flow."""

    status: str = "complete"
    exit_code: int = 0
    error: BulkAudioError | None = None
    run_id: str = "run-1"
    started_at: datetime = START
    finished_at: datetime = START + timedelta(seconds=12.3)
    scope: Mapping[str, Any]
    archive: Path = Path("archive")
    store: str | None = None
    report: Path | None = None
    report_fault: BulkAudioError | None = None


SCOPE = {"region": "uk", "agent": "PROJECT-1", "source": "csv", "directions": ["combined"]}


def recording(number: int = 1, direction: Direction = Direction.COMBINED) -> Recording:
    """Name a recording by its number."""
    return Recording(conversation_id=f"CA{number:04d}", direction=direction)


def plan(todo: int = 0, **counts: int) -> Planned:
    """Plan so many recordings to fetch, and other counts."""
    tasks = tuple(Task(recording=recording(n), first_seen_at=START) for n in range(todo))
    numbers = {"conversations": 0, "already": 0, "absent": 0, "deferred": 0, "duplicates": 0}
    return Planned(plan=Plan(todo=tasks, **(numbers | counts)))


def saved(number: int, sha256: str | None = None) -> Settled:
    """Settle a recording as saved."""
    audio = Audio(codec="pcm", sample_rate_hz=8000, channels=1, data_bytes=956, seconds=1.5)
    outcome = Outcome(
        recording=recording(number),
        status=Status.SAVED,
        bytes=1000,
        sha256=sha256 or f"{number:064x}",
        audio=audio,
    )
    return Settled(outcome=outcome)


def failed(number: int) -> Settled:
    """Settle a recording as failed."""
    evidence = Evidence(http_status=200, correlation_id="corr-1", attempts=5)
    return Settled(
        outcome=Outcome(
            recording=recording(number), status=Status.FAILED, reason="truncated", evidence=evidence
        )
    )


def settled(status: Status) -> Settled:
    """Settle a recording in any other way."""
    return Settled(outcome=Outcome(recording=recording(), status=status))


def page_of(summary: Summary) -> str:
    """Lay a summary out on a plain page."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    with console.capture() as capture:
        console.print(human(summary))
    return capture.get()


def test_counts_add_up_in_every_mixture_of_events() -> None:
    """Recordings are saved + already + absent + deferred + failed + open, whatever happens."""

    @given(
        st.lists(
            st.one_of(
                st.builds(
                    lambda n, a, b, d: plan(n, already=a, absent=b, deferred=d),
                    *[st.integers(0, 5)] * 4,
                ),
                st.sampled_from([s for s in Status if s is not Status.OPEN]).map(settled),
                st.just(Noted(text="a note")),
            )
        )
    )
    def check(events: list[Planned | Settled | Noted]) -> None:
        tally = Tally()
        for event in events:
            tally(event)
        c = tally.snapshot().counts
        assert c.recordings == c.saved + c.already + c.absent + c.deferred + c.failed + c.open

    check()


def test_json_has_the_contract_s_keys_in_order_on_one_line() -> None:
    """The line holds every documented key, in the documented order, before any addition."""
    tally = Tally()
    tally(plan(3, conversations=4, already=8, absent=1))
    tally(saved(0))
    tally(failed(1))
    tally(settled(Status.DEFERRED))
    for status in (200, 200, 503):
        tally(Answered(host="h", http_status=status, first_byte_s=0.1))
    tally(Retrying(what="CA user", reason="http_503", attempt=1, wait_s=1.0))
    summary = Summary.of(Ended(scope=SCOPE, status="partial", exit_code=3), tally)
    line = summary.to_json()
    assert "\n" not in line
    document = json.loads(line)
    assert list(document)[:16] == [
        *("schema", "run_id", "status", "exit_code", "version", "started_at", "finished_at"),
        *("duration_s", "scope", "counts", "bytes", "audio_seconds", "http", "failures"),
        *("archive", "report"),
    ]
    assert document["schema"] == "bulkaudio.run/1"
    assert document["started_at"] == "2026-11-22T01:02:03.000Z"
    assert document["duration_s"] == 12.3
    assert document["scope"] == {
        "region": "uk",
        "account": None,
        "agent": "PROJECT-1",
        "source": "csv",
        "since": None,
        "until": None,
        "directions": ["combined"],
        "redaction_requested": False,
    }
    assert list(document["counts"])[:10] == [
        *("conversations", "recordings", "saved", "already", "absent", "deferred", "failed"),
        *("rejected", "skipped", "retries"),
    ]
    assert document["counts"] == {
        "conversations": 4,
        "recordings": 12,
        "saved": 1,
        "already": 8,
        "absent": 1,
        "deferred": 1,
        "failed": 1,
        "rejected": 0,
        "skipped": 0,
        "retries": 1,
        "open": 0,
        "put_off": 0,
        "erased": 0,
    }
    assert (document["bytes"], document["audio_seconds"]) == (1000, 1.5)
    assert document["http"] == {"200": 2, "503": 1}
    assert document["failures"] == [
        {
            "id": "CA0001",
            "direction": "combined",
            "reason": "truncated",
            "http_status": 200,
            "error_code": None,
            "attempts": 5,
            "correlation_id": "corr-1",
        }
    ]
    assert document["failures_truncated"] is False


def test_what_polyai_put_off_is_not_called_fresh() -> None:
    """A recording that a throttling host put off, now or before, has words of its own."""
    tally = Tally()
    tally(plan(2, deferred=2, put_off=1))
    tally(settled(Status.DEFERRED))
    tally(
        Settled(outcome=Outcome(recording=recording(), status=Status.DEFERRED, reason="throttled"))
    )
    summary = Summary.of(Ended(scope=SCOPE), tally)
    assert (summary.counts.deferred, summary.counts.put_off) == (4, 2)
    page = page_of(summary)
    assert re.search(r"not yet +2  call still going on", page)
    assert re.search(r"put off +2  PolyAI asked for a longer wait", page)


def test_failures_are_cut_to_a_hundred() -> None:
    """The list of failures is bounded, says so, and the count stays true."""
    tally = Tally()
    tally(plan(101))
    for number in range(101):
        tally(failed(number))
    document = json.loads(Summary.of(Ended(scope=SCOPE), tally).to_json())
    assert len(document["failures"]) == 100
    assert document["failures_truncated"] is True
    assert document["counts"]["failed"] == 101


def test_rejected_rows_never_repeat_their_text() -> None:
    """A rejected row is told by line and reason: its text may be a telephone number."""
    tally = Tally()
    row = Rejected(where="line 17", text="+44 20 7946 0958", why="not a conversation id")
    tally(Planned(plan=plan().plan, rejected=(row,), skipped=2))
    summary = Summary.of(Ended(scope=SCOPE), tally)
    for text in (summary.to_json(), page_of(summary)):
        assert "20 7946" not in text
        assert "line 17" in text


def test_times_are_utc_whatever_their_zone() -> None:
    """Times in other zones, and in the scope, are told in UTC with a Z."""
    zone = timezone(timedelta(hours=2))
    ending = Ended(
        scope=SCOPE | {"since": START.astimezone(zone)}, started_at=START.astimezone(zone)
    )
    document = json.loads(Summary.of(ending, Tally()).to_json())
    assert document["started_at"] == document["scope"]["since"] == "2026-11-22T01:02:03.000Z"


def test_error_that_ended_the_run_is_told() -> None:
    """A failed run's line carries what failed, the fix and the support id."""
    error = KeyRefusedError("refused", fix="renew it", correlation_id="corr-9")
    ending = Ended(scope={}, status="failed", exit_code=4, error=error)
    document = json.loads(Summary.of(ending, Tally()).to_json())
    assert document["error"] == {
        "kind": "KeyRefusedError",
        "message": "refused",
        "fix": "renew it",
        "correlation_id": "corr-9",
    }
    assert document["scope"]["directions"] == []


def test_same_bytes_for_many_conversations_are_suspicious() -> None:
    """Three conversations with one digest are noted, two and the directions of one are not."""
    tally = Tally()
    for number in (1, 2, 3):
        tally(saved(number, "a" * 64))
    for number in (4, 5, 5, 5):
        tally(saved(number, "b" * 64))
    summary = Summary.of(Ended(scope=SCOPE), tally)
    (found,) = json.loads(summary.to_json())["suspicious"]
    assert (found["sha256"], found["conversations"]) == ("a" * 64, 3)
    assert found["examples"] == ["CA0001", "CA0002", "CA0003"]
    assert "Suspicious" in page_of(summary)


def test_placeholder_is_found_among_more_recordings_than_are_watched() -> None:
    """A placeholder in one of ten answers is found with bounded memory."""
    watch = Lookalikes()
    for number in range(3 * MAX_WATCHED):
        digest = "placeholder" if number % 10 == 0 else f"{number:064x}"
        watch.add(saved(number, digest).outcome)
    assert watch.found()[0].sha256 == "placeholder"
    assert len(watch._watched) <= MAX_WATCHED


def test_waiting_names_what_closed_the_gate() -> None:
    """A closed gate keeps its first reason while other things move, and opens with time."""
    now = [100.0]
    tally = Tally(clock=lambda: now[0])
    tally(GateMoved(host="h", slots=8, closed_s=12.0, reason="the host asked to wait"))
    tally(GateMoved(host="h", slots=5, closed_s=12.0, reason="throttled"))
    assert tally.snapshot().waiting() == (12.0, "the host asked to wait")
    assert tally.snapshot().slots == 5
    now[0] = 113.0
    assert tally.snapshot().waiting() is None


def test_page_leads_with_words_and_ends_with_what_to_do() -> None:
    """People read the outcome first, then each failure with its support id, then the next step."""
    tally = Tally()
    tally(plan(3, conversations=3, already=8))
    tally(saved(0))
    tally(failed(1))
    tally(SidecarSettled(conversation_id="CA0000"))
    page = page_of(Summary.of(Ended(scope=SCOPE, status="partial", exit_code=3), tally))
    lines = page.splitlines()
    assert lines[0].startswith("Finished, but not everything is saved: 1 recording saved (")
    assert "CA0001" in page
    assert "the recording was cut short (HTTP 200, 5 attempts, support id corr-1)" in page
    assert "Run the same command again" in page
    assert lines[-1] == "Archive: archive"
    assert "\x1b" not in page


def test_page_of_a_run_with_nothing_to_do_is_short() -> None:
    """A nightly run that found everything in place says just that."""
    tally = Tally()
    tally(plan(already=8, conversations=8))
    page = page_of(Summary.of(Ended(scope=SCOPE), tally))
    assert page.startswith("Complete: all 8 recordings were already there in ")
    assert "failed" not in page


def test_stopped_run_tells_by_what_and_how_to_go_on() -> None:
    """A budget's name, what is left open and the way on are told."""
    tally = Tally()
    tally(plan(3, conversations=3))
    tally(saved(0))
    tally(Received(bytes=1500))
    tally(SourceEnded())
    tally(Stopping(reason="--max-recordings 1"))
    assert tally.snapshot().is_total_known
    assert tally.snapshot().received_bytes == 1500
    summary = Summary.of(Ended(scope=SCOPE, status="stopped", exit_code=8), tally)
    page = page_of(summary)
    assert "Stopped by --max-recordings 1: 1 recording saved" in page
    assert "Run the same command again to go on" in page
    assert json.loads(summary.to_json())["counts"]["open"] == 2


def test_what_was_counted_elsewhere_adds_up() -> None:
    """As if each of it had happened here."""
    tally = Tally()
    tally(Answered(host="h", http_status=200, first_byte_s=0.1))
    tally(Relayed(http={200: 2, 429: 1}, received_bytes=70, retries=3, throttled=1))
    tally(Relayed(http={200: 1}, received_bytes=30))
    snapshot = tally.snapshot()
    assert tally.details().http == {200: 4, 429: 1}
    assert (snapshot.received_bytes, snapshot.counts.retries, snapshot.throttled) == (100, 3, 1)
