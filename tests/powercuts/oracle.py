"""
Whether an archive keeps its promises after a power cut, before and after the real program's look.

First as it was found: through a copy of the ledger, because opening it would already mend it. Then
the program opens it, which recovers, and goes on to the end of its work.
"""

import asyncio
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bulkaudio.errors import BulkAudioError
from bulkaudio.ledger.tombs import ORDER_PIN
from bulkaudio.purge import finish
from bulkaudio.verify import verify
from tests.powercuts import script
from tests.powercuts.night import night

EDITIONS = 12
FINAL = {"saved", "absent", "purged"}

Report = Mapping[str, Any]
"""An acknowledgement, as the recorder wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the ledger says of one recording."""

    status: str
    path: str | None
    sha256: str | None
    bytes: int | None


@dataclass(slots=True, kw_only=True)
class Found:
    """An archive as it lies on the disk."""

    files: dict[str, bytes]
    sidecars: dict[str, bytes]
    rows: dict[script.Key, Row] = field(default_factory=dict)
    pages: int = 0
    """How far the listing's cursor got."""
    runs: set[str] = field(default_factory=set)
    pins: dict[str, str] = field(default_factory=dict)


def look(root: Path) -> Found:
    """Read everything, changing nothing; raises `sqlite3.DatabaseError` for a damaged ledger."""
    every = [path for path in root.rglob("*") if path.is_file()]
    names = {str(path.relative_to(root)): path for path in every}
    found = Found(
        files={
            name: path.read_bytes()
            for name, path in names.items()
            if not name.startswith((".bulkaudio/", "metadata/"))
        },
        sidecars={
            path.stem: path.read_bytes()
            for name, path in names.items()
            if name.startswith("metadata/")
        },
    )
    with TemporaryDirectory(dir=root.parent.parent) as copies:
        for name in ("ledger.db", "ledger.db-wal"):
            if f".bulkaudio/{name}" in names:
                shutil.copy(names[f".bulkaudio/{name}"], copies)
        with closing(sqlite3.connect(Path(copies) / "ledger.db")) as connection:
            _read_ledger(connection, found)
    return found


def _read_ledger(connection: sqlite3.Connection, found: Found) -> None:
    health = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if health != "ok":
        raise sqlite3.DatabaseError(health)
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        return
    query = "SELECT conversation_id, direction, status, path, sha256, bytes FROM recordings"
    for id_, direction, status, path, sha256, size in connection.execute(query):
        row = Row(status=status, path=path, sha256=sha256, bytes=size)
        found.rows[id_, direction] = row
    for cursor, state in connection.execute("SELECT cursor, state FROM listings ORDER BY id"):
        found.pages = script.PAGES if state == "finished" else script.reached(cursor)
    found.runs = {row[0] for row in connection.execute("SELECT run_id FROM runs")}
    found.pins = dict(connection.execute("SELECT name, value FROM archive"))


def check(found: Found, reports: Sequence[Report]) -> list[str]:
    """Hold an archive to I1, I2, I4 and I5; return what it breaks, in words."""
    return [
        *_saved_rows_have_their_files(found),
        *_files_are_whole(found),
        *_listed_calls_are_known(found),
        *_reports_are_true(found, reports),
    ]


def _saved_rows_have_their_files(found: Found) -> Iterable[str]:
    for key, row in found.rows.items():
        if row.status != "saved":
            continue
        body = found.files.get(row.path or "")
        if row.path != script.path(key):
            yield f"I1: {key} is saved under {row.path}"
        elif body is None:
            yield f"I1: {key} is saved and its file is missing"
        elif (len(body), hashlib.sha256(body).hexdigest()) != (row.bytes, row.sha256):
            yield f"I1: {key} is saved and its file has {len(body)} other bytes"


def _files_are_whole(found: Found) -> Iterable[str]:
    keys = {script.path(key): key for key in script.recordings()}
    for name, body in found.files.items():
        key = keys.get(name)
        if key is None:
            yield f"I2: {name} is no recording's name"
        elif body != script.audio(key) and not _is_strangers(found, key):
            yield f"I2: {name} holds {len(body)} bytes instead of {len(script.audio(key))}"
    for id_, body in found.sidecars.items():
        if body not in {script.sidecar(id_, edition) for edition in range(EDITIONS)}:
            yield f"I2: the metadata of {id_} is not whole: {len(body)} bytes"


def _is_strangers(found: Found, key: script.Key) -> bool:
    """Whether a final name may hold what others put there, whose syncing is their business."""
    row = found.rows.get(key)
    return key in script.STRANGERS and (row is None or row.status != "saved")


def _listed_calls_are_known(found: Found) -> Iterable[str]:
    missing = script.recordings(found.pages).keys() - found.rows.keys()
    if missing:
        yield f"I4: the cursor is behind page {found.pages}, without {sorted(missing)}"


def _reports_are_true(found: Found, reports: Sequence[Report]) -> Iterable[str]:
    doomed = {id_ for report in reports if report["what"] == "erasing" for id_ in report["ids"]}
    for report in reports:
        match report["what"]:
            case "settled":
                yield from _is_settled_so(found, report, doomed)
            case "page" if found.pages <= report["number"]:
                yield f"I5: page {report['number']} was taken, the cursor is at {found.pages}"
            case "sidecars":
                for id_ in set(report["ids"]) - _erased(found):
                    later = {script.sidecar(id_, e) for e in range(report["edition"], EDITIONS)}
                    if found.sidecars.get(id_) not in later:
                        yield f"I5: the metadata of {id_} was reported written"
            case "run" if report["run_id"] not in found.runs:
                yield f"I5: {report['run_id']} was begun"
            case "bound" if not report["identity"].items() <= found.pins.items():
                yield f"I5: the archive was bound, and remembers {found.pins}"


def _is_settled_so(found: Found, report: Report, doomed: Collection[str]) -> Iterable[str]:
    row = found.rows.get((report["key"][0], report["key"][1]))
    status = "unknown" if row is None else row.status
    if status == "purged" and report["key"][0] in doomed:
        return
    if status != report["status"] and (report["status"] in FINAL or row is None):
        yield f"I5: {report['key']} was reported {report['status']} and is {status}"


def _erased(found: Found) -> set[str]:
    return {id_ for (id_, _), row in found.rows.items() if row.status == "purged"}


def erasures(root: Path, found: Found, reports: Sequence[Report]) -> Iterable[str]:
    """
    Hold an archive to what was said of its erasures; return what it breaks, in words.

    That a file is gone of which no intention is left, I1 says.
    """
    erased = _erased(found)
    for id_ in erased - set(script.ERASED):
        yield f"I6: {id_} is erased, and nobody wanted that"
    for id_ in erased:
        sides = {found.rows[id_, side].status for side in script.DIRECTIONS}
        if sides != {"purged"}:
            yield f"I6: {id_} is erased in part: {sides}"
    for report in reports:
        if report["what"] not in {"gone", "erased"}:
            continue
        for id_ in report["ids"]:
            if id_ not in erased:
                yield f"I6: {id_} was reported {report['what']} and is none of the erased"
            names = {script.path((id_, side)) for side in script.DIRECTIONS} & found.files.keys()
            if names or id_ in found.sidecars:
                yield f"I6: {id_} was reported {report['what']} and has {names or 'its metadata'}"
            if report["what"] == "erased":
                yield from _traces(root, id_)


def _traces(root: Path, id_: str) -> Iterable[str]:
    """Name files, the ledger's among them, that still know a call's audio, hash or metadata."""
    marks = [script.audio((id_, side))[60:100] for side in script.DIRECTIONS]
    marks += [
        hashlib.sha256(script.audio((id_, side))).hexdigest().encode() for side in script.DIRECTIONS
    ]
    marks += [script.sidecar(id_, edition) for edition in range(EDITIONS)]
    for path in root.rglob("*"):
        if path.is_file() and any(mark in path.read_bytes() for mark in marks):
            yield f"I6: {id_} was erased, and {path.relative_to(root)} knows it"


def _erasing_is_finished(root: Path, before: Found, after: Found) -> Iterable[str]:
    """Nothing is half erased any more, nothing came back, and the register knows all of them."""
    register = root / ".bulkaudio" / "tombstones.jsonl"
    lines = register.read_text().splitlines() if register.exists() else []
    noted = {json.loads(line).get("purged") for line in lines}
    for id_ in _erased(before):
        yield from _traces(root, id_)
        if id_ not in _erased(after):
            yield f"I6: {id_} has come back"
        if id_ not in noted:
            yield f"I6: the register does not know that {id_} is erased"
    if ORDER_PIN in after.pins:
        yield "I6: an erasure is not finished"


def judge(root: Path, reports: Sequence[Report]) -> list[str]:
    """Look at an archive, open it with the program and let it finish; return what is wrong."""
    try:
        before = look(root)
    except (sqlite3.DatabaseError, OSError) as error:
        return [f"what the power cut left cannot be read: {error}"]
    wrong = [*check(before, reports), *erasures(root, before, reports)]
    if wrong:
        return wrong
    try:
        fetched, findings = asyncio.run(_finish(root))
        after = look(root)
    except (BulkAudioError, ExceptionGroup, OSError, sqlite3.Error) as error:
        return [f"the next run fails: {error!r}"]
    return [
        *findings,
        *check(after, reports),
        *erasures(root, after, reports),
        *_erasing_is_finished(root, before, after),
        *_nothing_was_fetched_again(before, fetched),
        *_strangers_are_untouched(before, after),
        *_all_is_done(root, after),
    ]


async def _finish(root: Path) -> tuple[list[script.Key], list[str]]:
    """Run to the end, as the next night does, and let ``verify`` look at it."""
    async with night(root, lambda *_, **__: None, EDITIONS - 1) as run:
        await finish(run.archive.ledger, run.archive.store, lambda _: None)
        run.batch = 32
        run.is_patient = False
        await run.run(script.PAGES)
        report = await verify(run.archive.ledger, run.archive.store)
        return run.fetched, [f"verify: {finding}" for finding in report.findings]


def _nothing_was_fetched_again(before: Found, fetched: Sequence[script.Key]) -> Iterable[str]:
    settled = {key for key, row in before.rows.items() if row.status in FINAL}
    if settled & set(fetched) or len(fetched) != len(set(fetched)):
        yield f"fetched again: {sorted(fetched)}"


def _strangers_are_untouched(before: Found, after: Found) -> Iterable[str]:
    for key in script.STRANGERS:
        name = script.path(key)
        if key in after.rows and after.rows[key].status == "purged":
            continue  # it was taken up as the recording that it is, and is ours since
        if name in before.files and after.files.get(name) != before.files[name]:
            yield f"the stranger's file {name} was changed"


def _all_is_done(root: Path, after: Found) -> Iterable[str]:
    if after.pages != script.PAGES:
        yield f"the next run listed {after.pages} pages"
    for key in script.recordings():
        status = after.rows[key].status if key in after.rows else "unknown"
        expected = "absent" if script.is_absent(key) else "saved"
        if key in script.STRANGERS and after.files.get(script.path(key)) != script.audio(key):
            expected = "failed"
        if status == "purged" and key[0] in script.ERASED:
            continue
        if status != expected:
            yield f"{key} is {status} after the next run, not {expected}"
    left = [path.name for path in root.rglob("*") if path.name.endswith((".part", ".moved"))]
    left += [path.name for path in (root / ".bulkaudio" / "tmp").iterdir()]
    if left:
        yield f"left over: {sorted(left)}"


def read_reports(path: Path) -> list[Report]:
    """Read the side channel; a last line that was cut short is no report."""
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
