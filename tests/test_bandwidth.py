"""The ceiling on bytes a second: exact, smooth, shared, and nobody's fault."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import bulkaudio
from bulkaudio.bandwidth import SHARE_BYTES_PER_S, Bandwidth
from bulkaudio.errors import UsageError
from bulkaudio.gate import COLD_SLOTS, Gate, GateOptions
from bulkaudio.timetable import NO_CEILING, Timetable, parse_timetable
from tests.audio import pcm_wav
from tests.forked import Order, run_forked
from tests.inside import Inside
from tests.listed import DAY, Book, page, record
from tests.plans import Plans, subject
from tests.program import environment, wavs, write_csv
from tests.virtual_time import run_virtually
from tests.wire import Exchange, WireServer, http_head, in_thread, says

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
MB = 1_000_000


def bucket(timetable: Timetable, begin: datetime = NOON) -> Bandwidth:
    """Make a bucket on the running loop's clock; its day begins at `begin`."""
    loop = asyncio.get_running_loop()
    return Bandwidth(timetable, clock=loop.time, now=lambda: begin + timedelta(seconds=loop.time()))


async def read(shared: Bandwidth, size: int, pieces: int, log: list[tuple[float, int]]) -> None:
    """Take pieces one after another, and write down when each was let through."""
    for _ in range(pieces):
        await shared.take(size)
        log.append((asyncio.get_running_loop().time(), size))


async def crowd(shared: Bandwidth, readers: int, size: int, pieces: int) -> list[tuple[float, int]]:
    """Let some readers take pieces at once."""
    log: list[tuple[float, int]] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(readers):
            group.create_task(read(shared, size, pieces, log))
    return log


@pytest.mark.parametrize(("readers", "size"), [(1, 65_536), (64, 262_144), (8, 500)])
def test_ceiling_is_met_and_never_passed_for_long(readers: int, size: int) -> None:
    """All together take what is allowed in every two seconds, and all of it over the whole."""

    async def main() -> None:
        limit = 2 * MB
        pieces = min(20 * limit // size, 20_000) // readers
        log = await crowd(bucket(parse_timetable("2M")), readers, size, pieces)
        took_s, total = log[-1][0], sum(n for _, n in log)
        assert took_s == pytest.approx(total / limit, rel=0.02)
        slack = limit * 0.1 + readers * size
        for second in range(int(took_s) - 2):
            passed = sum(n for at, n in log if second <= at < second + 2)
            assert passed <= 2 * limit + slack

    run_virtually(main())


def test_nobody_is_left_behind() -> None:
    """Who came first is served first, whatever the size."""

    async def main() -> None:
        shared, order = bucket(parse_timetable("1M")), []

        async def one(number: int) -> None:
            await shared.take(100_000 + 10_000 * (number % 3))
            order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(one(number))
        assert order == sorted(order)

    run_virtually(main())


def test_time_that_was_not_used_is_not_made_up_for() -> None:
    """After a quiet minute there is no burst beyond a tenth of a second."""

    async def main() -> None:
        shared = bucket(parse_timetable("1M"))
        await asyncio.sleep(60.0)
        began = asyncio.get_running_loop().time()
        await crowd(shared, 4, 50_000, 20)
        assert asyncio.get_running_loop().time() - began == pytest.approx(4.0, abs=0.11)

    run_virtually(main())


@pytest.mark.parametrize(
    ("text", "rest_s"), [("11:00-12:01=10k,off", 0.0), ("11:00-12:01=10k,1M", 1.4)]
)
def test_timetable_turns_within_a_second(text: str, rest_s: float) -> None:
    """Who waits for the slow hour's bytes goes on by the next hour's ceiling."""

    async def main() -> None:
        await crowd(bucket(parse_timetable(text)), 1, 1 * MB, 2)
        assert 60.0 <= asyncio.get_running_loop().time() <= 61.0 + rest_s

    run_virtually(main())


def test_ceiling_comes_into_force_within_a_second() -> None:
    """What flowed freely is held as soon as the hour begins."""

    async def main() -> None:
        shared, log = bucket(parse_timetable("12:01-13:00=1M,off")), list[tuple[float, int]]()

        async def flow() -> None:
            while asyncio.get_running_loop().time() < 70.0:
                await asyncio.sleep(0.01)
                await read(shared, 100_000, 1, log)

        await flow()
        assert sum(n for at, n in log if at < 59.0) > 500 * MB
        assert sum(n for at, n in log if 61.0 <= at < 69.0) == pytest.approx(8 * MB, rel=0.05)

    run_virtually(main())


def test_no_ceiling_waits_for_nothing() -> None:
    """Not a single turn of the loop."""

    async def main() -> None:
        taking = Bandwidth(NO_CEILING).take(10**12)
        with pytest.raises(StopIteration):
            taking.send(None)
        assert Bandwidth().most_at_once >= 1000

    run_virtually(main())


async def fetch(gate: Gate, pieces: int) -> None:
    """Receive a body through a gate and its bandwidth."""
    async with gate.admit() as ticket:
        await asyncio.sleep(0.05)
        ticket.began(0.05)
        for _ in range(pieces):
            await asyncio.sleep(0.001)
            await gate.bandwidth.take(65_536)
            ticket.received(65_536)
        ticket.succeeded(0.05)


async def slots_after(timetable: str, seconds: float, start: int = COLD_SLOTS) -> int:
    """Return what a gate allows at once after so long under a ceiling."""
    loop = asyncio.get_running_loop()
    options = GateOptions(start=start, bandwidth=bucket(parse_timetable(timetable)))
    gate = Gate("host", options, clock=loop.time)
    tasks = [asyncio.create_task(fetch(gate, 40)) for _ in range(800)]
    await asyncio.sleep(seconds)
    found = gate.slots
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return found


def test_slots_do_not_climb_under_a_ceiling_and_do_without() -> None:
    """More requests at once bring nothing there, and the flow is no sign of the host's limits."""
    assert run_in(lambda: slots_after("8M", 15.0)) == COLD_SLOTS
    assert run_in(lambda: slots_after("off", 2.0)) > COLD_SLOTS


def test_a_low_ceiling_takes_fewer_requests_at_once() -> None:
    """Each gets a share that no server takes for a dead reader; later hours give the slots back."""
    assert run_in(lambda: slots_after("200k", 5.0, start=64)) == 200_000 // SHARE_BYTES_PER_S
    assert run_in(lambda: slots_after("1000", 5.0, start=64)) == 1
    assert run_in(lambda: slots_after("11:00-12:00=1k,off", 5.0, start=64)) == 64


def run_in(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Make a coroutine and run it in virtual time."""
    return run_virtually(main())


SECONDS = 6.0
SIZE = len(pcm_wav(SECONDS))


async def long_ones(exchange: Exchange) -> None:
    """Answer with six seconds of audio each."""
    wav = pcm_wav(SECONDS, subject(exchange.head.target)[0])
    await says(200, wav, content_type="audio/wav")(exchange)


def test_twenty_recordings_take_the_time_that_the_ceiling_says(inside: Inside) -> None:
    """Over real sockets, to 15 per cent, and without a retry."""
    ids = [f"CA{number}" for number in range(20)]
    with in_thread(WireServer(long_ones)) as server:
        inside.reach(server)
        csv = write_csv(inside.folder / "calls.csv", ids)
        done = inside.download("--csv", csv, "--bandwidth", "1500k")
    assert done.code == 0, done.stderr
    assert done.summary["duration_s"] == pytest.approx(20 * SIZE / (1.5 * MB), rel=0.15)
    assert done.summary["counts"]["saved"] == 20
    assert done.summary["counts"]["retries"] == 0


def test_the_line_itself_is_not_flooded(inside: Inside) -> None:
    """
    What the server can get rid of is what the ceiling says, in each second.

    Buffers between it and us take some hundred kilobytes of each body at once, and no more.
    """
    sent: list[tuple[float, int]] = []

    async def large(exchange: Exchange) -> None:
        writer = exchange._writer
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        writer.transport.set_write_buffer_limits(0)
        wav = pcm_wav(100.0, subject(exchange.head.target)[0])
        head = [("Content-Length", str(len(wav))), ("Content-Type", "audio/wav")]
        await exchange.send(http_head(200, head))
        for start in range(0, len(wav), 16_384):
            await exchange.send(wav[start : start + 16_384])
            sent.append((time.monotonic(), 16_384))

    with in_thread(WireServer(large)) as server:
        inside.reach(server)
        csv = write_csv(inside.folder / "calls.csv", [f"CA{n}" for n in range(8)])
        done = inside.download("--csv", csv, "--bandwidth", "6M")
    assert done.code == 0, done.stderr
    assert done.summary["duration_s"] == pytest.approx(8 * 1.6 / 6, rel=0.2)
    began = sent[0][0]
    flood = max(
        sum(size for at, size in sent if begin <= at - began < begin + 1.0)
        for begin in (0.0, 0.5, 1.0)
    )
    assert flood < 6 * MB + 8 * 450_000


def test_pages_of_the_listing_share_the_ceiling(inside: Inside) -> None:
    """A page of half a megabyte takes its time as well."""
    chats = [record(f"CA{n}", channel="WEBCHAT", note="x" * 900) for n in range(500)]
    with in_thread(WireServer(Book({"": page(*chats)}))) as server:
        inside.reach(server)
        done = inside.download(*DAY, "--bandwidth", "500k")
    assert done.code == 0, done.stderr
    assert done.summary["counts"]["skipped"] == 500
    assert 0.9 < done.summary["duration_s"] < 2.0


def test_the_same_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is bytes a second, and a wrong text is refused before anything is touched."""
    with in_thread(WireServer(long_ones)) as server:
        monkeypatch.setenv("BULKAUDIO_AUDIO_URL", server.url())
        summary = bulkaudio.download(
            csv=write_csv(tmp_path / "calls.csv", ["CA1", "CA2", "CA3"]),
            out=tmp_path / "archive",
            region="uk",
            agent="A",
            api_key="k",
            bandwidth=500_000,
        )
    assert summary.duration_s == pytest.approx(3 * SIZE / 500_000, rel=0.25)
    for wrong in ("fast", 0, True, 1.5):
        with pytest.raises(UsageError, match="bandwidth"):
            bulkaudio.download(
                csv="calls.csv",
                out=tmp_path / "other",
                region="uk",
                agent="A",
                bandwidth=wrong,  # type: ignore[arg-type]
            )
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("place", ["flag", "variable", "file"])
def test_a_timetable_with_blanks_is_one_value_everywhere(place: str, inside: Inside) -> None:
    """On the command line, in a variable, and in a configuration file."""
    text, arguments = "Mon-Sun 00:00-24:00=300k, off", list[str]()
    if place == "flag":
        arguments = ["--bandwidth", text]
    elif place == "variable":
        inside.env("BULKAUDIO_BANDWIDTH", text)
    else:
        (inside.folder / "b.toml").write_text(f'bandwidth = "{text}"\n')
        arguments = ["--config", "b.toml"]
    with in_thread(WireServer(long_ones)) as server:
        inside.reach(server)
        csv = write_csv(inside.folder / "calls.csv", ["CA1"])
        done = inside.download("--csv", csv, *arguments)
    assert done.code == 0, done.stderr
    assert done.summary["duration_s"] > 0.8 * SIZE / 300_000


def test_wrong_text_is_refused_before_anything_starts(inside: Inside) -> None:
    """From a variable as from an option, by its name."""
    inside.env("BULKAUDIO_BANDWIDTH", "20")
    done = inside.download("--csv", "calls.csv")
    assert done.code == 2
    assert "BULKAUDIO_BANDWIDTH: '20' is not a bandwidth" in done.stderr
    assert not inside.archive.exists()


async def test_minutes_of_waiting_are_nobodys_fault(tmp_path: Path) -> None:
    """
    Neither a stall, nor silence, nor trouble of the host is seen in bodies that are held back.

    A recording of 800 kB takes 80 s at 10 kB a second, more than a silent body is given.
    """
    plans = Plans({"CA0": [says(200, pcm_wav(50.0), content_type="audio/wav")]})
    async with WireServer(plans) as server:
        env = environment() | {"BULKAUDIO_AUDIO_URL": server.url(), "POLYAI_API_KEY": "k"}
        csv = write_csv(tmp_path / "calls.csv", ["CA0", "CA1"])
        words = ("--agent", "A", "--region", "uk", "--out", "archive", "--csv", str(csv), "--json")
        began = time.perf_counter()
        ended = await run_forked(
            Order(
                arguments=("download", *words, "--bandwidth", "10k"),
                env=env,
                cwd=tmp_path,
                speed=60.0,
            )
        )
    assert ended.code == 0, ended.stderr
    assert ended.summary["counts"]["retries"] == 0
    assert time.perf_counter() - began > 1.0
    assert len(wavs(tmp_path / "archive")) == 2
    assert len(server.heads) == 2


def test_a_share_of_the_ceiling_is_kept_to() -> None:
    """The rest is others' who arrive elsewhere; the share may change at any moment."""

    async def main() -> list[tuple[float, int]]:
        shared = bucket(parse_timetable("10M"))
        shared.keep_to(0.25)
        asyncio.get_running_loop().call_later(2.0, shared.keep_to, 0.5)
        return await crowd(shared, 4, 64 * 1024, 60)

    log = run_virtually(main())
    first = sum(size for at, size in log if at <= 2.0)
    second = sum(size for at, size in log if 2.3 < at <= 3.3)
    assert first == pytest.approx(2 * 2.5 * MB, rel=0.1)
    assert second == pytest.approx(5 * MB, rel=0.1)
