"""Both hosts asked at once, and everything their answers settle."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from bulkaudio.doctor.access import Asked, agent_check, clock_checks, key_check
from bulkaudio.doctor.ask import LIMITS, SOMEBODY, Heard, ask, listing_question, recording_question
from bulkaudio.doctor.check import GROUPS, Check, Status, skip
from bulkaudio.doctor.hosts import Site, reaches
from bulkaudio.doctor.keys import Keys
from bulkaudio.doctor.probe import LIMITS as PROBE_LIMITS
from bulkaudio.doctor.probe import Probe, probe
from bulkaudio.doctor.subject import Bound, Subject, connection_of
from bulkaudio.model import Direction, Recording
from bulkaudio.polyai.client import Host, Request, Session
from bulkaudio.polyai.hosts import Hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The hosts of a subject, and what is asked of them."""

    subject: Subject
    bound: Bound
    keys: Keys

    async def checks(self) -> Sequence[Check]:
        """Judge names, TLS, answers, clocks, keys and the agent; never raises for what is wrong."""
        hosts = self.bound.hosts
        if hosts is None:
            why = "needs the configuration"
            return (*_skipped(Host.AUDIO, why), *_skipped(Host.LISTING, why), skip("agent", why))
        connection = connection_of(self.subject, self.bound, self.keys.found)
        async with Session(connection, slots=len(Host), limits=LIMITS) as session:
            heard = await _ask_all(session, self._questions())
        return tuple(self._judged(hosts, heard))

    async def probe(self, conversation_id: str) -> Probe | None:
        """Fetch one recording twice; None where it is not known who to ask, and with which key."""
        if self.keys.found is None or self.bound.hosts is None or not self.bound.agent:
            return None
        connection = connection_of(self.subject, self.bound, self.keys.found)
        direction = (self.subject.request.directions or (Direction.COMBINED,))[0]
        recording = Recording(conversation_id=conversation_id, direction=direction)
        async with Session(connection, slots=1, limits=PROBE_LIMITS) as session:
            return await probe(session, recording)

    @property
    def _is_listed(self) -> bool:
        return not self.subject.request.has_csv

    def _is_anonymous(self, host: Host) -> bool:
        """Whether there is no key to show, or nothing whose name it could be shown for."""
        bound = self.bound
        has_account = bool(bound.account) or bound.is_studio or host is Host.AUDIO
        return self.keys.found is None or not bound.agent or not has_account

    def _questions(self) -> Mapping[Host, Request]:
        bound = self.bound
        agent = bound.agent or None
        questions = {
            Host.AUDIO: recording_question(agent, is_anonymous=self._is_anonymous(Host.AUDIO))
        }
        if self._is_listed:
            account = None if bound.is_studio else bound.account or SOMEBODY
            questions[Host.LISTING] = listing_question(
                account, agent, datetime.now(UTC), is_anonymous=self._is_anonymous(Host.LISTING)
            )
        return questions

    def _judged(self, hosts: Hosts, heard: Mapping[Host, Heard]) -> Iterator[Check]:
        now = datetime.now(UTC)
        is_one_host = hosts.name(Host.AUDIO) == hosts.name(Host.LISTING)
        asked: dict[Host, Asked] = {}
        for host, each in heard.items():
            checks = list(reaches(self._site(hosts, host), each, now))
            asked[host] = Asked(
                heard=each, answered=checks[-1], is_anonymous=self._is_anonymous(host)
            )
            if is_one_host and host is Host.LISTING:
                checks[:-1] = [
                    skip(check.name, "the host of the recordings") for check in checks[:-1]
                ]
            yield from checks
            yield key_check(host, self.keys, asked[host])
        names = {host: hosts.name(host) for host in heard}
        yield from _without_twin(clock_checks(heard, names), is_one_host=is_one_host)
        yield agent_check(self.bound.agent, asked)
        if not self._is_listed:
            yield from _skipped(Host.LISTING, "--csv names the conversations: none are listed")

    def _site(self, hosts: Hosts, host: Host) -> Site:
        return Site(
            host=host,
            name=hosts.name(host),
            is_tls=urlsplit(hosts.url(host)).scheme == "https",
            has_proxy=self.subject.request.proxy is not None,
            right_host=hosts.right_host_hint(host),
        )


async def _ask_all(session: Session, questions: Mapping[Host, Request]) -> Mapping[Host, Heard]:
    async with asyncio.TaskGroup() as group:
        tasks = {host: group.create_task(ask(session, each)) for host, each in questions.items()}
    return {host: task.result() for host, task in tasks.items()}


def _skipped(host: Host, why: str) -> Iterator[Check]:
    return (skip(f"{host.value}.{what}", why) for what in GROUPS[host.value])


def _without_twin(checks: Iterable[Check], *, is_one_host: bool) -> Iterator[Check]:
    """Tell of one clock once."""
    for check in checks:
        is_twin = is_one_host and check.name.startswith(Host.LISTING.value)
        is_told = is_twin and check.status is not Status.SKIP
        yield skip(check.name, "the host of the recordings") if is_told else check
