"""The catalogue: every form says what the ledger says, to anybody who reads it."""

import asyncio
import csv
import io
import json
import os
import re
import stat
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet
import pytest

from bulkaudio.catalogue.columns import COLUMNS, SCHEMA, Kind
from bulkaudio.catalogue.text import CsvWriter, JsonLinesWriter, cell
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.ledger.rows import LedgerRow
from bulkaudio.model import (
    Audio,
    Batch,
    Conversation,
    Direction,
    Evidence,
    Outcome,
    Recording,
    Status,
)
from bulkaudio.stores.lock import ArchiveLock
from tests.erasing import IDS, fill, polyai, record
from tests.forked import Order, run_forked
from tests.inside import Inside
from tests.program import Done, ledger_rows, run
from tests.wire import WireServer, in_thread

ROOT = Path(__file__).parent.parent
NOW = datetime(2026, 11, 22, 6, 0, 0, 250_000, tzinfo=UTC)
HOSTILE = ("=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\tx", "\rx", "'quoted", "a=b")


@pytest.fixture
def archive(inside: Inside) -> Inside:
    """Return the program with an archive of twelve recordings, three of them erased."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
    assert inside.run("purge", inside.archive, "--id", "CA4", "--yes").code == 0
    return inside


def export(inside: Inside, *words: str | Path) -> Done:
    """Run the command."""
    return inside.run("export", inside.archive, *words)


def from_csv(text: str) -> list[dict[str, Any]]:
    """Read a catalogue back as the page of its schema says."""
    kinds = {column.name: column.kind for column in COLUMNS}
    return [
        {name: value_of(kinds[name], value) for name, value in row.items()}
        for row in csv.DictReader(io.StringIO(text))
    ]


def value_of(kind: Kind, text: str) -> object:
    """Read a cell."""
    match kind:
        case _ if not text:
            return None
        case Kind.INTEGER:
            return int(text)
        case Kind.REAL:
            return float(text)
        case Kind.BOOLEAN:
            return {"true": True, "false": False}[text]
        case Kind.TEXT | Kind.WORD:
            return text.removeprefix("'")
        case Kind.TIME:
            return text


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write the times of a row as the texts do."""
    return {
        name: value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if isinstance(value, datetime)
        else value
        for name, value in row.items()
    }


def test_every_form_says_what_the_ledger_says(archive: Inside) -> None:
    """CSV, JSON Lines and Parquet hold the same rows, and those are the ledger's."""
    lines = [json.loads(line) for line in export(archive, "--format", "jsonl").stdout.splitlines()]
    assert from_csv(export(archive, "--format", "csv").stdout) == lines
    done = export(archive, "--format", "parquet", "--output", "catalogue.parquet")
    assert (done.code, done.stdout) == (0, "12 recordings written to catalogue.parquet\n")
    table = pyarrow.parquet.read_table(archive.folder / "catalogue.parquet")
    assert [plain(row) for row in table.to_pylist()] == lines
    assert table.schema.metadata[b"schema"] == SCHEMA.encode()

    assert [list(line) for line in lines] == [[column.name for column in COLUMNS]] * 12
    ledger = ledger_rows(archive.archive)
    told = {(line["conversation_id"], line["direction"]): line for line in lines}
    assert told.keys() == ledger.keys()
    for key, row in ledger.items():
        line = told[key]
        assert (line["status"], line["reason"], line["path"], line["sha256"]) == row
        assert line["started_at"] == record(key[0])["started_at"].replace("Z", ".000000Z")
        if key[0] == "CA4":
            known = {name for name, value in line.items() if value not in {None, 0}}
            tombstone = {"conversation_id", "direction", "status", "started_at", "first_seen_at"}
            assert known == tombstone | {"purged_at"}
        else:
            path = archive.archive / line["path"]
            assert (line["bytes"], line["codec"]) == (path.stat().st_size, "pcm")
            assert line["correlation_id"].startswith(f"support-{key[0]}")


def test_duckdb_reads_it(archive: Inside) -> None:
    """Parquet with its types, and CSV with the ones that it guesses."""
    for name in ("c.parquet", "c.csv"):
        form = name.partition(".")[2]
        assert export(archive, "--format", form, "--output", name).code == 0
    query = (
        "SELECT direction, status, count(*), sum(bytes), min(started_at) FROM '{}' "
        "WHERE status = 'saved' GROUP BY ALL ORDER BY ALL"
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = [
            connection.sql(query.format(archive.folder / n)).fetchall()
            for n in ("c.parquet", "c.csv")
        ]
        described = connection.sql(f"DESCRIBE FROM '{archive.folder / 'c.parquet'}'").fetchall()
    kinds = {row[0]: row[1] for row in described}
    assert found[0] == found[1]
    assert [row[:3] for row in found[0]] == [
        (side, "saved", 3) for side in sorted(d.value for d in Direction)
    ]
    assert kinds["started_at"] == "TIMESTAMP WITH TIME ZONE"
    assert (kinds["bytes"], kinds["redaction_requested"]) == ("BIGINT", "BOOLEAN")


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (("--since", "2026-11-02", "--until", "2026-11-03"), {"CA2"}),
        (("--since", "2026-11-03"), {"CA3", "CA4"}),
        (("--until", "2026-11-02T10:00:00Z"), {"CA1"}),
        (("--since", "2026-11-02T23:00", "--tz", "Australia/Sydney"), {"CA3", "CA4"}),
        (("--status", "purged"), {"CA4"}),
        (("--status", "saved", "--status", "purged", "--direction", "user"), set(IDS)),
        (("--status", "failed"), set()),
    ],
)
def test_a_part(archive: Inside, words: tuple[str, ...], ids: set[str]) -> None:
    """By the call's start, half-open; by side and by status."""
    done = export(archive, "--format", "jsonl", *words)
    assert done.code == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["conversation_id"] for line in lines} == ids
    sides = {"user"} if "--direction" in words else {d.value for d in Direction}
    assert {line["direction"] for line in lines} == (sides if ids else set())


@pytest.mark.parametrize("text", HOSTILE)
def test_no_spreadsheet_takes_a_cell_for_a_formula(text: str) -> None:
    """The one rule of `docs/schema.md`, which taking an apostrophe off undoes."""
    written = cell(text)
    assert written[0] not in "=+-@\t\r\n"
    assert written.removeprefix("'") == text
    row = LedgerRow(
        rowid=1,
        recording=Recording(conversation_id="CA1", direction=Direction.USER),
        status=Status.FAILED,
        first_seen_at=NOW,
        error_code=text,
        bytes=0,
    )
    file = io.BytesIO()
    CsvWriter(file).write([row])
    [back] = from_csv(file.getvalue().decode())
    assert (back["error_code"], back["conversation_id"]) == (text, "CA1")
    lines = io.BytesIO()
    JsonLinesWriter(lines).write([row])
    assert json.loads(lines.getvalue())["error_code"] == text
    assert cell(-1.5) == "-1.5"


def test_a_file_appears_whole_and_private(archive: Inside) -> None:
    """In place of an older one, 0600 whatever the umask; a failure leaves the older one."""
    target = archive.folder / "catalogue.csv"
    target.write_text("old")
    before = os.umask(0)
    try:
        assert export(archive, "--output", target).code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    whole = target.read_text()
    assert len(from_csv(whole)) == 12
    (archive.archive / ".bulkaudio" / "ledger.db").write_bytes(b"junk" * 3000)
    assert export(archive, "--output", target).code == 6
    assert target.read_text() == whole
    assert [path.name for path in archive.folder.iterdir() if path.name.startswith(".")] == []


def test_what_is_refused(archive: Inside) -> None:
    """Before anything is touched, with the option named."""
    for words, said in (
        (("--output", "archive/.bulkaudio/ledger.db"), "--output"),
        (("--output", "archive/metadata/CA1.json"), "--output"),
        (("--output", "archive/user/CA1.wav"), "--output"),
        (("--format", "xlsx"), "--format"),
        (("--status", "already"), "--status"),
        (("--since", "2026-11-03", "--until", "2026-11-02"), "--until"),
        (("--since", "soon"), "--since"),
        (("--output", "--format"), "--output"),
    ):
        done = export(archive, *words)
        assert (done.code, done.stdout) == (2, ""), (words, done.stderr)
        assert said in done.stderr
    assert archive.run("export", archive.folder).code == 2
    folder = export(archive, "--output", archive.folder)
    assert folder.code == 6
    assert "cannot be written" in folder.stderr


def test_a_run_that_holds_the_archive(archive: Inside) -> None:
    """It is left alone, and so is whoever exports."""
    with ArchiveLock(archive.archive / ".bulkaudio" / "lock"):
        done = export(archive)
    assert (done.code, done.stdout) == (75, "")
    assert "another run holds" in done.stderr


def test_no_variable_cuts_a_catalogue(archive: Inside) -> None:
    """What is set for the nightly job is none of its business."""
    archive.env("BULKAUDIO_DIRECTION", "user")
    archive.env("BULKAUDIO_SINCE", "2026-11-03")
    assert len(from_csv(export(archive).stdout)) == 12


async def test_without_pyarrow_the_extra_is_named(archive: Inside, tmp_path: Path) -> None:
    """Exit code 2, and no file."""
    folder = tmp_path / "without"
    folder.mkdir()
    (folder / "pyarrow.py").write_text("raise ModuleNotFoundError('No module named pyarrow')\n")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
    words = ("export", archive.archive, "--format", "parquet", "--output", "c.parquet")
    done = await run(*words, env=env, cwd=tmp_path)
    assert done.code == 2
    assert "bulkaudio[parquet]" in done.stderr
    assert not (tmp_path / "c.parquet").exists()


async def test_nobody_reads(archive: Inside) -> None:
    """A pipe that is closed at once is no failure."""
    program = f"{sys.executable} -m bulkaudio export {archive.archive} | head -c 10; exit ${{PIPESTATUS[0]}}"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", program, env=env, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out == b"conversati"


def test_the_page_of_the_schema_is_the_schema() -> None:
    """`docs/schema.md` has every column in order, with its type and whether it may be unknown."""
    text = (ROOT / "docs" / "schema.md").read_text()
    _, _, table = text.partition("| column |")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \|", table, re.MULTILINE)
    assert rows == [
        (column.name, column.kind.replace("word", "text"), "no" if column.is_required else "yes")
        for column in COLUMNS
    ]
    assert SCHEMA in text


async def large(root: Path, count: int) -> Path:
    """Make an archive whose ledger knows so many recordings."""
    state = root / ".bulkaudio"
    state.mkdir(parents=True)
    ledger = await Ledger.open(state / "ledger.db", is_new_allowed=True)
    try:
        for start in range(0, count, 5000):
            ids = [f"CA{n:032x}" for n in range(start, min(start + 5000, count))]
            some = tuple(Conversation(id=i, started_at=NOW + timedelta(seconds=start)) for i in ids)
            await ledger.plan(Batch(conversations=some), (Direction.COMBINED,), NOW)
            await ledger.settle([_saved(i) for i in ids], "run-1", NOW)
    finally:
        await ledger.aclose()
    return root


def _saved(id_: str) -> Outcome:
    audio = Audio(codec="pcm", sample_rate_hz=8000, channels=1, data_bytes=956, seconds=0.06)
    return Outcome(
        recording=Recording(conversation_id=id_, direction=Direction.COMBINED),
        status=Status.SAVED,
        path=Path("combined", f"{id_}.wav"),
        bytes=1000,
        sha256=id_.removeprefix("CA").rjust(64, "0"),
        audio=audio,
        evidence=Evidence(http_status=200, correlation_id=f"support-{id_}", attempts=1),
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_large_catalogue_is_written_in_flat_memory(tmp_path: Path) -> None:
    """Ten times the recordings take no more than a few megabytes more, in every form."""
    peaks: dict[str, list[int]] = {}
    for count in (20_000, 200_000):
        root = await large(tmp_path / str(count), count)
        for form in ("csv", "jsonl", "parquet"):
            order = Order(
                arguments=("export", str(root), "--format", form, "--output", f"{count}.{form}"),
                env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
                cwd=tmp_path,
            )
            ended = await run_forked(order)
            assert ended.code == 0, ended.stderr
            peaks.setdefault(form, []).append(ended.peak_rss_kib)
    assert pyarrow.parquet.ParquetFile(tmp_path / "200000.parquet").metadata.num_row_groups > 10
    for form, (small, big) in peaks.items():
        assert big - small < (64 if form == "parquet" else 24) * 1024, peaks
