"""A real browser, offline, that notes what a page asks for, says and throws."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

SHOTS = os.environ.get("TEST_SCREENSHOTS")
"""The folder that screenshots are kept in; without it they go with the test."""


@dataclass(eq=False)  # no slots: the browser hangs a note on whoever listens
class Seen:
    """What a page did: addresses asked for, words on the console, errors, dialogs."""

    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def meet(self, dialog: Dialog) -> None:
        """Note a dialog and send it away: it would keep the page waiting."""
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    @property
    def is_quiet(self) -> bool:
        """Whether there was nothing to complain of."""
        return not (self.console or self.errors or self.dialogs)


def chromium() -> str:
    """Find Debian's chromium, or skip."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    return found


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start the browser; it gets no network that it could not do without."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(),
            # As root there is no sandbox; sound goes nowhere.
            args=["--no-sandbox", "--mute-audio", "--disable-gpu"],
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser,
    path: Path,
    *,
    width: int = 1280,
    is_dark: bool = False,
    has_scripts: bool = True,
) -> Iterator[tuple[Page, Seen]]:
    """Open a file as a double click does."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if is_dark else "light",
        java_script_enabled=has_scripts,
        locale="en-GB",
        timezone_id="America/New_York",
    )
    page, seen = context.new_page(), Seen()
    page.set_default_timeout(10_000)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("console", lambda message: seen.console.append(message.text))
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("dialog", seen.meet)
    page.goto(path.resolve().as_uri())
    try:
        yield page, seen
    finally:
        context.close()


def shoot(page: Page, folder: Path, name: str) -> None:
    """Keep a screenshot of the whole page."""
    place = Path(SHOTS) if SHOTS else folder
    place.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=place / f"{name}.png", full_page=True)
