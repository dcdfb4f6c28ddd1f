"""Many recordings, a real gateway, the Python interface: everything arrives as it was."""

import asyncio
import resource
import shutil
from pathlib import Path

import pytest

from bulkaudio.api import Archive, Client, from_ids
from bulkaudio.object_url import ObjectUrl
from bulkaudio.rebuild import rebuild
from bulkaudio.settings import Elsewhere
from bulkaudio.simulator import Calls, Simulator
from tests.objects.conftest import Open

SIDES = ["user", "agent", "combined"]


@pytest.fixture(autouse=True)
def _at_the_gateway(ceph: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let S3 be the gateway."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", ceph)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_thousands_of_recordings_arrive(
    tmp_path: Path, ceph: str, url: ObjectUrl, open_s3: Open
) -> None:
    """3,000 of them, byte by byte; another machine learns them, and has nothing to ask for."""
    calls = Calls(count=1000, speech_s=(0.05, 0.3), chat_share=0.0, opt_out_share=0.0)
    async with Simulator(calls=calls) as simulator:

        def make_client() -> Client:
            return Client(
                region="us",
                agent=simulator.agent,
                api_key=simulator.key,
                audio_url=simulator.audio_url,
                conversations_url=simulator.conversations_url,
            )

        state = tmp_path / "state"
        async with Archive.open(str(url), state_dir=state) as archive, make_client() as client:
            outcomes = archive.download(client, from_ids(calls.ids()), directions=SIDES)
            saved = {str(each.path) async for each in outcomes if each.status == "saved"}
        truth = {f"{side}/{id_}.wav" for side in SIDES for id_ in calls.ids()}
        assert saved == truth

        def compare() -> None:
            bucket = open_s3(ceph)
            keys = {found.key for page in bucket.names(url.prefix) for found in page}
            wavs = {key for key in keys if key.endswith(".wav")}
            assert wavs == {f"{url.prefix}/{path}" for path in truth}
            for path in truth:
                side, _, name = path.partition("/")
                content = b"".join(bucket.read(f"{url.prefix}/{path}"))
                assert content == simulator.expected_bytes(name.removesuffix(".wav"), side)

        await asyncio.to_thread(compare)
        asked = dict(simulator.requests.recordings())
        shutil.rmtree(state)
        report = await rebuild(state, elsewhere=Elsewhere(url=url))
        assert (report.adopted, report.faults, report.is_clean) == (len(truth), (), True)
        async with Archive.open(str(url), state_dir=state) as archive, make_client() as client:
            outcomes = archive.download(client, from_ids(calls.ids()), directions=SIDES)
            assert [each async for each in outcomes] == []
        assert outcomes.summary.counts.already == len(truth)
        assert dict(simulator.requests.recordings()) == asked
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 600 * 1024
