"""One recording against a server that does whatever a network can do: healed, or refused whole."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkaudio.errors import KeyRefusedError, WrongHostError
from bulkaudio.events import Answered, Emit, Event, Noted, Retrying
from bulkaudio.fetch import Fetcher, Means
from bulkaudio.gate import Gate, GateOptions
from bulkaudio.model import Direction, Outcome, Recording, Status, Task
from bulkaudio.naming import Layout
from bulkaudio.polyai.client import Host, Session, TransferLimits
from bulkaudio.retry import Limits
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.stores.local import LocalStore
from bulkaudio.verdicts import Verdicts, Wording
from tests.audio import pcm_wav, wav_of
from tests.plans import STREAMED, Plans, listed_wav, mulaw_wav, resized, riff
from tests.sessions import CANARY, PATIENT, QUICK, connection_to
from tests.wire import (
    Certificates,
    Exchange,
    Script,
    WireServer,
    chunked,
    closes,
    hangs,
    http_head,
    resets,
    says,
    says_json,
    says_raw,
)

WAV = pcm_wav(0.5, "the recording")
GOOD = says(200, WAV, content_type="audio/wav")
SIZED = http_head(200, [("Content-Length", str(len(WAV)))])
CHUNKS = http_head(200, [("Transfer-Encoding", "chunked")])
UNFRAMED = http_head(200, [("Connection", "close")])
NOW = datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """
    How fetching one recording went.

    Attributes:
        content: The bytes on the disk, when it succeeded.
        reasons: Why it was tried again, each time.
        leftovers: Its files after a failure.
    """

    content: bytes | None = None
    outcome: Outcome | None = None
    reasons: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()

    @property
    def failure(self) -> tuple[Status, str | None, int]:
        """How and why it failed, after how many attempts."""
        assert self.outcome is not None, "it did not fail"
        return self.outcome.status, self.outcome.reason, self.outcome.evidence.attempts


@dataclass(slots=True, kw_only=True)
class Bench:
    """One session and one store; each fetcher has a gate and a judge of its own."""

    session: Session
    store: LocalStore
    attempts: int

    def fetcher(self, emit: Emit, gate: Gate | None = None) -> Fetcher:
        """Put a fetcher together that does not wait between attempts."""

        async def at_once(_: float) -> None:
            return

        words = Wording(agent="PROJECT-1", key_source="POLYAI_API_KEY", right_host="elsewhere")
        means = Means(
            session=self.session,
            gate=gate or Gate(self.session.hosts.name(Host.AUDIO)),
            verdicts=Verdicts(words, reread_key=lambda: self.session.reread_key(Host.AUDIO)),
            store=self.store,
            emit=emit,
            sleep=at_once,
        )
        return Fetcher(means, redacted=None, limits=Limits(attempts=self.attempts))

    async def fetch(
        self,
        conversation_id: str = "CA1",
        *,
        by: Fetcher | None = None,
        failed_for: str | None = None,
    ) -> Seen:
        """Fetch the agent's side of a conversation, by a fetcher of its own where none is given."""
        events: list[Event] = []
        recording = Recording(conversation_id=conversation_id, direction=Direction.AGENT)
        task = Task(recording=recording, first_seen_at=NOW, failed_for=failed_for)
        result = await (by or self.fetcher(events.append)).fetch(task)
        reasons = tuple(event.reason for event in events if isinstance(event, Retrying))
        if isinstance(result, Outcome):
            left = tuple(name for name in self.files() if name.startswith(f"{conversation_id}."))
            return Seen(outcome=result, reasons=reasons, leftovers=left)
        await result.staged.durable
        content = result.staged.temporary.read_bytes()
        assert hashlib.sha256(content).hexdigest() == result.staged.sha256
        assert len(content) == result.staged.bytes
        return Seen(content=content, reasons=reasons)

    def files(self) -> list[str]:
        """Name every file below the archive."""
        return [path.name for path in self.store.root.rglob("*") if path.is_file()]


@asynccontextmanager
async def bench_at(
    url: str,
    folder: Path,
    *,
    limits: TransferLimits = PATIENT,
    attempts: int = 5,
    ca_bundle: Path | None = None,
) -> AsyncIterator[Bench]:
    """Open a session and a store."""
    store = await LocalStore.open(folder, layout=Layout.parse(DEFAULT_LAYOUT))
    try:
        connection = connection_to(url, ca_bundle=ca_bundle)
        async with Session(connection, slots=64, limits=limits) as session:
            yield Bench(session=session, store=store, attempts=attempts)
    finally:
        await store.aclose()


async def all_of(
    cases: Mapping[str, Sequence[Script]],
    folder: Path,
    *,
    limits: TransferLimits = PATIENT,
    attempts: int = 5,
) -> tuple[dict[str, Seen], dict[str, int]]:
    """Fetch a conversation for each case, all at once; return how it went, and the requests."""
    ids = {case: f"CA{number}" for number, case in enumerate(cases)}
    plans = Plans({ids[case]: scripts for case, scripts in cases.items()})
    async with (
        WireServer(plans) as server,
        bench_at(server.url(), folder, limits=limits, attempts=attempts) as bench,
        asyncio.TaskGroup() as group,
    ):
        tasks = {case: group.create_task(bench.fetch(id_)) for case, id_ in ids.items()}
    seen = {case: task.result() for case, task in tasks.items()}
    assert bench.files() == []
    assert not [case for case, each in seen.items() if each.leftovers]
    return seen, {case: plans.asked[id_] for case, id_ in ids.items()}


def cut(head: bytes, body: bytes) -> dict[str, Script]:
    """Send head and part of a body, and end the connection in each of two ways."""
    return {
        "fin": says_raw(head + body, end=Exchange.close),
        "reset": says_raw(head + body, end=Exchange.reset),
    }


HEALING: dict[str, tuple[Script, str]] = {
    **{f"{s}": (says(s), f"http_{s}") for s in (500, 502, 503, 504, 507, 599)},
    "408": (says(408), "timeout"),
    "html 503": (says(503, b"<html>", content_type="text/html"), "http_503"),
    **{
        f"{end} at byte {at}": (script, "truncated" if end == "fin" else "connection")
        for at in (0, 11, 12, 43, 44, 45, 4000, len(WAV) - 1)
        for end, script in cut(SIZED, WAV[:at]).items()
    },
    **{
        f"chunks cut by {end}": (script, "truncated" if end == "fin" else "connection")
        for end, script in cut(CHUNKS, chunked(WAV[:2000], WAV[2000:])[:-5]).items()
    },
    "chunks cut within": (says_raw(CHUNKS + chunked(WAV)[:3000]), "truncated"),
    **{
        f"unframed, cut by {end}": (script, "truncated")
        for end, script in cut(UNFRAMED, WAV[:4000]).items()
    },
    "unframed, one byte short": (says_raw(UNFRAMED + WAV[:-1]), "truncated"),
    "html at first": (says(200, b"<html></html>"), "not_audio"),
    "nothing at first": (says(200), "not_audio"),
    "204 at first": (says_raw(http_head(204)), "not_audio"),
    "garbage chunk size": (says_raw(CHUNKS + b"zz\r\n" + WAV), "protocol"),
    "no http": (says_raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol"),
    "two lengths": (
        says_raw(http_head(200, [("Content-Length", "1"), ("Content-Length", "2")]) + WAV),
        "protocol",
    ),
    "negative length": (says_raw(http_head(200, [("Content-Length", "-1")]) + WAV), "protocol"),
    "huge header": (says_raw(http_head(200, [("X-Huge", "x" * 100_000)]) + WAV), "protocol"),
}


async def test_a_transient_fault_heals_with_one_more_request(tmp_path: Path) -> None:
    """Whatever goes wrong once, the next attempt's bytes are the ones on the disk, whole."""
    cases = {case: (script, GOOD) for case, (script, _) in HEALING.items()}
    seen, requests = await all_of(cases, tmp_path)
    assert {case: each.reasons for case, each in seen.items()} == {
        case: (reason,) for case, (_, reason) in HEALING.items()
    }
    assert {case for case, each in seen.items() if each.content != WAV} == set()
    assert requests == dict.fromkeys(HEALING, 2)


@pytest.mark.parametrize(
    "script", [resets, closes, says_raw(SIZED[:20], end=Exchange.reset)], ids=lambda _: ""
)
async def test_a_connection_lost_before_the_answer_heals(script: Script, tmp_path: Path) -> None:
    """Once is as good as a dead idle connection and costs nothing; twice costs an attempt."""
    cases = {"once": (script, GOOD), "twice": (script, script, GOOD)}
    seen, requests = await all_of(cases, tmp_path, attempts=2)
    assert {each.content for each in seen.values()} == {WAV}
    assert {case: each.reasons for case, each in seen.items()} == {
        "once": (),
        "twice": ("connection",),
    }
    assert requests == {"once": 2, "twice": 3}


def coded(status: int, code: str = "SOME_CODE") -> Script:
    """Refuse in PolyAI's own words."""
    envelope = {"success": False, "error_code": code, "error_message": "no", "error_id": "e-1"}
    return says_json(status, envelope)


REFUSALS: dict[str, tuple[Script, str, tuple[int, str | None]]] = {
    **{
        f"{status} {code}": (coded(status, code), reason, (status, code))
        for status, code, reason in (
            (400, "CONVERSATIONS_VALIDATION_FAILED", "http_400"),
            (403, "USER_ACCESS_FORBIDDEN", "forbidden"),
            (404, "CONVERSATIONS_NOT_FOUND", "unknown_conversation"),
            (404, "5001", "unknown_conversation"),
            (404, "A_NEW_CODE", "http_404"),
            *((s, "SOME_CODE", f"http_{s}") for s in (405, 410, 415, 422, 451, 501, 505)),
        )
    },
    "html": (says(400, b"<html>Bad Request</html>"), "http_400", (400, None)),
    "empty": (says(410), "http_410", (410, None)),
    "unframed": (says_raw(http_head(418) + b"teapot"), "http_418", (418, None)),
}


async def test_a_permanent_refusal_is_asked_for_once(tmp_path: Path) -> None:
    """Never retried, and reported with status, code and a support id."""
    seen, requests = await all_of({case: (r[0],) for case, r in REFUSALS.items()}, tmp_path)
    assert requests == dict.fromkeys(REFUSALS, 1)
    assert {case: each.failure for case, each in seen.items()} == {
        case: (Status.FAILED, reason, 1) for case, (_, reason, _) in REFUSALS.items()
    }
    evidence = {case: each.outcome.evidence for case, each in seen.items() if each.outcome}
    assert {case: (e.http_status, e.error_code) for case, e in evidence.items()} == {
        case: told for case, (_, _, told) in REFUSALS.items()
    }
    own = {case for case, e in evidence.items() if e.correlation_id != "e-1"}
    assert own == {"html", "empty", "unframed"}
    assert all(evidence[case].correlation_id for case in own)


HEADER_ONLY = riff((b"fmt ", WAV[20:36]), (b"data", b""))
LONG = resized(WAV, len(WAV) + 1000)


def sends(body: bytes, **headers: str) -> Script:
    """Answer 200 with a framed body."""
    return says(200, body, content_type="audio/wav", **headers)


async def _endless(exchange: Exchange) -> None:
    await exchange.send(CHUNKS)
    piece = b"%x\r\n%b\r\n" % (len(WAV), WAV)
    for _ in range(1000):
        await exchange.send(piece)


NEVER_STORED: dict[str, tuple[Script, str, int]] = {
    "html": (says(200, b"<!doctype html><p>Sign in", content_type="text/html"), "not_audio", 3),
    "html as wav": (sends(b"<html>" + WAV), "not_audio", 3),
    "json": (says_json(200, {"url": "https://elsewhere"}), "not_audio", 3),
    "empty": (sends(b""), "not_audio", 3),
    "empty, unframed": (says_raw(UNFRAMED), "not_audio", 3),
    "one byte": (sends(b"X"), "not_audio", 3),
    "mp3": (sends(b"ID3\x04" + WAV), "not_audio", 3),
    "avi": (sends(WAV[:8] + b"AVI " + WAV[12:]), "not_audio", 3),
    "201": (says(201, WAV), "not_audio", 3),
    "204": (says_raw(http_head(204)), "not_audio", 3),
    "206": (says(206, WAV, content_range=f"bytes 0-{len(WAV) - 1}/{len(WAV)}"), "not_audio", 3),
    "304": (says_raw(http_head(304)), "not_audio", 3),
    "gzip": (sends(gzip.compress(WAV), content_encoding="gzip"), "encoding", 1),
    "gzip in name only": (sends(WAV, content_encoding="gzip"), "encoding", 1),
    "br": (sends(WAV, content_encoding="br"), "encoding", 1),
    "gzip unannounced": (sends(gzip.compress(WAV)), "not_audio", 3),
    "stated too large": (
        says_raw(http_head(200, [("Content-Length", "5000000000")]) + WAV),
        "too_large",
        1,
    ),
    "endless chunks": (_endless, "too_large", 1),
    "12 bytes": (sends(WAV[:12]), "truncated", 5),
    "header only": (sends(WAV[:44]), "truncated", 5),
    "streamed header only": (sends(resized(WAV, STREAMED)[:44]), "truncated", 5),
    "size above the bytes": (sends(LONG), "truncated", 5),
    "size above the bytes, chunked": (says_raw(CHUNKS + chunked(LONG)), "truncated", 5),
    "size above the bytes, unframed": (says_raw(UNFRAMED + LONG), "truncated", 5),
    "streamed and unframed": (says_raw(UNFRAMED + resized(WAV, STREAMED)), "truncated", 5),
    "streamed with zeros and unframed": (says_raw(UNFRAMED + resized(WAV, 0)), "truncated", 5),
    "always cut": (says_raw(SIZED + WAV[:-1]), "truncated", 5),
    "always reset": (resets, "connection", 5),
    "always 500": (says(500), "http_500", 5),
    "always garbage": (says_raw(b"\x16\x03\x01\x02\r\n\r\n"), "protocol", 2),
}


async def test_what_is_no_whole_recording_is_never_stored(tmp_path: Path) -> None:
    """It leaves no byte, is told by its reason, and costs no more requests than may help."""
    limits = TransferLimits(connect_s=5, head_s=10, read_s=5, max_body_bytes=10**6)
    cases = {case: (script,) for case, (script, _, _) in NEVER_STORED.items()}
    seen, requests = await all_of(cases, tmp_path, limits=limits)
    assert {case: each.failure for case, each in seen.items()} == {
        case: (Status.FAILED, reason, attempts)
        for case, (_, reason, attempts) in NEVER_STORED.items()
    }
    assert {case: each.reasons for case, each in seen.items()} == {
        case: (reason,) * (attempts - 1) for case, (_, reason, attempts) in NEVER_STORED.items()
    }
    # aiohttp asks once more by itself when a connection is lost before the answer.
    expected = {case: attempts for case, (_, _, attempts) in NEVER_STORED.items()}
    assert requests == expected | {"always reset": 10}


KEPT: dict[str, tuple[bytes, Script | None]] = {
    **{
        f"as {kind}": (WAV, says(200, WAV, content_type=kind))
        for kind in ("text/html", "application/json", "audio/mpeg", "nonsense;;")
    },
    "without a type": (WAV, says(200, WAV)),
    "identity encoding": (WAV, sends(WAV, content_encoding="identity")),
    "μ-law": (mulaw_wav("m"), None),
    "LIST first": (listed_wav("l"), None),
    "streamed sizes": (resized(WAV, STREAMED), None),
    "zero sizes": (resized(WAV, 0), None),
    "no audio, and says so": (HEADER_ONLY, None),
    "bytes behind the data": (WAV + b"trailing", None),
    "chunked": (WAV, says_raw(CHUNKS + chunked(WAV[:1], WAV[1:13], WAV[13:]))),
    "streamed sizes, chunked": (
        resized(WAV, STREAMED),
        says_raw(CHUNKS + chunked(resized(WAV, STREAMED))),
    ),
    "unframed": (WAV, says_raw(UNFRAMED + WAV)),
    "unframed and reset": (WAV, says_raw(UNFRAMED + WAV, end=Exchange.reset)),
    "unframed μ-law": (mulaw_wav("m"), says_raw(UNFRAMED + mulaw_wav("m"))),
}


async def test_a_whole_recording_is_kept_byte_for_byte(tmp_path: Path) -> None:
    """Bytes decide, not their label; and whatever form they have, they stay as they are."""
    cases = {case: (script or sends(body),) for case, (body, script) in KEPT.items()}
    seen, requests = await all_of(cases, tmp_path)
    assert {case for case, (body, _) in KEPT.items() if seen[case].content != body} == set()
    assert requests == dict.fromkeys(KEPT, 1)


# Slowness.


async def _drips(exchange: Exchange) -> None:
    await exchange.send(SIZED)
    await exchange.drip(WAV, every_s=0.05)


STALLS: dict[str, tuple[Script, str]] = {
    "silent": (hangs, "timeout"),
    "silent after the head": (says_raw(SIZED, end=hangs), "timeout"),
    "silent in the body": (says_raw(SIZED + WAV[:100], end=hangs), "timeout"),
    "silent in a chunk": (says_raw(CHUNKS + chunked(WAV)[:500], end=hangs), "timeout"),
    "dripping": (_drips, "stalled"),
}


async def test_slowness_is_given_up_and_heals(tmp_path: Path) -> None:
    """A transfer that never ends is ended, and the next attempt brings the recording."""
    cases = {case: (script, GOOD) for case, (script, _) in STALLS.items()}
    seen, requests = await all_of(cases, tmp_path, limits=QUICK)
    assert {case: each.reasons for case, each in seen.items()} == {
        case: (reason,) for case, (_, reason) in STALLS.items()
    }
    assert {each.content for each in seen.values()} == {WAV}
    assert requests == dict.fromkeys(STALLS, 2)


async def test_slowness_that_stays_costs_its_attempts_and_no_more(tmp_path: Path) -> None:
    """After the last one the recording has failed, and nothing of it is left."""
    cases = {case: (script,) for case, (script, _) in STALLS.items()}
    seen, requests = await all_of(cases, tmp_path, limits=QUICK, attempts=2)
    assert {case: each.failure for case, each in seen.items()} == {
        case: (Status.FAILED, reason, 2) for case, (_, reason) in STALLS.items()
    }
    assert requests == dict.fromkeys(STALLS, 2)


async def test_dead_idle_connections_cost_no_attempt(tmp_path: Path) -> None:
    """A server that restarts between two recordings is not noticed."""
    async with WireServer(Plans()) as server, bench_at(server.url(), tmp_path) as bench:
        first = await bench.fetch("CA1")
        await server.drop_connections()
        second = await bench.fetch("CA2")
    assert first.content == wav_of("CA1", "agent")
    assert second.content == wav_of("CA2", "agent")
    assert (first.reasons, second.reasons, server.connections) == ((), (), 2)


# Throttling.


def busy(status: int, **headers: str) -> Script:
    """Answer without a body; headers may hold any text."""
    named = [
        (n.replace("_", "-").title(), v.encode().decode("latin-1")) for n, v in headers.items()
    ]
    return says_raw(http_head(status, [("Content-Length", "0"), *named]), end=_keeps)


async def _keeps(_: Exchange) -> None:
    return


AT_TEN = "Sun, 22 Nov 2026 10:00:00 GMT"
WAITS: dict[str, tuple[Script, float]] = {
    "seconds": (busy(429, retry_after="1"), 1.0),
    "503 with seconds": (busy(503, retry_after="1"), 1.0),
    "date": (busy(429, retry_after="Sun, 22 Nov 2026 10:00:01 GMT", date=AT_TEN), 1.0),
    "date of RFC 850": (busy(429, retry_after="Sunday, 22-Nov-26 10:00:01 GMT", date=AT_TEN), 1.0),
    "date of asctime": (busy(429, retry_after="Sun Nov 22 10:00:01 2026", date=AT_TEN), 1.0),
    "date gone by": (busy(429, retry_after=AT_TEN, date=AT_TEN), 0.1),
    "word": (busy(429, retry_after="soon"), 0.1),
    "negative": (busy(429, retry_after="-5"), 0.1),
    "zero": (busy(429, retry_after="0"), 0.1),
    "other digits": (busy(429, retry_after="٣٠٠"), 0.1),
    "fraction": (busy(429, retry_after="300.5"), 0.1),
    "nothing": (busy(429), 0.1),
}


async def test_throttling_is_waited_for_and_costs_no_attempt(tmp_path: Path) -> None:
    """The gate waits at least what was asked, or its own backoff when that is nonsense."""
    ids = {case: f"CA{number}" for number, case in enumerate(WAITS)}
    plans = Plans({ids[case]: (script, GOOD) for case, (script, _) in WAITS.items()})
    async with (
        WireServer(plans) as server,
        bench_at(server.url(), tmp_path, attempts=1) as bench,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(bench.fetch(id_)) for id_ in ids.values()]
    assert {task.result().content for task in tasks} == {WAV}
    assert {task.result().reasons for task in tasks} == {("throttled",)}
    waited = {case: plans.times[id_][1] - plans.times[id_][0] for case, id_ in ids.items()}
    assert [case for case, (_, least_s) in WAITS.items() if waited[case] < least_s] == []
    assert [case for case, seconds in waited.items() if seconds > 4] == []


async def test_a_wait_beyond_a_quarter_of_an_hour_is_left_to_a_later_run(tmp_path: Path) -> None:
    """The recording is deferred with the time it is due again; nobody sits it out."""
    asked = ("901", "86400", "9" * 21, "Mon, 23 Nov 2099 10:00:00 GMT")
    seen, requests = await all_of(
        {each: (busy(429, retry_after=each),) for each in asked}, tmp_path
    )
    assert requests == dict.fromkeys(asked, 1)
    assert {each.failure for each in seen.values()} == {(Status.DEFERRED, "throttled", 1)}
    due = {case: each.outcome.next_try_at for case, each in seen.items() if each.outcome}
    least = datetime.now(UTC) + timedelta(seconds=840)
    assert [case for case, at in due.items() if at is None or at < least] == []


# Redirects.


async def test_a_redirect_to_another_origin_is_followed_without_the_key(tmp_path: Path) -> None:
    """The recording comes from there; the key and our id went to the configured origin only."""
    async with WireServer(GOOD) as storage:
        away = says(302, location=f"{storage.url()}/bucket/object?X-Signature=abc%2Fdef")
        async with WireServer(away) as server, bench_at(server.url(), tmp_path) as bench:
            assert (await bench.fetch()).content == WAV
    assert server.heads[0].header("x-api-key") == CANARY
    assert [head.target for head in storage.heads] == ["/bucket/object?X-Signature=abc%2Fdef"]
    assert dict(storage.heads[0].headers).keys() == {
        "Host",
        "Accept",
        "Accept-Encoding",
        "User-Agent",
    }
    assert CANARY.encode() not in storage.heads[0].raw


async def test_a_redirect_at_home_keeps_the_key(tmp_path: Path) -> None:
    """A path of the same origin is asked for as the first one was."""
    scripts = (says(307, location="/v2/elsewhere"), GOOD)
    async with WireServer(*scripts) as server, bench_at(server.url(), tmp_path) as bench:
        assert (await bench.fetch()).content == WAV
    assert [head.header("x-api-key") for head in server.heads] == [CANARY, CANARY]
    assert server.targets[1] == "/v2/elsewhere"


REFUSED_LOCATIONS = (
    *("", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://user:word@127.0.0.1/x"),
    *("http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/x", "http://example.org/x"),
    *("http://[::ffff:169.254.169.254]/x", "http://0.0.0.0/x", "/with a space", "//[/"),
)


async def test_a_redirect_that_leads_nowhere_good_is_refused(tmp_path: Path) -> None:
    """Failed at the first answer, with `redirect`."""
    cases: dict[str, list[Script]] = {
        location: [says(302, location=location)] for location in REFUSED_LOCATIONS
    }
    seen, requests = await all_of(cases | {"none": [says(302)]}, tmp_path)
    assert {each.failure for each in seen.values()} == {(Status.FAILED, "redirect", 1)}
    assert set(requests.values()) == {1}
    assert {each.outcome.evidence.http_status for each in seen.values() if each.outcome} == {302}


@pytest.mark.parametrize(
    ("locations", "requests"), [(["/loop"], 2), ([f"/hop/{n}" for n in range(9)], 4)]
)
async def test_redirects_without_an_end_are_left(
    locations: list[str], requests: int, tmp_path: Path
) -> None:
    """In circles, or more than three hops."""
    scripts = [says(302, location=location) for location in locations]
    async with WireServer(*scripts) as server, bench_at(server.url(), tmp_path) as bench:
        seen = await bench.fetch()
    assert seen.failure == (Status.FAILED, "redirect", 1)
    assert len(server.heads) == requests


async def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path) -> None:
    """Not one byte goes out unencrypted, though the place is this machine."""
    authority = Certificates()
    bundle = authority.write_bundle(tmp_path)
    async with WireServer(GOOD) as plain:
        script = says(302, location=f"{plain.url()}/x")
        async with (
            WireServer(script, tls=authority.context()) as server,
            bench_at(server.url(), tmp_path / "archive", ca_bundle=bundle) as bench,
        ):
            seen = await bench.fetch()
    assert seen.failure == (Status.FAILED, "redirect", 1)
    assert (len(server.heads), plain.connections) == (1, 0)


# What concerns the whole run leaves as an error.


async def test_a_refused_key_is_one_request_and_an_error(tmp_path: Path) -> None:
    """401 is not retried, and the error names the key's source, never the key."""
    refused = coded(401, "AUTH_USER_INVALID_TOKEN")
    async with WireServer(refused) as server, bench_at(server.url(), tmp_path) as bench:
        with pytest.raises(KeyRefusedError) as caught:
            await bench.fetch()
    assert len(server.heads) == 1
    assert "POLYAI_API_KEY" in str(caught.value)
    assert CANARY not in str(caught.value)
    assert caught.value.correlation_id == "e-1"


async def test_ten_forbidden_in_a_row_are_the_keys_fault(tmp_path: Path) -> None:
    """Nine are nine failures; the tenth ends the run."""
    async with WireServer(coded(403)) as server, bench_at(server.url(), tmp_path) as bench:
        fetcher = bench.fetcher(lambda _: None)
        for number in range(9):
            seen = await bench.fetch(f"CA{number}", by=fetcher)
            assert seen.failure == (Status.FAILED, "forbidden", 1)
        with pytest.raises(KeyRefusedError):
            await bench.fetch("CA9", by=fetcher)
    assert len(server.heads) == 10


@pytest.mark.parametrize(
    "script",
    [says(404, b"<html>Not Found</html>"), coded(404, "PROJECT_NOT_FOUND")],
    ids=["host", "agent"],
)
async def test_a_wrong_host_or_agent_ends_the_run_after_three(
    script: Script, tmp_path: Path
) -> None:
    """Three such answers in a row, to one recording or to several, and nothing more is asked."""
    async with WireServer(script) as server, bench_at(server.url(), tmp_path) as bench:
        with pytest.raises(WrongHostError):
            await bench.fetch()
        assert bench.files() == []
    assert len(server.heads) == 3


async def test_recordings_that_failed_before_do_not_bring_the_host_down(tmp_path: Path) -> None:
    """A backlog of nothing but broken recordings must not look like an outage every night."""
    async with WireServer(coded(500)) as server, bench_at(server.url(), tmp_path) as bench:
        fetcher = bench.fetcher(lambda _: None)
        for number in range(30):
            seen = await bench.fetch(f"CA{number}", by=fetcher, failed_for="http_500")
            assert seen.failure == (Status.FAILED, "http_500", 5)
    assert len(server.heads) == 150


async def test_no_answer_at_all_is_the_hosts_fault_whatever_failed_before(tmp_path: Path) -> None:
    """The rest of last night's outage must still see tonight's."""
    gate = Gate("host", GateOptions(credit=5.0))
    async with WireServer(resets) as server, bench_at(server.url(), tmp_path) as bench:
        fetcher = bench.fetcher(lambda _: None, gate)
        # From then on it would go on probing, for as long as the run is patient.
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                for number in range(4):
                    await bench.fetch(f"CA{number}", by=fetcher, failed_for="connection")
    assert gate.is_down


@pytest.mark.parametrize(
    ("script", "failed_for", "told"),
    [
        (resets, None, "connection"),
        (says(503), None, "http_503"),
        (says(500), "http_500", "http_500"),
        (resets, "http_500", None),
        (says(503), "truncated", None),
    ],
    ids=["silence", "503", "500 again", "silence after 500", "503 after another"],
)
async def test_what_was_being_retried_is_told_with_its_attempts(
    script: Script, failed_for: str | None, told: str | None, tmp_path: Path
) -> None:
    """It is open, and was asked for; what an earlier run found out about it stays."""
    async with WireServer(script) as server, bench_at(server.url(), tmp_path) as bench:
        again = asyncio.Event()
        fetcher = bench.fetcher(lambda event: again.set() if isinstance(event, Retrying) else None)
        fetching = asyncio.create_task(bench.fetch("CA1", by=fetcher, failed_for=failed_for))
        await again.wait()
        fetching.cancel()
        with suppress(asyncio.CancelledError):
            await fetching
    seen = [(each.status, each.reason, each.evidence.attempts > 0) for each in fetcher.suspects()]
    assert seen == ([] if told is None else [(Status.OPEN, told, True)])


async def test_each_answer_is_told_of(tmp_path: Path) -> None:
    """Status and time of every answer reach the summary's figures."""
    events: list[Event] = []
    async with (
        WireServer(says(500), says(200), GOOD) as server,
        bench_at(server.url(), tmp_path) as bench,
    ):
        await bench.fetch(by=bench.fetcher(events.append))
    told = [event for event in events if isinstance(event, Answered)]
    assert [event.http_status for event in told] == [500, 200, 200]
    assert {event.host for event in told} == {f"127.0.0.1:{server.port}"}


async def test_a_wrong_label_is_noted_once(tmp_path: Path) -> None:
    """Whoever wonders about the type learns that the bytes decided; once, not a million times."""
    script = says(200, WAV, content_type="text/html; charset=utf-8")
    events: list[Event] = []
    async with (
        WireServer(script, script, script) as server,
        bench_at(server.url(), tmp_path) as bench,
    ):
        fetcher = bench.fetcher(events.append)
        for number in range(3):
            assert (await bench.fetch(f"CA{number}", by=fetcher)).content == WAV

    notes = [event.text for event in events if isinstance(event, Noted)]
    assert len(notes) == 1
    assert "text/html" in notes[0]
