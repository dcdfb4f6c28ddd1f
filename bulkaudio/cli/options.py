"""
The options of ``download``: exactly the contract's table.

Each field is an option, a variable ``BULKAUDIO_<UPPER_SNAKE>`` and a key of the configuration
file; each help text is one sentence.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from bulkaudio.cli import values
from bulkaudio.cli.engine_options import EngineOptions
from bulkaudio.cli.source_options import SourceOptions
from bulkaudio.ping_url import PingUrl
from bulkaudio.timetable import NO_CEILING, Timetable

WHAT = Group("What to fetch of each", sort_key=2)
WHERE = Group("Where to keep it", sort_key=3)
HOW = Group("How fast and how patiently", sort_key=4)
STOP = Group("When to stop early", sort_key=6)
OUTPUT = Group("What to show", sort_key=7)
KEYS = Group("API keys", sort_key=8)

Region = Literal["us", "us-1", "uk", "uk-1", "eu", "euw", "euw-1", "studio"]
Directions = Literal["combined", "user", "agent", "all"]

ConfigOption = Annotated[
    Path | None,
    Parameter(metavar="FILE", help="Read options from this TOML file instead of the usual one."),
]
"""Of every command that reads a configuration file."""

ProfileOption = Annotated[
    str | None,
    Parameter(
        metavar="NAME", help="Take what the file's table [profile.NAME] says before the rest."
    ),
]
"""Beside `ConfigOption`."""

CaBundleOption = Annotated[
    Path | None, Parameter(metavar="FILE", help="Trust these certificates (PEM) as well.")
]
ProxyOption = Annotated[
    str | None,
    Parameter(metavar="URL", help="Go through this proxy; proxy variables are ignored."),
]
"""Of every command that asks PolyAI, beside `CaBundleOption`."""

LOOK_GIVES_UP_S = 60.0
"""Somebody waits for a look; a night can wait longer for its calls."""

ProgressOption = Annotated[
    Literal["auto", "on", "off"], Parameter(help="A bar on terminals, elsewhere one line a minute.")
]
"""Of every command that may take minutes."""


@Parameter(name="*", group=WHAT)
@dataclass(frozen=True, slots=True, kw_only=True)
class WhatOptions:
    """Whose recordings, and which of them."""

    region: Annotated[
        Region | None,
        Parameter(
            metavar="us|uk|eu|studio",
            show_choices=False,
            help="Where the agent lives; remembered by the archive.",
        ),
    ] = None
    account: Annotated[
        str | None,
        Parameter(metavar="ID", help="Account, for the listing; remembered by the archive."),
    ] = None
    agent: Annotated[
        str | None, Parameter(metavar="ID", help="Agent (project); remembered by the archive.")
    ] = None
    direction: Annotated[
        list[Directions] | None,
        Parameter(
            metavar="SIDE",
            negative="",
            env_var_split=values.words,
            show_default=lambda _: "combined",
            help="Side of the call; may be repeated; a listing's is remembered by the archive.",
        ),
    ] = None
    redacted: Annotated[
        bool | None,
        Parameter(help="Ask for redacted recordings, or for raw ones; else the API decides."),
    ] = None
    metadata: Annotated[
        Literal["none", "basic", "full"] | None,
        Parameter(
            show_default=lambda _: "none",
            help="Keep a JSON file beside each call; full adds the transcript; a listing's is "
            "remembered by the archive.",
        ),
    ] = None
    limit: Annotated[
        int | None,
        Parameter(
            metavar="N", converter=values.count, help="Consider at most so many conversations."
        ),
    ] = None


StateDirOption = Annotated[
    str | None,
    Parameter(
        metavar="DIR",
        show_default=lambda _: "named after the URL, in ~/.local/state/bulkaudio",
        help="Where lock and ledger are, when the archive is a URL.",
    ),
]

StoreEndpointOption = Annotated[
    str | None,
    Parameter(
        metavar="URL",
        help="Server of the object store, if it is not the cloud's own; remembered by the archive.",
    ),
]


@Parameter(name="*", group=WHERE)
@dataclass(frozen=True, slots=True, kw_only=True)
class WhereOptions:
    """The archive."""

    out: Annotated[
        str | None,
        Parameter(
            metavar="DIR|URL",
            help="The archive's folder, made when missing; or its address, such as s3://BUCKET/PREFIX.",
        ),
    ] = None
    state_dir: StateDirOption = None
    store_endpoint: StoreEndpointOption = None
    layout: Annotated[
        str | None,
        Parameter(
            metavar="TEMPLATE",
            show_default=lambda _: "{direction}/{id}.wav",
            help="File names, from direction, id, date, year, month, day and hour; "
            "remembered by the archive.",
        ),
    ] = None
    min_free: Annotated[
        int,
        Parameter(
            metavar="SIZE",
            converter=values.size,
            show_default=lambda _: "1GB",
            help="Stop when less disk space than this is left (for a URL: where the state folder is).",
        ),
    ] = 10**9


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, slots=True, kw_only=True)
class HowOptions:
    """Nothing here needs to be touched: the run finds its pace."""

    concurrency: Annotated[
        int | Literal["auto"],
        Parameter(
            metavar="auto|N",
            show_choices=False,
            converter=values.concurrency,
            help="Requests at once, at most 1000; auto finds out what PolyAI can take.",
        ),
    ] = "auto"
    max_rate: Annotated[
        float | None,
        Parameter(metavar="N", converter=values.rate, help="At most so many requests a second."),
    ] = None
    bandwidth: Annotated[
        Timetable,
        Parameter(
            name="--bandwidth",
            metavar="SIZE",
            accepts_keys=False,
            n_tokens=1,
            converter=values.bandwidth,
            env_var_split=values.whole,
            show_default=False,
            help="At most so many bytes a second, such as 20M, or by the clocks of --tz: "
            "'Mon-Fri 08:00-18:00=20M,off'.",
        ),
    ] = NO_CEILING
    attempts: Annotated[
        int,
        Parameter(
            metavar="N", converter=values.count, help="Tries for a recording before it has failed."
        ),
    ] = 5
    give_up_after: Annotated[
        float | None,
        Parameter(
            metavar="TIME",
            converter=values.duration,
            show_default=lambda _: "15m",
            help="End the run when PolyAI has not answered well for so long; plan and gaps, "
            "without this, after 1m.",
        ),
    ] = None
    ca_bundle: CaBundleOption = None
    proxy: ProxyOption = None


@Parameter(name="*", group=STOP)
@dataclass(frozen=True, slots=True, kw_only=True)
class StopOptions:
    """Budgets: what is left is taken by the next run."""

    max_recordings: Annotated[
        int | None,
        Parameter(metavar="N", converter=values.count, help="Stop after saving so many."),
    ] = None
    max_bytes: Annotated[
        int | None,
        Parameter(metavar="SIZE", converter=values.size, help="Stop after saving so much."),
    ] = None
    max_duration: Annotated[
        float | None,
        Parameter(metavar="TIME", converter=values.duration, help="Stop after so long."),
    ] = None
    grace: Annotated[
        float,
        Parameter(
            metavar="TIME",
            converter=values.duration,
            show_default=lambda _: "20s",
            help="How long downloads under way may take to end when the run stops.",
        ),
    ] = 20.0


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """stdout carries the result, stderr everything else."""

    json: Annotated[bool, Parameter(negative="", help="Print the summary as one line of JSON.")] = (
        False
    )
    quiet: Annotated[
        bool, Parameter(alias="-q", negative="", help="Print nothing unless something failed.")
    ] = False
    verbose: Annotated[
        int,
        Parameter(
            alias="-v",
            count=True,
            negative="",
            show_default=False,
            help="Log each retry and failure; -vv logs everything.",
        ),
    ] = 0
    progress: ProgressOption = "auto"
    log_format: Annotated[Literal["text", "json"], Parameter(help="How log lines are written.")] = (
        "text"
    )
    log_file: Annotated[
        Path | None, Parameter(metavar="FILE", help="Append the log to this file as well.")
    ] = None
    summary_file: Annotated[
        Path | None, Parameter(metavar="FILE", help="Write the JSON summary to this file as well.")
    ] = None
    report: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Write a page about the archive as well, for a browser."),
    ] = None
    metrics_file: Annotated[
        Path | None,
        Parameter(
            metavar="FILE",
            help="Keep this file fresh for Prometheus's textfile collector, such as bulkaudio.prom.",
        ),
    ] = None
    ping_url: Annotated[
        PingUrl | None,
        Parameter(
            name="--ping-url",
            metavar="URL",
            accepts_keys=False,
            n_tokens=1,
            converter=values.ping_url,
            env_var_split=values.whole,
            help="Ping this address at the start, on success and on failure, as healthchecks.io has "
            "it; better as BULKAUDIO_PING_URL, which no process list shows.",
        ),
    ] = None
    config: ConfigOption = None
    profile: ProfileOption = None


@Parameter(name="*", group=KEYS)
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOptions:
    """Where keys are read from; no option takes a key itself."""

    api_key_file: Annotated[
        str | None,
        Parameter(
            metavar="FILE|-",
            allow_leading_hyphen=True,
            help="Read the API key from a file or stdin; else POLYAI_API_KEY and the "
            "command-line kit's places are looked at.",
        ),
    ] = None
    conversations_key_file: Annotated[
        str | None,
        Parameter(
            metavar="FILE|-",
            allow_leading_hyphen=True,
            help="Read the listing's key, where it is another; else POLYAI_CONVERSATIONS_API_KEY.",
        ),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions:
    """Everything ``download`` can be told."""

    source: SourceOptions = field(default_factory=SourceOptions)
    what: WhatOptions = field(default_factory=WhatOptions)
    where: WhereOptions = field(default_factory=WhereOptions)
    how: HowOptions = field(default_factory=HowOptions)
    engine: EngineOptions = field(default_factory=EngineOptions)
    stop: StopOptions = field(default_factory=StopOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    keys: KeyOptions = field(default_factory=KeyOptions)


DEFAULTS = DownloadOptions()
