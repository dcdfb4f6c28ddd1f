"""What ``config show`` found out, as a document and as a page."""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.text import Text

from bulkaudio.cli.effective import (
    Memory,
    Origin,
    Row,
    contradictions,
    text_of_value,
    without_password,
)
from bulkaudio.cli.options import KEYS, KeyOptions
from bulkaudio.errors import BulkAudioError
from bulkaudio.keys import KeyFinder
from bulkaudio.observe.terminal import PLAIN_WIDTH
from bulkaudio.polyai.hosts import canonical_region
from bulkaudio.stores.address import store_of

SCHEMA = "bulkaudio.config/1"

BASE_URLS = ("BULKAUDIO_AUDIO_URL", "BULKAUDIO_CONVERSATIONS_URL")

NAME_WIDTH, VALUE_WIDTH = 24, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """
    Where a key was found, never what it is.

    Attributes:
        source: None when there is none that can be used.
        trouble: Why not.
    """

    source: str | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys for recordings and for listing, and base URLs that were replaced."""

    recordings: FoundKey
    conversations: FoundKey
    base_urls: Mapping[str, str]


def keys_of(options: KeyOptions, region: str | None, environ: Mapping[str, str]) -> Keys:
    """Look for the keys; standard input is left to the run that needs it."""
    finder = KeyFinder(
        api_key_file=options.api_key_file,
        conversations_key_file=options.conversations_key_file,
        environ=environ,
        stdin=io.BytesIO(b"unread"),
    )
    urls = {name: without_password(environ[name]) for name in BASE_URLS if environ.get(name)}
    try:
        found = finder.find(canonical_region(region) if region else "")
    except BulkAudioError as error:
        missing = FoundKey(trouble=error.message)
        return Keys(recordings=missing, conversations=missing, base_urls=urls)
    listing = found.conversations_key or found.api_key
    return Keys(
        recordings=FoundKey(source=found.api_key.source),
        conversations=FoundKey(source=listing.source),
        base_urls=urls,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """
    Everything that ``config show`` tells.

    Attributes:
        passed_over: A configuration in the current folder, where somebody may expect it to count.
    """

    rows: Sequence[Row]
    file: Path | None
    profile: str | None
    memory: Memory | None
    keys: Keys
    passed_over: str | None = None

    def document(self) -> dict[str, Any]:
        """Return what ``config show --json`` prints."""
        keys = {"recordings": self.keys.recordings, "conversations": self.keys.conversations}
        return {
            "schema": SCHEMA,
            "file": None if self.file is None else str(self.file),
            "profile": self.profile,
            "archive": None if self.memory is None else str(self.memory.root),
            "store": None if self.memory is None else store_of(self.memory.root),
            "archive_held": self.memory is not None and self.memory.is_held,
            "contradicts_archive": sorted(contradictions(self.rows, self.memory)),
            "options": {
                row.name: {"value": row.value, "origin": row.origin.value, "source": row.source}
                for row in self.rows
            },
            "keys": {
                name: {"source": key.source, "trouble": key.trouble} for name, key in keys.items()
            },
            "base_urls": dict(self.keys.base_urls),
        }

    def page(self) -> Text:
        """Lay it out for people, an option a line however long its value is."""
        return Text("\n").join(self._parts())

    def _parts(self) -> Iterator[Text]:
        yield Text(self._file_words())
        if self.passed_over is not None:
            yield Text(
                f"{self.passed_over} in this folder is not read, because nobody named it: "
                f"--config {self.passed_over}"
            )
        if self.memory is not None and self.memory.is_held:
            yield Text(f"A run holds {self.memory.root}: what it remembers cannot be read now.")
        yield from self._contradictions()
        for heading, rows in groupby(self.rows, key=lambda row: row.group):
            yield Text(f"\n{heading}:", style="bold")
            yield from (_line(row.name, row.shown, _origin(row)) for row in rows)
            if heading == KEYS.name:
                yield from self._key_lines()
        if self.keys.base_urls:
            yield Text("\nInstead of PolyAI's own hosts:", style="bold")
            for name, url in self.keys.base_urls.items():
                yield Text(f"  {name:<{max(map(len, BASE_URLS))}}  {url}")

    def _contradictions(self) -> Iterator[Text]:
        if self.memory is None:
            return
        for name, row in contradictions(self.rows, self.memory).items():
            kept = self.memory.values[name]
            # Not asking for redaction is asking for none.
            kept = bool(kept) if name == "redacted" else kept
            words = f"{self.memory.root} goes by {name} {text_of_value(kept)}"
            yield Text(
                f"{words}, and holds recordings: a download with {row.shown} is refused."
                if self.memory.has_saved
                else f"{words}, and holds no recording yet: a download with {row.shown} begins it anew."
            )

    def _file_words(self) -> str:
        if self.file is None:
            return "Configuration file: none, neither named nor at the usual places"
        profile = "" if self.profile is None else f", profile {self.profile}"
        return f"Configuration file: {self.file}{profile}"

    def _key_lines(self) -> Iterator[Text]:
        recordings, conversations = self.keys.recordings, self.keys.conversations
        if recordings.source is None:
            told = f"no key: {recordings.trouble}"
            yield Text(
                textwrap.fill(told, PLAIN_WIDTH, initial_indent="  ", subsequent_indent="  ")
            )
            return
        yield _line("key for recordings", HIDDEN_KEY, f"from {recordings.source}")
        yield _line("key for listing", HIDDEN_KEY, f"from {conversations.source}")


HIDDEN_KEY = "found"


def _origin(row: Row) -> str:
    if row.origin is Origin.ARCHIVE:
        return f"remembered by {row.source}"
    return row.source or "default"


def _line(name: str, value: str, origin: str) -> Text:
    line = Text("  ").append(f"{name:<{NAME_WIDTH}}", style="cyan").append(value)
    if len(value) < VALUE_WIDTH:
        return line.append(" " * (VALUE_WIDTH - len(value))).append(origin, style="dim")
    return line.append("\n" + " " * (2 + NAME_WIDTH + VALUE_WIDTH)).append(origin, style="dim")
