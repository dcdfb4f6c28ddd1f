"""Everything a run is told, in one frozen value; and the wrapper that keeps keys out of sight."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from bulkaudio.bounds import (
    check_above_zero,
    check_not_negative,
    check_switch,
    check_text,
    check_whole,
    check_word,
)
from bulkaudio.model import Direction, Metadata
from bulkaudio.object_url import ObjectUrl
from bulkaudio.timetable import NO_CEILING, Timetable

DEFAULT_LAYOUT = "{direction}/{id}.wav"
MAX_SLOTS = 64
"""Requests at once that `auto` never exceeds."""

MOST_SLOTS = 1000
"""Requests at once that anybody may choose: each takes memory, and time of the drain when it ends."""

MOST_WORKERS = 256
"""Workers that are started on one machine at most."""

ENVIRONMENTS = ("live", "pre-release", "sandbox")

CONFIG_FILE = "bulkaudio.toml"
"""What a configuration file is called, also in an archive's folder."""

REPORT_FILE = "report.html"
"""What a report is called in its archive's folder."""


class Secret:
    """
    A key that does not show itself: not in `repr`, f-strings, logs, pickles or dataclasses.

    Compare with `==`; read with `reveal`, at the last moment.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value, for the one header that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("a secret is not pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """
    A key and where it came from.

    Attributes:
        source: For people: ``POLYAI_API_KEY``, ``--api-key-file key.txt``. Never the value.
        reread: Reads the source again, for keys rotated during a run; None when it cannot change.
    """

    value: Secret
    source: str
    reread: Callable[[], Secret] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """
    How PolyAI is reached.

    Attributes:
        region: ``us``, ``uk``, ``eu`` or ``studio``.
        account: Needed for listing, except in the studio region.
        audio_url, conversations_url: Replace the region's base URLs; https, or http to a loopback
            address.
        conversations_key: For listing; None: the same key as for recordings.
        ca_bundle: Additional PEM certificates; there is no way to turn verification off.
        proxy: Used only when given here: proxy variables and ``.netrc`` are ignored.
    """

    region: str
    agent: str
    account: str | None = None
    api_key: ApiKey
    conversations_key: ApiKey | None = None
    audio_url: str | None = None
    conversations_url: str | None = None
    ca_bundle: Path | None = None
    proxy: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("region", "agent", "account", "audio_url", "conversations_url", "proxy"):
            check_text(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingQuery:
    """
    Which conversations the listing is asked for.

    Attributes:
        since, until: Half-open window, aware UTC. `since` None: go on where the last finished
            listing ended; `until` None: now.
        lookback_s: How far before that end a resumed listing starts, for late arrivals.
        env: ``live``, ``pre-release`` or ``sandbox``.
        channels: Kept when a conversation's channel starts with one of them, ignoring case; empty
            keeps all.
        page_size: 1 to 1000.
    """

    since: datetime | None = None
    until: datetime | None = None
    lookback_s: float = 48 * 3600.0
    env: str = "live"
    channels: tuple[str, ...] = ()
    variant: str | None = None
    page_size: int = 1000

    def __post_init__(self) -> None:
        check_not_negative("lookback_s", self.lookback_s)
        check_word("env", self.env, ENVIRONMENTS)
        for channel in self.channels:
            check_text("a channel", channel)
        check_text("variant", self.variant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    What is fetched of each conversation.

    Attributes:
        redacted: None does not ask, and leaves it to the API's default.
        limit: At most so many conversations are considered.
    """

    directions: tuple[Direction, ...] = (Direction.COMBINED,)
    redacted: bool | None = None
    metadata: Metadata = Metadata.NONE
    limit: int | None = None

    def __post_init__(self) -> None:
        check_switch("redacted", self.redacted)
        check_whole("limit", self.limit, least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """
    How fast and how patiently.

    Attributes:
        concurrency: Requests at once, at most `MOST_SLOTS`; None lets the gate find out.
        max_rate: Requests a second, over all workers; None: no ceiling.
        bandwidth: Bytes a second, over everything that arrives.
        attempts: For each recording; throttled answers do not count.
        give_up_after_s: A host that fails without one success for so long ends the run.
    """

    concurrency: int | None = None
    max_rate: float | None = None
    bandwidth: Timetable = NO_CEILING
    attempts: int = 5
    give_up_after_s: float = 15 * 60.0

    def __post_init__(self) -> None:
        check_whole("concurrency", self.concurrency, least=1, most=MOST_SLOTS)
        check_above_zero("max_rate", self.max_rate)
        check_whole("attempts", self.attempts, least=1)
        check_not_negative("give_up_after_s", self.give_up_after_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """When to stop although there is more, and how long what is in flight may take then."""

    max_recordings: int | None = None
    max_bytes: int | None = None
    max_duration_s: float | None = None
    grace_s: float = 20.0

    def __post_init__(self) -> None:
        check_whole("max_recordings", self.max_recordings, least=1)
        check_whole("max_bytes", self.max_bytes, least=0)
        check_not_negative("max_duration_s", self.max_duration_s)
        check_not_negative("grace_s", self.grace_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """
    An object store that keeps an archive's recordings.

    Attributes:
        endpoint: Base address of another server than the cloud's own.
        ca_bundle: PEM file of authorities to trust besides the system's.
        distrust: Why neither of the two may be believed, which others may have written.
    """

    url: ObjectUrl
    endpoint: str | None = None
    ca_bundle: Path | None = None
    distrust: str | None = None
    proxy: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where recordings are kept, and how much of the disk must stay free.

    Attributes:
        out: The folder of ledger and lock; without `elsewhere` also of the recordings.
        elsewhere: None: as the archive remembers, which begins in its folder.
    """

    out: Path
    elsewhere: Elsewhere | None = None
    layout: str | None = None
    min_free_bytes: int = 10**9

    def __post_init__(self) -> None:
        check_text("layout", self.layout)
        check_whole("min_free_bytes", self.min_free_bytes, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """
    What a run of an open archive is told, apart from where its conversations come from.

    Attributes:
        fail_on_empty: A source that ended without one conversation is a shortfall.
    """

    selection: Selection = Selection()
    pace: Pace = Pace()
    budgets: Budgets = Budgets()
    fail_on_empty: bool = False

    def __post_init__(self) -> None:
        check_switch("fail_on_empty", self.fail_on_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportWish:
    """A page about the archive that is wanted after the run; `zone` is that of its days."""

    path: Path
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWish:
    """
    A run that is spread over workers.

    Attributes:
        scheduler: The address of one that is there; None: workers of this machine are started.
        workers: How many of those; None: one a core.
        api_key_file, conversations_key_file: Where workers look for keys, too; never a key.
    """

    scheduler: str | None = None
    workers: int | None = None
    api_key_file: str | None = None
    conversations_key_file: str | None = None

    def __post_init__(self) -> None:
        check_text("scheduler", self.scheduler)
        check_whole("workers", self.workers, least=1, most=MOST_WORKERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """
    One download as a person asked for it: what is None, the archive remembers or the run decides.

    Attributes:
        region, account, agent: None: as the archive remembers.
        find_keys: Looks up the key for recordings and, where it differs, the one for listing, once
            the region is known. Blocking.
        csv: Where conversation ids come from; None: from the listing, or from standard input.
        csv_is_stdin: ``--csv -``.
        id_column: Of the CSV; None: found by its usual names.
        filters: Which of the listing's ``env``, ``channels`` and ``variant`` were asked for; the
            others are as the archive remembers them.
        directions: None: as the archive remembers, else combined.
        metadata: None: as the archive remembers, else none.
        report: None: no page.
        cluster: None: everything is done in this process.
    """

    region: str | None = None
    account: str | None = None
    agent: str | None = None
    find_keys: Callable[[str], tuple[ApiKey, ApiKey | None]] = field(repr=False)
    csv: Path | None = None
    csv_is_stdin: bool = False
    id_column: str | None = None
    listing: ListingQuery = ListingQuery()
    filters: frozenset[str] = frozenset()
    directions: tuple[Direction, ...] | None = None
    redacted: bool | None = None
    metadata: Metadata | None = None
    limit: int | None = None
    fail_on_empty: bool = False
    place: Place
    pace: Pace = Pace()
    budgets: Budgets = Budgets()
    audio_url: str | None = None
    conversations_url: str | None = None
    ca_bundle: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    report: ReportWish | None = None
    cluster: ClusterWish | None = None

    def __post_init__(self) -> None:
        for name in ("region", "account", "agent", "id_column"):
            check_text(name, getattr(self, name))
        check_switch("redacted", self.redacted)
        check_switch("fail_on_empty", self.fail_on_empty)
        check_whole("limit", self.limit, least=1)

    @property
    def has_csv(self) -> bool:
        """Whether the conversations are named in a file or on standard input."""
        return self.csv is not None or self.csv_is_stdin
