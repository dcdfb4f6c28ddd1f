"""How an error reads on stderr: what failed, the fix, the support id; no box, no traceback."""

import sys
import traceback
from typing import ClassVar

from bulkaudio.errors import BulkAudioError, exhaustion
from bulkaudio.observe.terminal import visible

REPORT = (
    "This is a bug in bulkaudio. Run it again with -v and report what it prints, with the version "
    "from --version."
)


class InterruptionError(BulkAudioError):
    """Ctrl-C, where no run was there to drain; never raised, only told to scripts."""

    exit_code: ClassVar[int] = 130


class TerminationError(InterruptionError):
    """SIGTERM, likewise."""

    exit_code: ClassVar[int] = 143


class HangupError(InterruptionError):
    """SIGHUP, likewise."""

    exit_code: ClassVar[int] = 129


def say(text: str) -> None:
    """Write one line to stderr; whoever does not listen any more is no reason to fail."""
    try:
        print(f"bulkaudio: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def tell(error: BulkAudioError, *, verbosity: int = 0) -> int:
    """
    Print an error; return its exit code.

    Args:
        verbosity: From 1 on with the traceback of a bug, from 2 on with that of any error.
    """
    if verbosity > 1 or (verbosity and error.exit_code == BulkAudioError.exit_code):
        _trace(error)
    say("\n".join(_sentences(error)))
    return error.exit_code


def unexpected(error: Exception) -> BulkAudioError:
    """Put what nobody expected into words: this machine lacks something, or it is a bug."""
    told = exhaustion(error) or _bug(error)
    told.__cause__ = error
    return told


def _bug(error: Exception) -> BulkAudioError:
    detail = str(error).strip().splitlines()
    what = type(error).__name__ + (f": {detail[0][:200]}" if detail else "")
    return BulkAudioError(f"unexpected error: {what}", fix=REPORT)


def _sentences(error: BulkAudioError) -> list[str]:
    lines = [visible(error.message)]
    if error.fix:
        lines.append(f"Fix: {visible(error.fix)}")
    if error.correlation_id:
        lines.append(f"Support id: {visible(error.correlation_id)}")
    return lines


def _trace(error: BaseException) -> None:
    try:
        print(visible("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    except (OSError, ValueError):
        return
