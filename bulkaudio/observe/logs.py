"""
The log, for people or for machines: how its lines are written, and where they go.

Only the command line sets handlers up; the library logs to ``bulkaudio`` and leaves the rest to
its user.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import Queue
from typing import Any, TextIO

from bulkaudio.errors import StorageError
from bulkaudio.observe.log_events import FIELDS, LOGGER, NAME
from bulkaudio.observe.outlets import open_outlet
from bulkaudio.observe.summary import utc_text
from bulkaudio.observe.terminal import visible

MAX_WAITING = 10_000
"""Records waiting to be written."""


class Format(StrEnum):
    """How a log line is written."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """
    Where the log goes.

    Attributes:
        verbosity: 0 shows warnings, 1 each retry and failure, 2 everything.
        file: Gets at least what verbosity 1 shows; made with mode 0600.
        is_quiet: Nothing below an error on stderr.
    """

    format: Format = Format.TEXT
    verbosity: int = 0
    is_quiet: bool = False
    file: Path | None = None


@contextmanager
def logging_to(options: LogOptions, stream: TextIO | None = None) -> Iterator[None]:
    """
    Send the log to stderr, and to a file when asked, while the block runs.

    Args:
        stream: Instead of whatever ``sys.stderr`` is when a line is written.

    Raises:
        StorageError: The log file cannot be opened.
    """
    handlers: list[logging.Handler] = [_stderr_handler(options, stream)]
    if options.file is not None:
        handlers.append(_file_handler(options, options.file))
    level, propagates = LOGGER.level, LOGGER.propagate
    LOGGER.setLevel(min(handler.level for handler in handlers))
    LOGGER.propagate = False
    # Records are written in a thread: they are made on the loop, where nothing may touch a disk
    # or wait for whoever reads stderr.
    inlet = _Inlet(Queue(MAX_WAITING))
    outlet = QueueListener(inlet.queue, *handlers, respect_handler_level=True)
    outlet.start()
    LOGGER.addHandler(inlet)
    try:
        yield
    finally:
        LOGGER.removeHandler(inlet)
        inlet.close()
        outlet.stop()
        for handler in handlers:
            handler.close()
        LOGGER.setLevel(level)
        LOGGER.propagate = propagates


def escaped(text: str) -> str:
    """Make control, bidirectional and surrogate characters visible, so that no line can lie."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def _stderr_handler(options: LogOptions, stream: TextIO | None) -> logging.Handler:
    handler = _StderrHandler(stream)
    levels = {0: logging.WARNING, 1: logging.INFO}
    level = levels.get(options.verbosity, logging.DEBUG)
    handler.setLevel(logging.ERROR if options.is_quiet else level)
    handler.setFormatter(JsonLines() if options.format is Format.JSON else ShortText())
    return handler


def _file_handler(options: LogOptions, path: Path) -> logging.Handler:
    try:
        file = os.fdopen(open_outlet(path), "a", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"the log file {path} cannot be opened: {error.strerror}",
            fix="choose another --log-file",
        ) from error
    handler = _FileHandler(file, path)
    handler.setLevel(logging.DEBUG if options.verbosity > 1 else logging.INFO)
    handler.setFormatter(JsonLines() if options.format is Format.JSON else DatedText())
    return handler


class _Inlet(QueueHandler):
    """Takes records as they are; what a disk cannot follow is dropped rather than waited for."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leave the record whole: it stays in this process."""
        return record

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop it."""
        del record


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the stderr of the moment: a progress bar puts itself in between."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._fixed = stream

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = self._fixed or sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        # A closed pipe or a full disk must not fill stderr with tracebacks.
        del record


class _FileHandler(_StderrHandler):
    """Owns its file."""

    def __init__(self, file: TextIO, path: Path) -> None:
        super().__init__(file)
        self._file = file
        self._path = path
        self._has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say once, also under --quiet, that the log is not whole: the run goes on without it."""
        del record
        if self._has_failed:
            return
        self._has_failed = True
        error = sys.exc_info()[1]
        why = error.strerror if isinstance(error, OSError) else error
        with suppress(OSError, ValueError):
            sys.stderr.write(
                f"bulkaudio: the log file {visible(str(self._path))} cannot be written: {why}; "
                "the run goes on, and lines are missing there\n"
            )
            sys.stderr.flush()

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()
        super().close()


class ShortText(logging.Formatter):
    """``bulkaudio: retry CA1 user: …``; what can be told at a glance."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line; a traceback is kept to -vv."""
        prefix = "bulkaudio: "
        if record.levelno >= logging.WARNING:
            prefix += f"{record.levelname.lower()}: "
        return prefix + _text_of(record)


class DatedText(logging.Formatter):
    """The same with time and level, for files."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        return f"{_time_of(record)} {record.levelname:7} {_text_of(record)}"


class JsonLines(logging.Formatter):
    """One object a line: ``ts``, ``level``, ``event``, then the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, ASCII only."""
        line: dict[str, Any] = {
            "ts": _time_of(record),
            "level": record.levelname.lower(),
            "event": getattr(record, NAME, "message"),
        }
        fields: Mapping[str, Any] | None = getattr(record, FIELDS, None)
        line |= fields if fields is not None else {"text": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(line, separators=(",", ":"), default=str)


def _time_of(record: logging.LogRecord) -> str:
    return utc_text(datetime.fromtimestamp(record.created, UTC))


def _text_of(record: logging.LogRecord) -> str:
    fields: Mapping[str, Any] | None = getattr(record, FIELDS, None)
    if fields is None:
        text = record.getMessage()
    elif "text" in fields:
        text = str(fields["text"])
    else:
        known = (f"{key}={_plain(value)}" for key, value in fields.items() if value is not None)
        text = " ".join((getattr(record, NAME), *known))
    text = escaped(text)
    if record.exc_info and record.exc_info[1] is not None:
        text += "\n" + visible("".join(traceback.format_exception(record.exc_info[1])).rstrip())
    return text


def _plain(value: object) -> str:
    """Write a field's value so that one can see where it ends."""
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return f'"{text}"' if " " in text or not text else text
