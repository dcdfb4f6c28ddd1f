"""Configuration of archives at addresses: written, found, shown."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.objects.desk import ADDRESS, Desk, has, line_of

STUDIO = "https://studio.uk.poly.ai/ws-1/PROJECT-1"
ENDPOINT = "http://127.0.0.1:9"


async def shown(desk: Desk, *words: str) -> dict[str, Any]:
    """Return what counts."""
    ended = await desk.well("config", "show", "--json", *words)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


async def test_from_an_address_of_the_studio_to_one_of_a_bucket(tmp_path: Path) -> None:
    """What is written is enough for a download, and is looked at by a diagnosis."""
    async with Desk.at(tmp_path) as desk:
        words = ("--out", ADDRESS, "--store-endpoint", ENDPOINT)
        ended = await desk.well("init", STUDIO, *words)
        assert ADDRESS in ended.stdout
        assert has(ended.stdout, f"ledger {desk.usual}")
        assert "store.bucket" in ended.stdout
        csv = ("--csv", tmp_path / "calls.csv")
        await desk.well("download", "--config", "bulkaudio.toml", *csv)
        assert len(desk.bucket().objects()) >= len(desk.ids)
        assert desk.endpoints()[-1] == [ENDPOINT, None]


async def test_the_archives_own_file_is_in_the_state_folder(tmp_path: Path) -> None:
    """It counts wherever the address is named, as in the folder of another archive."""
    async with Desk.at(tmp_path) as desk:
        own = desk.usual / "bulkaudio.toml"
        words = ("--out", ADDRESS, "--store-endpoint", ENDPOINT, "--output", own)
        ended = await desk.well("init", STUDIO, "--no-check", *words)
        assert f"download --out {ADDRESS} --quiet" in ended.stdout
        # Found and not named, it may not say where recordings go: the first run does, once.
        assert f"download --out {ADDRESS} --store-endpoint {ENDPOINT} --since" in ended.stdout
        csv = ("--csv", tmp_path / "calls.csv")
        await desk.well("download", "--out", ADDRESS, "--store-endpoint", ENDPOINT, *csv)
        text = own.read_text()
        own.write_text(f'store-endpoint = "https://evil.example"\n{text}')
        refused = await desk.run("verify", ADDRESS)
        assert refused.code == 2
        assert "store-endpoint" in refused.stderr
        own.write_text(text)
        assert {endpoint for endpoint, _ in desk.endpoints()} == {ENDPOINT}
        found = await shown(desk, "--out", ADDRESS)
        assert found["file"] == str(own)
        assert (await shown(desk, "--out", "s3://recordings/other"))["file"] is None
        own.unlink()
        state = tmp_path / "state"
        state.mkdir(mode=0o700)
        (state / "bulkaudio.toml").write_text('agent = "OTHER"\n')
        found = await shown(desk, "--out", ADDRESS, "--state-dir", str(state))
        assert found["options"]["agent"]["value"] == "OTHER"
        desk.env["BULKAUDIO_STATE_DIR"] = str(state)
        found = await shown(desk, "--out", ADDRESS)
        assert found["options"]["agent"]["value"] == "OTHER"


async def test_what_counts_is_shown(tmp_path: Path) -> None:
    """With what the state folder remembers, and where that is."""
    async with Desk.at(tmp_path) as desk:
        before = await shown(desk, "--out", ADDRESS)
        assert before["archive"] is None
        assert before["options"]["state-dir"]["value"] == str(desk.usual)
        assert (await desk.download("--store-endpoint", ENDPOINT)).code == 0
        found = await shown(desk, "--out", ADDRESS)
        assert found["archive"] == str(desk.usual)
        options = found["options"]
        assert options["out"] == {"value": ADDRESS, "origin": "flag", "source": "--out"}
        assert options["agent"]["origin"] == "archive"
        assert options["store-endpoint"] == {
            "value": ENDPOINT,
            "origin": "archive",
            "source": str(desk.usual),
        }
        ended = await desk.well("config", "show", "--out", ADDRESS)
        assert has(ended.stdout, f"{ENDPOINT} remembered by {desk.usual}")
        assert not (tmp_path / "s3:").exists()


async def test_variables_name_everything(tmp_path: Path) -> None:
    """As in a container."""
    async with Desk.at(tmp_path) as desk:
        desk.env |= {
            "BULKAUDIO_OUT": ADDRESS,
            "BULKAUDIO_STATE_DIR": str(tmp_path / "state"),
            "BULKAUDIO_STORE_ENDPOINT": ENDPOINT,
            "BULKAUDIO_AGENT": "PROJECT-1",
            "BULKAUDIO_REGION": "uk",
            "BULKAUDIO_CSV": str(tmp_path / "calls.csv"),
        }
        found = line_of(await desk.well("download", "--json"))
        assert (found["store"], found["archive"]) == (ADDRESS, str(tmp_path / "state"))
        assert desk.endpoints()[-1] == [ENDPOINT, None]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("made", ["another user's", "anybody's"])
async def test_a_server_that_others_may_have_chosen_is_asked_nothing(
    tmp_path: Path, made: str
) -> None:
    """A state folder from somewhere must not draw credentials to a server of its choice."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download("--store-endpoint", ENDPOINT)).code == 0
        file = desk.usual / ".bulkaudio" / "store"
        if made == "anybody's":
            file.chmod(0o666)
        else:
            os.chown(file, 12345, 12345)
        asked = len(desk.endpoints())
        refused = await desk.download()
        assert refused.code == 6
        assert "chooses the server" in refused.stderr
        assert len(desk.endpoints()) == asked
        assert (await desk.run("status", ADDRESS)).code == 0
        assert (await desk.download("--store-endpoint", ENDPOINT)).code == 0
        assert (await desk.download()).code == 0
