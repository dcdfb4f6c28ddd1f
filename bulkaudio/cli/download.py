"""The command ``download``: options in, one run, its summary out."""

import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bulkaudio.cli.options import DEFAULTS, DownloadOptions

if TYPE_CHECKING:
    from bulkaudio.cli.sentries import Sentries
    from bulkaudio.conduct import RunResult
    from bulkaudio.observe.summary import Summary
    from bulkaudio.settings import DownloadRequest


def download(options: DownloadOptions = DEFAULTS) -> int:
    """Save the recordings of a listing, or of a file of ids, into an archive."""
    from bulkaudio.cli.endings import told
    from bulkaudio.cli.result import show
    from bulkaudio.cli.sentries import Sentries, code_of

    sentries = Sentries.of(options)
    summary = summary_of(options, sentries)
    told()
    try:
        code = show(summary, options.output)
    except BaseException as error:
        sentries.finish(summary, summary.exit_code or code_of(error))
        raise
    return sentries.finish(summary, code)


def summary_of(options: DownloadOptions, sentries: "Sentries | None" = None) -> "Summary":
    """Do the run, with its progress and signals, and sum it up; errors are in the summary."""
    from bulkaudio.cli.failure import unexpected
    from bulkaudio.cli.places import likely_place
    from bulkaudio.cli.result import EarlyEnd
    from bulkaudio.cli.sentries import Sentries
    from bulkaudio.errors import BulkAudioError
    from bulkaudio.observe.summary import Summary

    started_at = datetime.now(UTC)
    sentries = sentries or Sentries()
    tally = sentries.tally
    try:
        return Summary.of(_run(options, sentries, started_at), tally)
    except Exception as caught:  # noqa: BLE001 - even a bug ends in a summary of what was saved
        error = caught if isinstance(caught, BulkAudioError) else unexpected(caught)
        from bulkaudio.stores.address import store_of

        archive, asked = likely_place(options.where.out, options.where.state_dir)
        store = store_of(archive, asked)
        early = EarlyEnd(error=error, started_at=started_at, archive=archive, store=store)
        return Summary.of(early, tally)


def _run(options: DownloadOptions, sentries: "Sentries", now: datetime) -> "RunResult":
    import asyncio

    from bulkaudio.cli.failure import say
    from bulkaudio.cli.request import make_request, window_words
    from bulkaudio.observe.logs import Format, LogOptions, logging_to
    from bulkaudio.observe.progress import Bar, Show, progress

    output = options.output
    request = make_request(options, now=now)
    log = LogOptions(
        format=Format(output.log_format),
        verbosity=output.verbose,
        is_quiet=output.quiet,
        file=output.log_file.expanduser() if output.log_file else None,
    )
    words = window_words(request)
    if words and not output.quiet and output.log_format == "text":
        say(words)
    # JSON lines on stderr are for a machine, which has no use for a bar between them.
    is_hidden = output.quiet or (output.log_format == "json" and output.progress == "auto")
    with ExitStack() as watching:
        watching.enter_context(logging_to(log))
        shown = Show.OFF if is_hidden else Show(output.progress)
        watching.enter_context(progress(Bar(sentries.tally), sys.stderr, show=shown))
        return asyncio.run(_conduct(request, sentries, is_quiet=output.quiet))


async def _conduct(
    request: "DownloadRequest", sentries: "Sentries", *, is_quiet: bool
) -> "RunResult":
    from bulkaudio.cli.garbage import look_at_new
    from bulkaudio.cli.signals import Signals
    from bulkaudio.cli.tls_buffers import keep_small
    from bulkaudio.conduct import Watch
    from bulkaudio.job import run_download
    from bulkaudio.observe.log_events import LogEvents
    from bulkaudio.stopper import Stopper

    look_at_new()
    keep_small()
    stopper = Stopper()
    signals = Signals(
        stopper=stopper, tally=sentries.tally, grace_s=request.budgets.grace_s, is_quiet=is_quiet
    )
    with signals.handled():
        pinger = sentries.pinger
        watch = Watch(
            tally=sentries.tally,
            observers=[LogEvents()] if pinger is None else [LogEvents(), pinger],
            stopper=stopper,
            metrics=sentries.metrics,
        )
        return await run_download(request, watch)
