"""Keyword arguments of the Python interface, and what they become."""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import TypedDict, get_type_hints
from zoneinfo import ZoneInfo

from bulkaudio.errors import UsageError
from bulkaudio.keys import KeyFinder
from bulkaudio.model import Direction, Metadata
from bulkaudio.naming import printable
from bulkaudio.settings import (
    ApiKey,
    Budgets,
    Connection,
    DownloadRequest,
    ListingQuery,
    Pace,
    Place,
    RunOptions,
    Secret,
    Selection,
)
from bulkaudio.windows import parse_time

Keys = tuple[ApiKey, ApiKey | None]


class ConnectionOptions(TypedDict, total=False):
    """How PolyAI is reached; see `bulkaudio.settings.Connection`."""

    account: str
    api_key: str
    api_key_file: str | Path
    audio_url: str
    conversations_url: str
    ca_bundle: str | Path
    proxy: str


class RunChoices(TypedDict, total=False):
    """What is fetched and how; see `Selection`, `Pace` and `Budgets` in `bulkaudio.settings`."""

    directions: Iterable[Direction | str]
    redacted: bool
    metadata: Metadata | str
    concurrency: int
    max_rate: float
    attempts: int
    give_up_after_s: float
    max_recordings: int
    max_bytes: int
    max_duration_s: float
    min_free_bytes: int


class DownloadChoices(ConnectionOptions, RunChoices, total=False):
    """Everything that `download` takes beside where it reads and writes."""

    region: str | None
    agent: str | None
    id_column: str
    until: datetime | date | str
    tz: str
    env: str
    channels: Iterable[str]
    variant: str
    lookback_s: float
    limit: int
    layout: str


def refuse_unknown(choices: Mapping[str, object], kind: type, *own: str) -> None:
    """
    Refuse arguments that are none of `kind` and `own`; raises `UsageError`.

    Python lets them through where arguments are gathered by name, and ``redact=True`` must not fetch
    what was to be redacted.
    """
    names = [*own, *sorted(get_type_hints(kind))]
    for name in choices:
        if name in names:
            continue
        near = get_close_matches(name, names, n=1)
        raise UsageError(
            f"there is no argument {printable(name)!r}",
            fix=f"did you mean {near[0]}?" if near else f"the arguments are {', '.join(names)}",
        )


def find_keys(options: ConnectionOptions, region: str) -> Keys:
    """Take the key that was given, or look it up as the command line does. Blocking."""
    if "api_key" in options:
        return ApiKey(value=Secret(options["api_key"]), source="the argument api_key"), None
    file = options.get("api_key_file")
    found = KeyFinder(api_key_file=None if file is None else str(file)).find(region)
    return found.api_key, found.conversations_key


def connection_of(region: str, agent: str, options: ConnectionOptions) -> Connection:
    """Put a connection together; the environment replaces base URLs that are not given."""
    api_key, conversations_key = find_keys(options, region)
    ca_bundle = options.get("ca_bundle")
    return Connection(
        region=region,
        agent=agent,
        account=options.get("account"),
        api_key=api_key,
        conversations_key=conversations_key,
        audio_url=options.get("audio_url") or os.environ.get("BULKAUDIO_AUDIO_URL"),
        conversations_url=options.get("conversations_url")
        or os.environ.get("BULKAUDIO_CONVERSATIONS_URL"),
        ca_bundle=None if ca_bundle is None else Path(ca_bundle),
        proxy=options.get("proxy"),
    )


def run_options(choices: RunChoices) -> RunOptions:
    """Read what is fetched and how; raises `UsageError` for words that are none."""
    selection = Selection(
        directions=directions_of(choices.get("directions")) or (Direction.COMBINED,),
        redacted=choices.get("redacted"),
        metadata=_metadata(choices.get("metadata")) or Metadata.NONE,
    )
    return RunOptions(selection=selection, pace=_pace(choices), budgets=_budgets(choices))


def download_request(
    out: str | Path,
    csv: str | Path | None,
    since: datetime | date | str | None,
    choices: DownloadChoices,
) -> DownloadRequest:
    """Make the command line's request of a program's arguments."""
    zone = ZoneInfo(choices.get("tz", "UTC"))
    defaults = ListingQuery()
    ca_bundle = choices.get("ca_bundle")
    return DownloadRequest(
        region=choices.get("region"),
        agent=choices.get("agent"),
        account=choices.get("account"),
        find_keys=lambda region: find_keys(choices, region),
        csv=None if csv is None else Path(csv),
        id_column=choices.get("id_column"),
        listing=ListingQuery(
            since=_moment(since, zone),
            until=_moment(choices.get("until"), zone),
            lookback_s=choices.get("lookback_s", defaults.lookback_s),
            env=choices.get("env", defaults.env),
            channels=tuple(choices.get("channels", ())),
            variant=choices.get("variant"),
        ),
        filters=frozenset({"env", "channels", "variant"} & choices.keys()),
        directions=directions_of(choices.get("directions")),
        redacted=choices.get("redacted"),
        metadata=_metadata(choices.get("metadata")),
        limit=choices.get("limit"),
        place=Place(
            out=Path(out),
            layout=choices.get("layout"),
            min_free_bytes=min_free_bytes(choices),
        ),
        pace=_pace(choices),
        budgets=_budgets(choices),
        audio_url=choices.get("audio_url") or os.environ.get("BULKAUDIO_AUDIO_URL"),
        conversations_url=choices.get("conversations_url")
        or os.environ.get("BULKAUDIO_CONVERSATIONS_URL"),
        ca_bundle=None if ca_bundle is None else Path(ca_bundle),
        proxy=choices.get("proxy"),
    )


def directions_of(names: Iterable[Direction | str] | None) -> tuple[Direction, ...] | None:
    """Read directions, ``all`` among them; None stays open."""
    if names is None:
        return None
    wanted = [names] if isinstance(names, str) else list(names)
    if "all" in wanted:
        return tuple(Direction)
    try:
        return tuple(dict.fromkeys(Direction(name) for name in wanted)) or None
    except ValueError as error:
        shown = ", ".join(printable(str(name)) for name in wanted)
        raise UsageError(
            f"directions cannot be {shown}", fix="use combined, user, agent, or all"
        ) from error


def min_free_bytes(choices: RunChoices) -> int:
    """Return how much of the disk must stay free."""
    return choices.get("min_free_bytes", Place(out=Path()).min_free_bytes)


def _metadata(name: Metadata | str | None) -> Metadata | None:
    try:
        return None if name is None else Metadata(name)
    except ValueError as error:
        raise UsageError(
            f"metadata cannot be {printable(str(name))}", fix="use none, basic or full"
        ) from error


def _pace(choices: RunChoices) -> Pace:
    defaults = Pace()
    return Pace(
        concurrency=choices.get("concurrency"),
        max_rate=choices.get("max_rate"),
        attempts=choices.get("attempts", defaults.attempts),
        give_up_after_s=choices.get("give_up_after_s", defaults.give_up_after_s),
    )


def _budgets(choices: RunChoices) -> Budgets:
    return Budgets(
        max_recordings=choices.get("max_recordings"),
        max_bytes=choices.get("max_bytes"),
        max_duration_s=choices.get("max_duration_s"),
    )


def _moment(given: datetime | date | str | None, zone: ZoneInfo) -> datetime | None:
    if given is None:
        return None
    if isinstance(given, str):
        return parse_time(given, now=datetime.now(UTC), tz=zone)
    if not isinstance(given, datetime):
        given = datetime.combine(given, time())
    return (given if given.tzinfo else given.replace(tzinfo=zone)).astimezone(UTC)
