"""Keyword arguments of the Python interface, and what they become."""

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, TypedDict, TypeVar, get_type_hints
from zoneinfo import ZoneInfo

from bulkaudio.bounds import check_text, wrong_value
from bulkaudio.errors import UsageError
from bulkaudio.keys import KeyFinder
from bulkaudio.model import Direction, Metadata
from bulkaudio.naming import printable
from bulkaudio.place import archive_place
from bulkaudio.quantities import parse_bytes, parse_duration
from bulkaudio.settings import (
    ApiKey,
    Budgets,
    Connection,
    DownloadRequest,
    Elsewhere,
    ListingQuery,
    Pace,
    Place,
    RunOptions,
    Secret,
    Selection,
)
from bulkaudio.timetable import NO_CEILING, Timetable, parse_timetable
from bulkaudio.windows import Window, parse_time, parse_zone

T = TypeVar("T")

LISTING_ONLY = ("until", "lookback_s", "env", "channels", "variant")

Keys = tuple[ApiKey, ApiKey | None]


class ConnectionOptions(TypedDict, total=False):
    """How PolyAI is reached; see `bulkaudio.settings.Connection`. None is not given."""

    account: str | None
    api_key: str
    api_key_file: str | Path | None
    audio_url: str | None
    conversations_url: str | None
    ca_bundle: str | Path | None
    proxy: str | None


class RunChoices(TypedDict, total=False):
    """
    What is fetched and how; see `Selection`, `Pace` and `Budgets` in `bulkaudio.settings`.

    Seconds and sizes may be texts, as on the command line: ``15m``, ``1GB``. A `bandwidth` is bytes
    a second, or a text such as ``20M`` or ``08:00-18:00=20M,off``, by the clocks of UTC or of `tz`.
    """

    directions: Iterable[Direction | str] | None
    redacted: bool | None
    metadata: Metadata | str | None
    concurrency: int | Literal["auto"] | None
    max_rate: float | None
    bandwidth: str | int | None
    attempts: int | None
    give_up_after_s: float | str | None
    max_recordings: int | None
    max_bytes: int | str | None
    max_duration_s: float | str | None
    min_free_bytes: int | str | None
    fail_on_empty: bool | None


class DownloadChoices(ConnectionOptions, RunChoices, total=False):
    """Everything that `download` takes beside where it reads and writes."""

    region: str | None
    agent: str | None
    id_column: str | None
    until: datetime | date | str | None
    tz: str | None
    env: str | None
    channels: Iterable[str] | None
    variant: str | None
    lookback_s: float | str | None
    limit: int | None
    layout: str | None
    state_dir: str | Path | None


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
        return ApiKey(value=Secret(_key(options["api_key"])), source="the argument api_key"), None
    file = _path("api_key_file", options.get("api_key_file"))
    found = KeyFinder(api_key_file=None if file is None else str(file)).find(region)
    return found.api_key, found.conversations_key


def _key(given: object) -> str:
    if isinstance(given, str):
        return given
    # None is how a missing variable looks, and the usual places may hold another account's key.
    raise UsageError(
        f"api_key is of the type {type(given).__name__}, and a key is a text",
        fix="give the key, or leave api_key out to have the usual places looked at",
    )


def connection_of(region: str, agent: str, options: ConnectionOptions) -> Connection:
    """Put a connection together; the environment replaces base URLs that are not given."""
    api_key, conversations_key = find_keys(options, region)
    return Connection(
        region=region,
        agent=agent,
        account=options.get("account"),
        api_key=api_key,
        conversations_key=conversations_key,
        audio_url=options.get("audio_url") or os.environ.get("BULKAUDIO_AUDIO_URL") or None,
        conversations_url=options.get("conversations_url")
        or os.environ.get("BULKAUDIO_CONVERSATIONS_URL")
        or None,
        ca_bundle=_path("ca_bundle", options.get("ca_bundle")),
        proxy=options.get("proxy"),
    )


def run_options(choices: RunChoices) -> RunOptions:
    """Read what is fetched and how; raises `UsageError` for values that cannot be."""
    selection = Selection(
        directions=directions_of(choices.get("directions")) or (Direction.COMBINED,),
        redacted=choices.get("redacted"),
        metadata=_metadata(choices.get("metadata")) or Metadata.NONE,
    )
    return RunOptions(
        selection=selection,
        pace=_pace(choices),
        budgets=_budgets(choices),
        fail_on_empty=_or(choices.get("fail_on_empty"), default=False),
    )


def download_request(
    out: str | Path,
    csv: str | Path | None,
    since: datetime | date | str | None,
    choices: DownloadChoices,
) -> DownloadRequest:
    """Make the command line's request of a program's arguments; raises `UsageError`."""
    _check_source(csv, since, choices)
    if "api_key" in choices:
        _key(choices["api_key"])
    _path("api_key_file", choices.get("api_key_file"))
    return DownloadRequest(
        region=choices.get("region"),
        agent=choices.get("agent"),
        account=choices.get("account"),
        find_keys=lambda region: find_keys(choices, region),
        csv=_path("csv", csv),
        id_column=choices.get("id_column"),
        listing=_listing(since, choices),
        filters=frozenset(
            {"env", "channels", "variant"} & {k for k, v in choices.items() if v is not None}
        ),
        directions=directions_of(choices.get("directions")),
        redacted=choices.get("redacted"),
        metadata=_metadata(choices.get("metadata")),
        limit=choices.get("limit"),
        fail_on_empty=_or(choices.get("fail_on_empty"), default=False),
        place=_place(out, choices),
        pace=_pace(choices, parse_zone(_or(choices.get("tz"), "UTC"))),
        budgets=_budgets(choices),
        audio_url=choices.get("audio_url") or os.environ.get("BULKAUDIO_AUDIO_URL"),
        conversations_url=choices.get("conversations_url")
        or os.environ.get("BULKAUDIO_CONVERSATIONS_URL"),
        ca_bundle=_path("ca_bundle", choices.get("ca_bundle")),
        proxy=choices.get("proxy"),
    )


def _check_source(csv: object, since: object, choices: Mapping[str, object]) -> None:
    """Refuse what contradicts itself, as the command line does."""
    if csv is None:
        if choices.get("id_column") is not None:
            raise UsageError("id_column names a column of csv, and there is no csv", fix="give csv")
        return
    given = ["since"] if since is not None else []
    given += [name for name in LISTING_ONLY if choices.get(name) is not None]
    if given:
        names = ", ".join(given)
        raise UsageError(
            f"csv names the conversations itself, and {names} would list others",
            fix=f"leave out csv, or {names}",
        )


def _listing(since: datetime | date | str | None, choices: DownloadChoices) -> ListingQuery:
    zone_name = _or(choices.get("tz"), "UTC")
    check_text("tz", zone_name)
    zone, now, defaults = parse_zone(zone_name), datetime.now(UTC), ListingQuery()
    begin = _moment("since", since, zone, now)
    end = _moment("until", choices.get("until"), zone, now)
    if begin is not None and begin > now:
        raise UsageError(
            f"since lies in the future ({begin:%Y-%m-%dT%H:%M:%SZ}): no call has happened yet",
            fix="check the year, tz, and this machine's clock",
        )
    if begin is not None and end is not None:
        Window(since=begin, until=end)
    return ListingQuery(
        since=begin,
        until=end,
        lookback_s=_seconds("lookback_s", choices.get("lookback_s"), defaults.lookback_s),
        env=_or(choices.get("env"), defaults.env),
        channels=_several("channels", choices.get("channels")),
        variant=choices.get("variant"),
    )


def directions_of(names: Iterable[Direction | str] | None) -> tuple[Direction, ...] | None:
    """Read directions, ``all`` among them; None stays open."""
    wanted = _several("directions", names)
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
    given = _size("min_free_bytes", choices.get("min_free_bytes"))
    return Place(
        out=Path(), min_free_bytes=_or(given, Place(out=Path()).min_free_bytes)
    ).min_free_bytes


def _metadata(name: Metadata | str | None) -> Metadata | None:
    try:
        return None if name is None else Metadata(name)
    except ValueError as error:
        raise UsageError(
            f"metadata cannot be {printable(str(name))}", fix="use none, basic or full"
        ) from error


def _pace(choices: RunChoices, zone: tzinfo = UTC) -> Pace:
    defaults, concurrency = Pace(), choices.get("concurrency")
    patience = choices.get("give_up_after_s")
    return Pace(
        concurrency=None if concurrency == "auto" else concurrency,
        max_rate=choices.get("max_rate"),
        bandwidth=_bandwidth(choices.get("bandwidth")).within(zone),
        attempts=_or(choices.get("attempts"), defaults.attempts),
        give_up_after_s=_seconds("give_up_after_s", patience, defaults.give_up_after_s),
    )


def _bandwidth(given: str | int | None) -> Timetable:
    if given is None:
        return NO_CEILING
    if isinstance(given, bool) or not isinstance(given, (str, int)):
        raise wrong_value("bandwidth", given, "bytes a second, or a text such as 20M")
    return _read("bandwidth", str(given), parse_timetable)


def _budgets(choices: RunChoices) -> Budgets:
    longest = choices.get("max_duration_s")
    return Budgets(
        max_recordings=choices.get("max_recordings"),
        max_bytes=_size("max_bytes", choices.get("max_bytes")),
        max_duration_s=None if longest is None else _seconds("max_duration_s", longest, 0.0),
    )


def _or(given: T | None, default: T) -> T:
    return default if given is None else given


def _several(name: str, given: Iterable[T] | None) -> tuple[T | str, ...]:
    """Take a text for one word: it is an iterable of letters, which nobody means."""
    if given is None:
        return ()
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable):
        raise wrong_value(name, given, "a list of words")
    return tuple(given)


def _seconds(name: str, given: float | str | None, default: float) -> float:
    return _read(name, given, parse_duration) if isinstance(given, str) else _or(given, default)


def _size(name: str, given: int | str | None) -> int | None:
    return _read(name, given, parse_bytes) if isinstance(given, str) else given


def _read(name: str, text: str, read: Callable[[str], T]) -> T:
    try:
        return read(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", fix=error.fix) from error


def _path(name: str, given: str | Path | None) -> Path | None:
    if given is None:
        return None
    if not isinstance(given, (str, os.PathLike)):
        raise UsageError(
            f"{name} cannot be of the type {type(given).__name__}",
            fix="give a path, as text or Path",
        )
    return Path(given)


def _place(given: str | Path, choices: DownloadChoices) -> Place:
    if _path("out", given) is None or not str(given):
        raise UsageError("out is missing, the folder to keep recordings in", fix="give a folder")
    out, url = archive_place(str(given), _path("state_dir", choices.get("state_dir")))
    ca_bundle = _path("ca_bundle", choices.get("ca_bundle"))
    return Place(
        out=out,
        elsewhere=None
        if url is None
        else Elsewhere(url=url, ca_bundle=ca_bundle, proxy=choices.get("proxy")),
        layout=choices.get("layout"),
        min_free_bytes=min_free_bytes(choices),
    )


def _moment(
    name: str, given: datetime | date | str | None, zone: ZoneInfo, now: datetime
) -> datetime | None:
    if given is None:
        return None
    if isinstance(given, str):
        return _read(name, given, lambda text: parse_time(text, now=now, tz=zone))
    if not isinstance(given, date):
        raise wrong_value(name, given, "a datetime, a date, or a text such as yesterday")
    moment = given if isinstance(given, datetime) else datetime.combine(given, time())
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
