"""What is examined: one request, held to itself and to what its archive remembers."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bulkaudio.doctor.check import CONFIGURATION, Check, fail, fail_for, ok, skip
from bulkaudio.doctor.ground import LedgerLook
from bulkaudio.errors import UsageError
from bulkaudio.identity import Identity, begins_anew, layout_of
from bulkaudio.keys import FoundKeys
from bulkaudio.naming import printable
from bulkaudio.polyai.hosts import Hosts, canonical_region
from bulkaudio.polyai.transport import checked_proxy, trusting_context
from bulkaudio.settings import ApiKey, Connection, DownloadRequest, Secret

CONFIGURATION_CHECK = "configuration"

NOBODY = ApiKey(value=Secret("none"), source="nowhere")
"""Where a connection is needed and no key: it is never sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """
    What a download would be told.

    Attributes:
        archive: None: not named, so nothing of it is looked at.
        configuration: Where options come from, in words.
        window: The listing's window in words; None when none is asked for.
        find_keys: Blocking; raises `KeyRefusedError`.
    """

    request: DownloadRequest
    archive: Path | None
    configuration: str
    window: str | None = None
    find_keys: Callable[[str], FoundKeys] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """
    A request with what its archive remembers filled in.

    Attributes:
        check: Whether a download could go by it.
        hosts: None: it is not known who to ask, or how.
    """

    check: Check
    region: str | None = None
    account: str | None = None
    agent: str | None = None
    hosts: Hosts | None = None

    @property
    def is_studio(self) -> bool:
        """Whether listing is an endpoint of the recordings' host, which knows no account."""
        return self.region == "studio"


def bind(subject: Subject, ledger: LedgerLook) -> Bound:
    """Fill in what the archive remembers, and find what contradicts or is missing; reads files."""
    request, pins, has_saved = subject.request, ledger.pins, ledger.has_saved
    differing = None
    try:
        region = request.region or pins.get("region")
        region = canonical_region(region) if region else None
        identity = Identity(
            region=region if request.region else None,
            account=request.account,
            agent=request.agent,
            redacted=request.redacted,
        )
        account, agent = (
            request.account or pins.get("account"),
            request.agent or pins.get("agent"),
        )
        hosts = _hosts(request, region) if region else None
    except UsageError as error:
        return Bound(check=fail_for(CONFIGURATION_CHECK, error))
    try:
        begins_anew(pins, identity, request.place.out, has_saved=has_saved)
        layout_of(pins, request.place.layout, request.place.out, has_saved=has_saved)
    except UsageError as error:
        differing = error
    bound = Bound(
        check=ok(CONFIGURATION_CHECK, _words(subject, (region, account, agent))),
        region=region,
        account=account,
        agent=agent,
        hosts=hosts,
    )
    if differing is not None:
        # What follows may fail for the very same reason, and would be taken for another.
        told = fail_for(CONFIGURATION_CHECK, differing)
        return _with(
            bound, replace(told, detail=f"{told.detail}. What follows goes by what was given")
        )
    missing = _missing(bound, is_listed=not request.has_csv)
    if missing is not None and ledger.error is not None:
        # What is not known is no fault of whoever left it to the archive.
        missing = skip(CONFIGURATION_CHECK, f"the archive knows: {ledger.error.message}")
    elif missing is not None and ledger.doubt is not None:
        missing = skip(CONFIGURATION_CHECK, "whether an archive knows, the store does not say")
    return _with(bound, missing) if missing else bound


def connection_of(subject: Subject, bound: Bound, keys: FoundKeys | None) -> Connection:
    """Put a connection together; without keys for requests that carry none."""
    request = subject.request
    return Connection(
        region=bound.region or "",
        account=bound.account,
        agent=bound.agent or "",
        api_key=keys.api_key if keys else NOBODY,
        conversations_key=keys.conversations_key if keys else None,
        audio_url=request.audio_url,
        conversations_url=request.conversations_url,
        ca_bundle=request.ca_bundle,
        proxy=request.proxy,
    )


def _hosts(request: DownloadRequest, region: str) -> Hosts:
    checked_proxy(request.proxy)
    bundle = request.ca_bundle
    if bundle is not None and bundle.is_fifo():
        raise UsageError(
            f"--ca-bundle {bundle} is a pipe, which gives its certificates only once",
            fix="name a file for the diagnosis",
        )
    trusting_context(bundle)
    return Hosts.of(
        Connection(
            region=region,
            agent="",
            api_key=NOBODY,
            audio_url=request.audio_url,
            conversations_url=request.conversations_url,
        )
    )


def _missing(bound: Bound, *, is_listed: bool) -> Check | None:
    wanted = {"--region": bound.region}
    if is_listed and not bound.is_studio:
        wanted["--account"] = bound.account
    wanted["--agent"] = bound.agent
    lacking = [option for option, value in wanted.items() if not value]
    if not lacking:
        return None
    *others, last = lacking
    them = "them" if others else "it"
    listed = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return fail(
        CONFIGURATION_CHECK,
        f"{listed} missing, and no archive remembers {them}",
        f"copy {them} from the address of Agent Studio, https://studio.REGION.poly.ai/ACCOUNT/AGENT/",
        CONFIGURATION,
    )


def _words(subject: Subject, identity: tuple[str | None, ...]) -> str:
    whose = " / ".join(printable(part) for part in identity if part)
    return f"{whose}; {subject.configuration}"


def _with(bound: Bound, check: Check) -> Bound:
    return Bound(
        check=check,
        region=bound.region,
        account=bound.account,
        agent=bound.agent,
        hosts=bound.hosts,
    )
