"""The command ``rebuild``: a lost or damaged ledger anew, from the files."""

import json as json_text
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bulkaudio.cli.options import (
    ConfigOption,
    ProfileOption,
    ProgressOption,
    StateDirOption,
    StoreEndpointOption,
)
from bulkaudio.cli.places import place_of


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
        bool,
        Parameter(
            alias="-q",
            negative="",
            help="Print nothing unless damage is found, or what was erased may be forgotten.",
        ),
    ] = False
    progress: ProgressOption = "auto"
    state_dir: StateDirOption = None
    store_endpoint: StoreEndpointOption = None
    ca_bundle: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="PEM certificates to trust besides the usual ones."),
    ] = None
    config: ConfigOption = None
    profile: ProfileOption = None


DEFAULTS = RebuildOptions()


def rebuild(
    archive: Annotated[
        str, Parameter(help="The archive's folder, or the address of its object store.")
    ],
    /,
    options: RebuildOptions = DEFAULTS,
) -> int:
    """Make a lost or damaged ledger anew from the files, without a download."""
    import asyncio

    from bulkaudio.cli.endings import told
    from bulkaudio.cli.rebuilt import FORGOTTEN, Rebuilt, rebuild_view
    from bulkaudio.events import Noted
    from bulkaudio.observe.log_events import LogEvents
    from bulkaudio.observe.logs import LogOptions, logging_to
    from bulkaudio.observe.progress import Show, progress
    from bulkaudio.observe.terminal import console
    from bulkaudio.rebuild import rebuild as make_anew

    root, elsewhere = place_of(archive, options.state_dir)
    if elsewhere is not None:
        elsewhere = replace(elsewhere, endpoint=options.store_endpoint, ca_bundle=options.ca_bundle)
    show = Show.OFF if options.quiet else Show(options.progress)
    view = rebuild_view()
    with logging_to(LogOptions(is_quiet=options.quiet)), progress(view, sys.stderr, show=show):
        report = asyncio.run(
            make_anew(
                root,
                layout=options.layout,
                is_forced=options.force,
                elsewhere=elsewhere,
                on_progress=view.see,
            )
        )
        rebuilt = Rebuilt(archive=root, report=report)
        is_silent = options.quiet and (options.json or not rebuilt.exit_code)
        if is_silent and not report.is_register_whole:
            LogEvents()(Noted(text=FORGOTTEN, is_grave=True))
    told()
    if options.json:
        print(json_text.dumps(rebuilt.document(), separators=(",", ":")), flush=True)
    elif not is_silent:
        console(sys.stdout).print(rebuilt.page(), crop=False)
    return rebuilt.exit_code
