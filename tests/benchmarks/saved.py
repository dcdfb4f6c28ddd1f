"""A million ids: read, found saved, and begun with."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bulkaudio.archive import open_archive
from bulkaudio.identity import Identity
from bulkaudio.model import Audio, Direction, Evidence, Outcome, Recording, Status
from tests.benchmarks import observations
from tests.benchmarks.corpus import Corpus, id_of
from tests.benchmarks.server import ACCOUNT, AGENT, Mood, Server, serving
from tests.benchmarks.setting import Setting
from tests.benchmarks.stage import Contestant, Stage
from tests.benchmarks.tools import bulkaudio

IDS = 1_000_000
FEW = 1000
ROWS_AT_ONCE = 10_000
BUDGET = ("--max-recordings", "100")
BUDGET_CODE = 8

READER, IMPORTS = "csv.reader", "imports alone"
ALREADY, FRESH, FRESH_FEW = "all saved", "first run", "first run, 1,000 ids"

READ = "import csv, sys\nfor row in csv.reader(open(sys.argv[1], newline='')): pass"
IMPORT = (
    "import os, bulkaudio.cli.app\n"
    "from bulkaudio import Archive, Client, download, from_csv\n"
    # The interpreter's own end is no import.
    "os._exit(0)"
)


@contextmanager
def stage(setting: Setting) -> Iterator[Stage]:
    """Have ids of which all are saved, and the same ids for a run that knows none of them."""
    count = setting.scaled(IDS)
    many, few = setting.folder / "many.csv", setting.folder / "few.csv"
    _write_csv(many, count)
    _write_csv(few, FEW)
    archive = setting.folder / "archive"
    asyncio.run(keep(archive, count))
    corpus = Corpus(folder=setting.folder / "site", count=1, seconds=0.05, is_distinct=False)
    corpus.write()
    mood = Mood(is_one_file=True, is_logged=True)
    with serving(corpus.folder, setting.folder / "server", mood) as server:
        yield Stage(
            folder=setting.folder,
            server=server,
            contestants=[
                Contestant(name=READER, command=partial(_python, READ, many)),
                _second_run(server, archive, many),
                Contestant(name=IMPORTS, command=partial(_python, IMPORT, many)),
                _first_run(server, FRESH, many),
                _first_run(server, FRESH_FEW, few),
            ],
        )


async def keep(root: Path, count: int) -> None:
    """Make an archive whose ledger has them all saved; a run believes it without a look."""
    async with open_archive(root) as archive:
        await archive.bind(Identity(region="uk", account=ACCOUNT, agent=AGENT))
        for first in range(0, count, ROWS_AT_ONCE):
            numbers = range(first, min(first + ROWS_AT_ONCE, count))
            outcomes = [_saved(id_of(number)) for number in numbers]
            await archive.ledger.settle(outcomes, None, datetime.now(UTC))


def _saved(id_: str) -> Outcome:
    return Outcome(
        recording=Recording(conversation_id=id_, direction=Direction.COMBINED),
        status=Status.SAVED,
        path=Path("combined", f"{id_}.wav"),
        evidence=Evidence(http_status=200, attempts=1),
        bytes=32_044,
        sha256="0" * 64,
        audio=Audio(codec="pcm", sample_rate_hz=8000, channels=1, data_bytes=32_000, seconds=2.0),
    )


def _write_csv(path: Path, count: int) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write("conversation_id\n")
        file.writelines(f"{id_of(number)}\n" for number in range(count))


def _python(code: str, csv: Path, target: Path) -> Sequence[str]:  # noqa: ARG001  as `Contestant.command` is called
    return [sys.executable, "-c", code, str(csv)]


def _second_run(server: Server, archive: Path, csv: Path) -> Contestant:
    def check(target: Path, is_first: bool) -> str | None:  # noqa: ARG001, FBT001  as `Contestant.check` is called
        asked = len(server.requests())
        return f"asked for {asked:,} that are saved" if asked else None

    return Contestant(
        name=ALREADY,
        command=lambda target: bulkaudio(server, archive, "--csv", str(csv)),  # noqa: ARG005
        check=check,
    )


def _first_run(server: Server, name: str, csv: Path) -> Contestant:
    return Contestant(
        name=name,
        command=lambda target: bulkaudio(server, target, "--csv", str(csv), *BUDGET),
        observe=observations.of_first_request(server),
        code=BUDGET_CODE,
    )
