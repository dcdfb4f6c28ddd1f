"""The HTTP session, against a server that does whatever a network can do."""

import asyncio
import gzip
import io
import logging
import socket
import ssl
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.errors import HostUnavailableError, KeyRefusedError, UsageError
from bulkaudio.gate import NO_SUCH_HOST
from bulkaudio.model import Direction, Recording
from bulkaudio.policy import Reason
from bulkaudio.polyai.client import BodyTooLarge, Host, Request, Session
from bulkaudio.polyai.recordings import recording_request
from bulkaudio.polyai.request import url_of
from bulkaudio.polyai.throughput import Throughput, TransferLimits
from bulkaudio.retry import AttemptFailed
from bulkaudio.settings import Secret
from bulkaudio.version import __version__
from tests.audio import pcm_wav
from tests.sessions import (
    AUDIO,
    CANARY,
    LISTING,
    LISTING_CANARY,
    QUICK,
    api_key,
    connection_to,
    fetch,
    read,
    session_to,
)
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
    self_signed_context,
)

WAV = pcm_wav(0.5)


def recording(conversation_id: str = "CA1") -> Recording:
    """Return the agent's side of a conversation."""
    return Recording(conversation_id=conversation_id, direction=Direction.AGENT)


async def test_sends_exactly_these_headers() -> None:
    """A recording is asked for with five headers of ours, and nothing that says who we are."""
    async with WireServer(says(200, WAV, content_type="audio/wav")) as server:
        request = recording_request("PROJECT-1", recording(), redacted=True)
        assert await fetch(server.url(), request=request) == WAV
    (head,) = server.heads
    assert head.request_line == (
        "GET /v1/agents/PROJECT-1/conversations/CA1/audio?direction=agent&redacted=true HTTP/1.1"
    )
    correlation = head.header("X-PolyAI-Correlation-Id") or ""
    assert len(correlation) == 32
    assert int(correlation, 16)
    assert set(head.headers) == {
        ("Host", f"127.0.0.1:{server.port}"),
        ("x-api-key", CANARY),
        ("Accept", "audio/wav"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", f"bulkaudio/{__version__}"),
        ("X-PolyAI-Correlation-Id", correlation),
    }


async def test_each_host_gets_its_own_key_and_each_request_its_own_id() -> None:
    """The listing's key goes to the listing, the recordings' to the recordings."""
    async with WireServer(says(200)) as server, session_to(server.url()) as session:
        for request in (AUDIO, LISTING, AUDIO):
            async with session.get(request):
                pass
    assert [h.header("x-api-key") for h in server.heads] == [CANARY, LISTING_CANARY, CANARY]
    assert len({h.header("X-PolyAI-Correlation-Id") for h in server.heads}) == 3


@pytest.mark.parametrize(
    ("conversation_id", "encoded"),
    [
        ("a/b", "a%2Fb"),
        ("%2e%2e/", "%252e%252e%2F"),
        ("?x#y", "%3Fx%23y"),
        ("a\r\nX-Evil: 1\r\n\r\n", "a%0D%0AX-Evil%3A%201%0D%0A%0D%0A"),
        ("a b", "a%20b"),
        ("a;b:c@d", "a%3Bb%3Ac%40d"),
        ("\x00ü", "%00%C3%BC"),
    ],
)
async def test_an_id_stays_in_its_segment(conversation_id: str, encoded: str) -> None:
    """Whatever an id holds, the request line the server reads has the same shape."""
    async with WireServer(says(200)) as server:
        await fetch(
            server.url(), request=recording_request("p", recording(conversation_id), redacted=None)
        )
    (head,) = server.heads
    assert head.request_line == (
        f"GET /v1/agents/p/conversations/{encoded}/audio?direction=agent HTTP/1.1"
    )
    assert head.header("X-Evil") is None


@pytest.mark.parametrize("text", ["", ".", "..", "\ud800"])
def test_refuses_what_cannot_be_a_segment(text: str) -> None:
    """Dots lead elsewhere even when encoded, so they are never sent."""
    with pytest.raises(UsageError):
        url_of("https://h", recording_request(text, recording(), redacted=None))


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_text_survives_as_one_segment_and_one_parameter(segment: str, value: str) -> None:
    """What a server decodes is what was meant."""
    if segment in {".", ".."}:
        return
    request = Request(host=Host.AUDIO, segments=("a", segment, "b"), query=(("cursor", value),))
    url = url_of("https://h/base", request)
    assert url.raw_path.count("/") == 4
    assert url.parts[2:] == ("a", segment, "b") or "%2F" in url.raw_path
    assert url.raw_path_qs.isascii()
    assert not set(url.raw_path_qs) & set(" \r\n#\x00")
    assert url.query["cursor"] == value


async def test_describes_an_answer() -> None:
    """What decides about an answer is there before its body is read."""
    answer = says(
        200,
        WAV,
        content_type="audio/wav",
        date="Sun, 22 Nov 2026 10:00:00 GMT",
        x_polyai_correlation_id="abc-123",
    )
    async with (
        WireServer(answer) as server,
        session_to(server.url()) as session,
        session.get(AUDIO) as response,
    ):
        assert response.answer.http_status == 200
        assert response.answer.correlation_id == "abc-123"
        assert response.answer.date == "Sun, 22 Nov 2026 10:00:00 GMT"
        assert response.answer.received_at is not None
        assert response.content_type == "audio/wav"
        assert response.content_length == len(WAV)
        assert response.framed
        assert 0 < response.first_byte_s < 5
        assert await read(response) == WAV


@pytest.mark.parametrize(
    ("framing", "body", "framed", "length"),
    [
        ([("Content-Length", "3")], b"abc", True, 3),
        ([("Transfer-Encoding", "chunked")], chunked(b"a", b"bc"), True, None),
        ([("Connection", "close")], b"abc", False, None),
    ],
)
async def test_says_whether_a_body_was_framed(
    framing: list[tuple[str, str]],
    body: bytes,
    *,
    framed: bool,
    length: int | None,
) -> None:
    """A WAV with streamed sizes may be believed only if the transfer had an end of its own."""
    script = says_raw(http_head(200, framing) + body)
    async with (
        WireServer(script) as server,
        session_to(server.url()) as session,
        session.get(AUDIO) as response,
    ):
        assert (response.framed, response.content_length) == (framed, length)
        assert await read(response) == b"abc"


@pytest.mark.parametrize(
    ("body", "code", "message", "support_id"),
    [
        (b'{"error_code": "PROJECT_NOT_FOUND", "error_message": "no", "error_id": "id-1"}',
         "PROJECT_NOT_FOUND", "no", "id-1"),
        (b'{"error_code": 5003}', "5003", None, None),
        (b'{"error_message": "Recording not found"}',
         "CONVERSATIONS_RECORDING_NOT_FOUND", "Recording not found", None),
        (b'{"error_message": "No such conversation: not found"}',
         "CONVERSATIONS_NOT_FOUND", "No such conversation: not found", None),
        (b'{"message": "no Route matched with those values"}', None,
         "no Route matched with those values", None),
        (b"<html>404</html>", None, None, None),
        (b"", None, None, None),
        (b"[" * 60_000, None, None, None),
        (b'{"error_code": true, "error_id": ["x"], "error_message": 7}', None, None, None),
        (b'{"error_code": "A\\nB", "error_id": "a b", "error_message": "\\u001b[31m"}',
         None, "\\x1b[31m", None),
        (b'{"error": {"error_code": "X_Y", "error_message": "inner"}}', "X_Y", "inner", None),
    ],
)  # fmt: skip
async def test_reads_the_error_envelope(
    body: bytes, code: str | None, message: str | None, support_id: str | None
) -> None:
    """Both documented forms are read, and what is neither does no harm."""
    async with (
        WireServer(says(404, body)) as server,
        session_to(server.url()) as session,
        session.get(AUDIO) as response,
    ):
        assert response.answer.error_code == code
        assert response.error_message == message
        sent = server.heads[0].header("X-PolyAI-Correlation-Id")
        assert response.answer.correlation_id == (support_id or sent)


async def test_an_endless_error_page_is_read_in_part() -> None:
    """An error's body costs at most 64 KiB, and its connection."""

    async def endless(exchange: Exchange) -> None:
        await exchange.send(http_head(404, [("Transfer-Encoding", "chunked")]))
        while True:
            await exchange.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    async with WireServer(endless, says(200)) as server, session_to(server.url()) as session:
        async with session.get(AUDIO) as response:
            assert response.answer.http_status == 404
        async with session.get(AUDIO) as response:
            assert response.answer.http_status == 200
    assert server.connections == 2


async def test_an_error_that_breaks_off_is_still_that_error() -> None:
    """The status has said enough."""
    script = says_raw(http_head(503, [("Content-Length", "900"), ("Retry-After", "7")]) + b"{")
    async with (
        WireServer(script) as server,
        session_to(server.url()) as session,
        session.get(AUDIO) as response,
    ):
        assert response.answer.http_status == 503
        assert response.answer.retry_after == "7"


LENGTH = http_head(200, [("Content-Length", str(len(WAV)))])
CHUNKS = http_head(200, [("Transfer-Encoding", "chunked")])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (resets, Reason.CONNECTION),
        (closes, Reason.CONNECTION),
        (hangs, Reason.TIMEOUT),
        (says_raw(b"HTTP/1.1 200 OK\r\nContent-Le"), Reason.CONNECTION),
        (says_raw(b"HTTP/1.1 200 OK\r\nContent-Le", end=Exchange.hang), Reason.TIMEOUT),
        (says_raw(LENGTH, end=Exchange.hang), Reason.TIMEOUT),
        (says_raw(LENGTH + WAV[:100], end=Exchange.hang), Reason.TIMEOUT),
        (says_raw(LENGTH + WAV[:100]), Reason.TRUNCATED),
        (says_raw(LENGTH + WAV[:100], end=Exchange.reset), Reason.CONNECTION),
        (says_raw(LENGTH, end=Exchange.reset), Reason.CONNECTION),
        (says_raw(CHUNKS + chunked(WAV)[:-5]), Reason.TRUNCATED),
        (says_raw(CHUNKS + chunked(WAV)[:500], end=Exchange.reset), Reason.CONNECTION),
        (says_raw(b"garbage\r\n\r\n"), Reason.PROTOCOL),
        (says_raw(http_head(200, [("Content-Length", "-5")]) + WAV), Reason.PROTOCOL),
        (says_raw(http_head(200, [("Content-Length", "3"), ("Content-Length", "4")]) + b"abcd"),
         Reason.PROTOCOL),
        (says_raw(http_head(200, [("X-Big", "x" * 100_000)]) + WAV), Reason.PROTOCOL),
        (says_raw(http_head(200, [(f"X-{n}", "y") for n in range(2000)])), Reason.PROTOCOL),
    ],
)  # fmt: skip
async def test_a_broken_transfer_is_an_attempt_that_failed(script: Script, reason: Reason) -> None:
    """Wherever a transfer breaks, it ends soon, as something to try again, with a support id."""
    async with WireServer(script) as server:
        with pytest.raises(AttemptFailed) as caught:
            await fetch(server.url(), QUICK)
    assert caught.value.reason == reason
    assert caught.value.evidence.correlation_id == server.heads[-1].header(
        "x-polyai-correlation-id"
    )


@pytest.mark.parametrize("offset", [0, 1, 11, 12, 43, 44, 45, 4000, len(WAV) - 1])
async def test_a_reset_at_any_offset_is_noticed(offset: int) -> None:
    """A framed body is whole or an error, never short."""
    async with WireServer(says_raw(LENGTH + WAV[:offset], end=Exchange.reset)) as server:
        with pytest.raises(AttemptFailed):
            await fetch(server.url())


async def test_garbled_chunks_are_an_error() -> None:
    """A size that is no number ends the body, as an error."""
    async with WireServer(says_raw(CHUNKS + b"5\r\nhello\r\nzz\r\n")) as server:
        with pytest.raises(AttemptFailed) as caught:
            await fetch(server.url())
    assert caught.value.reason in {Reason.TRUNCATED, Reason.PROTOCOL}


async def test_extra_bytes_spoil_neither_this_body_nor_the_next() -> None:
    """Bytes behind the announced length are nobody's."""
    script = says_raw(
        LENGTH + WAV + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", end=hangs
    )
    async with (
        WireServer(script, says(200, b"right")) as server,
        session_to(server.url()) as session,
    ):
        async with session.get(AUDIO) as response:
            assert await read(response) == WAV
        async with session.get(AUDIO) as response:
            assert await read(response) == b"right"


async def test_a_head_that_drips_is_given_up() -> None:
    """One byte now and then never lets the read timeout expire; the head has a time of its own."""

    async def drips(exchange: Exchange) -> None:
        await exchange.drip(http_head(200, [("X-Slow", "x" * 1000)]), every_s=0.05)

    async with WireServer(drips) as server:
        with pytest.raises(AttemptFailed) as caught:
            await fetch(server.url(), QUICK)
    assert caught.value.reason == Reason.TIMEOUT


async def test_a_body_that_drips_has_stalled() -> None:
    """Bytes that keep coming, too slowly, end the attempt."""

    async def drips(exchange: Exchange) -> None:
        await exchange.send(LENGTH)
        await exchange.drip(WAV, every_s=0.05)

    async with WireServer(drips) as server:
        with pytest.raises(AttemptFailed) as caught:
            await fetch(server.url(), QUICK)
    assert caught.value.reason == Reason.STALLED


async def test_a_slow_reader_is_not_a_slow_server() -> None:
    """Time that we spend on other things is not held against the host."""
    body = pcm_wav(60)
    async with (
        WireServer(says(200, body)) as server,
        session_to(server.url(), QUICK) as session,
        session.get(AUDIO) as response,
    ):
        received = bytearray()
        async for chunk in response.chunks():
            received += chunk
            await asyncio.sleep(0.2 if len(received) < 600_000 else 0)
    assert bytes(received) == body


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 10_000)), min_size=1))
def test_a_fast_enough_body_never_stalls(pieces: list[tuple[float, int]]) -> None:
    """At or above the floor in every piece, the watchdog is silent."""
    throughput = Throughput(TransferLimits())
    assert not any(throughput.has_stalled(s, max(n, round(1000 * s) + 1)) for s, n in pieces)


def test_silence_broken_by_single_bytes_stalls() -> None:
    """One byte each 59 seconds stays below the read timeout, and below the floor."""
    assert Throughput(TransferLimits()).has_stalled(59.0, 1)


@pytest.mark.parametrize("framing", ["length", "chunks", "none"])
async def test_a_body_above_the_limit_is_refused(framing: str) -> None:
    """An announced giant costs nothing, an endless one no more than the limit."""
    received = 0

    async def endless(exchange: Exchange) -> None:
        header = {
            "length": ("Content-Length", "99999999"),
            "chunks": ("Transfer-Encoding", "chunked"),
            "none": ("Connection", "close"),
        }[framing]
        await exchange.send(http_head(200, [header]))
        while True:
            piece = b"x" * 65536
            await exchange.send(b"10000\r\n" + piece + b"\r\n" if framing == "chunks" else piece)

    async with WireServer(endless) as server, session_to(server.url(), QUICK) as session:

        async def receive() -> None:
            nonlocal received
            async with session.get(AUDIO) as response:
                async for chunk in response.chunks():
                    received += len(chunk)

        with pytest.raises(BodyTooLarge) as caught:
            await receive()
    assert caught.value.reason == Reason.TOO_LARGE
    assert received <= (0 if framing == "length" else QUICK.max_body_bytes)


async def test_compressed_bytes_stay_as_they_are() -> None:
    """Nobody asked for gzip: it is shown in the answer and never unpacked."""
    packed = gzip.compress(bytes(10**7))
    answer = says(200, packed, content_encoding="gzip")
    async with (
        WireServer(answer) as server,
        session_to(server.url()) as session,
        session.get(AUDIO) as response,
    ):
        assert response.answer.content_encoding == "gzip"
        assert await read(response) == packed


async def test_a_dead_idle_connection_heals_unseen() -> None:
    """A connection that died while it was idle costs no attempt."""
    async with WireServer(says(200, b"ok")) as server, session_to(server.url()) as session:
        for _ in range(3):
            async with session.get(AUDIO) as response:
                assert await read(response) == b"ok"
            await server.drop_connections()
    assert len(server.heads) == 3


async def test_a_server_that_resets_once_more_is_an_attempt_that_failed() -> None:
    """aiohttp tries a reset GET again by itself, once; the second reset is ours to count."""
    scripts = (says(200, b"ok"), resets, resets, says(200, b"ok"))
    async with WireServer(*scripts) as server, session_to(server.url()) as session:
        async with session.get(AUDIO) as response:
            await read(response)
        with pytest.raises(AttemptFailed) as caught:
            async with session.get(AUDIO):
                pass
        assert caught.value.reason == Reason.CONNECTION
        async with session.get(AUDIO) as response:
            assert await read(response) == b"ok"


async def test_a_timed_out_request_gets_a_new_connection() -> None:
    """What a server still has to say after 408 is not waited for, nor its connection used."""
    late = says_raw(http_head(408, [("Content-Length", "9")]), end=hangs)
    async with WireServer(late, says(200, b"ok")) as server, session_to(server.url()) as session:
        for _ in range(2):
            async with session.get(AUDIO):
                pass
    assert [head.connection for head in server.heads] == [1, 2]


async def test_a_finished_body_keeps_its_connection() -> None:
    """Ten recordings one after another use one connection."""
    async with WireServer(says(200, WAV)) as server, session_to(server.url()) as session:
        for _ in range(10):
            async with session.get(AUDIO) as response:
                await read(response)
    assert server.connections == 1


async def test_a_body_left_early_is_not_read_to_its_end() -> None:
    """Whoever leaves gives the connection up, and the next request starts clean."""
    scripts = (says_raw(LENGTH + WAV[:100], end=hangs), says(200, b"ok"))
    async with WireServer(*scripts) as server, session_to(server.url()) as session:
        async with session.get(AUDIO) as response:
            async for _ in response.chunks():
                break
        async with session.get(AUDIO) as response:
            assert await read(response) == b"ok"
    assert server.connections == 2


@pytest.mark.parametrize("script", [hangs, says_raw(LENGTH + WAV[:100], end=hangs)])
async def test_cancelling_passes_and_leaves_nothing(script: Script) -> None:
    """A cancelled request ends at once, and its connection is not reused."""
    async with WireServer(script, says(200, b"ok")) as server, session_to(server.url()) as session:

        async def one() -> bytes:
            async with session.get(AUDIO) as response:
                return await read(response)

        task = asyncio.get_running_loop().create_task(one())
        await server.wait_for_requests(1)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await one() == b"ok"
    assert server.connections == 2


async def test_refused_connections_are_attempts_that_failed() -> None:
    """A closed port is something to try again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(AttemptFailed) as caught:
        await fetch(f"http://127.0.0.1:{port}")
    assert caught.value.reason == Reason.CONNECTION


async def test_a_name_that_does_not_resolve_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate counts these by their own reason."""

    async def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nowhere)
    with pytest.raises(AttemptFailed) as caught:
        await fetch("https://api.invalid")
    assert caught.value.reason == NO_SUCH_HOST


async def test_hanging_before_tls_is_a_timeout() -> None:
    """A host that accepts and then says nothing is given up after the connect timeout."""
    async with WireServer(greet=hangs) as server:
        with pytest.raises(AttemptFailed) as caught:
            await fetch(server.url().replace("http:", "https:"), QUICK)
    assert caught.value.reason == Reason.TIMEOUT


async def test_an_added_authority_is_trusted(tmp_path: Path) -> None:
    """With --ca-bundle a private authority's certificate is accepted."""
    authority = Certificates()
    async with WireServer(says(200, WAV), tls=authority.context()) as server:
        connection = connection_to(server.url(), ca_bundle=authority.write_bundle(tmp_path))
        async with Session(connection, slots=1) as session, session.get(AUDIO) as response:
            assert await read(response) == WAV


@pytest.mark.parametrize(
    ("context", "flaw"),
    [
        (lambda ca: ca.context(expired=True), "has expired"),
        (lambda ca: ca.context("elsewhere.example"), "is for another host"),
        (lambda _: self_signed_context(), "is self-signed"),
        (lambda _: Certificates().context(), "comes from an authority that this machine"),
    ],
)
async def test_a_certificate_that_fails_ends_the_run(
    context: Callable[[Certificates], ssl.SSLContext], flaw: str, tmp_path: Path
) -> None:
    """Nothing is sent to it, and the error names host, flaw and the only fix there is."""
    authority = Certificates()
    async with WireServer(says(200, WAV), tls=context(authority)) as server:
        connection = connection_to(server.url(), ca_bundle=authority.write_bundle(tmp_path))
        async with Session(connection, slots=1) as session:
            with pytest.raises(HostUnavailableError) as caught:
                async with session.get(AUDIO):
                    pass
    assert server.heads == []
    assert flaw in caught.value.message
    assert f"127.0.0.1:{server.port}" in caught.value.message
    assert "--ca-bundle FILE" in (caught.value.fix or "")


async def test_without_a_bundle_only_the_system_is_trusted() -> None:
    """A private authority that nobody added ends the run."""
    async with WireServer(says(200, WAV), tls=Certificates().context()) as server:
        with pytest.raises(HostUnavailableError, match="authority"):
            await fetch(server.url())
    assert server.heads == []


async def test_tls_without_an_end_reads_like_an_end(tmp_path: Path) -> None:
    """Without framing, a connection cut under TLS looks complete: `framed` says not to trust it."""
    authority = Certificates()
    script = says_raw(http_head(200, [("Connection", "close")]) + WAV[:100], end=Exchange.drop)
    async with WireServer(script, tls=authority.context()) as server:
        connection = connection_to(server.url(), ca_bundle=authority.write_bundle(tmp_path))
        async with Session(connection, slots=1) as session, session.get(AUDIO) as response:
            assert not response.framed
            assert await read(response) == WAV[:100]


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_a_bad_bundle_is_a_usage_error(content: bytes | None, tmp_path: Path) -> None:
    """Before any request, and with the file named."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    session = Session(connection_to("https://127.0.0.1:1", ca_bundle=bundle), slots=1)
    with pytest.raises(UsageError, match=r"bundle\.pem"):
        await session.__aenter__()


async def test_a_proxy_is_used_when_given() -> None:
    """A plain request goes to the proxy in absolute form, with the proxy's own credentials."""
    async with WireServer(says(200, b"ok")) as proxy:
        connection = connection_to(
            "http://127.0.0.1:9", proxy=f"http://me:secret@127.0.0.1:{proxy.port}"
        )
        async with Session(connection, slots=1) as session, session.get(AUDIO) as response:
            assert await read(response) == b"ok"
    assert proxy.targets == ["http://127.0.0.1:9/v1/x"]
    assert proxy.heads[0].header("Proxy-Authorization") == "Basic bWU6c2VjcmV0"


async def test_tls_through_a_proxy_keeps_the_key_from_it(tmp_path: Path) -> None:
    """The proxy of an https host sees CONNECT and ciphertext."""
    authority = Certificates()
    async with WireServer(says(200, WAV), tls=authority.context()) as server:

        async def tunnel(exchange: Exchange) -> None:
            await exchange.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            await exchange.tunnel("127.0.0.1", server.port)

        async with WireServer(tunnel) as proxy:
            connection = connection_to(
                server.url(),
                ca_bundle=authority.write_bundle(tmp_path),
                proxy=f"http://127.0.0.1:{proxy.port}",
            )
            async with Session(connection, slots=1) as session, session.get(AUDIO) as response:
                assert await read(response) == WAV
    (head,) = proxy.heads
    assert head.request_line == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
    assert CANARY.encode() not in head.raw
    assert server.heads[0].header("x-api-key") == CANARY


async def test_a_proxy_that_wants_a_password_is_a_usage_error() -> None:
    """Its refusal names the option, and does not look like PolyAI's."""
    async with WireServer(says(407)) as proxy:
        connection = connection_to("https://127.0.0.1:9", proxy=proxy.url())
        async with Session(connection, slots=1) as session:
            with pytest.raises(UsageError, match="--proxy"):
                async with session.get(AUDIO):
                    pass


@pytest.mark.parametrize("proxy", ["socks5://h:1", "nonsense", "http://", "http://me:pass@h:x"])
def test_a_proxy_that_is_none_is_a_usage_error(proxy: str) -> None:
    """And the address, which may hold a password, is not shown."""
    with pytest.raises(UsageError) as caught:
        Session(connection_to("https://h", proxy=proxy), slots=1)
    assert "pass" not in str(caught.value)


async def test_the_environment_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxy variables and .netrc of the user change nothing."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with WireServer(says(200, b"ok")) as server:
        assert await fetch(server.url()) == b"ok"
    assert server.heads[0].header("Authorization") is None


async def test_cookies_are_forgotten() -> None:
    """A server cannot mark us."""
    async with (
        WireServer(says(200, set_cookie="a=b")) as server,
        session_to(server.url()) as session,
    ):
        for _ in range(2):
            async with session.get(AUDIO):
                pass
    assert server.heads[1].header("Cookie") is None


async def test_a_refused_key_is_read_again_once() -> None:
    """Ten requests refused together read the source once, and each learns that there is a new key."""
    readings = 0

    def reread() -> Secret:
        nonlocal readings
        readings += 1
        return Secret("fresh")

    async def answer(exchange: Exchange) -> None:
        fresh = exchange.head.header("x-api-key") == "fresh"
        await says_json(200 if fresh else 401, {})(exchange)

    async with WireServer(answer) as server:
        connection = connection_to(server.url(), key=api_key(CANARY, reread))
        async with Session(connection, slots=10) as session:

            async def one() -> tuple[int, bool]:
                async with session.get(AUDIO) as response:
                    return response.answer.http_status, session.reread_key(Host.AUDIO)

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one()) for _ in range(10)]
            assert [task.result() for task in tasks] == [(401, True)] * 10
            assert await one() == (200, False)
    assert readings == 1


@pytest.mark.parametrize("source", ["none", "same", "fails", "nonsense"])
async def test_a_key_that_stays_refused_is_no_new_key(source: str) -> None:
    """Without a source that can change, or with one that did not, there is nothing to try."""

    def reread() -> Secret:
        if source == "fails":
            raise UsageError("gone")
        return Secret(CANARY if source == "same" else "two\nlines")

    async with WireServer(says(401)) as server:
        key = api_key(CANARY, None if source == "none" else reread)
        async with (
            Session(connection_to(server.url(), key=key), slots=1) as session,
            session.get(AUDIO),
        ):
            assert not session.reread_key(Host.AUDIO)


@pytest.mark.parametrize("value", ["", "two words", "line\nend", "schlüssel", "tab\t"])
def test_a_key_that_no_header_can_carry_is_refused(value: str) -> None:
    """Before any request, with its source and without its value."""
    with pytest.raises(KeyRefusedError, match="POLYAI_API_KEY") as caught:
        Session(connection_to("https://h", key=api_key(value)), slots=1)
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    "script",
    [resets, says_raw(b"garbage\r\n\r\n"), says_raw(LENGTH + WAV[:9]), says(401), says(302)],
)
async def test_the_key_is_in_no_trace(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the session, nor an error with all its causes, nor a debug log shows it."""
    caplog.set_level(logging.DEBUG)
    shown = io.StringIO()
    async with WireServer(script) as server, session_to(server.url()) as session:
        shown.write(f"{session!r} {session.connection!r}")
        try:
            async with session.get(AUDIO) as response:
                await read(response)
        except Exception as error:  # noqa: BLE001  whatever it is, it is shown
            traceback.print_exception(error, file=shown)
            link: BaseException | None = error
            while link is not None:
                shown.write(f"{link!r} {link.args!r}")
                link = link.__cause__ or link.__context__
    assert server.heads[0].header("x-api-key") == CANARY
    assert CANARY not in shown.getvalue() + caplog.text
