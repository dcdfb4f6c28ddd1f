"""The command ``plan``: what a download with the same options would do, and nothing of it done."""

import json as json_text
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bulkaudio.cli.options import DEFAULTS, LOOK_GIVES_UP_S, DownloadOptions

if TYPE_CHECKING:
    from bulkaudio.foretold import Foretold


def plan(options: DownloadOptions = DEFAULTS) -> int:
    """Say what a download with these options would do, without writing anything."""
    from bulkaudio.cli.plan_page import document, page
    from bulkaudio.observe.terminal import console

    found = _foretell(options)
    if options.output.json:
        print(json_text.dumps(document(found), separators=(",", ":")), flush=True)
    elif not (options.output.quiet and found.fits):
        console(sys.stdout).print(page(found))
    return 0


def _foretell(options: DownloadOptions) -> "Foretold":
    import asyncio
    from contextlib import ExitStack

    from bulkaudio.cli.failure import say
    from bulkaudio.cli.plan_page import PlanView
    from bulkaudio.cli.request import make_request, window_words
    from bulkaudio.conduct import fan_out
    from bulkaudio.observe.log_events import LogEvents
    from bulkaudio.observe.logs import Format, LogOptions, logging_to
    from bulkaudio.observe.progress import Show, progress
    from bulkaudio.observe.tally import Tally
    from bulkaudio.rehearse import rehearse

    output, how = options.output, options.how
    if how.give_up_after is None:
        options = replace(options, how=replace(how, give_up_after=LOOK_GIVES_UP_S))
    request = make_request(options, now=datetime.now(UTC))
    words = window_words(request)
    if words and not output.quiet and output.log_format == "text":
        say(words)
    tally = Tally()
    # No log file: what is planned leaves no trace.
    log = LogOptions(
        format=Format(output.log_format), verbosity=output.verbose, is_quiet=output.quiet
    )
    is_hidden = output.quiet or (output.log_format == "json" and output.progress == "auto")
    with ExitStack() as watching:
        watching.enter_context(logging_to(log))
        shown = Show.OFF if is_hidden else Show(output.progress)
        watching.enter_context(progress(PlanView(tally), sys.stderr, show=shown))
        return asyncio.run(rehearse(request, tally, fan_out([tally, LogEvents()])))
