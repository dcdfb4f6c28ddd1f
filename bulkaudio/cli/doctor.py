"""The command ``doctor``: what a download needs, looked at one by one."""

import json as json_text
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from bulkaudio.cli.options import (
    HOW,
    CaBundleOption,
    ConfigOption,
    KeyOptions,
    ProfileOption,
    ProxyOption,
    WhatOptions,
    WhereOptions,
)
from bulkaudio.cli.source_options import SourceOptions
from bulkaudio.errors import BulkAudioError, UsageError

if TYPE_CHECKING:
    from bulkaudio.doctor.check import Report
    from bulkaudio.doctor.subject import Subject

LOOK = Group("What to look at", sort_key=0)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """What a download would be told, and how the findings are."""

    probe: Annotated[
        str | None,
        Parameter(
            metavar="ID",
            group=LOOK,
            help="Fetch this conversation's recording twice, redacted and not, and tell what the "
            "server sends; nothing of it is kept.",
        ),
    ] = None
    json: Annotated[bool, Parameter(negative="", group=LOOK, help="Print one line of JSON.")] = (
        False
    )
    config: Annotated[ConfigOption, Parameter(group=LOOK)] = None
    profile: Annotated[ProfileOption, Parameter(group=LOOK)] = None
    ca_bundle: Annotated[CaBundleOption, Parameter(group=HOW)] = None
    proxy: Annotated[ProxyOption, Parameter(group=HOW)] = None
    source: SourceOptions = field(default_factory=SourceOptions)
    what: WhatOptions = field(default_factory=WhatOptions)
    where: WhereOptions = field(default_factory=WhereOptions)
    keys: KeyOptions = field(default_factory=KeyOptions)


DEFAULTS = DoctorOptions()


def doctor(options: DoctorOptions = DEFAULTS) -> int:
    """Look at everything that a download needs, and tell how to mend what is amiss."""
    from bulkaudio.cli.diagnosis import page
    from bulkaudio.observe.terminal import console

    report = examined(options)
    if options.json:
        print(_line(report), flush=True)
    else:
        out = console(sys.stdout)
        width = out.width if out.is_terminal else None
        out.print(page(report, sys.stdout, width=width), soft_wrap=True)
    return report.exit_code


def early_report(error: BulkAudioError) -> str:
    """Return the JSON line of a diagnosis that could not begin."""
    from bulkaudio.doctor.check import Report, fail_for
    from bulkaudio.doctor.subject import CONFIGURATION_CHECK

    return _line(Report(checks=(fail_for(CONFIGURATION_CHECK, error),)))


def _line(report: "Report") -> str:
    return json_text.dumps(report.document(), separators=(",", ":"))


def examined(options: DoctorOptions) -> "Report":
    """
    Make all checks; used by whoever wants them told in another way.

    Raises:
        UsageError: For options that contradict each other, and an id that is none.
    """
    import asyncio

    from bulkaudio.cli.garbage import look_at_new
    from bulkaudio.doctor.examine import examine

    look_at_new()
    subject = subject_of(options, os.environ)
    return asyncio.run(examine(subject, probe_id=options.probe))


def subject_of(options: DoctorOptions, environ: Mapping[str, str]) -> "Subject":
    """Translate the options; nothing is read yet but where the configuration file is."""
    from bulkaudio.cli.config_file import find_file
    from bulkaudio.cli.options import DownloadOptions, HowOptions
    from bulkaudio.cli.request import make_request, window_words
    from bulkaudio.doctor.subject import Subject
    from bulkaudio.keys import KeyFinder
    from bulkaudio.naming import is_conversation_id, printable

    if options.probe is not None and not is_conversation_id(options.probe):
        raise UsageError(
            f"--probe {printable(options.probe, 40)!r} is no conversation id",
            fix="copy one from Agent Studio, or from a CSV: letters, digits, dots, dashes",
        )
    where = options.where
    request = make_request(
        DownloadOptions(
            source=options.source,
            what=options.what,
            # A first look, before there is an archive, needs no folder.
            where=where if where.out else WhereOptions(out=".", layout=where.layout),
            how=HowOptions(ca_bundle=options.ca_bundle, proxy=options.proxy),
            keys=options.keys,
        ),
        now=datetime.now(UTC),
        environ=environ,
    )
    named = None if options.config is None else str(options.config)
    file = find_file(named, where.out, environ, where.state_dir)
    return Subject(
        request=request,
        archive=request.place.out if where.out else None,
        configuration=f"options from {file.path}" if file else "no configuration file",
        window=window_words(request),
        find_keys=KeyFinder(
            api_key_file=options.keys.api_key_file,
            conversations_key_file=options.keys.conversations_key_file,
            environ=environ,
            stdin=sys.stdin.buffer if sys.stdin is not None else None,
        ).find,
    )
