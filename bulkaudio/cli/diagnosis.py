"""What the command ``doctor`` found, as a page: a line for each check, what to do below it."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from rich.text import Text

from bulkaudio.doctor.check import NAMES, Check, Report, Status
from bulkaudio.doctor.probe import KINDS
from bulkaudio.quantities import format_bytes, plural

MARKS = {Status.OK: "✓", Status.WARN: "!", Status.FAIL: "✗", Status.SKIP: "\u2013"}
PLAIN_MARKS = {Status.OK: "+", Status.WARN: "!", Status.FAIL: "x", Status.SKIP: "-"}
"""Where the terminal has no other characters."""

STYLES = {
    Status.OK: "green",
    Status.WARN: "bold yellow",
    Status.FAIL: "bold red",
    Status.SKIP: "dim",
}

COLUMN = 2 + max(map(len, NAMES)) + 2
NARROWEST = 30
PROBE_COLUMN, TAKE_COLUMN = 16, 30

FRAMINGS = {
    "length": "Content-Length {content_length:,}",
    "chunked": "chunked, without a length",
    "none": "by the end of the connection",
}


def page(report: Report, stream: TextIO, *, width: int | None) -> Text:
    """
    Lay the report out for people; without colours it reads the same.

    Args:
        width: Of the terminal; None leaves every line whole, for files and for searching.
    """
    lines = Text("\n").join(_lines(report, marks_for(stream), width))
    lines.rstrip()
    return lines


def marks_for(stream: TextIO) -> Mapping[Status, str]:
    """Choose marks that a stream can show."""
    try:
        "".join(MARKS.values()).encode(getattr(stream, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return PLAIN_MARKS
    return MARKS


def _lines(report: Report, marks: Mapping[Status, str], width: int | None) -> Iterator[Text]:
    group = ""
    for check in report.checks:
        own = check.name.partition(".")[0]
        if group and own != group and "." in check.name:
            yield Text()
        group = own
        yield from _row(check, marks[check.status], width)
    if report.probe is not None:
        yield Text()
        yield from _probe(report.probe)
    yield Text()
    yield _verdict(report)
    if report.holder is not None:
        yield Text("A run holds the archive, and another is refused (75) until it has ended;")
        yield Text("status tells how far it is.")


def _row(check: Check, mark: str, width: int | None) -> Iterator[Text]:
    style = STYLES[check.status]
    first, *others = _wrapped(check.detail, width)
    row = Text().append(f"{mark} ", style=style).append(f"{check.name:<{COLUMN - 2}}")
    yield row.append(first, style="dim" if check.status is Status.SKIP else "")
    told = [("", line) for line in others]
    told += [("", line) for line in _wrapped(check.fix and f"Fix: {check.fix}", width)]
    told += [("dim", line) for line in _wrapped(check.support_id and _support(check), width)]
    for style, line in told:
        yield Text(" " * COLUMN).append(line, style=style)


def _support(check: Check) -> str:
    return f"Support id: {check.support_id}"


def _wrapped(text: str | None, width: int | None) -> list[str]:
    if not text:
        return []
    if width is None:
        return [text]
    room = max(NARROWEST, width - COLUMN)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


def _verdict(report: Report) -> Text:
    failed, warned = report.count(Status.FAIL), report.count(Status.WARN)
    warnings = f"{plural(warned, 'warning')}" if warned else ""
    if failed:
        words = f": {plural(failed, 'fault')}" + (f", {warnings}" if warned else "")
        hint = f". A download would end with exit code {report.exit_code}."
        return Text("Not well", style="bold red").append(words + hint, style="not bold default")
    if warned:
        words = f", with {warnings}: nothing was found that would stop a download."
        return Text("Well", style="bold yellow").append(words, style="not bold default")
    return Text("Well", style="bold green").append(
        ": nothing was found that would stop a download.", style="not bold default"
    )


def _probe(probe: Mapping[str, Any]) -> Iterator[Text]:
    """Put what the server sent side by side."""
    yield Text(
        f"What the server sends of {probe['conversation_id']} ({probe['direction']}):", style="bold"
    )
    yield _facts("", *KINDS, style="dim")
    takes = [probe[kind] for kind in KINDS]
    for label, word in FACTS.items():
        yield _facts(label, *(word(take) for take in takes))
    yield _facts("ranges", probe["ranges"] or "not tried")


def _facts(label: str, *values: str, style: str = "") -> Text:
    row = Text(f"  {label:<{PROBE_COLUMN - 2}}", style="dim")
    if len(values) > 1:
        values = tuple(_cut(value) for value in values)
    text = "".join(f"{value:<{TAKE_COLUMN}}  " for value in values)
    return row.append(text.rstrip(), style=style or "not dim")


def _cut(text: str) -> str:
    return text if len(text) <= TAKE_COLUMN else f"{text[: TAKE_COLUMN - 1]}…"


def _status(take: Mapping[str, Any]) -> str:
    words = " ".join(str(take[each]) for each in ("http_status", "error_code") if take[each])
    return words or str(take["failure"])


def _framing(take: Mapping[str, Any]) -> str:
    return FRAMINGS.get(take["framing"], "\u2013").format_map(take)


def _audio(take: Mapping[str, Any]) -> str:
    if take["codec"] is None:
        return take["flaw"] or "\u2013"
    channels = {1: "mono", 2: "stereo"}.get(take["channels"], f"{take['channels']} channels")
    return f"{take['codec']}, {take['sample_rate']:,} Hz, {channels}"


def _seconds(take: Mapping[str, Any]) -> str:
    return "\u2013" if take["seconds"] is None else f"{take['seconds']:.1f} s"


def _speed(take: Mapping[str, Any]) -> str:
    speed = take["bytes_per_s"]
    return "\u2013" if speed is None else f"{format_bytes(speed)}/s"


def _header(take: Mapping[str, Any]) -> str:
    size = take["riff_size"] or "\u2013"
    is_told = "placeholder" in size
    notes = [
        note
        for note in take["notes"]
        if not note.startswith("RIFF size") and not (is_told and note == "streamed sizes")
    ]
    return ", ".join([size, *notes])


FACTS = {
    "status": _status,
    "content type": lambda take: take["content_type"] or "none",
    "end": _framing,
    "ETag": lambda take: take["etag"] or "none",
    "Accept-Ranges": lambda take: take["accept_ranges"] or "none",
    "bytes": lambda take: f"{take['bytes']:,}",
    "audio": _audio,
    "length": _seconds,
    "RIFF size": _header,
    "first byte": lambda take: f"after {take['first_byte_s']:.2f} s",
    "speed": _speed,
}
"""Each row's words, from one take as it is written for ``--json``."""
