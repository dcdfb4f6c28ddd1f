"""An archive in a bucket: downloads, what is told beside it, and a state folder that is lost."""

from pathlib import Path

from tests.objects.ground import Cloud


async def test_a_download_and_a_lost_state_folder(tmp_path: Path) -> None:
    """Everything arrives; the next run has nothing to do, also where the state folder was lost."""
    async with Cloud.at(tmp_path) as cloud:
        ended = await cloud.download()
        assert ended.code == 0, ended.stderr
        assert ended.summary["counts"]["saved"] == len(cloud.truth)
        assert cloud.recordings() == cloud.truth
        await cloud.heal()
