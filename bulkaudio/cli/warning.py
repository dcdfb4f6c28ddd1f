"""What a command says on stderr beside its result."""

import sys
from contextlib import suppress
from pathlib import Path

from bulkaudio.interrupted import words
from bulkaudio.ledger.tombs import Interruption


def warn_of(found: Interruption | None, archive: Path) -> None:
    """Tell of an erasure that was interrupted, if one was."""
    if found is not None:
        # Whoever reads stderr no more is no reason to end the command.
        with suppress(OSError):
            print(f"bulkaudio: warning: {words(found, archive)}", file=sys.stderr, flush=True)
