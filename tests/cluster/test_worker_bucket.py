"""A worker whose recordings go to a bucket, with a run that is played by the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bulkaudio.archive import OpenArchive, open_archive
from bulkaudio.cluster.parcels import Orders, Parcel, packed
from bulkaudio.cluster.room import Room
from bulkaudio.cluster.whose import elsewhere_of
from bulkaudio.errors import UsageError
from bulkaudio.identity import Identity
from bulkaudio.object_url import ObjectUrl
from bulkaudio.settings import Elsewhere
from bulkaudio.simulator import Calls, Simulator
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from tests.cluster.test_worker import attempt, orders, shard_of
from tests.objects.folder_bucket import FolderBucket

URL = ObjectUrl("s3", "bucket", "calls")
HERE = Elsewhere(url=URL)
SECRET_PROXY = "http://me:canary-proxy@127.0.0.1:3128"


@asynccontextmanager
async def workshop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Simulator, FolderBucket, OpenArchive, list[BucketOptions]]]:
    """Have a PolyAI, a bucket, and an archive there that a run holds."""
    bucket = FolderBucket(URL, tmp_path / "cloud")
    asked: list[BucketOptions] = []

    def open_(_url: ObjectUrl, options: BucketOptions, **_: object) -> FolderBucket:
        asked.append(options)
        return bucket

    monkeypatch.setattr(Bucket, "open", open_)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    calls = Calls(count=40, speech_s=(0.1, 0.2), chat_share=0.0)
    async with Simulator(calls=calls) as simulator:
        monkeypatch.setenv("POLYAI_API_KEY", simulator.key)
        async with open_archive(tmp_path / "state", elsewhere=HERE) as archive:
            await archive.bind(Identity(region="uk", agent=simulator.agent))
            yield simulator, bucket, archive, asked


def sent(simulator: Simulator, **more: object) -> Orders:
    """Make orders whose state folder is nowhere on this machine."""
    return orders(simulator, Path("/nowhere/state"), elsewhere=HERE, **more)


async def test_a_shard_goes_to_the_bucket_and_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its metadata; another worker finds all of it in what the first has noted."""
    async with workshop(tmp_path, monkeypatch) as (simulator, bucket, archive, _):
        first = await Room.open(sent(simulator))
        one = await attempt(first, shard_of(simulator, sidecars=True))
        assert one.fault is None
        objects = bucket.objects()
        for id_ in simulator.calls.recorded_ids():
            assert objects[f"combined/{id_}.wav"] == simulator.expected_bytes(id_, "combined")
            assert f"metadata/{id_}.json" in objects
        asked = simulator.requests.recordings().total()
        second = await Room.open(sent(simulator))
        other = await attempt(second, shard_of(simulator))
        assert simulator.requests.recordings().total() == asked
        assert {each.sha256 for each in other.outcomes} == {each.sha256 for each in one.outcomes}
        assert {each.path for each in other.outcomes} == {each.path for each in one.outcomes}
        for report in (one, other):
            assert report.bench is not None
            await archive.store.strike_out(report.bench, shard_of(simulator).name)
        assert not [path for path in bucket.objects() if "/shards/" in path]
        await first.aclose()
        await second.aclose()
        assert list((tmp_path / "scratch").iterdir()) == []


async def test_a_proxy_is_the_workers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password is not sent, and a bucket is reached by it only where the run does so."""
    async with workshop(tmp_path, monkeypatch) as (simulator, _, _archive, asked):
        plain = sent(simulator)
        room = await Room.open(plain)
        assert asked[-1].proxy is None
        await room.aclose()
        needs = replace(plain, whose=replace(plain.whose, needs_own_proxy=True))
        with pytest.raises(UsageError, match="BULKAUDIO_PROXY"):
            await Room.open(needs)
        monkeypatch.setenv("BULKAUDIO_PROXY", SECRET_PROXY)
        room = await Room.open(replace(needs, needs_store_proxy=True))
        assert asked[-1].proxy == SECRET_PROXY
        await room.aclose()


def test_what_is_sent_of_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How it is reached, and nothing that only one machine knows, or may know."""
    monkeypatch.chdir(tmp_path)
    full = Elsewhere(
        url=URL, endpoint="https://ceph.example", ca_bundle=Path("ca.pem"), proxy=SECRET_PROXY
    )
    told = elsewhere_of(full)
    assert told == Elsewhere(
        url=URL, endpoint="https://ceph.example", ca_bundle=tmp_path / "ca.pem"
    )
    assert elsewhere_of(None) is None
    assert elsewhere_of(HERE) == HERE


async def test_orders_of_a_bucket_travel_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker finds them as the cloud's own tools do."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-aws")
    async with workshop(tmp_path, monkeypatch) as (simulator, _, _archive, _asked):
        parcel = packed(Parcel(orders=sent(simulator), shard=shard_of(simulator)))
        assert b"canary" not in parcel
        assert b"calls" in parcel
        assert sent(simulator).home == HERE
        assert orders(simulator, tmp_path).home == tmp_path
