"""Standard streams that may be closed, broken, or unable to show every character."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def mend_streams() -> None:
    """Make printing safe: closed streams swallow, characters a terminal lacks are escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def survived_pipe() -> Iterator[None]:
    """Go on when nobody reads stdout any more, and keep the interpreter quiet about it at exit."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
