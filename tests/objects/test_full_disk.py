"""A state folder whose disk is full: recordings are there on their way into the bucket."""

from pathlib import Path

import pytest

from tests.faults.machine import disk, few
from tests.objects.ground import Cloud

ANY_SPACE = ("--min-free", "0")
SIZES = ("160k", "256k", "400k", "600k", "900k")


@pytest.mark.parametrize("size", few(SIZES, ("400k",)))
async def test_a_full_disk_below_the_state_folder(tmp_path: Path, size: str) -> None:
    """Ends with 6 and what to do; once there is room, it goes on, and fetches nothing again."""
    async with Cloud.at(tmp_path, count=60, words=(*ANY_SPACE, "--metadata", "basic")) as cloud:
        with disk(cloud.state, f"size={size}") as small:
            ended = await cloud.download()
            assert ended.code == 6, ended.stderr
            assert "Fix: " in ended.stderr
            assert "No space left" in ended.stderr or "disk is full" in ended.stderr, ended.stderr
            assert ended.summary["exit_code"] == 6
            assert ended.summary["counts"]["saved"] <= len(cloud.recordings())
            small.remount("size=40m")
            kept, before = set(cloud.recordings()), cloud.asked()
            again = await cloud.download()
            assert again.code == 0, again.stderr
            assert cloud.recordings() == cloud.truth
            assert cloud.saved() == set(cloud.truth)
            assert cloud.temporary() == []
            assert not {path for path in kept if cloud.asked()[path] > before[path]}
            await cloud.settled()


async def test_little_room_is_refused_before_any_request(tmp_path: Path) -> None:
    """The bound is that of the state folder's disk, and its own words."""
    async with Cloud.at(tmp_path, count=3) as cloud:
        with disk(cloud.state, "size=30m"):
            ended = await cloud.download()
            assert ended.code == 6, ended.stderr
            assert "--min-free" in ended.stderr
            assert cloud.asked() == {}
