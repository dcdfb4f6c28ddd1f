"""The page in Debian's chromium, opened from the disk as a double click does."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from bulkaudio.cli.app import main
from bulkaudio.model import Direction, Status
from bulkaudio.settings import DEFAULT_LAYOUT
from tests.archives import COMBINED, EVERYWHERE, Sketch, make_archive
from tests.report.browser import browsing, chromium, opened, shoot

START = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=alert(1)><!--<script>alert(2)"
PCM, MULAW, FAILED, LOST = "CA" + "1" * 32, "CA" + "2" * 32, "CA" + "3" * 32, "CA" + "4" * 32


def calls() -> list[Sketch]:
    """Make a page and a half of calls: the special ones newest, the last without a start."""
    failed = {Direction.COMBINED: Status.FAILED, Direction.USER: Status.SAVED}
    special = [
        Sketch(id=PCM, statuses=EVERYWHERE, seconds=1.5),
        Sketch(id=MULAW, statuses=COMBINED, seconds=2.25, codec="mulaw"),
        Sketch(id=FAILED, statuses=failed, reason=HOSTILE, correlation_id=HOSTILE),
        Sketch(id=LOST, statuses={Direction.COMBINED: Status.OPEN}),
        Sketch(id="late", statuses={Direction.COMBINED: Status.DEFERRED}, reason="not_ready"),
    ]
    dated = [
        Sketch(
            id=call.id,
            started_at=START - timedelta(minutes=number),
            statuses=call.statuses,
            seconds=call.seconds,
            codec=call.codec,
            reason=call.reason,
            correlation_id=call.correlation_id,
        )
        for number, call in enumerate(special)
    ]
    plain = [
        Sketch(
            id=f"CA{number:032x}",
            started_at=START - timedelta(days=number % 40 + 2, hours=number % 11),
            seconds=9.0 if number == 7 else 0.1 + number / 10,
        )
        for number in range(40)
    ]
    return [*dated, *plain, Sketch(id="Undated.Id_1", started_at=None)]


TOTAL = 46


def reported(
    archive: Path, calls: Sequence[Sketch], *words: str, layout: str = DEFAULT_LAYOUT
) -> None:
    """Make an archive and its report; in a thread, because the browser has a loop in this one."""

    def work() -> int:
        asyncio.run(make_archive(archive, calls, layout=layout))
        return main(["report", str(archive), "--quiet", *words])

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an archive with its report, in London's days."""
    chromium()
    archive = tmp_path_factory.mktemp("site") / "archive"
    reported(archive, calls(), "--tz", "Europe/London")
    return archive


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start one browser for all."""
    with browsing() as browser:
        yield browser


def shown(page: Page) -> list[str]:
    """Return the ids in the table, as it stands."""
    return page.locator("#rows .id").all_text_contents()


def where(page: Page) -> str:
    """Return what has the focus: a row's id, or a button's name."""
    found: str = page.evaluate(
        "() => { const e = document.activeElement;"
        " return e.matches('tr') ? e.querySelector('.id').textContent"
        " : e.getAttribute('aria-label') || e.textContent; }"
    )
    return found


def play(page: Page, conversation_id: str, direction: str = "combined") -> float:
    """Press a recording's button; return its length once it is heard."""
    page.evaluate(
        "() => { window.heard = new Promise(done => document.getElementById('audio')"
        ".addEventListener('playing', event => done(event.target.duration), { once: true })); }"
    )
    page.get_by_role("button", name=f"Play {direction}").and_(
        page.locator(f'[aria-label$="{conversation_id}"]')
    ).click()
    seconds: float = page.evaluate("() => window.heard")
    return seconds


def test_it_opens_offline_and_asks_for_nothing(site: Path, browser: Browser) -> None:
    """The verdict comes first; the page is the only thing that is read, and nobody complains."""
    with opened(browser, site / "report.html") as (page, seen):
        assert page.locator("#verdict").text_content() == (
            "Not complete: 2 recordings of 49 are not archived (1 missing, 1 failed)."
        )
        assert page.locator("#count").text_content() == f"{TOTAL} calls"
        assert seen.requests == [(site / "report.html").resolve().as_uri()]
        assert seen.is_quiet, seen


def test_hostile_texts_are_shown_and_do_nothing(site: Path, browser: Browser) -> None:
    """A reason and a support id that would be markup are read as what they are."""
    with opened(browser, site / "report.html") as (page, seen):
        page.wait_for_timeout(200)
        assert HOSTILE in (page.locator("#lacking ~ *").all_text_contents()[-1])
        page.get_by_label("State").select_option("f")
        assert HOSTILE.replace("_", " ") in page.locator("#rows").text_content()  # type: ignore[operator]
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 2
        assert seen.is_quiet, seen


def test_what_got_in_all_the_same_could_do_nothing(site: Path, browser: Browser) -> None:
    """No script without the page's own hash, no markup of texts, no request to anywhere."""
    with opened(browser, site / "report.html") as (page, seen):
        refused = """() => {
            const tries = [
                () => { document.body.innerHTML = "<b>"; },
                () => { document.createElement("script").text = "1"; },
            ];
            return tries.map(each => { try { each(); return false; } catch { return true; } });
        }"""
        assert page.evaluate(refused) == [True, True]
        asked = """address => fetch(address).then(() => "answered", () => "refused")"""
        assert page.evaluate(asked, "https://example.com/") == "refused"
        assert page.evaluate(asked, "calls.csv") == "refused"
        assert len(seen.requests) == 1
        policy = page.locator("meta[http-equiv]").get_attribute("content") or ""
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy


def test_filters_find_what_they_say(site: Path, browser: Browser) -> None:
    """By part of an id, by state, and by days in the zone that was asked for, not the reader's."""
    with opened(browser, site / "report.html") as (page, _):
        page.get_by_label("Find").fill("undated")
        assert shown(page) == ["Undated.Id_1"]
        page.get_by_role("button", name="Clear").click()
        page.get_by_label("State").select_option("!")
        assert shown(page) == [FAILED, LOST, "late"]
        assert page.locator("#count").text_content() == f"3 of {TOTAL} calls"
        page.get_by_role("button", name="Clear").click()
        page.get_by_label("From").fill("2026-11-20")
        assert shown(page) == [PCM, MULAW, FAILED, LOST, "late"]
        page.get_by_label("From").fill("2026-11-21")
        assert "No call is like that." in (page.locator("#rows").text_content() or "")
        page.get_by_role("button", name="Clear").click()
        page.locator("[data-d='2026-11-20']").click()
        assert len(shown(page)) == 5


def test_columns_sort_both_ways_and_say_so(site: Path, browser: Browser) -> None:
    """By length up and down; a screen reader is told which."""
    with opened(browser, site / "report.html") as (page, _):
        head = page.get_by_role("columnheader", name="Length")
        assert head.get_attribute("aria-sort") == "none"
        page.get_by_role("button", name="Length").click()
        assert head.get_attribute("aria-sort") == "descending"
        assert shown(page)[0] == f"CA{7:032x}"
        page.get_by_role("button", name="Length").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert set(shown(page)[:2]) == {LOST, "late"}
        page.get_by_role("button", name="Call began").click()
        page.get_by_role("button", name="Last").click()
        assert shown(page)[-1] == "Undated.Id_1"


def test_the_table_is_walked_by_keyboard(site: Path, browser: Browser) -> None:
    """One stop for Tab; arrows inside, over the pages too; Enter plays and Escape comes back."""
    with opened(browser, site / "report.html") as (page, _):
        page.locator("#rows tr").first.focus()
        keys = page.keyboard
        keys.press("ArrowDown")
        assert where(page) == MULAW
        keys.press("ArrowUp")
        keys.press("ArrowRight")
        keys.press("ArrowRight")
        assert where(page).startswith("Play user, 20 Nov 2026, 23:30:00")
        keys.press("ArrowLeft")
        keys.press("ArrowLeft")
        assert where(page) == PCM
        keys.press("End")
        assert where(page) == "Undated.Id_1"
        keys.press("Home")
        assert where(page) == PCM
        keys.press("PageDown")
        assert page.locator("#where").text_content() == "Page 2 of 2"
        keys.press("ArrowUp")
        assert page.locator("#where").text_content() == "Page 1 of 2"
        keys.press("Home")
        keys.press("Enter")
        assert page.locator("#player").is_visible()
        keys.press("Escape")
        assert page.locator("#player").is_hidden()
        assert PCM in where(page)
        assert page.locator("#rows [tabindex='0']").count() == 1


@pytest.mark.parametrize(("conversation_id", "seconds"), [(PCM, 1.5), (MULAW, 2.25)])
def test_recordings_play(
    conversation_id: str, seconds: float, site: Path, browser: Browser
) -> None:
    """Linear and μ-law sound, by a link that leads beside the page, in its right length."""
    with opened(browser, site / "report.html") as (page, seen):
        assert play(page, conversation_id) == pytest.approx(seconds)
        folder = site.resolve().as_uri()
        assert seen.requests[1:] == [f"{folder}/combined/{conversation_id}.wav"]
        page.wait_for_function("() => document.getElementById('audio').currentTime > 0")
        page.wait_for_function("() => document.getElementById('audio').ended")
        assert seen.is_quiet, seen


@pytest.mark.slow
def test_directions_are_side_by_side(site: Path, browser: Browser) -> None:
    """In the player a call's other directions are one press away, and go on at the same second."""
    with opened(browser, site / "report.html") as (page, seen):
        assert play(page, PCM) == pytest.approx(1.5)
        page.wait_for_function("() => document.getElementById('audio').currentTime > 0.3")
        page.locator("#sides").get_by_role("button", name="Agent").click()
        page.wait_for_function("() => document.getElementById('audio').currentTime > 0.25")
        assert seen.requests[-1].endswith(f"/agent/{PCM}.wav")
        page.get_by_role("button", name="Close").click()
        assert play(page, MULAW) == pytest.approx(2.25)
        assert page.locator("#sides").get_by_role("button", name="Agent").is_disabled()
        assert (page.locator("#file").get_attribute("href") or "") == f"combined/{MULAW}.wav"


@pytest.mark.slow
def test_what_cannot_be_played_is_said(tmp_path: Path, browser: Browser) -> None:
    """A file that is gone, and one that is no sound: the player names both causes."""
    archive = tmp_path / "archive"
    reported(archive, [Sketch(id=PCM), Sketch(id=MULAW)])
    (archive / "combined" / f"{PCM}.wav").unlink()
    (archive / "combined" / f"{MULAW}.wav").write_bytes(b"no sound")
    with opened(browser, archive / "report.html") as (page, _):
        for number in range(2):
            page.locator("#rows .play").nth(number).click()
            page.get_by_role("alert").filter(has_text="It cannot be played here").wait_for()


LAYOUT = "{year}/{month}/{day}/{direction}/{hour} {id}.wav"


@pytest.mark.slow
def test_links_hold_for_any_layout_id_and_place(tmp_path: Path, browser: Browser) -> None:
    """Folders of days, an id whose capitals are marked, a page in another folder with a blank."""
    archive, output = tmp_path / "arch #1?", tmp_path / "pages %41" / "all calls.html"
    output.parent.mkdir()
    calls = [Sketch(id="MiXed.Case", seconds=0.75), Sketch(id=PCM, started_at=START, seconds=1.25)]
    reported(archive, calls, "--output", str(output), layout=LAYOUT)
    with opened(browser, output) as (page, _):
        assert play(page, "MiXed.Case") == pytest.approx(0.75)
        assert play(page, PCM) == pytest.approx(1.25)


@pytest.mark.slow
def test_without_scripts_the_numbers_stand(site: Path, browser: Browser) -> None:
    """Verdict, calendar and tables are there, and the page says what is not."""
    with opened(browser, site / "report.html", has_scripts=False) as (page, seen):
        assert page.locator("#verdict").is_visible()
        assert page.locator(".month").count() == 2
        assert page.locator("#app").is_hidden()
        assert "needs scripts" in (page.locator("noscript").text_content() or "")
        assert seen.is_quiet


def faults(page: Page) -> list[str]:
    """Return what axe finds serious or critical, with the elements."""
    found: dict[str, Any] = Axe().run(page).response
    return [
        f"{each['id']}: {[node['html'][:120] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


WIDTHS = {"desktop": 1280, "dark": 1280, "phone": 375}


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDTHS)
def test_everybody_can_use_it(name: str, site: Path, browser: Browser, tmp_path: Path) -> None:
    """Axe finds no serious fault, with everything unfolded and a recording played."""
    place, is_dark = site / "report.html", name == "dark"
    with opened(browser, place, width=WIDTHS[name], is_dark=is_dark) as (page, _):
        shoot(page, tmp_path, name)
        play(page, PCM)
        page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert faults(page) == []
        is_wide = "() => document.documentElement.scrollWidth > innerWidth"
        assert not page.evaluate(is_wide), "the page itself scrolls sideways"
        shoot(page, tmp_path, f"{name}-unfolded")


@pytest.mark.slow
def test_it_prints(site: Path, browser: Browser, tmp_path: Path) -> None:
    """On paper there is no control, also from a dark screen."""
    with opened(browser, site / "report.html", is_dark=True) as (page, _):
        page.emulate_media(media="print")
        assert page.locator("#filters").is_hidden()
        assert page.locator("#verdict").is_visible()
        ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        shoot(page, tmp_path, "print")
