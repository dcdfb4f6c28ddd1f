"""The command ``verify``: every saved file against its proof, and the damaged ones again."""

import json as json_text
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bulkaudio.cli.options import (
    KEYS,
    CaBundleOption,
    ConfigOption,
    KeyOptions,
    ProfileOption,
    ProgressOption,
    ProxyOption,
)
from bulkaudio.cli.places import ArchiveArgument

if TYPE_CHECKING:
    from bulkaudio.archive import OpenArchive
    from bulkaudio.cli.findings import Findings, VerifyView
    from bulkaudio.settings import DownloadRequest


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What to do about damage, and how it is told."""

    repair: Annotated[
        bool,
        Parameter(
            negative="",
            help="Set damaged files aside, and fetch them and missing ones again; erased ones that "
            "came back, the next download erases.",
        ),
    ] = False
    json: Annotated[bool, Parameter(negative="", help="Print one line of JSON.")] = False
    quiet: Annotated[
        bool, Parameter(alias="-q", negative="", help="Print nothing unless something is found.")
    ] = False
    progress: ProgressOption = "auto"
    ca_bundle: CaBundleOption = None
    proxy: ProxyOption = None
    config: ConfigOption = None
    profile: ProfileOption = None
    keys: Annotated[KeyOptions, Parameter(name="*", group=KEYS)] = field(default_factory=KeyOptions)


DEFAULTS = VerifyOptions()


def verify(
    archive: ArchiveArgument,
    /,
    options: VerifyOptions = DEFAULTS,
) -> int:
    """Check every saved file against its recorded size, SHA-256 and WAV proof."""
    import asyncio

    from bulkaudio.cli import failure
    from bulkaudio.cli.endings import told
    from bulkaudio.cli.existing import require_archive
    from bulkaudio.cli.findings import VerifyView
    from bulkaudio.cli.warning import warn_of
    from bulkaudio.observe.logs import LogOptions, logging_to
    from bulkaudio.observe.progress import Show, progress
    from bulkaudio.observe.terminal import console

    require_archive(archive)
    show = Show.OFF if options.quiet else Show(options.progress)
    view = VerifyView()
    with logging_to(LogOptions(is_quiet=options.quiet)), progress(view, sys.stderr, show=show):
        findings = asyncio.run(_look(archive, options, view))
    told()
    if findings.refetch is not None and findings.refetch.error is not None:
        failure.tell(findings.refetch.error)
    if options.json:
        print(json_text.dumps(findings.document(), separators=(",", ":")), flush=True)
    elif options.quiet and findings.is_whole:
        warn_of(findings.report.interruption, archive)
    else:
        console(sys.stdout).print(findings.page())
    return findings.exit_code


async def _look(archive: Path, options: VerifyOptions, view: "VerifyView") -> "Findings":
    from bulkaudio.archive import look_into, open_archive
    from bulkaudio.cli.findings import Findings
    from bulkaudio.returned import condemn
    from bulkaudio.verify import verify as verify_all

    if not options.repair:
        async with look_into(archive) as seen:
            report = await verify_all(seen.ledger, seen.store, on_progress=view.see)
        return Findings(archive=archive, report=report)
    async with open_archive(archive, is_audited=True) as held:
        report = await verify_all(
            held.ledger, held.store, told_faults=held.told_faults, on_progress=view.see
        )
        condemned = await condemn(held.ledger, report.returned)
        findings = Findings(
            archive=archive,
            report=report,
            is_told_anew=bool(report.told_faults),
            condemned=condemned,
        )
        if not report.is_clean:
            findings = await _repair(held, findings, options, view)
        left = await held.ledger.erasures.interruption()
        return replace(findings, report=replace(report, interruption=left))


async def _repair(
    held: "OpenArchive", findings: "Findings", options: VerifyOptions, view: "VerifyView"
) -> "Findings":
    from bulkaudio.assembly import find_keys
    from bulkaudio.cli.signals import Signals
    from bulkaudio.conduct import Watch
    from bulkaudio.observe.log_events import LogEvents
    from bulkaudio.observe.progress import Bar
    from bulkaudio.observe.summary import Summary, Tally
    from bulkaudio.repair import refetch, require_owner
    from bulkaudio.stopper import Stopper
    from bulkaudio.verify import quarantine

    report = findings.report
    request = _request(held.root, options, os.environ)
    # What is missing is told before anything is moved.
    kept = await held.remembered()
    require_owner(held, kept)
    await find_keys(request, kept)
    set_aside = await quarantine(held.ledger, held.store, report.findings)
    tally, stopper = Tally(), Stopper()
    watch = Watch(tally=tally, observers=[LogEvents()], stopper=stopper)
    signals = Signals(stopper=stopper, tally=tally, grace_s=request.budgets.grace_s)
    recordings = [finding.recording for finding in report.findings]
    view.repair = Bar(tally)
    with signals.handled():
        result = await refetch(held, recordings, request, watch)
    return replace(findings, set_aside=set_aside, refetch=Summary.of(result, tally))


def _request(
    archive: Path, options: VerifyOptions, environ: Mapping[str, str]
) -> "DownloadRequest":
    from bulkaudio.cli.request import key_lookup
    from bulkaudio.settings import DownloadRequest, Place

    return DownloadRequest(
        find_keys=key_lookup(options.keys, environ),
        place=Place(out=archive),
        audio_url=environ.get("BULKAUDIO_AUDIO_URL") or None,
        conversations_url=environ.get("BULKAUDIO_CONVERSATIONS_URL") or None,
        ca_bundle=options.ca_bundle.expanduser() if options.ca_bundle else None,
        proxy=options.proxy,
    )
