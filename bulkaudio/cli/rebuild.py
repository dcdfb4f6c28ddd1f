"""The command ``rebuild``: a lost or damaged ledger anew, from the files."""

import json as json_text
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bulkaudio.cli.options import ConfigOption, ProfileOption, ProgressOption


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildOptions:
    """What is replaced, and how it is told."""

    layout: Annotated[
        str | None,
        Parameter(
            metavar="TEMPLATE",
            show_default=lambda _: "{direction}/{id}.wav",
            help="The file names that the archive was made with.",
        ),
    ] = None
    force: Annotated[
        bool,
        Parameter(
            negative="",
            help="Make it anew although the ledger is whole, or cannot be read for now.",
        ),
    ] = False
    json: Annotated[bool, Parameter(negative="", help="Print one line of JSON.")] = False
    quiet: Annotated[
        bool, Parameter(alias="-q", negative="", help="Print nothing unless damage is found.")
    ] = False
    progress: ProgressOption = "auto"
    config: ConfigOption = None
    profile: ProfileOption = None


DEFAULTS = RebuildOptions()


def rebuild(
    archive: Annotated[Path, Parameter(help="The archive's folder.")],
    /,
    options: RebuildOptions = DEFAULTS,
) -> int:
    """Make a lost or damaged ledger anew from the files, without a download."""
    import asyncio

    from bulkaudio.cli.rebuilt import Rebuilt, rebuild_view
    from bulkaudio.observe.logs import LogOptions, logging_to
    from bulkaudio.observe.progress import Show, progress
    from bulkaudio.observe.terminal import console
    from bulkaudio.rebuild import rebuild as make_anew

    show = Show.OFF if options.quiet else Show(options.progress)
    view = rebuild_view()
    with logging_to(LogOptions(is_quiet=options.quiet)), progress(view, sys.stderr, show=show):
        report = asyncio.run(
            make_anew(archive, layout=options.layout, is_forced=options.force, on_progress=view.see)
        )
    rebuilt = Rebuilt(archive=archive, report=report)
    if options.json:
        print(json_text.dumps(rebuilt.document(), separators=(",", ":")), flush=True)
    elif not (options.quiet and report.is_clean):
        console(sys.stdout).print(rebuilt.page())
    return rebuilt.exit_code
