"""The options of ``download`` that say which conversations are meant; see `bulkaudio.cli.options`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from bulkaudio.cli import values

SOURCE = Group("Which conversations", sort_key=1)


@Parameter(name="*", group=SOURCE)
@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """A file of ids; without one, the listing of a time window."""

    csv: Annotated[
        str | None,
        Parameter(
            metavar="FILE|-",
            allow_leading_hyphen=True,
            help="Take conversation ids from a CSV, or from stdin.",
        ),
    ] = None
    id_column: Annotated[
        str | None,
        Parameter(metavar="NAME", help="The CSV's column of ids, where its name is unusual."),
    ] = None
    since: Annotated[
        str | None,
        Parameter(
            metavar="T",
            allow_leading_hyphen=True,
            help="List calls from this time on: 2026-11-22, yesterday, '2 days ago', -36h, "
            "2026-11, 2026-W47. Without it, go on where the last finished listing ended.",
        ),
    ] = None
    until: Annotated[
        str | None,
        Parameter(
            metavar="T",
            allow_leading_hyphen=True,
            help="List calls before this time, itself excluded; without it, up to now.",
        ),
    ] = None
    tz: Annotated[
        str, Parameter(metavar="ZONE", help="Time zone of day words, such as Europe/London.")
    ] = "UTC"
    lookback: Annotated[
        float,
        Parameter(
            metavar="TIME",
            converter=values.duration,
            show_default=lambda _: "48h",
            help="How far before the last listing's end to look again, for late arrivals.",
        ),
    ] = 48 * 3600.0
    env: Annotated[
        Literal["live", "pre-release", "sandbox"] | None,
        Parameter(
            show_default=lambda _: "live",
            help="Which environment's calls to list; remembered by the archive.",
        ),
    ] = None
    channel: Annotated[
        list[str] | None,
        Parameter(
            metavar="C",
            negative="",
            env_var_split=values.words,
            help="Keep only channels that start so, such as VOICE; may be repeated; remembered "
            "by the archive.",
        ),
    ] = None
    variant: Annotated[
        str | None,
        Parameter(metavar="ID", help="List calls of this variant only; remembered by the archive."),
    ] = None
    page_size: Annotated[
        int,
        Parameter(metavar="N", converter=values.count, help="Calls to a page of the listing."),
    ] = 1000
    fail_on_empty: Annotated[
        bool,
        Parameter(
            negative="",
            help="End with exit code 3 when no call at all is listed; an empty CSV is always refused.",
        ),
    ] = False
