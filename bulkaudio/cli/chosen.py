"""Conversations that somebody names to a command: by option, or in a file."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from bulkaudio.cli.values import needs_file
from bulkaudio.errors import UsageError
from bulkaudio.naming import is_conversation_id, printable
from bulkaudio.sources.csv_file import CsvSource
from bulkaudio.sources.receipt import PastErasure, read_receipt

MOST_REASON = 500
PER_BATCH = 1000


def check_ids(ids: Sequence[str]) -> None:
    """Refuse what can be no conversation's id; raises `UsageError`."""
    for each in ids:
        if not is_conversation_id(each):
            raise UsageError(
                f"{printable(each)!r} is no conversation id",
                fix="copy it from Agent Studio, the listing, or the name of a file in the archive",
            )


def check_file(option: str, name: str | None) -> None:
    """Refuse an option that was taken for a file's name; raises `UsageError`."""
    if name is not None and name.startswith("--"):
        raise needs_file(option, name)


def check_reason(reason: str | None) -> None:
    """Refuse what is too long for a register that is kept for good; raises `UsageError`."""
    if reason is not None and (len(reason) > MOST_REASON or not reason.isprintable()):
        raise UsageError(
            f"--reason takes one line of at most {MOST_REASON} characters",
            fix="name the case or the ticket, and keep the rest there",
        )


def path_of(file: str) -> Path | None:
    """Return where a file is; None is standard input."""
    return None if file == "-" else Path(file).expanduser()


async def chosen(
    ids: Sequence[str],
    file: str | None,
    check: Callable[[PastErasure], None] = lambda _: None,
) -> AsyncIterator[Sequence[str]]:
    """
    Yield the ids that were named, then those of a file or of standard input, some at a time.

    Args:
        check: Called with the receipt of an erasure, if the file is one; may refuse it.

    Raises:
        UsageError: A row is no conversation id: half of a list is not what anybody asked for.
    """
    path = path_of(file) if file is not None else None
    past = None if path is None else await asyncio.to_thread(read_receipt, path)
    if past is not None:
        check(past)
    if ids:
        yield ids
    if past is not None:
        for at in range(0, len(past.entries), PER_BATCH):
            yield [each.id for each in past.entries[at : at + PER_BATCH]]
    elif file is not None:
        async for some in _listed(file):
            yield some


async def _listed(file: str) -> AsyncIterator[Sequence[str]]:
    source = CsvSource(path_of(file))
    await source.open()
    try:
        async for batch in source.batches():
            for row in batch.rejected:
                raise UsageError(
                    f"{printable(file)}, {row.where}: {row.why}",
                    fix="correct it, or take it out of the file; nothing was changed",
                )
            yield [conversation.id for conversation in batch.conversations]
    finally:
        await source.aclose()
