"""The command ``demo``: a host in trouble, the real `download`, and what to do next."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from bulkaudio.cli.options import (
    DownloadOptions,
    KeyOptions,
    OutputOptions,
    WhatOptions,
    WhereOptions,
)
from bulkaudio.cli.source_options import SourceOptions

if TYPE_CHECKING:
    from bulkaudio.demo import Earlier, Folder
    from bulkaudio.simulator import Simulator

REGION: Final = "us"
MIN_FREE_BYTES = 200_000_000
AUDIO_URL = "BULKAUDIO_AUDIO_URL"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Where it leaves its files, and how it is told."""

    out: Annotated[
        Path, Parameter(metavar="FOLDER", help="Everything the demo writes is in this folder.")
    ] = Path("bulkaudio-demo")
    json: Annotated[
        bool, Parameter(negative="", help="Print both runs' summaries as one line of JSON.")
    ] = False


DEFAULTS = DemoOptions()


def demo(options: DemoOptions = DEFAULTS) -> int:
    """Download from a PolyAI stand-in that fails on purpose, then run again."""
    from bulkaudio.demo import Folder, make_simulator, rows_of, serving

    simulator = make_simulator(datetime.now(UTC))
    folder = Folder(root=options.out.expanduser())
    earlier = folder.prepare(rows_of(simulator), simulator.key)
    with serving(simulator), _towards(simulator.audio_url):
        if options.json:
            return _for_machines(simulator, folder, earlier)
        return _for_people(simulator, folder, earlier)


@contextmanager
def _towards(url: str) -> Iterator[None]:
    """Replace the region's address while the block runs, as whoever has a gateway does."""
    before = os.environ.get(AUDIO_URL)
    os.environ[AUDIO_URL] = url
    try:
        yield
    finally:
        del os.environ[AUDIO_URL]
        if before is not None:
            os.environ[AUDIO_URL] = before


def _options(simulator: "Simulator", folder: "Folder") -> DownloadOptions:
    """Return what `demo_words.command` shows; nobody's variables or file change the demo."""
    return DownloadOptions(
        source=SourceOptions(csv=str(folder.csv)),
        what=WhatOptions(region=REGION, agent=simulator.agent, direction=["all"]),
        where=WhereOptions(out=str(folder.archive), min_free=MIN_FREE_BYTES),
        output=OutputOptions(),
        keys=KeyOptions(api_key_file=str(folder.key)),
    )


def _for_people(simulator: "Simulator", folder: "Folder", earlier: "Earlier") -> int:
    from bulkaudio.cli import demo_words as words
    from bulkaudio.cli.download import summary_of
    from bulkaudio.cli.result import show
    from bulkaudio.observe.terminal import Trimmed, console

    page = console(sys.stdout)
    options = _options(simulator, folder)
    page.print(Trimmed(words.opening(simulator, folder, earlier)))
    page.print(words.command(simulator, folder, REGION), soft_wrap=True)
    if code := show(summary_of(options), options.output):
        return code
    asked = simulator.requests.total
    page.print(Trimmed(words.trouble(simulator)))
    page.print(words.again())
    if code := show(summary_of(options), options.output):
        return code
    _check(simulator, folder, asked)
    page.print(words.proof())
    page.print(words.closing(simulator, folder), soft_wrap=True)
    return 0


def _for_machines(simulator: "Simulator", folder: "Folder", earlier: "Earlier") -> int:
    import json

    from bulkaudio.cli.download import summary_of
    from bulkaudio.cli.failure import tell

    options = _options(simulator, folder)
    first = summary_of(options)
    asked = simulator.requests.total
    second = None if first.exit_code else summary_of(options)
    document = {
        "schema": "bulkaudio.demo/1",
        "folder": str(folder.root),
        "earlier": earlier.value,
        "first": first.document(),
        "second": second and second.document(),
        "requests": [asked, simulator.requests.total - asked],
    }
    print(json.dumps(document, separators=(",", ":")), flush=True)
    last = second or first
    if last.error is not None:
        return tell(last.error)
    if last.exit_code == 0:
        _check(simulator, folder, asked)
    return last.exit_code


def _check(simulator: "Simulator", folder: "Folder", asked: int) -> None:
    """Hold the program to what the demo is about to claim."""
    from bulkaudio.demo import differing
    from bulkaudio.errors import BulkAudioError

    if repeated := simulator.requests.total - asked:
        raise BulkAudioError(f"the second run made {repeated} requests, and had to make none")
    if wrong := differing(simulator, folder):
        raise BulkAudioError(f"{len(wrong)} files are other than what was served: {wrong[0]} …")
