"""What `doctor --probe` says of what a server really sends, and that nothing of it stays."""

import struct
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.doctor.probe import riff_words
from bulkaudio.doctor.window import HEAD_BYTES, TAIL_BYTES, Window
from bulkaudio.model import Audio
from bulkaudio.simulator import Calls, Simulator
from bulkaudio.simulator.calls import Form
from bulkaudio.wav import prove
from tests.audio import pcm_wav
from tests.doctored import NO_CONVERSATION, ONE_PAGE, Doctored, refusal
from tests.forked import Ended, Order, run_forked
from tests.inside import Inside
from tests.program import environment
from tests.wire import (
    Exchange,
    Script,
    WireServer,
    chunked,
    http_head,
    in_thread,
    says,
    says_raw,
)

ID = "CA0123456789abcdef0123456789abcdef"


@pytest.fixture
def doctored(inside: Inside) -> Doctored:
    """Return the program with both keys."""
    return Doctored(inside)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Serve some short calls."""
    async with Simulator(calls=Calls(count=40, speech_s=(0.5, 8.0))) as simulator:
        yield simulator


async def probed(simulator: Simulator, cwd: Path, id_: str, *more: str, **env: str) -> Ended:
    """Run it against the simulator, in a process of its own."""
    words = ("--region", "uk", "--account", "ws-1", "--agent", "PROJECT-1", "--probe", id_)
    env = environment(simulator, **env)
    ended = await run_forked(Order(arguments=("doctor", *words, *more), env=env, cwd=cwd))
    assert (ended.tasks, ended.threads, ended.descriptors) == ((), (), ())
    assert env["POLYAI_API_KEY"] not in ended.stdout + ended.stderr
    return ended


def serving(script: Script) -> Script:
    """Answer what the doctor asks beside the recording, and the recording by a script."""

    async def serve(exchange: Exchange) -> None:
        target = exchange.head.target
        is_known = ID in target
        await (script if is_known else NO_CONVERSATION if "/audio" in target else ONE_PAGE)(
            exchange
        )

    return serve


def probe_of(doctored: Doctored, script: Script, code: int) -> Mapping[str, Any]:
    """Probe a scripted recording; return all that is told."""
    with in_thread(WireServer(serving(script))) as server:
        doctored.reach(server.url())
        done = doctored.run("--json", "--probe", ID)
    assert done.code == code, done.summary
    found: Mapping[str, Any] = done.summary
    return found


def check_of(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return one check."""
    (found,) = (check for check in document["checks"] if check["name"] == name)
    return dict(found)


# Against the simulator.


async def test_a_key_with_access_to_personal_data(simulator: Simulator, tmp_path: Path) -> None:
    """Both are fetched, they differ, and nothing of either is on the disk afterwards."""
    temporary, work = tmp_path / "tmp", tmp_path / "work"
    temporary.mkdir()
    work.mkdir()
    id_ = _with_something_private(simulator)
    done = await probed(simulator, work, id_, "--json", "--out", "archive", TMPDIR=str(temporary))
    assert done.code == 0, done.stdout
    probe = done.summary["probe"]
    assert probe["differ"] is True
    whole = simulator.expected_bytes(id_, "combined")
    assert probe["original"]["bytes"] == len(whole)
    assert probe["original"]["content_length"] in {len(whole), None}
    assert (probe["original"]["codec"], probe["original"]["sample_rate"]) in {
        ("pcm", 8000),
        ("mulaw", 8000),
    }
    assert probe["original"]["sha256"] != probe["redacted"]["sha256"]
    assert list(temporary.iterdir()) == list(work.iterdir()) == []
    # Two questions of every diagnosis, the two recordings, and the first bytes of one.
    assert simulator.requests.total == 5
    asked = [heard.target for heard in simulator.requests.recent if id_ in heard.target]
    assert [target.partition("redacted=")[2] for target in asked] == ["false", "true", "false"]


def _with_something_private(simulator: Simulator) -> str:
    for id_ in simulator.calls.recorded_ids():
        redacted = simulator.expected_bytes(id_, "combined", redacted=True)
        if simulator.expected_bytes(id_, "combined") != redacted:
            return id_
    raise AssertionError("no simulated call has anything to redact")


async def test_a_key_without_it_is_inconclusive(simulator: Simulator, tmp_path: Path) -> None:
    """The same bytes twice prove nothing, and that is what is said."""
    id_ = _with_something_private(simulator)
    done = await probed(simulator, tmp_path, id_, "--json", POLYAI_API_KEY=simulator.redacted_key)
    assert done.code == 0, done.stdout
    assert done.summary["probe"]["differ"] is False
    check = check_of(done.summary, "probe.difference")
    assert check["status"] == "skip"
    assert "inconclusive" in check["detail"]


@pytest.mark.parametrize(
    ("form", "riff"),
    [
        (Form.PCM, "RIFF, exact"),
        (Form.MULAW, "RIFF, exact"),
        (Form.STREAMED_ZERO, "RIFF, placeholder 0"),
        (Form.STREAMED_MAX, "RIFF, placeholder 0xFFFFFFFF"),
    ],
)
async def test_the_form_of_a_recording_is_told(
    form: Form, riff: str, simulator: Simulator, tmp_path: Path
) -> None:
    """Exact sizes and both placeholders, μ-law and PCM, as each call has it."""
    ids = simulator.calls.recorded_ids()
    id_ = next(each for each in ids if form_of(simulator, each) is form)
    done = await probed(simulator, tmp_path, id_, "--direction", "user")
    assert done.code == 0, done.stdout
    assert f"What the server sends of {id_} (user):" in done.stdout
    facts = {line[2:16].strip(): line[16:] for line in done.stdout.splitlines()}
    assert facts["RIFF size"].startswith(riff)
    codec = "mulaw" if form is Form.MULAW else "pcm"
    assert facts["audio"].startswith(f"{codec}, 8,000 Hz, mono")


def form_of(simulator: Simulator, id_: str) -> Form | None:
    """Return in which form a call is served."""
    call = simulator.calls.find(id_)
    return None if call is None else call.form


async def test_a_call_without_a_recording(simulator: Simulator, tmp_path: Path) -> None:
    """It is told which of the two it is; exit code 2: another one has to be named."""
    done = await probed(simulator, tmp_path, ID, "--json")
    assert done.code == 2
    check = check_of(done.summary, "probe.original")
    assert "does not know this conversation" in check["detail"]
    assert check["support_id"]


# Against a script.


def _rich(body: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        headers = [("Content-Type", "audio/x-wav"), ("ETag", '"one"'), ("Accept-Ranges", "bytes")]
        if exchange.head.header("Range"):
            head = [
                *headers,
                ("Content-Range", f"bytes 0-43/{len(body)}"),
                ("Content-Length", "44"),
            ]
            await exchange.send(http_head(206, head) + body[:44])
            return
        head = [*headers, ("Transfer-Encoding", "chunked")]
        await exchange.send(http_head(200, head) + chunked(body[:1000], body[1000:]))

    return script


def test_headers_and_ranges_are_told(doctored: Doctored) -> None:
    """All that a client could make use of."""
    document = probe_of(doctored, _rich(pcm_wav(1.5)), code=0)
    take = document["probe"]["original"]
    assert (take["framing"], take["content_length"]) == ("chunked", None)
    assert (take["etag"], take["accept_ranges"]) == ('"one"', "bytes")
    assert take["content_type"] == "audio/x-wav"
    assert (take["seconds"], take["channels"], take["riff_size"]) == (1.5, 1, "RIFF, exact")
    assert document["probe"]["ranges"] == "answered: 206, bytes 0-43/24044"
    assert document["probe"]["differ"] is False


BROKEN: Mapping[str, tuple[Script, int, str]] = {
    "web page": (says(200, b"<html>please wait</html>"), 5, "no WAV"),
    "cut": (says_raw(http_head(200) + pcm_wav(1.0)[:9000]), 5, "cut short"),
    "reset": (
        says_raw(http_head(200, [("Content-Length", "16044")]) + pcm_wav(1.0)[:9000]),
        5,
        "did not arrive",
    ),
    "not yet": (refusal(404, "CONVERSATIONS_RECORDING_NOT_FOUND"), 2, "or not yet"),
    "forbidden": (refusal(403, "USER_ACCESS_FORBIDDEN"), 4, "may not read"),
    "broken": (refusal(500, "OOPS"), 5, "500 OOPS"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_recording(case: str, doctored: Doctored) -> None:
    """Each is told by its own words, and nothing is compared."""
    script, code, words = BROKEN[case]
    document = probe_of(doctored, script, code)
    check = check_of(document, "probe.original")
    assert check["status"] == "fail"
    assert words in check["detail"]
    assert document["probe"]["differ"] is None


def test_without_an_accepted_key_nothing_is_fetched(doctored: Doctored) -> None:
    """One fault is one failure: the key's."""
    with in_thread(WireServer(refusal(401, "AUTH_USER_INVALID_TOKEN"))) as server:
        doctored.reach(server.url())
        done = doctored.run("--json", "--probe", ID)
        assert len(server.heads) == 2
    assert done.code == 4
    assert check_of(done.summary, "probe.original")["status"] == "skip"
    assert done.summary["probe"] is None


# A window on a body.


@pytest.mark.parametrize("size", [10, HEAD_BYTES - 44, HEAD_BYTES + TAIL_BYTES, 3 * HEAD_BYTES])
def test_a_large_recording_is_judged_by_its_ends(size: int) -> None:
    """Constant memory, and the same verdict as with all of it; chunks behind the audio too."""
    body = pcm_wav(size / 16000)
    tail = b"LIST" + struct.pack("<I", 4) + b"INFO"
    body = body[:4] + struct.pack("<I", len(body) + len(tail) - 8) + body[8:] + tail
    window = Window()
    for start in range(0, len(body), 70_001):
        window.take(body[start : start + 70_001])

    def read_all(offset: int, count: int) -> bytes:
        return body[offset : offset + count]

    found = prove(window.read_at, window.total_bytes, framed=False)
    assert isinstance(found, Audio)
    assert found == prove(read_all, len(body), framed=False)
    assert riff_words(window.read_at(0, 12), window.total_bytes) == "RIFF, exact"


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (92, "RIFF, exact"),
        (0, "RIFF, placeholder 0"),
        (0xFFFFFFFF, "RIFF, placeholder 0xFFFFFFFF"),
        (1092, "RIFF, long by 1,000 bytes"),
        (90, "RIFF, short by 2 bytes"),
    ],
)
def test_words_for_riff_sizes(size: int, words: str) -> None:
    """Exact, a stream's placeholder, or off by so much."""
    assert riff_words(b"RIFF" + struct.pack("<I", size) + b"WAVE", 100) == words


def test_no_words_for_what_is_no_wav() -> None:
    """Nothing is read into it."""
    assert riff_words(b"<html>", 6) is None
