"""The command ``report``: an archive as one page for a browser."""

import json as json_text
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bulkaudio.cli.options import ConfigOption, ProfileOption, ProgressOption
from bulkaudio.cli.places import ArchiveArgument

if TYPE_CHECKING:
    from bulkaudio.cli.reported import ReportView
    from bulkaudio.report.figures import Scope
    from bulkaudio.report.gather import Account


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """Which calls the page tells of, and where it goes."""

    output: Annotated[
        Path | None,
        Parameter(
            metavar="FILE",
            show_default=lambda _: "ARCHIVE/report.html",
            help="Write the page here; its links lead to the archive as the two lie now.",
        ),
    ] = None
    since: Annotated[
        str | None,
        Parameter(
            metavar="T",
            allow_leading_hyphen=True,
            show_env_var=False,
            help="Tell of calls from this time on: 2026-11-22, yesterday, 2026-11, 2026-W47; neither "
            "a variable nor a file narrows what is told.",
        ),
    ] = None
    until: Annotated[
        str | None,
        Parameter(
            metavar="T",
            allow_leading_hyphen=True,
            show_env_var=False,
            help="Tell of calls before this time, itself excluded.",
        ),
    ] = None
    tz: Annotated[
        str, Parameter(metavar="ZONE", help="Time zone of days and hours, such as Europe/London.")
    ] = "UTC"
    show_numbers: Annotated[
        bool,
        Parameter(
            negative="",
            help="Show callers' numbers, which are masked otherwise; only where metadata is kept.",
        ),
    ] = False
    json: Annotated[bool, Parameter(negative="", help="Print one line of JSON.")] = False
    quiet: Annotated[
        bool, Parameter(alias="-q", negative="", help="Print nothing unless something failed.")
    ] = False
    progress: ProgressOption = "auto"
    config: ConfigOption = None
    profile: ProfileOption = None


DEFAULTS = ReportOptions()


def report(
    archive: ArchiveArgument,
    /,
    options: ReportOptions = DEFAULTS,
) -> int:
    """Write one HTML page about an archive, to look at and to listen from."""
    import asyncio

    from bulkaudio.cli.endings import told
    from bulkaudio.cli.existing import require_archive
    from bulkaudio.cli.reported import Reported, ReportView
    from bulkaudio.cli.warning import warn_of
    from bulkaudio.observe.logs import LogOptions, logging_to
    from bulkaudio.observe.progress import Show, progress
    from bulkaudio.observe.terminal import console
    from bulkaudio.report.write import check_place
    from bulkaudio.settings import REPORT_FILE

    scope = _scope(options)
    require_archive(archive)
    path = options.output.expanduser() if options.output else archive / REPORT_FILE
    check_place("--output", path, archive)
    show, view = Show.OFF if options.quiet else Show(options.progress), ReportView()
    with logging_to(LogOptions(is_quiet=options.quiet)), progress(view, sys.stderr, show=show):
        write = partial(_write, path=path, are_numbers_shown=options.show_numbers)
        account = asyncio.run(_gather(archive, scope, view, write))
    told()
    reported = Reported(account=account, path=path)
    if options.json:
        print(json_text.dumps(reported.document(), separators=(",", ":")), flush=True)
    elif options.quiet:
        warn_of(account.interruption, archive)
    else:
        console(sys.stdout).print(reported.page())
    return 0


async def _gather(
    archive: Path, scope: "Scope", view: "ReportView", write: Callable[["Account"], None]
) -> "Account":
    import asyncio

    from bulkaudio.archive import look_into
    from bulkaudio.report.gather import gather

    async with look_into(archive) as held:
        account = await gather(held, scope, on_progress=view.see)
        # Before the lock is let go: a page written after an erasure would tell of what was erased.
        await asyncio.to_thread(write, account)
        return account


def _write(account: "Account", path: Path, *, are_numbers_shown: bool) -> None:
    """Write the page; raises `UsageError` when numbers are asked for that are not at hand."""
    from bulkaudio.errors import UsageError
    from bulkaudio.report.write import write_report

    if are_numbers_shown and account.store is not None:
        raise UsageError(
            f"callers' numbers are in the metadata, which is in {account.store} and is not read for a page",
            fix="leave --show-numbers out",
        )
    write_report(account, path, are_numbers_shown=are_numbers_shown)


def _scope(options: ReportOptions) -> "Scope":
    from datetime import UTC, datetime

    from bulkaudio.cli.request import time_of
    from bulkaudio.report.figures import Scope
    from bulkaudio.windows import Window, parse_zone

    zone, now = parse_zone(options.tz), datetime.now(UTC)
    since = time_of("--since", options.since, now, zone)
    until = time_of("--until", options.until, now, zone)
    if since is not None and until is not None:
        Window(since=since, until=until)
    return Scope(zone=zone, since=since, until=until)
