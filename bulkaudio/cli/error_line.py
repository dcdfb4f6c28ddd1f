"""What ``--json`` prints when an error ends a command: one line, whichever command it was."""

import json
from collections.abc import Sequence

from bulkaudio.cli.given import given_switch
from bulkaudio.errors import BulkAudioError
from bulkaudio.version import __version__

SCHEMA = "bulkaudio.error/1"

FLAG = "--json"

NOT_ITS_OWN = ("schedule",)
"""Commands whose ``--json`` is for the job that they write."""


def error_line(arguments: Sequence[str], error: BulkAudioError) -> str | None:
    """
    Return the line, without its newline; None where JSON is not wanted.

    A run and a diagnosis have schemas that can say it; of all others it is `SCHEMA`.
    """
    command = _command(arguments)
    if command in NOT_ITS_OWN or not _is_wanted(arguments):
        return None
    if command == "download":
        from bulkaudio.cli.result import early_line

        return early_line(error)
    if command == "doctor":
        from bulkaudio.cli.doctor import early_report

        return early_report(error)
    return json.dumps(document(command, error), separators=(",", ":"))


def document(command: str | None, error: BulkAudioError) -> dict[str, object]:
    """Return what the line says; ``error`` is that of a run's summary."""
    return {
        "schema": SCHEMA,
        "command": command,
        "exit_code": error.exit_code,
        "version": __version__,
        "error": {
            "kind": type(error).__name__,
            "message": error.message,
            "fix": error.fix,
            "correlation_id": error.correlation_id,
        },
    }


def _command(arguments: Sequence[str]) -> str | None:
    """Name what was asked for as it was typed: it may be no command at all."""
    words = arguments[:2] if arguments[:1] == ["config"] else arguments[:1]
    return " ".join(word for word in words if not word.startswith("-")) or None


def _is_wanted(arguments: Sequence[str]) -> bool:
    # What was typed is asked first: reading it further may be what went wrong.
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return FLAG in own or given_switch(FLAG)
