"""
What a worker has of one run, and all its shards share: the connections, the gate, the place.

Made of the same parts as a run in one process. What is missing here is on purpose: no listing, no
ledger, no lock.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from bulkaudio.assembly import gate_of
from bulkaudio.cluster.parcels import Orders, Whose
from bulkaudio.cluster.places import Place, open_place
from bulkaudio.cluster.shares import LOOK_S, NOTHING, Notice, Pause, Share
from bulkaudio.conduct import slots_of
from bulkaudio.errors import UsageError
from bulkaudio.events import Emit, Event, GateMoved
from bulkaudio.fetch import Means
from bulkaudio.gate import Gate
from bulkaudio.keys import KeyFinder
from bulkaudio.polyai.client import Host, Session
from bulkaudio.settings import Connection
from bulkaudio.stopper import Stopper
from bulkaudio.verdicts import Verdicts, Wording

PROXY_VARIABLE = "BULKAUDIO_PROXY"
STOPPED_CODE = 143
TOLD = "another worker was asked to wait"
SHARED_REASONS = {"the host asked to wait", "throttled"}
"""What the host says to one worker and means for all; trouble may be the worker's own."""

LEAST_PAUSE_S = 0.05


@dataclass(slots=True)
class GateWatch:
    """Remembers what the gate of this worker did, for the run: an `Emit` by being called."""

    slots: int = 0
    closed_s: float = 0.0
    reason: str = ""
    pauses: list[tuple[float, str]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Take note; see `Emit`."""
        if not isinstance(event, GateMoved):
            return
        self.slots, self.closed_s, self.reason = event.slots, event.closed_s, event.reason
        if event.reason in SHARED_REASONS and event.closed_s > LEAST_PAUSE_S:
            self.pauses.append((event.closed_s, event.reason))

    def take_pauses(self) -> Sequence[tuple[float, str]]:
        """Return the pauses that were not told yet."""
        taken, self.pauses = self.pauses, []
        return taken


@dataclass(slots=True, kw_only=True)
class Room:
    """
    See the module; made by `open`.

    Attributes:
        watch: What the gate did.
        is_named: Whether the run has given this worker a share.
        has_given_up: Nobody has wanted anything of this worker for so long that it let go.
    """

    orders: Orders
    session: Session
    gate: Gate
    verdicts: Verdicts
    place: Place
    watch: GateWatch
    stopper: Stopper = field(default_factory=Stopper)
    is_named: bool = False
    has_given_up: bool = False
    _named_at: float | None = None
    _share: Share = NOTHING
    _last_pause: int | None = None
    _has_closed: bool = False

    @classmethod
    async def open(cls, orders: Orders) -> "Room":
        """
        Look up the keys, join the archive, open the session; nothing is requested yet.

        Raises:
            BulkAudioError: What this worker lacks.
        """
        connection = await connection_of(orders.whose)
        session = Session(connection, slots=slots_of(orders.pace))
        place = await open_place(orders, connection.proxy)
        try:
            await session.__aenter__()
        except BaseException:
            await place.aclose()
            raise
        watch = GateWatch()
        gate = gate_of(session, Host.AUDIO, orders.pace, emit=watch)
        gate.keep_to(NOTHING.max_rate)
        if gate.bandwidth.has_ceilings:
            session.keep_buffers_small()
        verdicts = Verdicts(
            Wording(
                agent=connection.agent,
                key_source=connection.api_key.source,
                right_host=session.hosts.right_host_hint(Host.AUDIO),
            ),
            reread_key=lambda: session.reread_key(Host.AUDIO),
        )
        return cls(
            orders=orders, session=session, gate=gate, verdicts=verdicts, place=place, watch=watch
        )

    def means(self, emit: Emit) -> Means:
        """Return what one attempt at a shard fetches with."""
        return Means(
            session=self.session,
            gate=self.gate,
            verdicts=self.verdicts,
            store=self.place,
            emit=emit,
            sleep=self.stopper.sleep,
        )

    def heed(self, notice: Notice, worker: str, now: float) -> None:
        """
        Do as the run says.

        A worker that is named for the first time begins a look later: by then the others have heard
        that they have less.
        """
        share = notice.share_of(worker)
        self.is_named = worker in notice.shares
        if not self.is_named:
            self._named_at = None
        elif self._named_at is None:
            self._named_at = now
        is_new = self._named_at is None or now - self._named_at < 1.5 * LOOK_S
        self._keep_to(NOTHING if is_new and share.part < 1.0 else share)
        self._wait_with_others(notice, worker)

    def lose_touch(self) -> None:
        """Ask for nothing while the run cannot be heard: the share may be others' by now."""
        self.is_named, self._named_at = False, None
        self._keep_to(NOTHING)

    def stop(self, reason: str) -> None:
        """Take no more; what is under way may end."""
        self.stopper.stop(reason, STOPPED_CODE)
        self.gate.close()

    def give_up(self, reason: str) -> None:
        """Let go of what nobody waits for any more, and of the room with it."""
        self.has_given_up = True
        self.stop(reason)

    async def aclose(self) -> None:
        """Leave; may be called again."""
        if not self._has_closed:
            self._has_closed = True
            self.gate.close()
            try:
                await self.session.__aexit__(None, None, None)
            finally:
                await self.place.aclose()

    def _keep_to(self, share: Share) -> None:
        if share != self._share:
            self._share = share
            self.gate.bandwidth.keep_to(share.part)
            self.gate.keep_to(share.max_rate, share.slots)

    def _wait_with_others(self, notice: Notice, worker: str) -> None:
        newest = max((pause.number for pause in notice.pauses), default=0)
        if self._last_pause is not None:
            heard: Sequence[Pause] = notice.pauses_for(worker, self._last_pause)
            for pause in heard:
                self.gate.pause(pause.seconds, TOLD)
        # What was said before this worker came is over, or will be said to it as well.
        self._last_pause = newest


async def connection_of(whose: Whose) -> Connection:
    """
    Put a connection together with what this worker finds around itself.

    Raises:
        KeyRefusedError: There is no key here.
        UsageError: There is no proxy here, and one is needed.
    """
    finder = KeyFinder(
        api_key_file=whose.api_key_file, conversations_key_file=whose.conversations_key_file
    )
    found = await asyncio.to_thread(finder.find, whose.region)
    return Connection(
        region=whose.region,
        agent=whose.agent,
        account=whose.account,
        api_key=found.api_key,
        conversations_key=found.conversations_key,
        audio_url=whose.audio_url,
        conversations_url=whose.conversations_url,
        ca_bundle=whose.ca_bundle,
        proxy=_proxy_of(whose),
    )


def _proxy_of(whose: Whose) -> str | None:
    if not whose.needs_own_proxy:
        return whose.proxy
    proxy = os.environ.get(PROXY_VARIABLE) or None
    if proxy is None:
        raise UsageError(
            f"a worker has no {PROXY_VARIABLE}, and a proxy's password is not sent to it",
            fix=f"set {PROXY_VARIABLE} for this command and for every worker, instead of --proxy",
        )
    return proxy
