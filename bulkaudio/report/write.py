"""Writing the page where somebody wants it, whole or not at all."""

from pathlib import Path

from bulkaudio.errors import StorageError, UsageError
from bulkaudio.observe.outlets import is_archives_own, write_whole
from bulkaudio.report.callers import read_callers
from bulkaudio.report.gather import Account
from bulkaudio.report.page import link_prefix, render


def check_place(option: str, path: Path, archive: Path) -> None:
    """Refuse a name under which the page would destroy what an archive keeps; blocks."""
    if is_archives_own(path, archive):
        raise UsageError(
            f"{option} {path} has the name of a recording, or is where an archive keeps its ledger "
            "or its metadata",
            fix="name a file elsewhere; the archive's folder itself is free for it",
        )


def write_report(account: Account, path: Path, *, are_numbers_shown: bool = False) -> None:
    """
    Write the page, 0600, in place of an older one; blocks.

    Raises:
        StorageError: It cannot be written; an older page is still there.
    """
    ids = [line.id for line in account.figures.lines]
    callers = read_callers(account.archive, ids, are_shown=are_numbers_shown)
    text = render(account, callers, link_prefix(path, account.archive))
    try:
        write_whole(path, text)
    except OSError as error:
        raise StorageError(
            f"the report {path} cannot be written: {error.strerror}",
            fix="name another file for it, where there is room and this user may write",
        ) from error
