"""The command ``export``: the archive's catalogue for spreadsheets, programs and data bases."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

from cyclopts import Parameter

from bulkaudio.cli.places import ArchiveArgument

if TYPE_CHECKING:
    from bulkaudio.catalogue.export import Cut, Writer

Make = Callable[[BinaryIO], "Writer"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Which form, which recordings, and where to."""

    format: Annotated[
        Literal["csv", "jsonl", "parquet"], Parameter(help="How the catalogue is written.")
    ] = "csv"
    output: Annotated[
        str,
        Parameter(
            metavar="FILE|-",
            allow_leading_hyphen=True,
            show_default=lambda _: "standard output",
            help="Write to this file, which takes the old one's place when it is whole.",
        ),
    ] = "-"
    since: Annotated[
        str | None,
        Parameter(
            metavar="T",
            allow_leading_hyphen=True,
            help="Calls from this time on: 2026-11-22, yesterday, -36h, 2026-11, 2026-W47; where "
            "the start is not known, what was first seen from then on.",
        ),
    ] = None
    until: Annotated[
        str | None,
        Parameter(
            metavar="T", allow_leading_hyphen=True, help="Calls before this time, itself excluded."
        ),
    ] = None
    tz: Annotated[
        str, Parameter(metavar="ZONE", help="Time zone of day words, such as Europe/London.")
    ] = "UTC"
    direction: Annotated[
        list[Literal["combined", "user", "agent", "all"]] | None,
        Parameter(metavar="SIDE", negative="", help="Only this side; may be repeated."),
    ] = None
    status: Annotated[
        list[Literal["open", "saved", "absent", "deferred", "failed", "purged"]] | None,
        Parameter(
            metavar="STATUS",
            negative="",
            show_choices=True,
            help="Only recordings that stand so; may be repeated.",
        ),
    ] = None


DEFAULTS = ExportOptions()


def export(
    archive: ArchiveArgument,
    /,
    options: ExportOptions = DEFAULTS,
) -> int:
    """Write the archive's catalogue, a row a recording."""
    import asyncio

    from bulkaudio.cli.existing import require_archive
    from bulkaudio.cli.spool import spooled
    from bulkaudio.quantities import plural

    cut, path = _check(archive, options)
    make = _maker(options.format)
    require_archive(archive)
    if path is None:
        with spooled() as file:
            asyncio.run(_write(archive, cut, make(file)))
        return 0
    with _replaced(path) as file:
        count = asyncio.run(_write(archive, cut, make(file)))
    print(f"{plural(count, 'recording')} written to {path}", flush=True)
    return 0


def _check(archive: Path, options: ExportOptions) -> "tuple[Cut, Path | None]":
    """Refuse what makes no sense before anything is looked at; None: standard output."""
    from bulkaudio.catalogue.export import Cut
    from bulkaudio.cli.chosen import check_file
    from bulkaudio.cli.request import refuse_archives_own, time_of
    from bulkaudio.errors import UsageError
    from bulkaudio.ledger.ledger import ALL
    from bulkaudio.model import Direction
    from bulkaudio.windows import Window, parse_zone

    check_file("--output", options.output)
    path = None if options.output == "-" else Path(options.output).expanduser()
    refuse_archives_own("--output", path, archive)
    if path is None and options.format == "parquet" and sys.stdout.isatty():
        raise UsageError(
            "a terminal cannot show Parquet", fix="add --output FILE, or redirect the output"
        )
    now, zone = datetime.now(UTC), parse_zone(options.tz)
    since = time_of("--since", options.since, now, zone)
    until = time_of("--until", options.until, now, zone)
    if since is not None and until is not None:
        Window(since=since, until=until)
    sides, statuses = options.direction or ["all"], options.status
    return (
        Cut(
            since=since,
            until=until,
            directions=tuple(d for d in Direction if "all" in sides or d.value in sides),
            statuses=tuple(s for s in ALL if statuses is None or s.value in statuses),
        ),
        path,
    )


def _maker(name: str) -> Make:
    """Find the writer of a format; raises `UsageError` when its library is missing."""
    from bulkaudio.catalogue.text import CsvWriter, JsonLinesWriter
    from bulkaudio.errors import UsageError

    if name != "parquet":
        return CsvWriter if name == "csv" else JsonLinesWriter
    try:
        from bulkaudio.catalogue.parquet import ParquetWriter
    except ImportError as error:
        raise UsageError(
            f"--format parquet needs pyarrow, which cannot be imported ({error})",
            fix="install the extra: pip install 'bulkaudio[parquet]'; or use --format csv or jsonl",
        ) from error
    return ParquetWriter


async def _write(archive: Path, cut: "Cut", writer: "Writer") -> int:
    from bulkaudio.archive import look_into
    from bulkaudio.catalogue.export import export as write_all
    from bulkaudio.cli.warning import warn_of

    async with look_into(archive) as held:
        # Its rows are told as erased, which some of their files may not be.
        warn_of(await held.ledger.erasures.interruption(), archive)
        return await write_all(held.ledger, cut, writer)


@contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    from bulkaudio.errors import StorageError
    from bulkaudio.observe.outlets import replacing

    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise StorageError(
            f"the catalogue {path} cannot be written: {error.strerror or error}",
            fix="choose another --output, where there is room and this user may write",
        ) from error
