"""A run by two workers into a container of Azure's own emulator, one of which is killed."""

import asyncio
import json
from pathlib import Path

import pytest

from bulkaudio.cluster.shards import MOST
from bulkaudio.simulator import Calls, Simulator
from bulkaudio.stores.objects.azure import EMULATOR
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from tests.cluster.spread import check_quiet, done, spread, twice
from tests.cluster.test_spread_objects import SHARDS, SHORT, BucketDesk
from tests.objects.azurite import new_container
from tests.objects.conftest import _no_clouds, azure, hasty
from tests.program import ledger_rows, run

__all__ = ["_no_clouds", "azure"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def container(azure: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Make a new container, and open it as the test sees it."""
    url = new_container(azure, monkeypatch)
    return Bucket.open(url, BucketOptions(endpoint=azure), patience=hasty())


async def test_a_killed_worker_loses_nothing_on_azure(
    tmp_path: Path, azure: str, container: Bucket
) -> None:
    """All is there byte for byte, known, proven, and asked for no more."""
    env = {
        "AZURE_STORAGE_ACCOUNT": EMULATOR["account_name"],
        "AZURE_STORAGE_KEY": EMULATOR["account_key"],
        "AZURE_STORAGE_ENDPOINT": azure,
    }
    calls = Calls(count=900, speech_s=SHORT, chat_share=0.0)
    async with Simulator(calls=calls) as simulator:
        state = tmp_path / "state"
        desk = BucketDesk(
            simulator=simulator, cwd=tmp_path, archive=state, address=str(container.url)
        )
        async with spread(desk, "--max-rate", "60", **env) as going:
            await going.until(300)
            await going.lose_a_worker()
            ended = await going.end()
        assert ended.code == 0, ended.stderr
        check_quiet(ended)
        recorded = simulator.calls.recorded_ids()
        assert ended.summary["counts"]["saved"] == len(recorded)
        assert twice(simulator) <= MOST, twice(simulator)

        def content() -> dict[str, bytes]:
            start = len(container.url.prefix) + 1
            pages = container.names(container.url.prefix)
            keys = [found.key for page in pages for found in page]
            return {key[start:]: b"".join(container.read(key)) for key in keys}

        objects = await asyncio.to_thread(content)
        kept = {name: body for name, body in objects.items() if name.endswith(".wav")}
        assert kept == {
            f"combined/{id_}.wav": simulator.expected_bytes(id_, "combined") for id_ in recorded
        }
        assert not [name for name in objects if name.startswith(SHARDS)]
        rows = ledger_rows(state).values()
        assert {row.path for row in rows if row.status == "saved"} == set(kept)
        asked = simulator.requests.recordings().total()
        again = await done(desk, **env)
        assert again.code == 0, again.stderr
        assert again.summary["counts"]["already"] == len(recorded)
        assert simulator.requests.recordings().total() == asked
        verified = await run("verify", state, "--json", env=desk.env(**env), cwd=tmp_path)
        assert verified.code == 0, verified.stderr
        assert json.loads(verified.stdout.splitlines()[-1])["unknown"] == []
