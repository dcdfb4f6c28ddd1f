"""
Whether keys open what they are for, whether the agent is known, and whether the clocks agree.

Rules of this file: pure. A key is judged only where PolyAI itself has answered.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from bulkaudio.clocks import TOLERANCE, http_date
from bulkaudio.doctor.ask import Heard
from bulkaudio.doctor.check import KEY, MACHINE, Check, Status, fail, fail_for, ok, skip, warn
from bulkaudio.doctor.keys import Keys, shown
from bulkaudio.policy import Action, Answer, rule
from bulkaudio.polyai.client import Host
from bulkaudio.quantities import format_duration
from bulkaudio.verdicts import key_refused, unknown_agent

PURPOSE = {Host.AUDIO: "read this agent's recordings", Host.LISTING: "list this agent's calls"}

OWN_KEY = (
    "listing may need a key of its own: set POLYAI_CONVERSATIONS_API_KEY, or pass "
    "--conversations-key-file FILE; and check --region and --account"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """
    How a host was asked and what came of it.

    Attributes:
        answered: The check of its answer.
        is_anonymous: The question bore no key, for want of one or of what to ask about.
    """

    heard: Heard
    answered: Check
    is_anonymous: bool

    @property
    def answer(self) -> Answer | None:
        """What PolyAI itself said about a key and what it opens; None without."""
        is_told = self.answered.status is Status.OK and not self.is_anonymous
        return self.heard.answer if is_told else None


def key_check(host: Host, keys: Keys, asked: Asked) -> Check:
    """Judge a key by what its host said to it."""
    name, key = f"{host.value}.key", keys.key(host)
    if keys.error is not None:
        # One that is missing is missing once.
        is_other = host is Host.LISTING
        return skip(name, "needs the other key") if is_other else fail_for(name, keys.error)
    if key is None:
        return skip(name, "not looked for: the region is not known")
    if asked.answer is None:
        return skip(name, f"{shown(key)}, not tried: see above")
    if asked.answer.http_status in {401, 403}:
        check = _refused(host, shown(key), asked.answer)
        return replace(check, fix=OWN_KEY) if keys.is_shared(host) else check
    accepted = f"{shown(key)} is accepted"
    note = keys.note(host)
    if note is not None:
        words, _, fix = note.partition(": ")
        return warn(name, f"{accepted}. {words}", fix)
    return ok(name, f"{accepted} here, too" if keys.is_shared(host) else accepted)


def _refused(host: Host, key: str, answer: Answer) -> Check:
    name = f"{host.value}.key"
    if answer.http_status == 401:
        return fail_for(name, key_refused(key, answer.correlation_id))
    code = f" {answer.error_code}" if answer.error_code else ""
    fix = "ask PolyAI for a key that may"
    fix += "; check --account, too" if host is Host.LISTING else ""
    check = fail(name, f"{key} may not {PURPOSE[host]} (403{code})", fix, KEY)
    return replace(check, support_id=answer.correlation_id)


def agent_check(agent: str | None, asked: Mapping[Host, Asked]) -> Check:
    """Judge the agent by what PolyAI said."""
    if not agent:
        return skip("agent", "none is named")
    answers = {host: each.answer for host, each in asked.items()}
    for answer in answers.values():
        if answer is not None and rule(answer).action is Action.WRONG_AGENT:
            return fail_for("agent", unknown_agent(agent, answer.correlation_id))
    listing, recording = answers.get(Host.LISTING), answers.get(Host.AUDIO)
    if listing is not None and listing.http_status == 200:
        return ok("agent", f"{agent} is known, and its calls can be listed")
    if recording is not None and recording.http_status == 404:
        return ok(
            "agent", f"nothing speaks against {agent}; only a listing can tell that it is known"
        )
    return skip("agent", "needs an answer to a key")


def clock_checks(heard: Mapping[Host, Heard], names: Mapping[Host, str]) -> Iterable[Check]:
    """
    Compare this machine's clock with the hosts'.

    Where another host agrees with this machine, a host that does not is itself the one that is wrong.
    """
    skews = {host: _skew(each.answer) for host, each in heard.items()}
    known = [skew for skew in skews.values() if skew is not None]
    is_ours = bool(known) and all(abs(skew) > TOLERANCE for skew in known)
    for host, skew in skews.items():
        yield _clock_check(f"{host.value}.clock", names[host], skew, is_ours=is_ours)


def _clock_check(name: str, host: str, skew: timedelta | None, *, is_ours: bool) -> Check:
    if skew is None:
        return skip(name, "no answer that bears a time")
    if abs(skew) <= TOLERANCE:
        return ok(name, f"this machine agrees with {host}")
    side = "ahead of" if skew > timedelta() else "behind"
    words = f"this machine is {format_duration(abs(skew).total_seconds())} {side} {host}"
    if is_ours:
        return fail(name, words, "set this machine's clock: timedatectl set-ntp true", MACHINE)
    return warn(name, words, "the other host agrees with this machine: tell whoever runs this one")


def _skew(answer: Answer | None) -> timedelta | None:
    there = None if answer is None else http_date(answer.date)
    if answer is None or answer.received_at is None or there is None:
        return None
    return answer.received_at - there
