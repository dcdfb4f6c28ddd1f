"""The summary as people read it on a terminal: words first, then what to do next."""

import shlex
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bulkaudio.model import Outcome
from bulkaudio.observe.summary import Summary
from bulkaudio.observe.tally import Counts
from bulkaudio.observe.terminal import Trimmed
from bulkaudio.policy import Reason
from bulkaudio.quantities import format_bytes, format_duration, plural
from bulkaudio.stores.address import titled

SHOWN_FAILURES = 10
SHOWN_REJECTIONS = 3

HEADLINES = {
    "complete": ("Complete", "bold green"),
    "partial": ("Finished, but not everything is saved", "bold yellow"),
    "stopped": ("Stopped", "bold yellow"),
    "interrupted": ("Interrupted", "bold yellow"),
    "failed": ("Failed", "bold red"),
}

WORDS = {
    Reason.CONNECTION: "the connection broke",
    Reason.TIMEOUT: "no answer in time",
    Reason.STALLED: "the transfer stalled",
    Reason.PROTOCOL: "the answer was no valid HTTP",
    Reason.TRUNCATED: "the recording was cut short",
    Reason.THROTTLED: "PolyAI asked to slow down",
    Reason.NOT_AUDIO: "the answer was no audio",
    Reason.ENCODING: "the answer was compressed, unasked",
    Reason.TOO_LARGE: "larger than any recording may be",
    Reason.REDIRECT: "redirected elsewhere",
    Reason.FORBIDDEN: "the key may not read it",
    Reason.UNKNOWN_CONVERSATION: "PolyAI does not know the conversation",
    Reason.NO_RECORDING: "PolyAI has none and will not have one",
    Reason.NOT_READY: "too fresh: a later run looks again",
    Reason.IN_PROGRESS: "the call was going on",
    Reason.CONFLICT: "another file has its name; it was kept",
    Reason.DAMAGED: "the saved file is damaged",
    Reason.CRASHED: "every worker that took it crashed",
}

STATUS_WORDS = {
    400: "PolyAI did not understand the request",
    401: "the key was refused",
    404: "not found, and no known reason given",
    410: "no longer there",
    500: "PolyAI's server failed",
    501: "the server cannot do that",
    502: "the server behind PolyAI's gateway failed",
    503: "PolyAI's server was not ready",
    504: "the server behind PolyAI's gateway gave no answer",
    505: "the server cannot do that",
}


def human(summary: Summary) -> RenderableType:
    """Lay the summary out for people; without colours it reads the same."""
    return Trimmed(Group(*_parts(summary)))


def reason_words(reason: str | None) -> str:
    """Say why a recording is not saved."""
    if reason is None:
        return "unknown"
    if reason in WORDS:
        return WORDS[Reason(reason)]
    status = reason.removeprefix("http_")
    if status != reason and status.isdecimal():
        return f"HTTP {status}: {STATUS_WORDS.get(int(status)) or _status_class(int(status))}"
    return reason.replace("_", " ")


def _status_class(status: int) -> str:
    if status >= 500:
        return "PolyAI's server failed"
    return "the request was refused" if status >= 400 else "not what was asked for"


def _parts(summary: Summary) -> Iterator[RenderableType]:
    yield _headline(summary)
    if summary.counts.recordings or summary.counts.rejected or summary.counts.skipped:
        yield Padding(_table(summary), (0, 0, 0, 2))
    if summary.details.failures:
        yield Text()
        yield Text("Not saved:", style="bold")
        yield Padding(_failures(summary), (0, 0, 0, 2))
        if hidden := summary.counts.failed - SHOWN_FAILURES:
            yield from _more(hidden)
    for found in summary.details.lookalikes:
        yield Text()
        yield Text(
            f"Suspicious: {plural(found.conversations, 'conversation')} came with the very same "
            f"{format_bytes(found.bytes)}, perhaps an error tone or a placeholder: "
            f"{', '.join(found.examples)}"
            f"{' …' if found.conversations > len(found.examples) else ''}",
            style="yellow",
        )
    yield Text()
    yield from _closing(summary)


def _headline(summary: Summary) -> Text:
    word, style = HEADLINES.get(summary.status, (summary.status.capitalize(), "bold"))
    counts = summary.counts
    if summary.status == "partial" and not counts.recordings and not counts.rejected:
        word = "Finished, but there was no conversation"
    line = Text(word, style=style)
    if summary.stopped_by and summary.status in {"stopped", "interrupted"}:
        line.append(f" by {summary.stopped_by}")
    if counts.saved:
        size = f"{format_bytes(summary.bytes)}, {format_duration(summary.audio_seconds)} of audio"
        line.append(f": {plural(counts.saved, 'recording')} saved ({size})")
    elif counts.recordings and counts.already == counts.recordings:
        line.append(f": {_already_words(counts)}")
    elif not counts.recordings and summary.status == "complete":
        line.append(": there was nothing to do")
    elif summary.status == "complete":
        line.append(": there was nothing new to save")
    else:
        line.append(": nothing saved")
    return line.append(f" in {_duration(summary.duration_s)}.")


def _already_words(counts: Counts) -> str:
    """Say that nothing was to be done: what is erased is not there, and not wanted either."""
    there = counts.already - counts.erased
    if not counts.erased:
        what = "all {:,} recordings were" if there > 1 else "the {:,} recording was"
        return f"{what.format(there)} already there"
    were = plural(counts.erased, "recording was", "recordings were")
    return f"{there:,} already there, {were} erased" if there else f"{were} erased"


def _duration(seconds: float) -> str:
    return format_duration(seconds) if seconds >= 0.1 else "less than 0.1s"


def _table(summary: Summary) -> Table:
    counts = summary.counts
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    directions = summary.scope.get("directions") or ()
    names = ", ".join(str(direction) for direction in directions)
    rows = [
        ("conversations", counts.conversations, ""),
        ("recordings", counts.recordings, names),
        ("  saved", counts.saved, ""),
        ("  already there", counts.already - counts.erased, ""),
        ("  erased", counts.erased, "never fetched again"),
        ("  no recording", counts.absent, "PolyAI has none and will not have one"),
        (
            "  not yet",
            counts.deferred - counts.put_off,
            "call still going on, or too fresh: a later run looks again",
        ),
        (
            "  put off",
            counts.put_off,
            "PolyAI asked for a longer wait: a run after that takes them",
        ),
        ("  failed", counts.failed, ""),
        ("  left open", counts.open, "the next run takes them, and what was not reached"),
        ("rejected rows", counts.rejected, _rejections(summary)),
        ("skipped", counts.skipped, "chats have no recording"),
        ("metadata files", summary.details.sidecars.written, ""),
        ("  failed", summary.details.sidecars.failed, "the next run tries again"),
        ("retries", counts.retries, ""),
    ]
    for name, count, note in rows:
        if count or name == "recordings":
            table.add_row(name, f"{count:,}", note)
    return table


def _rejections(summary: Summary) -> str:
    shown = [f"{r.where}: {r.why}" for r in summary.details.rejections[:SHOWN_REJECTIONS]]
    return "; ".join(shown) + (" …" if summary.counts.rejected > len(shown) else "")


def _failures(summary: Summary) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for outcome in summary.details.failures[:SHOWN_FAILURES]:
        table.add_row(
            outcome.recording.conversation_id, outcome.recording.direction.value, _why(outcome)
        )
    return table


def _why(outcome: Outcome) -> str:
    evidence = outcome.evidence
    words = reason_words(outcome.reason)
    facts = []
    if evidence.http_status is not None and f"HTTP {evidence.http_status}" not in words:
        facts.append(f"HTTP {evidence.http_status}")
    if evidence.error_code:
        facts.append(evidence.error_code)
    if evidence.attempts > 1:
        facts.append(f"{evidence.attempts} attempts")
    if evidence.correlation_id:
        facts.append(f"support id {evidence.correlation_id}")
    return words + (f" ({', '.join(facts)})" if facts else "")


def _more(hidden: int) -> Iterator[Text]:
    if hidden > 0:
        yield Text(f"  … and {plural(hidden, 'more', 'more')}; --json tells the first 100")


def _closing(summary: Summary) -> Iterator[Text]:
    counts = summary.counts
    if summary.error is not None and summary.error.fix and counts.open:
        yield Text("Run the same command again after that; nothing saved is fetched twice.")
    elif summary.status in {"stopped", "interrupted", "failed"} and counts.open:
        yield Text("Run the same command again to go on; nothing saved is fetched twice.")
    elif counts.failed:
        yield Text("Run the same command again to try the failed ones; the rest is not repeated.")
    if any(outcome.reason == Reason.CONFLICT for outcome in summary.details.failures):
        yield Text(
            "Files that the ledger does not know have the names of some. If the archive was restored "
            f"from a backup, bulkaudio rebuild --force {shlex.quote(str(summary.archive))} takes them up; "
            "otherwise move them away."
        )
    for note in summary.details.notes:
        yield Text(f"Note: {note}")
    if summary.report:
        yield Text(f"Report:  {summary.report}")
    yield Text(f"Archive: {titled(summary.archive, summary.store)}")
