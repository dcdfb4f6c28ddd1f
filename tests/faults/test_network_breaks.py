"""Connections that break: refused, dead while idle, and cut at any place of an answer."""

import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.audio import wav_of
from tests.faults.answers import (
    End,
    Fault,
    answers,
    faults,
    in_chunks,
    place,
    sized,
    some,
    suffer,
    transient,
    until_close,
)
from tests.forked import forked
from tests.oracle import Trial, trial_on
from tests.plans import subject, whole
from tests.program import until
from tests.wire import Certificates, Exchange, Script, WireServer, chunked, http_head

FIN, RST, NO_NOTIFY = Exchange.close, Exchange.reset, Exchange.drop
ENDS = {"fin": FIN, "rst": RST}

WAV_BYTES = len(wav_of("CA0"))
HEAD_BYTES = len(http_head(200, [("Content-Length", str(WAV_BYTES))]))


def asked_of(server: WireServer) -> Callable[[], Counter[str]]:
    """Count the requests for each path that another server got."""
    return lambda: Counter(f"{side}/{id_}.wav" for id_, side in map(subject, server.targets))


def cut(make: Callable[[bytes], bytes], at: int, end: End) -> Script:
    """Send so many bytes of what `make` makes of the right recording, and end the connection."""
    return answers(lambda wav: make(wav)[:at], end)


HEAD_PLACES = {
    "before the head": 0,
    "in the version": 4,
    "in the status": 10,
    "after the status line": 23,
    "in a header": 30,
    "before the empty line": HEAD_BYTES - 2,
}
HEAD_CUTS = {
    f"{place}, {name}": transient(cut(sized, at, end), "connection", asked=4)
    for place, at in HEAD_PLACES.items()
    for name, end in ENDS.items()
}


@faults(HEAD_CUTS, quick=["in a header, rst"])
async def test_a_head_that_breaks_off_is_asked_for_again(fault: Fault, tmp_path: Path) -> None:
    """Nothing had arrived, so the library's one silent repetition costs no attempt."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)


BODY_PLACES = (0, 1, 11, 12, 43, 44, 45, WAV_BYTES // 2, WAV_BYTES - 1)
BODY_CUTS = {
    f"after {at} of {WAV_BYTES}, {name}": transient(
        cut(sized, HEAD_BYTES + at, end),
        "truncated" if name == "fin" else "connection",
    )
    for at in BODY_PLACES
    for name, end in ENDS.items()
}
LAST = f"after {WAV_BYTES - 1} of {WAV_BYTES}"


@faults(BODY_CUTS, quick=["after 44 of 844, rst", f"{LAST}, fin"])
async def test_a_body_shorter_than_its_length_is_asked_for_again(
    fault: Fault, tmp_path: Path
) -> None:
    """At whatever byte it breaks off, none of it is kept."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)


CHUNKED_HEAD_BYTES = len(http_head(200, [("Transfer-Encoding", "chunked")]))
CHUNKED_BYTES = len(chunked(b"a" * 500, b"b" * (WAV_BYTES - 500)))
CHUNK_PLACES = {
    "before the first chunk": 0,
    "in a size": 1,
    "in a size's line end": 4,
    "after a size": 5,
    "in the data": 255,
    "before the data's line end": 505,
    "between two chunks": 507,
    "in the second size": 509,
    "before the last chunk": CHUNKED_BYTES - 5,
    "in the last chunk": CHUNKED_BYTES - 4,
    "in the last line end": CHUNKED_BYTES - 1,
}
CHUNK_CUTS = {
    f"{place}, {name}": transient(
        cut(in_chunks, CHUNKED_HEAD_BYTES + at, end),
        "truncated" if name == "fin" else "connection",
    )
    for place, at in CHUNK_PLACES.items()
    for name, end in ENDS.items()
}


@faults(
    CHUNK_CUTS,
    quick=["in the last chunk, fin"],
)
async def test_chunks_without_their_end_are_asked_for_again(fault: Fault, tmp_path: Path) -> None:
    """At each place that chunking has, the last one included, where all the audio had arrived."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)


UNFRAMED_HEAD_BYTES = len(http_head(200, [("Connection", "close")]))
UNFRAMED_PLACES = (12, 43, 44, WAV_BYTES // 2, WAV_BYTES - 1)


def unframed_cuts(ends: Mapping[str, End]) -> dict[str, Fault]:
    """Cut a body that nothing frames: only its own sizes tell."""
    return {
        f"after {at}, {name}": transient(
            cut(until_close, UNFRAMED_HEAD_BYTES + at, end),
            "truncated",
        )
        for at in UNFRAMED_PLACES
        for name, end in ends.items()
    }


@faults(unframed_cuts(ENDS), quick=[f"after {WAV_BYTES - 1}, fin", "after 422, rst"])
async def test_a_body_without_a_frame_is_known_by_its_own_sizes(
    fault: Fault, tmp_path: Path
) -> None:
    """The library reports success, even after a reset; the recording says that it is not whole."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)


@faults(
    unframed_cuts({"close_notify": FIN, "no close_notify": NO_NOTIFY, "rst": RST}),
    quick=["after 422, no close_notify"],
)
async def test_a_body_without_a_frame_is_no_better_for_being_encrypted(
    fault: Fault, tmp_path: Path
) -> None:
    """Whether TLS ends as it should or not, the sizes decide."""
    authority = Certificates()
    bundle = authority.write_bundle(tmp_path)
    async with WireServer(tls=authority.context()) as server:
        await suffer(fault, server, tmp_path, "--ca-bundle", bundle)


@pytest.mark.parametrize(
    ("end", "is_encrypted"),
    some(
        {
            f"{name}, {'tls' if is_encrypted else 'plain'}": (end, is_encrypted)
            for name, end in {**ENDS, "no close_notify": NO_NOTIFY}.items()
            for is_encrypted in (False, True)
        },
        "no close_notify, tls",
    ),
)
async def test_a_whole_body_without_a_frame_is_kept(
    end: Script, tmp_path: Path, *, is_encrypted: bool
) -> None:
    """Its sizes are all there, so one request is enough, however the connection ended."""
    authority = Certificates()
    tls = authority.context() if is_encrypted else None
    bundle = authority.write_bundle(tmp_path)
    async with WireServer(answers(until_close, end), tls=tls) as server:
        trial = trial_on(server, tmp_path / "work", "CA1", "CA2", speed=10.0)
        words = (*trial.csv("CA1", "CA2"), "--ca-bundle", bundle)
        ended = await trial.download(*words)
        assert (ended.code, ended.summary["counts"]["retries"]) == (0, 0), ended.stderr
        assert len(server.heads) == 2
        await trial.healed(*words)


IDLE = {
    "closed": FIN,
    "closed without a word": NO_NOTIFY,
    "reset": RST,
}


@pytest.mark.parametrize(
    ("end", "waits"),
    some(
        {
            f"{name} {when}": (end, when == "at the next request")
            for name, end in IDLE.items()
            for when in ("after its answer", "at the next request")
        },
        "reset at the next request",
    ),
)
async def test_a_dead_idle_connection_costs_no_attempt(
    end: Script, tmp_path: Path, *, waits: bool
) -> None:
    """One attempt is allowed, and every recording is saved with at most one repetition each."""

    async def script(exchange: Exchange) -> None:
        if waits and exchange.head.connection in served:
            await end(exchange)
            return
        served.add(exchange.head.connection)
        await whole(exchange)
        if not waits:
            await end(exchange)

    served: set[int] = set()
    ids = [f"CA{number}" for number in range(6)]
    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", *ids, speed=10.0)
        words = (*trial.csv(*ids), "--attempts", "1", "--concurrency", "1")
        ended = await trial.download(*words)
        assert (ended.code, ended.summary["counts"]["saved"]) == (0, 6), ended.stderr
        assert ended.summary["counts"]["retries"] == 0
        assert max(trial.asked().values()) <= 2
        server.scripts = (whole,)
        await trial.healed(*words)


def trial_of(listener: socket.socket, cwd: Path, *ids: str, speed: float) -> Trial:
    """Return a trial of a server that is yet to come."""
    server = WireServer()
    server.port = listener.getsockname()[1]
    return trial_on(server, cwd, *ids, speed=speed)


async def test_a_refused_connection_is_tried_again_until_somebody_listens(tmp_path: Path) -> None:
    """Nobody listens at first; later all is saved, with one request for each recording."""
    listener = place()
    trial = trial_of(listener, tmp_path / "work", "CA1", "CA2", "CA3", speed=5.0)
    words = (*trial.csv("CA1", "CA2", "CA3"), "--attempts", "50", "-v")
    async with forked(trial.order(*trial.words(*words))) as fork:
        await until(lambda: fork.stderr.count("connection") > 3)
        async with WireServer(whole, listener=listener) as server:
            trial = replace(trial, asked=asked_of(server))
            ended = await fork.wait()
            trial.check(ended)
            assert (ended.code, ended.summary["counts"]["saved"]) == (0, 3), ended.stderr
            assert ended.summary["counts"]["retries"] > 2
            assert len(server.heads) == 3
            await trial.healed(*words)


MANY = [f"CA{number:02}" for number in range(40)]


async def test_a_host_that_refuses_connections_ends_the_run_with_everything_open(
    tmp_path: Path,
) -> None:
    """After the give-up time: exit 5, no recording failed; the next run brings them all."""
    listener = place()
    trial = trial_of(listener, tmp_path / "work", *MANY, speed=10.0)
    words = (*trial.csv(*MANY), "--give-up-after", "10")
    ended = await trial.download(*words)
    assert ended.code == 5
    assert f"127.0.0.1:{listener.getsockname()[1]}" in ended.stderr
    assert set(trial.statuses().values()) == {("open", None), ("open", "connection")}
    async with WireServer(whole, listener=listener) as server:
        await replace(trial, asked=asked_of(server)).healed(*words)
        assert len(server.heads) == 40


@pytest.mark.slow
async def test_a_server_that_stops_listening_half_way_does_not_lose_the_rest(
    tmp_path: Path,
) -> None:
    """What was saved stays saved and is not asked for again; the rest comes with the next run."""
    async with WireServer(whole) as server:
        port = server.port
        trial = trial_on(server, tmp_path / "work", *MANY, speed=10.0)
        words = (*trial.csv(*MANY), "--give-up-after", "10", "--concurrency", "2")
        order = trial.order(*trial.words(*words, "--attempts", "9"))
        stack = AsyncExitStack()
        fork = await stack.enter_async_context(forked(order))
        await server.wait_for_requests(10)
    async with stack:
        ended = await fork.wait()
    trial.check(ended)
    assert ended.code == 5, ended.stderr
    statuses = list(trial.statuses().values())
    assert set(statuses) <= {("saved", None), ("open", None), ("open", "connection")}
    async with WireServer(whole, listener=place(port)) as server:
        await replace(trial, asked=asked_of(server)).healed(*words)
        assert len(server.heads) == len(statuses) - statuses.count(("saved", None))
