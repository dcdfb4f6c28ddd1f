"""From options to one frozen request; what contradicts itself is refused in a sentence."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from bulkaudio.cli.engine import cluster_wish
from bulkaudio.cli.options import DownloadOptions, KeyOptions
from bulkaudio.cli.places import folder_of, place_of
from bulkaudio.cli.source_options import SourceOptions
from bulkaudio.cli.values import needs_file
from bulkaudio.errors import UsageError
from bulkaudio.events import Noted
from bulkaudio.keys import FoundKeys, KeyFinder
from bulkaudio.model import Direction, Metadata
from bulkaudio.observe.log_events import LogEvents
from bulkaudio.observe.outlets import is_archives_own
from bulkaudio.settings import (
    CONFIG_FILE,
    ApiKey,
    Budgets,
    DownloadRequest,
    Elsewhere,
    ListingQuery,
    Pace,
    Place,
    ReportWish,
)
from bulkaudio.windows import Window, parse_time, parse_zone

LISTING_ONLY = ("since", "until", "lookback", "env", "channel", "variant", "page_size")


def make_request(
    options: DownloadOptions, *, now: datetime, environ: Mapping[str, str] | None = None
) -> DownloadRequest:
    """
    Translate the options; nothing is read or requested yet, not even a key.

    Raises:
        UsageError: When they contradict each other or make no sense.
    """
    environ = os.environ if environ is None else environ
    source, what, how = options.source, options.what, options.how
    _check(options)
    report = options.output.report
    return DownloadRequest(
        region=what.region,
        account=what.account,
        agent=what.agent,
        find_keys=key_lookup(options.keys, environ),
        csv=Path(source.csv).expanduser() if source.csv not in {None, "-"} else None,
        csv_is_stdin=source.csv == "-",
        filters=frozenset(
            name
            for name, value in (
                ("env", source.env),
                ("channels", source.channel),
                ("variant", source.variant),
            )
            if value
        ),
        id_column=source.id_column,
        listing=_listing(source, now),
        directions=directions_of(what.direction),
        redacted=what.redacted,
        metadata=None if what.metadata is None else Metadata(what.metadata),
        limit=what.limit,
        fail_on_empty=source.fail_on_empty,
        place=_place(options),
        pace=_pace(options),
        budgets=Budgets(
            max_recordings=options.stop.max_recordings,
            max_bytes=options.stop.max_bytes,
            max_duration_s=options.stop.max_duration,
            grace_s=options.stop.grace,
        ),
        audio_url=environ.get("BULKAUDIO_AUDIO_URL") or None,
        conversations_url=environ.get("BULKAUDIO_CONVERSATIONS_URL") or None,
        ca_bundle=how.ca_bundle.expanduser() if how.ca_bundle else None,
        proxy=how.proxy,
        cluster=cluster_wish(options.engine, options.keys),
        report=None
        if report is None
        else ReportWish(path=report.expanduser(), zone=parse_zone(source.tz)),
    )


def window_words(request: DownloadRequest) -> str | None:
    """Say in UTC which window was asked for; None when none was."""
    since, until = request.listing.since, request.listing.until
    if since is None and until is None:
        return None
    if since is not None and until is not None:
        return f"calls of {Window(since=since, until=until)}"
    if since is not None:
        return f"calls since {_utc(since)}"
    return f"calls before {_utc(until)}" if until else None


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _check(options: DownloadOptions) -> None:
    source = options.source
    for name, value in (
        ("--csv", source.csv),
        ("--api-key-file", options.keys.api_key_file),
        ("--conversations-key-file", options.keys.conversations_key_file),
    ):
        # `-` has to be taken as a value, so an option that follows at once is taken as one too.
        if value is not None and value.startswith("--"):
            raise needs_file(name, value)
    if source.csv is not None:
        given = [name for name in _given(source) if name in LISTING_ONLY]
        if given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise UsageError(
                f"--csv names the conversations itself, and {names} would list others",
                fix=f"leave out --csv, or {names}; a variable or bulkaudio.toml may set it",
            )
    elif source.id_column is not None:
        raise UsageError(
            "--id-column names a column of --csv, and there is no --csv", fix="add --csv FILE"
        )
    if source.csv == "-" and "-" in {
        options.keys.api_key_file,
        options.keys.conversations_key_file,
    }:
        raise UsageError(
            "standard input cannot carry both the conversation ids and a key",
            fix="read one of them from a file",
        )
    if source.page_size > 1000:
        raise UsageError(
            "--page-size is at most 1000, PolyAI's own limit",
            fix="leave it out: 1000 is the default",
        )
    _check_outlets(options)
    if options.output.quiet and options.output.progress == "on":
        raise UsageError(
            "--quiet and --progress on contradict each other", fix="leave one of them out"
        )


def _check_outlets(options: DownloadOptions) -> None:
    """Keep what a run writes about itself from what the archive keeps, and from each other."""
    output, out = options.output, folder_of(options.where.out, options.where.state_dir)
    named = {
        "--log-file": output.log_file,
        "--summary-file": output.summary_file,
        "--report": output.report,
        "--metrics-file": output.metrics_file,
    }
    given = {name: path.expanduser() for name, path in named.items() if path is not None}
    for name, path in given.items():
        metrics = given.get("--metrics-file", path)
        if metrics is not path and os.path.realpath(metrics) == os.path.realpath(path):
            raise UsageError(
                f"{name} and --metrics-file name the same file", fix="give each a file of its own"
            )
        refuse_archives_own(name, path, out)


def refuse_archives_own(option: str, path: Path | None, archive: Path) -> None:
    """Keep a file that an option names from what an archive keeps; raises `UsageError`."""
    if path is not None and is_archives_own(path.expanduser(), archive):
        raise UsageError(
            f"{option} {path} has the name of a recording, or is where an archive keeps its ledger "
            "or its metadata",
            fix="name a file elsewhere; the archive's folder itself is free for it",
        )


def _given(options: SourceOptions) -> list[str]:
    default = SourceOptions()
    return [
        each.name
        for each in fields(options)
        if getattr(options, each.name) != getattr(default, each.name)
    ]


def _pace(options: DownloadOptions) -> Pace:
    how, patience = options.how, options.how.give_up_after
    return Pace(
        concurrency=how.concurrency if isinstance(how.concurrency, int) else None,
        max_rate=how.max_rate,
        bandwidth=how.bandwidth.within(parse_zone(options.source.tz)),
        attempts=how.attempts,
        give_up_after_s=Pace().give_up_after_s if patience is None else patience,
    )


def _place(options: DownloadOptions) -> Place:
    where = options.where
    if not where.out:
        # Whoever wrote it here may expect it to count; an unnamed file never does.
        is_passed_over = Path(CONFIG_FILE).is_file()
        named = f", or name the file in this folder: --config {CONFIG_FILE}"
        raise UsageError(
            "--out is missing, the folder to keep recordings in",
            fix="add --out FOLDER" + (named if is_passed_over else ""),
        )
    out, elsewhere = place_of(where.out, where.state_dir)
    refuse_endpoint(elsewhere, where.store_endpoint)
    if elsewhere is not None:
        ca_bundle = options.how.ca_bundle
        elsewhere = replace(
            elsewhere,
            endpoint=where.store_endpoint,
            ca_bundle=ca_bundle.expanduser() if ca_bundle else None,
            proxy=options.how.proxy,
        )
    return Place(out=out, elsewhere=elsewhere, layout=where.layout, min_free_bytes=where.min_free)


def refuse_endpoint(elsewhere: Elsewhere | None, endpoint: str | None) -> None:
    """Keep a server from an archive that needs none; raises `UsageError`."""
    if elsewhere is None and endpoint:
        raise UsageError(
            "--store-endpoint is for recordings in an object store, and --out is a folder",
            fix="leave --store-endpoint out, or give an address such as --out s3://BUCKET/PREFIX",
        )


def _listing(source: SourceOptions, now: datetime) -> ListingQuery:
    zone = parse_zone(source.tz)
    since = time_of("--since", source.since, now, zone)
    until = time_of("--until", source.until, now, zone)
    if since is not None and since > now:
        raise UsageError(
            f"--since {source.since} lies in the future: no call has happened yet",
            fix="check the year, --tz, and this machine's clock",
        )
    if since is not None and until is not None:
        Window(since=since, until=until)
    return ListingQuery(
        since=since,
        until=until,
        lookback_s=source.lookback,
        env=source.env or ListingQuery().env,
        channels=tuple(source.channel or ()),
        variant=source.variant,
        page_size=source.page_size,
    )


def time_of(option: str, text: str | None, now: datetime, zone: tzinfo) -> datetime | None:
    """Read an option that names a time; raises `UsageError`, which names the option."""
    if text is None:
        return None
    try:
        return parse_time(text, now=now, tz=zone)
    except UsageError as error:
        raise UsageError(f"{option}: {error.message}", fix=error.fix) from error


def directions_of(chosen: Sequence[str] | None) -> tuple[Direction, ...] | None:
    """Put them into one order, so that the same choice is the same for the archive."""
    if not chosen:
        return None
    return tuple(d for d in Direction if "all" in chosen or d.value in chosen)


class _KeyLookup:
    """Finds the keys once, and logs what a person should know about their files."""

    def __init__(self, finder: KeyFinder) -> None:
        self._finder = finder
        self._found: dict[str, FoundKeys] = {}

    def __call__(self, region: str) -> tuple[ApiKey, ApiKey | None]:
        known = self._found.get(region)
        if known is not None:
            return known.api_key, known.conversations_key
        # Standard input gives its key only once, and a note need not be told twice.
        found = self._found[region] = self._finder.find(region)
        log = LogEvents()
        for text in found.notes:
            log(Noted(text=text))
        return found.api_key, found.conversations_key


def key_lookup(options: KeyOptions, environ: Mapping[str, str]) -> _KeyLookup:
    """Make the lookup of keys that a request carries; nothing is read before it is called."""
    return _KeyLookup(
        KeyFinder(
            api_key_file=options.api_key_file,
            conversations_key_file=options.conversations_key_file,
            environ=environ,
            stdin=sys.stdin.buffer if sys.stdin is not None else None,
        )
    )
