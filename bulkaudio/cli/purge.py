"""The command ``purge``: recordings, metadata and details erased for good, with a receipt."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

from cyclopts import Parameter

from bulkaudio.cli.options import ProgressOption
from bulkaudio.cli.places import ArchiveArgument

if TYPE_CHECKING:
    from bulkaudio.cli.counting import Counting
    from bulkaudio.cli.receipt import Job, Receipt
    from bulkaudio.erasure import Progress, Wish
    from bulkaudio.ledger.ledger import Ledger


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeOptions:
    """What is to be erased, whether it is, and how it is told."""

    id: Annotated[
        list[str] | None,
        Parameter(metavar="ID", negative="", help="Erase this conversation; may be repeated."),
    ] = None
    ids: Annotated[
        str | None,
        Parameter(
            metavar="FILE|-",
            allow_leading_hyphen=True,
            help="Erase the conversations that a CSV, standard input or an earlier receipt names.",
        ),
    ] = None
    older_than: Annotated[
        str | None,
        Parameter(
            metavar="AGE|T",
            help="Erase calls that began before then: 13mo, 400d, 8w, 2y, 2025-01-01; where the "
            "start is not known, what was first seen before then.",
        ),
    ] = None
    resume: Annotated[
        bool,
        Parameter(
            negative="",
            help="Finish an erasure that was interrupted, and nothing else; what it had not come to is "
            "whole.",
        ),
    ] = False
    tz: Annotated[
        str, Parameter(metavar="ZONE", help="Time zone of days and months, such as Europe/London.")
    ] = "UTC"
    direction: Annotated[
        list[Literal["combined", "user", "agent", "all"]] | None,
        Parameter(
            metavar="SIDE",
            negative="",
            help="Erase only this side of the calls; may be repeated. Without it, all of a call, and "
            "no side of it is ever fetched again.",
        ),
    ] = None
    reason: Annotated[
        str | None,
        Parameter(
            metavar="TEXT",
            help="Why, for the receipt and the register; name the case, not the caller.",
        ),
    ] = None
    receipt: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Write the receipt, with every id, to this file as well."),
    ] = None
    dry_run: Annotated[
        bool,
        Parameter(
            negative="", help="Only tell what would be erased, which is so without --yes anyway."
        ),
    ] = False
    yes: Annotated[bool, Parameter(negative="", help="Erase it; nothing brings it back.")] = False
    json: Annotated[bool, Parameter(negative="", help="Print the receipt as one line of JSON.")] = (
        False
    )
    quiet: Annotated[
        bool, Parameter(alias="-q", negative="", help="Print nothing unless a hold is in the way.")
    ] = False
    progress: ProgressOption = "auto"


DEFAULTS = PurgeOptions()


def purge(
    archive: ArchiveArgument,
    /,
    options: PurgeOptions = DEFAULTS,
) -> int:
    """Erase recordings, their metadata and everything known of them but a tombstone."""
    import asyncio

    from bulkaudio.cli.endings import told
    from bulkaudio.cli.existing import require_archive
    from bulkaudio.cli.receipt import Job, close_receipt, purge_view, receipt_file
    from bulkaudio.observe.logs import LogOptions, logging_to
    from bulkaudio.observe.progress import Show, progress
    from bulkaudio.observe.terminal import console

    job = Job(archive=archive, before=check(archive, options), wish=_wish(options))
    require_archive(archive)
    path = options.receipt.expanduser() if options.receipt is not None else None
    show = Show.OFF if options.quiet else Show(options.progress)
    view = purge_view()
    with (
        receipt_file(path, job) as file,
        logging_to(LogOptions(is_quiet=options.quiet)),
        progress(view, sys.stderr, show=show),
    ):
        receipt = asyncio.run(_erase(job, options, file, view))
        close_receipt(file, receipt)
    told()
    if options.json:
        print(receipt.line(), flush=True)
    elif not (options.quiet and receipt.exit_code == 0):
        console(sys.stdout).print(receipt.page(options.receipt))
    return receipt.exit_code


def check(archive: Path, options: PurgeOptions) -> datetime | None:
    """
    Refuse what contradicts itself, before anything is looked at; return the time of --older-than.

    Raises:
        UsageError: Naming the options.
    """
    from bulkaudio.cli.chosen import check_file, check_ids, check_reason
    from bulkaudio.cli.request import refuse_archives_own
    from bulkaudio.errors import UsageError
    from bulkaudio.windows import parse_cutoff, parse_zone

    check_ids(options.id or ())
    check_file("--ids", options.ids)
    check_reason(options.reason)
    refuse_archives_own("--receipt", options.receipt, archive)
    if options.yes and options.dry_run:
        raise UsageError(
            "--yes and --dry-run contradict each other", fix="leave out the one that is not meant"
        )
    is_named = bool(options.id or options.ids)
    if is_named + (options.older_than is not None) + options.resume != 1:
        raise UsageError(
            "purge takes either conversations (--id, --ids), an age (--older-than), or --resume",
            fix="give one of them",
        )
    if options.resume and (options.direction or options.reason):
        raise UsageError(
            "--resume finishes an erasure as it was ordered: sides and reason are known",
            fix="leave --direction and --reason out",
        )
    if options.older_than is None:
        return None
    return parse_cutoff(options.older_than, now=datetime.now(UTC), tz=parse_zone(options.tz))


async def _erase(
    job: "Job", options: PurgeOptions, file: BinaryIO | None, view: "Counting[Progress]"
) -> "Receipt":
    import asyncio

    from bulkaudio.archive import look_into, open_archive
    from bulkaudio.cli.receipt import Ids, Receipt
    from bulkaudio.cli.warning import warn_of
    from bulkaudio.erasure import Observer, finished
    from bulkaudio.errors import BulkAudioError
    from bulkaudio.observe.log_events import LogEvents
    from bulkaudio.purge import purge as erase

    ids = Ids(file=file)
    is_acting = job.wish.is_acting
    async with (
        open_archive(job.archive, is_freeing=True) if is_acting else look_into(job.archive) as held
    ):
        await _collect(held.ledger, options, job)
        observer = Observer(witness=ids.take, resumed=ids.take_resumed, watch=view.see)
        try:
            report = await erase(held.ledger, held.store, job.wish, observer)
        except (BulkAudioError, asyncio.CancelledError):
            with suppress(BulkAudioError):
                warn_of(await held.ledger.erasures.interruption(), job.archive)
            raise
    event = finished(report, [each["id"] for each in ids.first if "resumed" in each])
    if event is not None and job.wish.is_acting and not job.wish.is_rest:
        LogEvents()(event)
    return Receipt(job=job, report=report, ids=ids)


def _wish(options: PurgeOptions) -> "Wish":
    from bulkaudio.erasure import Wish
    from bulkaudio.model import Direction
    from bulkaudio.tombstones import Order

    sides = options.direction or []
    directions = () if "all" in sides else tuple(each for each in Direction if each.value in sides)
    return Wish(
        order=Order.mine(options.reason),
        directions=directions,
        is_acting=options.yes,
        is_rest=options.resume,
    )


async def _collect(ledger: "Ledger", options: PurgeOptions, job: "Job") -> None:
    from functools import partial

    from bulkaudio.cli.chosen import chosen
    from bulkaudio.model import Direction
    from bulkaudio.sources.receipt import PastErasure

    if job.before is not None:
        await ledger.erasures.want_older(job.before, job.wish.directions or tuple(Direction))
        return
    wish = job.wish
    refuse = partial(PastErasure.refuse_more, sides=wish.directions, is_acting=wish.is_acting)
    async for ids in chosen(options.id or (), options.ids, refuse):
        await ledger.erasures.want(ids)
