"""How a run's result leaves the program: a page or a line on stdout, and a file when asked."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulkaudio.cli import failure
from bulkaudio.cli.options import OutputOptions
from bulkaudio.cli.streams import survived_pipe
from bulkaudio.errors import BulkAudioError, StorageError
from bulkaudio.observe.outlets import is_archives_own, write_whole
from bulkaudio.observe.page import human
from bulkaudio.observe.summary import Summary, Tally
from bulkaudio.observe.terminal import console


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyEnd:
    """An `Ending` of a run that an error kept from beginning."""

    error: BulkAudioError
    started_at: datetime
    archive: Path
    store: str | None = None
    run_id: str = ""
    finished_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    scope: Mapping[str, Any] = field(default_factory=dict)
    report: Path | None = None
    report_fault: BulkAudioError | None = None

    @property
    def status(self) -> str:
        """``failed``, or ``interrupted`` by Ctrl-C before there was anything to drain."""
        return "interrupted" if isinstance(self.error, failure.InterruptionError) else "failed"

    @property
    def exit_code(self) -> int:
        """The error's."""
        return self.error.exit_code


def early_line(error: BulkAudioError) -> str:
    """Return the JSON line of a run that ended before anything was known of it."""
    ending = EarlyEnd(error=error, started_at=datetime.now(UTC), archive=Path())
    return Summary.of(ending, Tally()).to_json()


def show(summary: Summary, options: OutputOptions) -> int:
    """
    Print the result and what went wrong; return the exit code.

    A reader of stdout who is gone does not change how the run ended.
    """
    code = summary.exit_code
    if summary.error is not None:
        failure.tell(summary.error, verbosity=options.verbose)
    if summary.report_fault is not None:
        flaw = failure.tell(summary.report_fault, verbosity=options.verbose)
        code = code or flaw
    if options.summary_file is not None:
        flaw = _keep(summary, options.summary_file)
        code = code or flaw
    with survived_pipe():
        if options.json:
            print(summary.to_json(), flush=True)
        elif _is_wanted(summary, options):
            console(sys.stdout).print(human(summary))
            sys.stdout.flush()
    return code


def _is_wanted(summary: Summary, options: OutputOptions) -> bool:
    if summary.error is not None and not summary.counts.recordings:
        return False  # The error said it all.
    return not (options.quiet and summary.exit_code == 0)


def _keep(summary: Summary, path: Path) -> int:
    path = path.expanduser()
    if is_archives_own(path, summary.archive):
        # The run was refused for it.
        return 0
    try:
        write_whole(path, summary.to_json() + "\n")
    except OSError as error:
        return failure.tell(
            StorageError(
                f"the summary file {path} cannot be written: {error.strerror}",
                fix="choose another --summary-file",
            )
        )
    return 0
