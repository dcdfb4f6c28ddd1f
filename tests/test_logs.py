"""The log: stable event names, safe text, private files."""

import io
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.errors import StorageError
from bulkaudio.events import (
    Answered,
    ErasureFinished,
    Event,
    GateMoved,
    Noted,
    Planned,
    Received,
    Retrying,
    Settled,
    SidecarSettled,
    SourceEnded,
    Started,
    Stopping,
)
from bulkaudio.model import Direction, Evidence, Outcome, Plan, Recording, Rejected, Status
from bulkaudio.observe.log_events import LOGGER, NAMES, LogEvents
from bulkaudio.observe.logs import Format, LogOptions, escaped, logging_to

RECORDING = Recording(conversation_id="CA1", direction=Direction.USER)
PLAN = Plan(conversations=1, todo=(), already=1, absent=0, deferred=0, duplicates=0)
RETRY = Retrying(
    what="CA1 user", reason="http_503", attempt=2, wait_s=1.234, http_status=503,
    correlation_id="corr-1",
)  # fmt: skip
FAILED = Settled(
    outcome=Outcome(
        recording=RECORDING,
        status=Status.FAILED,
        reason="truncated",
        evidence=Evidence(http_status=200, correlation_id="corr-2", attempts=5),
    )
)
ERASED = ErasureFinished(
    conversations=2,
    recordings=1,
    bytes=844,
    metadata_files=2,
    ids=("CA1", "CA2"),
    held=1,
    who="somebody",
    ordered_at=datetime(2026, 11, 22, tzinfo=UTC),
    reason="case 17",
)
EVENTS: list[Event] = [
    ERASED,
    Started(run_id="r", started_at=datetime(2026, 1, 1, tzinfo=UTC), archive=Path("a")),
    Planned(plan=PLAN, rejected=(Rejected(where="line 3", text="+44 7946", why="no id"),)),
    SourceEnded(),
    Answered(host="h", http_status=200, first_byte_s=0.1),
    Received(bytes=1),
    RETRY,
    FAILED,
    *(Settled(outcome=Outcome(recording=RECORDING, status=status)) for status in Status),
    GateMoved(host="h", slots=4, closed_s=2.0, reason="throttled"),
    Stopping(reason="SIGINT"),
    Noted(text="A note."),
    SidecarSettled(conversation_id="CA1"),
    SidecarSettled(conversation_id="CA1", reason="http_500"),
]


def log_of(options: LogOptions, events: list[Event]) -> str:
    """Log events; return what stderr got."""
    stream = io.StringIO()
    with logging_to(options, stream):
        log = LogEvents()
        for event in events:
            log(event)
    return stream.getvalue()


def test_json_lines_have_time_level_and_a_stable_name() -> None:
    """Every event but received bytes becomes one object with a documented name."""
    text = log_of(LogOptions(format=Format.JSON, verbosity=2), EVENTS)
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == len(EVENTS)  # no Received, but one more for the rejected row
    for line in lines:
        assert list(line)[:3] == ["ts", "level", "event"]
        assert line["ts"].endswith("Z")
        assert line["event"] in NAMES
    names = {line["event"] for line in lines}
    assert names == set(NAMES) - {"message"}
    assert "20 7946" not in text


def test_verbosity_decides_what_stderr_gets() -> None:
    """Without -v only warnings, with it each retry and failure with its support id, -vv all."""
    assert log_of(LogOptions(), EVENTS).splitlines() == [
        (
            "bulkaudio: warning: An interrupted erasure was finished: 1 recording and 2 metadata files of "
            "2 conversations; ordered by somebody on 2026-11-22 at 00:00:00Z. 1 more left half erased, "
            "because of a hold."
        ),
        "bulkaudio: warning: A note.",
    ]
    once = log_of(LogOptions(verbosity=1), EVENTS)
    assert "corr-1" in once
    assert "corr-2" in once
    assert "answered" not in once
    assert "answered" in log_of(LogOptions(verbosity=2), EVENTS)
    assert log_of(LogOptions(is_quiet=True), EVENTS) == ""


def test_text_line_reads_as_words_and_values() -> None:
    """A retry is one line with everything support asks for, and nothing that is unknown."""
    assert log_of(LogOptions(verbosity=1), [RETRY]) == (
        'bulkaudio: retry what="CA1 user" reason=http_503 attempt=2 wait_s=1.23 http_status=503 '
        "correlation_id=corr-1\n"
    )


def test_log_file_is_private_and_gets_each_failure_unasked(tmp_path: Path) -> None:
    """The file has mode 0600, dated lines, and retries even without -v; it is appended to."""
    path = tmp_path / "run.log"
    path.touch(mode=0o600)
    path.write_text("before\n")
    options = LogOptions(file=path)
    assert log_of(options, [RETRY]) == ""
    lines = path.read_text().splitlines()
    assert lines[0] == "before"
    assert "INFO" in lines[1]
    assert "corr-1" in lines[1]
    fresh = tmp_path / "fresh.log"
    log_of(LogOptions(file=fresh), [RETRY])
    assert fresh.stat().st_mode & 0o777 == 0o600


def test_log_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """A folder under the log file's name is an error of this machine."""
    with pytest.raises(StorageError, match="cannot be opened"):
        log_of(LogOptions(file=tmp_path), [])


def test_a_log_file_that_is_full_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Also under --quiet: whoever keeps a log must learn that it is not whole."""
    log_of(LogOptions(file=Path("/dev/full"), is_quiet=True), [RETRY, RETRY, RETRY])
    assert capsys.readouterr().err == (
        "bulkaudio: the log file /dev/full cannot be written: No space left on device; "
        "the run goes on, and lines are missing there\n"
    )


def test_handlers_are_taken_away_again() -> None:
    """After the run the logger is as its user left it."""
    before = (list(LOGGER.handlers), LOGGER.level, LOGGER.propagate)
    log_of(LogOptions(verbosity=2), EVENTS)
    assert (list(LOGGER.handlers), LOGGER.level, LOGGER.propagate) == before


def test_other_records_are_messages() -> None:
    """What a module logs by itself is a message, with its traceback in JSON."""
    stream = io.StringIO()
    with logging_to(LogOptions(format=Format.JSON, verbosity=2), stream):
        try:
            int("boom")
        except ValueError:
            logging.getLogger("bulkaudio.somewhere").exception("it %s", "failed")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["text"]) == ("message", "it failed")
    assert "ValueError: invalid literal" in line["traceback"]


@given(st.text())
def test_no_text_can_break_out_of_its_line(text: str) -> None:
    """Control, bidirectional and surrogate characters are escaped; the rest stays."""
    safe = escaped(text)
    assert safe.isprintable() or not safe
    safe.encode()
    if text.isprintable():
        assert safe == text


def test_events_cannot_forge_lines() -> None:
    """An id with line ends and escapes stays one line of text."""
    recording = Recording(conversation_id="CA1\r\n\x1b[2Jfake", direction=Direction.USER)
    event = Settled(outcome=Outcome(recording=recording, status=Status.FAILED))
    text = log_of(LogOptions(verbosity=1), [event])
    assert text.count("\n") == 1
    assert "\x1b" not in text


def test_closed_stream_is_no_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    """Logging to a reader who is gone neither raises nor prints tracebacks."""
    stream = io.StringIO()
    stream.close()
    with logging_to(LogOptions(verbosity=1), stream):
        LogEvents()(RETRY)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("is_routine", "level"), [(True, "info"), (False, "warning")])
def test_what_is_so_every_night_is_no_warning(*, is_routine: bool, level: str) -> None:
    """Who is shown a warning every night reads none any more."""
    note = Noted(text="A note.", is_routine=is_routine)
    text = log_of(LogOptions(format=Format.JSON, verbosity=1), [note])
    assert json.loads(text)["level"] == level
    assert (log_of(LogOptions(), [note]) == "") is is_routine
