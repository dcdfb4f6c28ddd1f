"""The simulator, as a client finds it on its two ports: documented answers, and real breakage."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.cli.simulate import latency_s
from bulkaudio.errors import UsageError
from bulkaudio.model import Audio, Direction
from bulkaudio.simulator import Calls, Fault, Faults, Key, Simulator, What, recordings, speech
from bulkaudio.simulator.calls import Form
from bulkaudio.wav import prove

SHORT = (0.1, 0.3)
GATEWAY = {"message": "no Route matched with those values"}


@dataclass(frozen=True, kw_only=True)
class Got:
    """A whole answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


class Client:
    """A plain client, with the simulator's key unless told otherwise."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def get(self, url: str, *, key: str | None = None, **query: str) -> Got:
        """Ask for one URL, with the given key."""
        headers = {"x-api-key": self.simulator.key if key is None else key}
        async with self.session.get(url, headers=headers, params=query) as response:
            body = await response.read()
            return Got(status=response.status, body=body, headers=response.headers)

    async def audio(self, conversation_id: str, *, key: str | None = None, **query: str) -> Got:
        """Ask for a recording."""
        return await self.get(self.audio_url(conversation_id), key=key, **query)

    def audio_url(self, conversation_id: str) -> str:
        """Name a recording."""
        base = f"{self.simulator.audio_url}/v1/agents/{self.simulator.agent}"
        return f"{base}/conversations/{conversation_id}/audio"

    async def page(self, *, key: str | None = None, **query: str) -> Got:
        """Ask for a page of the listing."""
        path = f"/v3/{self.simulator.account}/{self.simulator.agent}/conversations"
        return await self.get(self.simulator.conversations_url + path, key=key, **query)

    async def listed(self, **query: str) -> list[dict[str, Any]]:
        """Read a listing to its end."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await self.page(**query, **cursor)).json
            found += page["conversations"]
            if page["cursor"] is None:
                return found
            cursor = {"cursor": page["cursor"]}


def reader(body: bytes) -> Callable[[int, int], bytes]:
    """Read from bytes as from a file."""
    return lambda at, size: body[at : at + size]


@asynccontextmanager
async def running(simulator: Simulator) -> AsyncIterator[Client]:
    """Run a simulator, with a client whose every request has a connection of its own."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with simulator, aiohttp.ClientSession(connector=connector) as session:
        yield Client(simulator, session)


async def test_every_form_arrives_as_expected_and_is_proven() -> None:
    """Each recording's bytes are the expected ones, and a WAV of the length that was listed."""
    calls = Calls(count=120, speech_s=SHORT, unframed_share=0.1)
    async with running(Simulator(calls=calls)) as client:
        forms: set[tuple[Form, bool]] = set()
        for id_ in calls.recorded_ids():
            call = calls.find(id_)
            assert call is not None
            got = await client.audio(id_)
            assert got.body == client.simulator.expected_bytes(id_, "combined")
            is_known = "Content-Length" in got.headers
            assert is_known == (call.is_framed and not call.form.is_chunked)
            audio = prove(reader(got.body), len(got.body), framed=call.is_framed)
            assert isinstance(audio, Audio), audio
            assert audio.seconds == pytest.approx(call.duration_s, abs=0.001)
            forms.add((call.form, call.is_framed))
    assert {form for form, _ in forms} == set(Form)
    assert (Form.PCM, False) in forms


async def test_no_two_recordings_are_alike() -> None:
    """A client that mixes recordings up, or their directions, cannot go unnoticed."""
    calls = Calls(count=300, speech_s=(0.016, 0.02))
    async with Simulator(calls=calls) as simulator:
        ids = calls.recorded_ids()
        every = {simulator.expected_bytes(i, d)[-256:] for i in ids for d in Direction}
    assert len(every) == 3 * len(ids)


def test_each_side_is_silent_while_the_other_speaks() -> None:
    """The two tracks never sound at once, and the combined one is the louder of them."""
    for index in range(20):
        call = replace(Calls(speech_s=(6.0, 9.0)).at(index), form=Form.MULAW)
        tracks = {d: recordings.render(call, d, is_redacted=False)[58:] for d in Direction}
        at = {
            side: {i for i, octet in enumerate(tracks[side][64 : call.samples]) if _is_loud(octet)}
            for side in Direction
        }
        assert at[Direction.USER]
        assert at[Direction.AGENT]
        assert not at[Direction.USER] & at[Direction.AGENT]
        assert at[Direction.COMBINED] == at[Direction.USER] | at[Direction.AGENT]


def _is_loud(octet: int) -> bool:
    return octet & 0x7F < 0x60


def test_mulaw_is_decoded_as_g711_says() -> None:
    """Silence, the extremes and a middle value come out as the standard's table has them."""
    decoded = speech.to_pcm16(bytes([0xFF, 0x7F, 0x00, 0x80, 0xF0, 0x6F]))
    samples = [
        int.from_bytes(decoded[i : i + 2], "little", signed=True) for i in range(0, len(decoded), 2)
    ]
    assert samples == [0, 0, -32124, 32124, 120, -132]


async def test_calls_are_a_function_of_the_seed() -> None:
    """The same seed gives the same calls; another gives others; ids lead back to their call."""
    first, again, other = Calls(seed=3), Calls(seed=3), Calls(seed=4)
    assert list(first.all()) == list(again.all())
    assert not set(first.ids()) & set(other.ids())
    assert [first.find(id_) for id_ in first.ids()] == list(first.all())
    assert all(other.find(id_) is None for id_ in first.ids())


@given(st.text(max_size=40) | st.from_regex(r"CA[0-9a-f]{32}", fullmatch=True))
def test_strange_ids_are_nobodys(text: str) -> None:
    """No text that was not made here is taken for a conversation."""
    assert Calls(count=10).find(text) is None


def test_calls_keep_business_hours() -> None:
    """Calls start in order, within the window, between eight and twenty o'clock."""
    since = datetime(2026, 3, 28, 13, tzinfo=UTC)
    calls = Calls(count=400, since=since, until=since + timedelta(days=2))
    starts = [call.started_at for call in calls.all()]
    assert starts == sorted(starts)
    assert {start.day for start in starts} == {28, 29, 30}
    assert all(8 <= start.hour < 20 for start in starts)
    assert since <= starts[0]
    assert starts[-1] < calls.until


async def test_listing_pages_to_its_end() -> None:
    """Pages by cursor add up to all calls of the window, each once, in order."""
    calls = Calls(count=120, speech_s=SHORT)
    async with running(Simulator(calls=calls)) as client:
        window = {"start_time": "2026-01-05T10:00:00Z", "end_time": "2026-01-06T12:00:00+00:00"}
        found = [item["id"] for item in await client.listed(limit="7", **window)]
    expected = [
        call.id
        for call in calls.all()
        if datetime(2026, 1, 5, 10, tzinfo=UTC)
        <= call.started_at
        < datetime(2026, 1, 6, 12, tzinfo=UTC)
    ]
    assert found == expected
    assert 10 < len(expected) < 120


async def test_cursor_is_stable_while_conversations_are_written() -> None:
    """Calls that appear behind the cursor shift nothing; a new listing shows them."""
    calls = Calls(count=60, late=6, speech_s=SHORT)
    early = calls.ids()
    async with running(Simulator(calls=calls)) as client:
        page = (await client.page(limit="30")).json
        calls.catch_up()
        rest = (await client.page(limit="30", cursor=page["cursor"])).json
        assert len({item["id"] for item in page["conversations"] + rest["conversations"]}) == 57
        everything = [item["id"] for item in await client.listed(limit="50")]
    assert len(early) == 54
    assert everything == [call.id for call in calls.all()]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": "0"}, "CONVERSATIONS_VALIDATION_FAILED"),
        ({"limit": "1001"}, "CONVERSATIONS_VALIDATION_FAILED"),
        ({"limit": "ten"}, "CONVERSATIONS_VALIDATION_FAILED"),
        ({"start_time": "yesterday"}, "CONVERSATIONS_VALIDATION_FAILED"),
        ({"in_progress": "maybe"}, "CONVERSATIONS_VALIDATION_FAILED"),
        ({"cursor": "x"}, "CONVERSATIONS_VALIDATION_FAILED"),
        ({"cursor": "A" * 32}, "CONVERSATIONS_VALIDATION_FAILED"),
        ({"variant_id": "VARIANT-1", "variant_name": "b"}, "CONVERSATIONS_VALIDATION_FAILED"),
        ({"colour": "blue"}, "GET_CONVERSATIONS_FILTER_PARSE_ERROR"),
    ],
)
async def test_bad_listing_queries_are_refused(query: dict[str, str], code: str) -> None:
    """What the documentation does not allow is a 400 with the envelope."""
    async with running(Simulator()) as client:
        got = await client.page(**query)
    assert got.status == 400
    assert got.json["error_code"] == code
    assert got.json["success"] is False


async def test_cursor_belongs_to_its_parameters() -> None:
    """A cursor is refused with any other parameter than those it was made with."""
    async with running(Simulator(calls=Calls(count=30))) as client:
        cursor = (await client.page(limit="5", channel="voice")).json["cursor"]
        assert (await client.page(limit="5", channel="voice", cursor=cursor)).status == 200
        assert (await client.page(limit="6", channel="voice", cursor=cursor)).status == 400
        assert (await client.page(limit="5", cursor=cursor)).status == 400


async def test_listing_filters() -> None:
    """Channel, variant, progress and environment narrow the listing down."""
    calls = Calls(count=80, chat_share=0.3, in_progress=5, speech_s=SHORT)
    every = list(calls.all())
    async with running(Simulator(calls=calls)) as client:
        chats = await client.listed(channel="chat")
        busy = await client.listed(in_progress="true")
        variant = await client.listed(variant_id="VARIANT-1")
        sandbox = await client.listed(client_env="sandbox")
    assert [c["id"] for c in chats] == [c.id for c in every if c.channel == "WEBCHAT"]
    assert [c["id"] for c in busy] == [c.id for c in every[-5:]]
    assert [c["id"] for c in variant] == [c.id for c in every if c.variant_id == "VARIANT-1"]
    assert sandbox == []


async def test_large_pages_are_streamed() -> None:
    """A page of many turns comes in chunks, a small one with its length."""
    calls = Calls(count=150, speech_s=(30.0, 40.0))
    async with running(Simulator(calls=calls)) as client:
        large, small = await client.page(), await client.page(limit="2")
    assert "Content-Length" not in large.headers
    assert len(large.json["conversations"]) == 150
    assert int(small.headers["Content-Length"]) == len(small.body)


async def test_offset_paging_where_there_are_no_cursors() -> None:
    """The older paging goes on by next_offset, to null."""
    calls = Calls(count=25, speech_s=SHORT)
    async with running(Simulator(calls=calls, has_cursors=False)) as client:
        found: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = (await client.page(limit="10", offset=str(offset))).json
            assert page["cursor"] is None
            found += [item["id"] for item in page["conversations"]]
            offset = page["next_offset"]
    assert found == calls.ids()


async def test_studio_lists_on_the_recordings_host() -> None:
    """The studio listing is camelCase and ends with a short page."""
    calls = Calls(count=25, speech_s=SHORT)
    async with running(Simulator(calls=calls)) as client:
        url = f"{client.simulator.audio_url}/v1/agents/PROJECT-1/conversations"
        page = (await client.get(url, limit="10", offset="20")).json
        one = (await client.get(f"{url}/{calls.ids()[3]}")).json
    assert [item["conversationId"] for item in page["conversations"]] == calls.ids()[20:]
    assert (page["count"], page["limit"], page["offset"]) == (5, 10, 20)
    assert one["conversationId"] == calls.ids()[3]


async def test_transcript_is_what_is_said() -> None:
    """The turns hold the phrases of the recording in order, the last one as far as it is heard."""
    calls = Calls(count=5, speech_s=(5.0, 6.0))
    async with running(Simulator(calls=calls)) as client:
        for item in await client.listed():
            call = calls.find(item["id"])
            assert call is not None
            said = [t for turn in item["turns"] for t in turn.values() if t]
            assert said == [line.text for line in call.lines]
            assert said[0] == "Hello, how can I help?"
            assert item["total_duration"] == pytest.approx(call.duration_s, abs=0.001)


async def test_redaction_depends_on_the_key() -> None:
    """A key without PII access gets redacted audio, whatever it asks for."""
    calls = Calls(count=20, speech_s=(9.0, 9.5), chat_share=0, opt_out_share=0)
    async with running(Simulator(calls=calls)) as client:
        simulator = client.simulator
        for id_ in calls.recorded_ids()[:6]:
            raw = simulator.expected_bytes(id_, "user")
            redacted = simulator.expected_bytes(id_, "user", redacted=True)
            assert raw != redacted
            assert len(raw) == len(redacted)
            for key, asked, expected in (
                (simulator.key, "false", raw),
                (simulator.key, "true", redacted),
                (simulator.redacted_key, "false", redacted),
                (simulator.redacted_key, "true", redacted),
            ):
                got = await client.audio(id_, key=key, direction="user", redacted=asked)
                assert got.body == expected


async def test_one_host_does_not_know_the_others_endpoint() -> None:
    """The most common mistake gets the gateway's own 404, before any key is looked at."""
    async with running(Simulator()) as client:
        audio, listing = client.simulator.audio_url, client.simulator.conversations_url
        id_ = client.simulator.calls.ids()[0]
        for url in (
            f"{audio}/v3/ws-1/PROJECT-1/conversations",
            f"{listing}/v1/agents/PROJECT-1/conversations/{id_}/audio",
            f"{listing}/",
        ):
            got = await client.get(url, key="wrong")
            assert (got.status, got.json) == (404, GATEWAY)


async def test_errors_carry_their_codes_and_the_support_id() -> None:
    """Each refusal has its status and code, and one id in header and envelope."""
    calls = Calls(count=40, chat_share=0.5, not_ready=1, speech_s=SHORT)
    async with running(Simulator(calls=calls)) as client:
        silent = next(call.id for call in calls.all() if call.channel == "WEBCHAT")
        id_ = calls.recorded_ids()[0]
        newest = calls.ids()[-1]
        wrong_agent = client.audio_url(id_).replace("PROJECT-1", "PROJECT-2")
        for got, status, code in (
            (await client.audio(id_, key="nobody"), 401, "AUTH_USER_INVALID_TOKEN"),
            (await client.page(key=""), 401, "AUTH_USER_INVALID_TOKEN"),
            (await client.get(wrong_agent), 404, "PROJECT_NOT_FOUND"),
            (await client.audio("{conversationId}"), 404, "CONVERSATIONS_NOT_FOUND"),
            (await client.audio(silent), 404, "CONVERSATIONS_RECORDING_NOT_FOUND"),
            (await client.audio(newest), 404, "CONVERSATIONS_RECORDING_NOT_FOUND"),
            (await client.audio(id_, direction="both"), 400, "CONVERSATIONS_VALIDATION_FAILED"),
            (await client.audio(id_, redacted="yes"), 400, "CONVERSATIONS_VALIDATION_FAILED"),
        ):
            assert (got.status, got.json["error_code"]) == (status, code)
            assert got.json["error_id"] == got.headers["X-PolyAI-Correlation-Id"]
        with pytest.raises(LookupError):
            client.simulator.expected_bytes(silent, "combined")


async def test_support_id_of_the_client_is_echoed() -> None:
    """An id that the client sends comes back."""
    async with running(Simulator()) as client:
        headers = {"X-PolyAI-Correlation-Id": "mine-1"}
        async with client.session.get(client.audio_url("x"), headers=headers) as response:
            assert response.headers["X-PolyAI-Correlation-Id"] == "mine-1"
            assert (await response.json())["error_id"] == "mine-1"


async def test_time_passes() -> None:
    """What is in progress, not ready or late becomes a listed recording."""
    calls = Calls(count=40, in_progress=2, not_ready=2, late=4, chat_share=0, opt_out_share=0)
    assert len(calls.recorded_ids()) == 40 - 2 - 2 - 4
    calls.catch_up()
    assert calls.recorded_ids() == [call.id for call in calls.all()]


async def test_slots_and_rate_throttle() -> None:
    """Requests beyond the slots, or the rate, get a 429 with Retry-After."""
    calls = Calls(count=30, speech_s=SHORT)
    async with running(Simulator(calls=calls, slots=3, latency_s=0.05)) as client:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.audio(id_)) for id_ in calls.recorded_ids()[:9]]
        statuses = Counter(task.result().status for task in tasks)
        assert statuses[429] >= 1
        assert statuses[200] >= 3
        assert client.simulator.requests.peak > 3
        client.simulator.slots, client.simulator.latency_s = None, 0.0
        client.simulator.rate = 0.01
        first, second = await client.page(), await client.page()
        assert (first.status, second.status) == (200, 429)
        assert second.headers["Retry-After"] == "1"


async def test_requests_are_counted() -> None:
    """The journal knows how often what was asked for, and how the request line looked."""
    async with running(Simulator(calls=Calls(count=9, speech_s=SHORT))) as client:
        id_ = client.simulator.calls.recorded_ids()[0]
        await client.audio(id_, direction="user")
        await client.audio(id_, direction="user")
        await client.audio("CA00")
        await client.page(limit="3")
        journal = client.simulator.requests
        assert journal.recordings() == {(id_, "user"): 2}
        assert journal.pages() == {"": 1}
        assert journal.counts[What("other")] == 1
        assert journal.statuses == {200: 3, 404: 1}
        assert journal.recent[0].target.endswith(f"/{id_}/audio?direction=user")
        assert client.simulator.key not in repr(journal)


@pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RESET, (aiohttp.ClientConnectionError,)),
        (Fault.RESET_BODY, (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)),
        (Fault.SHORT_BODY, (aiohttp.ClientPayloadError,)),
        (Fault.CUT_CHUNKS, (aiohttp.ClientPayloadError,)),
    ],
)
async def test_broken_answers_break_connections(
    fault: Fault, error: tuple[type[Exception], ...], *, is_tls: bool
) -> None:
    """Resets and cut bodies reach the client as such, over TLS as well."""
    authority = trustme.CA()
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    simulator = Simulator(
        calls=Calls(count=5, speech_s=(0.5, 0.6), is_varied=False),
        faults=Faults.always(fault),
        ssl_context=context if is_tls else None,
    )
    connector = aiohttp.TCPConnector(force_close=True, ssl=client_context)
    async with simulator, aiohttp.ClientSession(connector=connector) as session:
        client = Client(simulator, session)
        with pytest.raises(error):
            await client.audio(simulator.calls.recorded_ids()[0])
        with pytest.raises(error):
            await client.page(limit="5")
        simulator.faults = Faults.none()
        assert (await client.page(limit="5")).status == 200


async def test_other_faults_answer_as_they_say() -> None:
    """Statuses, HTML, drips and hangs follow the script, and then the recording comes."""
    calls = Calls(count=5, speech_s=SHORT)
    id_ = calls.recorded_ids()[0]
    plan = (Fault.HTTP_503, Fault.HTTP_429, Fault.HTTP_408, Fault.HTML, Fault.DRIP, Fault.HANG)
    faults = Faults(script={What("recording", id_, "agent"): plan}, pause_s=0.05)
    async with running(Simulator(calls=calls, faults=faults)) as client:
        got = [await client.audio(id_, direction="agent") for _ in range(7)]
        assert [one.status for one in got] == [503, 429, 408, 200, 200, 200, 200]
        assert got[1].headers["Retry-After"] == "1"
        assert got[3].headers["Content-Type"].startswith("text/html")
        whole = client.simulator.expected_bytes(id_, "agent")
        assert [one.body == whole for one in got[3:]] == [False, True, True, True]


async def test_closing_does_not_wait_for_hanging_clients() -> None:
    """A simulator that is closed while a request hangs ends it, at once."""
    hanging = Faults(share=1.0, kinds=(Fault.HANG,), pause_s=3600.0)
    async with asyncio.timeout(5), running(Simulator(faults=hanging)) as client:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_expect_end(client))
            await asyncio.sleep(0.1)
            assert client.simulator.requests.total == 1
            await client.simulator.aclose()
        assert task.result() is True


async def _expect_end(client: Client) -> bool:
    try:
        await client.page()
    except aiohttp.ClientConnectionError:
        return True
    return False


@pytest.mark.parametrize(
    ("faults", "most", "low", "high"),
    [(Faults.some(), 2, 0.06, 0.10), (Faults.storm(), 4, 0.35, 0.45)],
    ids=["some", "storm"],
)
def test_plans_heal(faults: Faults, most: int, low: float, high: float) -> None:
    """The share of faulty answers is as promised, and five attempts get everything."""
    plans = [faults.plan(What("recording", f"CA{i}", "user")) for i in range(5000)]
    assert max(sum(fault.costs_an_attempt for fault in plan) for plan in plans) == most
    assert all(Fault.HTML not in plan[1:] for plan in plans)
    faulty = sum(map(len, plans))
    clean = sum(not plan or plan[-1].costs_an_attempt for plan in plans)
    assert low < faulty / (faulty + clean) < high
    assert plans == [faults.plan(What("recording", f"CA{i}", "user")) for i in range(5000)]


async def test_storm_is_weathered_by_asking_again() -> None:
    """A client that asks until it has the right bytes gets them all, within nine requests."""
    calls = Calls(count=30, speech_s=SHORT)
    simulator = Simulator(calls=calls, faults=replace(Faults.storm(), pause_s=0.01))
    async with running(simulator) as client:
        for id_ in calls.recorded_ids():
            whole = simulator.expected_bytes(id_, "combined")
            for _ in range(9):
                try:
                    if (await client.audio(id_)).body == whole:
                        break
                except aiohttp.ClientError:
                    continue
            else:
                pytest.fail(f"{id_} never came")
        assert sum(n for status, n in simulator.requests.statuses.items() if status != 200) > 5


async def test_listens_on_loopback_only() -> None:
    """Other addresses are refused, and so is a port in use."""
    for host in ("0.0.0.0", "192.0.2.1", "example.com"):  # noqa: S104 - refused
        with pytest.raises(UsageError, match="loopback"):
            await Simulator(host=host).__aenter__()
    async with Simulator() as simulator:
        port = int(simulator.audio_url.rpartition(":")[2])
        with pytest.raises(UsageError, match="cannot listen"):
            await Simulator(ports=(0, port)).__aenter__()


async def test_keys_may_be_for_one_host() -> None:
    """A key that is only for recordings does not list."""
    keys = (Key(value="r", hosts=frozenset({"audio"})), Key(value="both", has_pii_access=False))
    async with running(Simulator(keys=keys)) as client:
        assert (await client.page(key="r")).status == 401
        assert (await client.page(key="both")).status == 200
        assert "both" not in repr(client.simulator.keys)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_command_serves_until_it_is_stopped(number: signal.Signals, code: int) -> None:
    """The command prints what to paste on stdout, and ends with the signal's exit code."""
    source = (
        "import sys; from bulkaudio.cli.simulate import SimulateOptions, simulate;"
        "sys.exit(simulate(SimulateOptions(port=0, conversations=5)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(number)
        rest, log = process.communicate(timeout=10)
    assert process.returncode == code
    assert rest == ""
    assert "Traceback" not in log
    names = [line.partition("=")[0] for line in lines]
    assert names[:3] == [
        "export BULKAUDIO_AUDIO_URL",
        "export BULKAUDIO_CONVERSATIONS_URL",
        "export POLYAI_API_KEY",
    ]
    assert lines[3].startswith("python -m bulkaudio download --since ")


@pytest.mark.parametrize("text", ["", "20", "-1ms", "1h", "ms", "\u0661ms", "nan s"])
def test_latency_must_be_a_duration(text: str) -> None:
    """Anything but milliseconds or seconds is refused with an example."""
    with pytest.raises(UsageError, match="20ms"):
        latency_s(text)
    assert (latency_s("20ms"), latency_s("0.5s")) == (0.02, 0.5)
