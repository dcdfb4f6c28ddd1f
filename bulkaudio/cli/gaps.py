"""The command ``gaps``: which recordings are not kept, by day and direction, and why."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from bulkaudio.cli import values
from bulkaudio.cli.options import (
    KEYS,
    LOOK_GIVES_UP_S,
    CaBundleOption,
    ConfigOption,
    Directions,
    KeyOptions,
    ProfileOption,
    ProgressOption,
    ProxyOption,
    Region,
)
from bulkaudio.cli.places import ArchiveArgument

if TYPE_CHECKING:
    from bulkaudio.cli.gaps_found import Found
    from bulkaudio.inquiry import Inquiry
    from bulkaudio.settings import DownloadRequest

RELIST = Group("With --relist", sort_key=3)


@Parameter(name="*", group=RELIST)
@dataclass(frozen=True, slots=True, kw_only=True)
class RelistOptions:
    """How PolyAI is asked, as by ``download``."""

    region: Annotated[
        Region | None,
        Parameter(
            metavar="us|uk|eu|studio",
            show_choices=False,
            help="Where the agent lives, where the archive does not remember it.",
        ),
    ] = None
    account: Annotated[
        str | None,
        Parameter(metavar="ID", help="Account, where the archive does not remember it."),
    ] = None
    agent: Annotated[
        str | None, Parameter(metavar="ID", help="Agent, where the archive does not remember it.")
    ] = None
    give_up_after: Annotated[
        float,
        Parameter(
            metavar="TIME",
            converter=values.duration,
            show_default=lambda _: "1m",
            help="Stop asking when PolyAI has not answered well for so long.",
        ),
    ] = LOOK_GIVES_UP_S
    ca_bundle: CaBundleOption = None
    proxy: ProxyOption = None
    progress: ProgressOption = "auto"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class GapsOptions:
    """What is looked at, and how it is told."""

    since: Annotated[
        str | None,
        Parameter(
            metavar="T",
            allow_leading_hyphen=True,
            show_env_var=False,
            help="Look at calls from this time on: 2026-11-22, yesterday, '2 days ago', -36h, "
            "2026-11, 2026-W47; neither a variable nor a file narrows what is looked at.",
        ),
    ] = None
    until: Annotated[
        str | None,
        Parameter(
            metavar="T",
            allow_leading_hyphen=True,
            show_env_var=False,
            help="Look at calls before this time, itself excluded.",
        ),
    ] = None
    tz: Annotated[
        str, Parameter(metavar="ZONE", help="Time zone of days, such as Europe/London.")
    ] = "UTC"
    direction: Annotated[
        list[Directions] | None,
        Parameter(
            metavar="SIDE",
            negative="",
            show_env_var=False,
            show_default=lambda _: "those that were asked for",
            help="Side of the call; may be repeated. A call of which it was never asked for lacks it.",
        ),
    ] = None
    relist: Annotated[
        bool,
        Parameter(
            negative="", help="Ask PolyAI what there is, and compare with that; needs a key."
        ),
    ] = False
    json: Annotated[bool, Parameter(negative="", help="Print one line of JSON.")] = False
    csv: Annotated[
        str | None,
        Parameter(
            metavar="FILE|-",
            allow_leading_hyphen=True,
            show_env_var=False,
            help="Write the days as a CSV, or print it; neither a variable nor a file sets this.",
        ),
    ] = None
    quiet: Annotated[
        bool, Parameter(alias="-q", negative="", help="Print nothing unless something is missing.")
    ] = False
    config: ConfigOption = None
    profile: ProfileOption = None
    relisting: RelistOptions = field(default_factory=RelistOptions)
    keys: Annotated[KeyOptions, Parameter(name="*", group=KEYS)] = field(default_factory=KeyOptions)


DEFAULTS = GapsOptions()


def gaps(
    archive: ArchiveArgument,
    /,
    options: GapsOptions = DEFAULTS,
) -> int:
    """Tell which recordings are not kept, by day and direction, and why."""
    import asyncio

    from bulkaudio.cli.existing import require_archive
    from bulkaudio.cli.gaps_found import Found, GapsView, check_outlet
    from bulkaudio.conduct import fan_out
    from bulkaudio.inquiry import inquire
    from bulkaudio.observe.log_events import LogEvents
    from bulkaudio.observe.logs import LogOptions, logging_to
    from bulkaudio.observe.progress import Show, progress
    from bulkaudio.observe.tally import Tally

    now = datetime.now(UTC)
    check_outlet(options.csv, archive, is_json=options.json)
    inquiry = _inquiry(archive, options, now, os.environ)
    require_archive(archive)
    tally = Tally()
    is_hidden = options.quiet or not options.relist
    shown = Show.OFF if is_hidden else Show(options.relisting.progress)
    view = GapsView(tally)
    with logging_to(LogOptions(is_quiet=options.quiet)), progress(view, sys.stderr, show=shown):
        found = asyncio.run(inquire(inquiry, now, fan_out([tally, LogEvents()])))
    return _show(Found.of(found, options.tz), options)


def _inquiry(
    archive: Path, options: GapsOptions, now: datetime, environ: Mapping[str, str]
) -> "Inquiry":
    from bulkaudio.cli.request import directions_of, time_of
    from bulkaudio.inquiry import Inquiry
    from bulkaudio.windows import Window, parse_zone

    zone = parse_zone(options.tz)
    since = time_of("--since", options.since, now, zone)
    until = time_of("--until", options.until, now, zone)
    if since is not None and until is not None:
        Window(since=since, until=until)
    return Inquiry(
        archive=archive,
        zone=zone,
        since=since,
        until=until,
        directions=directions_of(options.direction),
        request=_request(archive, options, environ) if options.relist else None,
    )


def _request(archive: Path, options: GapsOptions, environ: Mapping[str, str]) -> "DownloadRequest":
    from bulkaudio.cli.request import key_lookup
    from bulkaudio.settings import DownloadRequest, Pace, Place

    asked = options.relisting
    return DownloadRequest(
        region=asked.region,
        account=asked.account,
        agent=asked.agent,
        find_keys=key_lookup(options.keys, environ),
        place=Place(out=archive),
        pace=Pace(give_up_after_s=asked.give_up_after),
        audio_url=environ.get("BULKAUDIO_AUDIO_URL") or None,
        conversations_url=environ.get("BULKAUDIO_CONVERSATIONS_URL") or None,
        ca_bundle=asked.ca_bundle.expanduser() if asked.ca_bundle else None,
        proxy=asked.proxy,
    )


def _show(found: "Found", options: GapsOptions) -> int:
    import json as json_text

    from bulkaudio.cli.endings import told
    from bulkaudio.cli.gaps_page import page
    from bulkaudio.cli.streams import survived_pipe
    from bulkaudio.cli.warning import warn_of
    from bulkaudio.observe.terminal import console

    told()
    if options.csv not in {None, "-"}:
        found.write_csv(Path(str(options.csv)).expanduser())
    # A reader who is gone does not change what was found.
    with survived_pipe():
        if options.csv == "-":
            sys.stdout.writelines(found.csv())
        elif options.json:
            print(json_text.dumps(found.document(), separators=(",", ":")))
        elif options.quiet and found.exit_code == 0:
            warn_of(found.gaps.interruption, found.gaps.archive)
        else:
            console(sys.stdout).print(page(found))
        sys.stdout.flush()
    return found.exit_code
