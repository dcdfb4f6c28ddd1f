"""The page about an archive whose recordings are at an address: nothing on it leads nowhere."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.objects.desk import ADDRESS, Desk, line_of
from tests.report.browser import browsing, chromium, opened


def data_of(page: Path) -> dict[str, object]:
    """Read what the script is told."""
    text = page.read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    told: dict[str, object] = json.loads(found[1])
    return told


async def test_it_says_where_the_recordings_are(tmp_path: Path) -> None:
    """In words, with the address, beside the run and by itself."""
    async with Desk.at(tmp_path) as desk:
        page = tmp_path / "page.html"
        ended = await desk.download("--report", page, "--metadata", "full")
        assert ended.code == 0, ended.stderr
        for path in (page, desk.usual / "report.html"):
            if path != page:
                await desk.well("report", ADDRESS)
            text = path.read_text()
            assert f"The recordings are in {ADDRESS}, which this page cannot open" in text
            assert "On disk" not in text
            assert data_of(path)["store"] == f"{ADDRESS}/"
        refused = await desk.run("report", ADDRESS, "--show-numbers")
        assert refused.code == 2
        assert f"in {ADDRESS} and is not read for a page" in refused.stderr
        refused = await desk.download("--report", desk.usual / ".bulkaudio" / "ledger.db")
        assert refused.code == 2


async def test_a_page_of_a_folder_plays(tmp_path: Path) -> None:
    """As before."""
    async with Desk.at(tmp_path) as desk:
        folder = tmp_path / "folder"
        assert (await desk.download("--report", folder / "page.html", out=str(folder))).code == 0
        text = (folder / "page.html").read_text()
        assert "store" not in data_of(folder / "page.html")
        assert "with a button to play each recording" in text


async def test_a_metrics_file_and_a_failed_run_know_the_folder(tmp_path: Path) -> None:
    """Nobody takes an address for a folder."""
    async with Desk.at(tmp_path) as desk:
        metrics = tmp_path / "metrics.prom"
        assert (await desk.download("--metrics-file", metrics)).code == 0
        assert str(desk.usual) in metrics.read_text()
        ended = await desk.download("--json", "--layout", "{year}/{id}.wav")
        assert ended.code == 2
        found = line_of(ended)
        assert (found["archive"], found["store"]) == (str(desk.usual), ADDRESS)
        assert not (tmp_path / "s3:").exists()


@pytest.mark.slow
async def test_its_buttons_show_addresses(tmp_path: Path) -> None:
    """And nothing plays or is fetched."""
    chromium()
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download("--direction", "all")).code == 0
        await desk.well("report", ADDRESS)
        id_ = desk.ids[0]

        def look() -> None:
            with browsing() as browser, opened(browser, desk.usual / "report.html") as (page, seen):
                button = page.get_by_role("button", name=re.compile(f"Address of combined.*{id_}"))
                button.click()
                assert page.inner_text("#address") == f"{ADDRESS}/combined/{id_}.wav"
                assert button.get_attribute("aria-pressed") == "true"
                assert page.get_by_text("▶ Play").count() == 0
                for name in ("#audio", "#file"):
                    assert not page.locator(name).is_visible()
                page.locator("#sides").get_by_role("button", name="Agent").click()
                assert page.inner_text("#address") == f"{ADDRESS}/agent/{id_}.wav"
                page.keyboard.press("Escape")
                assert not page.locator("#player").is_visible()
                assert {url.rpartition("/")[2] for url in seen.requests} == {"report.html"}

        with ThreadPoolExecutor(1) as pool:
            pool.submit(look).result()
