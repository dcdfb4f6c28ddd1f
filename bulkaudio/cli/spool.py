"""Results that are read from the ledger, and printed when nobody needs it any more."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import BinaryIO

from bulkaudio.errors import StorageError

HELD_IN_MEMORY_BYTES = 8 * 1024 * 1024


@contextmanager
def spooled() -> Iterator[BinaryIO]:
    """
    Lend a private temporary file, and copy it to standard output at the end.

    The archive is held only while its ledger is read: a pager that somebody leaves open must not
    cost a night.
    """
    with SpooledTemporaryFile(HELD_IN_MEMORY_BYTES) as spool:
        try:
            yield spool  # type: ignore[misc]  # it is one, and does not say so
            spool.seek(0)
        except OSError as error:
            raise StorageError(
                "the result cannot be put together in the system's temporary folder: "
                f"{error.strerror or error}",
                fix="free some space there, or set TMPDIR to another folder",
            ) from error
        copyfileobj(spool, sys.stdout.buffer)
        sys.stdout.buffer.flush()
