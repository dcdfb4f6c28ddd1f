"""Many recordings over real TLS sockets: every byte of each, and nothing asked for twice."""

from pathlib import Path

import pytest

from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.faults import Fault, Faults
from bulkaudio.simulator.journal import What
from bulkaudio.simulator.server import Simulator
from tests.program import Desk, check_archive, expected, started, temporary_files, until, wavs
from tests.wire import Certificates

SHORT = (0.05, 0.15)


def recorded(count: int) -> Calls:
    """Make calls that all have a short recording."""
    return Calls(count=count, speech_s=SHORT, chat_share=0.0, opt_out_share=0.0)


async def arrive_over_tls(tmp_path: Path, count: int) -> None:
    """Download `count` recordings of a CSV twice, over https with a private authority."""
    certificates = Certificates()
    bundle = certificates.write_bundle(tmp_path)
    context = certificates.context("127.0.0.1")
    async with Simulator(calls=recorded(count), ssl_context=context) as simulator:
        assert simulator.audio_url.startswith("https://")
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        source = ("--csv", desk.csv(ids), "--ca-bundle", bundle)

        first = await desk.download(*source)
        assert first.code == 0, first.stderr
        assert first.summary["counts"]["saved"] == count
        assert first.summary["http"] == {"200": count}
        asked = simulator.requests.recordings()
        assert len(asked) == count
        assert set(asked.values()) == {1}
        assert simulator.requests.total == count
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])
        check_archive(desk.archive, simulator)

        second = await desk.download(*source)
        assert second.code == 0, second.stderr
        assert second.summary["counts"]["already"] == count
        assert simulator.requests.total == count
        assert temporary_files(desk.archive) == []


async def test_recordings_of_a_csv_arrive_over_tls_and_are_asked_for_once(tmp_path: Path) -> None:
    """400 recordings over https need 400 requests, and none the second time."""
    await arrive_over_tls(tmp_path, 400)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_five_thousand_recordings_arrive_over_tls(tmp_path: Path) -> None:
    """5,000 recordings over https need 5,000 requests, and none the second time."""
    await arrive_over_tls(tmp_path, 5000)


async def test_https_without_its_authority_ends_before_the_key_is_sent(tmp_path: Path) -> None:
    """A certificate that nobody vouches for is the end: exit 5, and not one request."""
    context = Certificates().context("127.0.0.1")
    async with Simulator(calls=recorded(20), ssl_context=context) as simulator:
        desk = Desk.at(simulator, tmp_path)
        done = await desk.download("--csv", desk.csv(simulator.calls.ids()))
    assert done.code == 5
    assert "--ca-bundle" in done.stderr
    assert simulator.requests.total == 0


async def arrive_from_the_listing(tmp_path: Path, count: int, page_size: int) -> None:
    """List `count` conversations in pages, twice."""
    async with Simulator(calls=recorded(count)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        pages = -(-count // page_size)
        assert pages == 3

        first = await desk.list("--page-size", str(page_size))
        assert first.code == 0, first.stderr
        assert first.summary["counts"]["saved"] == count
        assert list(simulator.requests.pages().values()) == [1] * pages
        assert set(simulator.requests.recordings().values()) == {1}
        assert simulator.requests.total == count + pages
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])
        check_archive(desk.archive, simulator)

        simulator.requests.clear()
        second = await desk.list("--page-size", str(page_size))
        assert second.code == 0, second.stderr
        assert second.summary["counts"]["already"] == count
        assert simulator.requests.total == pages
        assert not simulator.requests.recordings()


async def test_conversations_of_three_small_pages_arrive_and_are_asked_for_once(
    tmp_path: Path,
) -> None:
    """250 conversations in pages of 100: three pages, 250 recordings; then the pages only."""
    await arrive_from_the_listing(tmp_path, 250, 100)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_conversations_of_three_full_pages_arrive_and_are_asked_for_once(
    tmp_path: Path,
) -> None:
    """2,500 conversations in pages of 1,000: three pages, 2,500 recordings; then the pages only."""
    await arrive_from_the_listing(tmp_path, 2500, 1000)


@pytest.mark.slow
async def test_long_recordings_arrive_in_many_pieces(tmp_path: Path) -> None:
    """Minutes of audio, megabytes each, some of them cut off on their way at first."""
    calls = Calls(count=12, speech_s=(60.0, 180.0), chat_share=0.0, opt_out_share=0.0)
    broken = (Fault.RESET_BODY, Fault.SHORT_BODY, Fault.CUT_CHUNKS)
    faults = Faults(share=0.4, kinds=broken, seed=2)
    async with Simulator(calls=calls, faults=faults) as simulator:
        desk = Desk.at(simulator, tmp_path)
        done = await desk.download("--csv", desk.csv(calls.ids()))
        assert done.code == 0, done.stderr
        assert done.summary["counts"]["retries"] > 0
        files = wavs(desk.archive)
        assert files == expected(simulator, calls.ids(), ["combined"])
        assert max(map(len, files.values())) > 2 * 2**20
        assert done.summary["bytes"] == sum(map(len, files.values()))
        assert temporary_files(desk.archive) == []


@pytest.mark.slow
async def test_bad_day_at_polyai_costs_retries_and_no_recording(tmp_path: Path) -> None:
    """Resets, cut bodies, HTML, 503 and throttling on the way: everything arrives all the same."""
    faults = Faults(share=0.2, longest=2, seed=4, pause_s=0.1)
    calls = Calls(count=60, speech_s=SHORT, unframed_share=0.1)
    async with Simulator(calls=calls, faults=faults) as simulator:
        desk = Desk.at(simulator, tmp_path)
        done = await desk.list("--direction", "all", "--page-size", "20")
        assert done.code == 0, done.stderr
        assert done.summary["counts"]["retries"] > 10
        wanted = ["combined", "user", "agent"]
        assert wavs(desk.archive) == expected(simulator, calls.recorded_ids(), wanted)
        check_archive(desk.archive, simulator)
        before = simulator.requests.recordings()
        again = await desk.list("--direction", "all", "--page-size", "20")
        assert again.code == 0, again.stderr
        assert simulator.requests.recordings() == before


async def test_no_recording_waits_for_the_whole_listing(tmp_path: Path) -> None:
    """Recordings of the first page are saved while the second page is not answered."""
    hang = Faults(script={What("page", "30"): (Fault.HANG,)}, pause_s=60.0)
    async with Simulator(calls=recorded(60), has_cursors=False, faults=hang) as simulator:
        desk = Desk.at(simulator, tmp_path)
        words = desk.window("--page-size", "30")
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: desk.archive.exists() and len(wavs(desk.archive)) == 30, process)
            assert simulator.requests.pages() == {"": 1, "30": 1}
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids()[:30], ["combined"])
