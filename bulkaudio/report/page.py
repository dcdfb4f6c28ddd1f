"""The page, put together: one file that asks for nothing from anywhere but its own recordings."""

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from bulkaudio.model import Status
from bulkaudio.naming import printable
from bulkaudio.quantities import format_bytes, plural
from bulkaudio.report.gather import Account
from bulkaudio.report.markup import Markup, joined, tag
from bulkaudio.report.sections import completeness, not_kept, runs_section, when_and_how_long
from bulkaudio.report.table import table_data
from bulkaudio.report.words import (
    Tone,
    hours_words,
    period_words,
    share_words,
    time_words,
    verdict,
)
from bulkaudio.version import __version__

MOST_BYTES = 995_000
"""Of the whole page: what the calls of the table may fill is what the rest of it leaves."""

SIGNS = {Tone.WHOLE: "✓", Tone.WAITING: "…", Tone.LACKING: "!", Tone.EMPTY: "?"}

POLICY = (
    "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; "
    "media-src 'self' file:; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""``file:`` for browsers to whom a file is no ``'self'``; no page from the net can use it."""


def render(account: Account, callers: Mapping[str, str], links_from: str) -> str:
    """
    Write the page.

    Args:
        callers: By conversation id, as they are to be shown.
        links_from: The archive's folder as the page's own folder sees it: empty, or ``../x/``.
    """
    fixed = _fixed(account, quote(os.fsencode(links_from)))
    empty = _filled(account, Markup(""), 0)
    room = MOST_BYTES - len(empty.encode())
    data, shown = table_data(account.figures.lines, fixed, callers, room)
    return _filled(account, data, shown)


def _fixed(account: Account, prefix: str) -> dict[str, Any]:
    store = account.store and f"{account.store}/"
    told = {"zone": str(account.scope.zone), "template": account.template, "prefix": prefix}
    return told | ({"store": store} if store else {})


def _filled(account: Account, data: Markup, shown: int) -> str:
    style, script = _part("page.css"), _part("page.js")
    policy = POLICY.format(script=_digest(script), style=_digest(style))
    return Template(_part("page.html")).substitute(
        policy=policy,
        style=style,
        script=script,
        data=data,
        title=joined(_title(account)),
        head=_head(account),
        tiles=tag("dl", *_tiles(account), class_="tiles"),
        body=joined(
            completeness(account.figures),
            not_kept(account.figures, account.scope),
            when_and_how_long(account.figures),
        ),
        shown=joined(" ".join(filter(None, (_place_words(account), _shown_words(account, shown))))),
        **_words_of_table(account.store),
        after=runs_section(account),
        foot=_foot(account),
    )


def _title(account: Account) -> str:
    pins = account.pins
    whose = pins.get("agent") or account.archive.resolve().name
    return f"Call recordings of {printable(whose)}"


def _head(account: Account) -> Markup:
    found, pins = verdict(account), account.pins
    where = [f"region {pins['region']}"] if "region" in pins else []
    facts = [*where, period_words(account), f"made {time_words(account.at, account.scope)}"]
    return joined(
        tag("p", "bulkaudio report", class_="eyebrow"),
        tag("h1", _title(account)),
        tag("p", " · ".join(facts), class_="facts"),
        tag(
            "div",
            tag("span", SIGNS[found.tone], class_="sign", aria_hidden="true"),
            tag(
                "div",
                tag("p", found.headline, id="verdict"),
                *(tag("p", note, class_="note") for note in found.notes),
            ),
            class_=f"verdict {found.tone.value}",
        ),
    )


def _tiles(account: Account) -> Iterator[Markup]:
    figures = account.figures
    saved, absent, erased = map(figures.count, (Status.SAVED, Status.ABSENT, Status.PURGED))
    due = figures.listed - absent - erased
    kept = f"{share_words(saved, due)} of {due:,} to be kept" if due else "none to be kept"
    yield _tile("Calls", f"{sum(figures.calls):,}", "")
    yield _tile("Recordings saved", f"{saved:,}", kept)
    yield _tile("Hours of audio", hours_words(figures.seconds), "")
    yield _tile("On disk" if account.store is None else "Stored", format_bytes(figures.bytes), "")
    for status, name in ((Status.OPEN, "Missing"), (Status.FAILED, "Failed")):
        count = figures.count(status)
        yield _tile(name, f"{count:,}", "recordings", is_bad=count > 0)
    if erased:
        yield _tile("Erased", f"{erased:,}", "recordings")


def _tile(name: str, value: str, note: str, *, is_bad: bool = False) -> Markup:
    return tag(
        "div",
        tag("dt", name),
        tag("dd", value, tag("small", note) if note else ""),
        class_="tile bad" if is_bad else "tile",
    )


def _shown_words(account: Account, shown: int) -> str:
    hidden = sum(account.figures.calls) - shown
    if hidden <= 0:
        return ""
    return (
        f"The table holds {plural(shown, 'call')}: first those that lack something, then the newest. "
        f"{hidden:,} more are in every number above, and in the archive."
    )


def _place_words(account: Account) -> str:
    """Say where the recordings are, when no link leads there."""
    if account.store is None:
        return ""
    return (
        f"The recordings are in {account.store}, which this page cannot open: the button of a recording "
        "shows its address there."
    )


def _words_of_table(store: str | None) -> dict[str, str]:
    """Say what the table's buttons do."""
    if store is None:
        return {
            "where": "the recordings are beside it, in folders by their names.",
            "caption": "Calls, with a button to play each recording",
            "enter": "to play, <kbd>Esc</kbd> to close the player",
        }
    return {
        "where": tag("span", f"the recordings are in {store}, under keys by their names."),
        "caption": "Calls, with a button that shows where each recording is",
        "enter": "to show an address, <kbd>Esc</kbd> to close it",
    }


def _foot(account: Account) -> Markup:
    return joined(
        tag(
            "p",
            "Counted from the ledger of this archive, which knows the calls that PolyAI listed or a "
            "file named, and no others. Listed = saved + no recording + not yet + "
            "failed + missing + erased, in recordings: one direction of one call. Days and hours are those of "
            f"{account.scope.zone}. That every saved file is still whole, only ",
            tag("code", "bulkaudio verify"),
            " can say: it reads them all.",
        ),
        tag("p", f"bulkaudio {__version__}. This page asks nothing of any network."),
    )


def link_prefix(page: Path, archive: Path) -> str:
    """Say how a page's folder reaches the archive; blocks."""
    way = os.path.relpath(archive.resolve(), page.parent.resolve())
    return "" if way == "." else Path(way).as_posix() + "/"


@cache
def _part(name: str) -> str:
    return files("bulkaudio.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
