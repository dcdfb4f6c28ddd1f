"""
What a host's answer means for each check of it.

Rules of this file: pure. What depends on a check that failed is skipped, so that one fault is one
failure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bulkaudio.doctor.ask import ANSWER_S, CONNECT_S, Failure, Heard
from bulkaudio.doctor.check import (
    CONFIGURATION,
    HOST,
    Check,
    Status,
    fail,
    fail_for,
    ok,
    skip,
    warn,
)
from bulkaudio.naming import printable
from bulkaudio.policy import Action, Answer, Reason, retry_after_s, rule
from bulkaudio.polyai.client import Host
from bulkaudio.polyai.trouble import Stage
from bulkaudio.quantities import format_duration
from bulkaudio.verdicts import wrong_host

SOON = timedelta(days=14)
"""Before a certificate ends, from when on somebody should ask whether it is renewed."""

ADDRESSES_SHOWN = 2

BEFORE_ANSWER = (Stage.NAME, Stage.PROXY, Stage.CONNECTION, Stage.TLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """
    A host as it was asked.

    Attributes:
        name: With its port where that is unusual.
        right_host: Where the endpoint lives, should it not live there.
    """

    host: Host
    name: str
    is_tls: bool
    has_proxy: bool
    right_host: str = field(repr=False)

    def check_name(self, what: str) -> str:
        """Name one of its checks."""
        return f"{self.host.value}.{what}"


def reaches(site: Site, heard: Heard, now: datetime) -> Iterator[Check]:
    """Judge name, TLS and answer; the last is `ok` only when PolyAI itself has spoken."""
    dns = _dns(site, heard)
    yield dns
    if dns.status is Status.FAIL:
        yield skip(site.check_name("tls"), "needs the address")
        yield skip(site.check_name("answer"), "needs the address")
        return
    tls = _tls(site, heard, now)
    yield tls
    if tls.status is Status.FAIL:
        yield skip(site.check_name("answer"), "needs the connection")
        return
    yield _answer(site, heard)


def _dns(site: Site, heard: Heard) -> Check:
    name, failure = site.check_name("dns"), heard.failure
    if failure is not None and failure.stage is Stage.NAME:
        words = failure.words or "no such name"
        who = "the proxy" if site.has_proxy else "the host"
        return fail(
            name,
            f"{heard.name} has no address: {words}",
            f"check the name of {who}, and this machine's name server: getent hosts {heard.name}",
            HOST,
        )
    by = f"the proxy looks {site.name} up; it is " if site.has_proxy else ""
    if heard.addresses is None:
        return skip(name, f"{by}{heard.name}, an address and not a name")
    listed = ", ".join(heard.addresses[:ADDRESSES_SHOWN])
    more = len(heard.addresses) - ADDRESSES_SHOWN
    return ok(name, f"{by}{heard.name} is {listed}" + (f" and {more} more" if more > 0 else ""))


def _tls(site: Site, heard: Heard, now: datetime) -> Check:
    name, failure = site.check_name("tls"), heard.failure
    if failure is not None and failure.stage in BEFORE_ANSWER:
        return _unconnected(site, failure)
    if not site.is_tls:
        return skip(name, "plain http, to this machine itself")
    if heard.until is None:
        return ok(name, "certificate verified")
    left = heard.until - now
    words = f"certificate verified, {left.days} days left (until {heard.until:%Y-%m-%d})"
    if left < SOON:
        return warn(
            name,
            words,
            f"it has to be renewed before then: ask whoever runs {site.name} (PolyAI, or your "
            "own gateway)",
        )
    return ok(name, words)


def _unconnected(site: Site, failure: Failure) -> Check:
    name = site.check_name("tls")
    if failure.error is not None:
        return fail_for(name, failure.error)
    words = failure.words or f"nothing within {CONNECT_S:.0f}s"
    if failure.stage is Stage.PROXY:
        return fail(name, f"the proxy does not lead to {site.name}: {words}", "check --proxy", HOST)
    if failure.stage is Stage.TLS:
        fix = "check what stands between: a proxy, a captive portal, a wrong port"
        return fail(name, f"{site.name} cannot be talked to in TLS: {words}", fix, HOST)
    return fail(
        name,
        f"no connection to {site.name}: {words}",
        "allow outgoing connections to it in the firewall, or give --proxy URL",
        HOST,
    )


REASONS: Mapping[str, str] = {
    Reason.TIMEOUT: f"is silent: no answer within {ANSWER_S:.0f}s",
    Reason.CONNECTION: "ends the connection before it has answered",
    Reason.PROTOCOL: "answers what is no valid HTTP",
}


def _answer(site: Site, heard: Heard) -> Check:
    name, answer = site.check_name("answer"), heard.answer
    if answer is None:
        return _silence(site, heard.failure)
    ruling, code = rule(answer), answer.http_status
    status = f"{code} {answer.error_code}" if answer.error_code else f"{code}"
    check = ok(name, f"answers in {heard.first_byte_s * 1000:,.0f} ms")
    if ruling.action is Action.WRONG_HOST:
        error = wrong_host(site.host.value, site.right_host, answer.correlation_id)
        return fail_for(name, error)
    if ruling.action is Action.THROTTLE:
        return _throttled(name, status, answer)
    if code == 200:
        is_listing = site.host is Host.LISTING and heard.looks_like == "json"
        check = check if is_listing else _impostor(name, heard)
    elif code == 400:
        said = f": {heard.message}" if heard.message else ""
        fix = "check --account, --agent and --region: they stand in the address of Agent Studio"
        check = fail(name, f"refuses the request ({status}){said}", fix, CONFIGURATION)
    elif code == 404 and site.host is Host.LISTING and ruling.action is not Action.WRONG_AGENT:
        fix = "check --account and --region: both stand in the address of Agent Studio"
        check = fail(name, f"knows no such account or project ({status})", fix, CONFIGURATION)
    elif code not in {401, 403, 404}:
        fix = "wait and run this again; when it stays, tell PolyAI the support id"
        check = fail(name, f"answers {status}", fix, HOST)
    return check if check.status is Status.OK else _told(check, answer)


def _silence(site: Site, failure: Failure | None) -> Check:
    name = site.check_name("answer")
    if failure is not None and failure.error is not None:
        return fail_for(name, failure.error)
    reason = failure.reason if failure is not None else ""
    words = REASONS.get(reason, f"gives no answer that can be used ({printable(reason)})")
    fix = (
        "wait and run this again; when it stays, something between is in the way, or PolyAI is down"
    )
    return fail(name, f"{site.name} {words}", fix, HOST)


def _throttled(name: str, status: str, answer: Answer) -> Check:
    wait_s = retry_after_s(answer)
    wait = f", for {format_duration(wait_s)}" if wait_s else ""
    return warn(
        name,
        f"asks to wait ({status}){wait}",
        "run this again later; a download waits by itself",
    )


def _impostor(name: str, heard: Heard) -> Check:
    return fail(
        name,
        f"answers 200 with {heard.looks_like}, which PolyAI would not",
        "check what stands between: a proxy, a captive portal, a login page",
        HOST,
    )


def _told(check: Check, answer: Answer) -> Check:
    return replace(check, support_id=answer.correlation_id)
