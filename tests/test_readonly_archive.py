"""Archives that can only be read: every look answers as on one that can be written, and writes nothing."""

import asyncio
import errno
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bulkaudio.archive import look_into, open_archive
from bulkaudio.errors import ArchiveBusyError, LedgerError
from bulkaudio.ledger import readonly
from bulkaudio.ledger.readonly import ReadOnlyLedger
from bulkaudio.model import Direction, Outcome, Recording, Status
from bulkaudio.simulator import Simulator
from bulkaudio.stores.staging import temporary_name
from tests.faults.machine import become_nobody, disk, hook, need_root
from tests.forked import Ended, run_forked
from tests.looks import Stall, calls, stall_at, tree
from tests.program import wavs
from tests.test_ledger_edges import filled
from tests.test_lock import start_holder

LOOKS = (
    ("status",),
    ("status", "--json"),
    ("gaps",),
    ("gaps", "--json"),
    ("verify", "--json"),
    ("export",),
    ("export", "--format", "jsonl"),
    ("hold", "list"),
    ("purge", "--older-than", "1d"),
)

VOLATILE = re.compile(
    r'"(?:archive|at|free_bytes|started_at|finished_at|duration_s)":[^,}]+'
    r"|Last run: .* ago|Free on .*|[-0-9]{10}T[.:0-9]+Z"
)


@pytest.fixture
async def stall(tmp_path: Path) -> AsyncIterator[Stall]:
    """Make an archive of a dozen calls, a folder to work in and whom to ask."""
    async with Simulator(calls=calls()) as simulator:
        stall = stall_at(tmp_path, simulator)
        ended = await stall.run("download", *stall.window, *stall.whose, "--direction", "all")
        assert ended.code == 0, ended.stderr
        yield stall


@contextmanager
def read_only(archive: Path) -> Iterator[Path]:
    """Mount an archive a second time, so that nobody can write there, not even root."""
    need_root("mount a folder")
    place = archive.parent / "snapshot"
    place.mkdir()
    done = subprocess.run(
        ["mount", "--bind", archive, place], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"this machine mounts no folder: {done.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (place / "anything").touch()
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def do(*words: str | Path) -> None:
    """Run another program."""
    subprocess.run(words, check=True)


def command(look: tuple[str, ...], archive: Path) -> tuple[str, ...]:
    """Put the archive where the command takes it."""
    return (look[0], str(archive), *look[1:])


async def answers(stall: Stall, archive: Path) -> list[tuple[int, str, str]]:
    """Look in every way."""
    found = []
    for look in LOOKS:
        ended = await stall.run(*command(look, archive))
        found.append((ended.code, plain(ended.stdout, archive), plain(ended.stderr, archive)))
    return found


def plain(text: str, archive: Path) -> str:
    """Leave out where it was and what the time is, and where lines were broken for it."""
    return " ".join(VOLATILE.sub("", text).replace(str(archive), "ARCHIVE").split())


async def alike(stall: Stall, expected: list[tuple[int, str, str]]) -> None:
    """Look at what cannot be written: the same answers, and not a trace of having looked."""
    before = tree(stall.archive)
    with read_only(stall.archive) as snapshot:
        assert await answers(stall, snapshot) == expected
        page, catalogue = stall.cwd / "page.html", stall.cwd / "catalogue.csv"
        told = await stall.run("report", str(snapshot), "--output", page)
        assert told.code == 0, told.stderr
        told = await stall.run("export", str(snapshot), "--output", catalogue)
        assert told.code == 0, told.stderr
        assert page.stat().st_size > 1000
        printed = await stall.run("export", str(snapshot))
        assert plain(catalogue.read_text(), snapshot) == plain(printed.stdout, snapshot)
        told = await stall.run("report", str(snapshot))
        assert told.code == 6
        assert "name another file" in told.stderr
    assert tree(stall.archive) == before


def ledger_of(archive: Path) -> Path:
    """Return the ledger's file."""
    return archive / ".bulkaudio" / "ledger.db"


async def test_a_read_only_disk(stall: Stall) -> None:
    """All is complete, as it is told where one may write; nothing is written there either."""
    before = tree(stall.archive)
    expected = await answers(stall, stall.archive)
    assert [code for code, _, _ in expected] == [0] * len(LOOKS)
    assert tree(stall.archive) == before
    await alike(stall, expected)


LEAVE_A_LOG = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute(sys.argv[2])
os._exit(0)
"""


CHANGE = "INSERT INTO archive (name, value) VALUES ('nobody asks', 'for this')"


def change_in_log(archive: Path, statement: str) -> None:
    """Change the ledger as a run does that is killed before it can close it."""
    path = ledger_of(archive)
    subprocess.run([sys.executable, "-c", LEAVE_A_LOG, path, statement], check=True)
    path.with_name("ledger.db-shm").unlink()
    assert readonly.has_log(path)


def forget(archive: Path) -> str:
    """Leave a recording as a run does that is killed after publishing it; return its file."""
    name = min(wavs(archive))
    direction, id_ = name.removesuffix(".wav").split("/")
    what = "status = 'open', path = NULL, bytes = NULL, sha256 = NULL, saved_at = NULL"
    which = f"conversation_id = '{id_}' AND direction = '{direction}'"
    change_in_log(archive, f"UPDATE recordings SET {what} WHERE {which}")  # noqa: S608
    recording = Recording(conversation_id=id_, direction=Direction(direction))
    trace = archive / ".bulkaudio" / "tmp" / temporary_name(recording, "00000001")
    os.link(archive / name, trace)
    (trace.parent / "half.part").touch()
    return name


async def test_what_a_killed_run_left(stall: Stall) -> None:
    """The log beside the ledger counts, and so does what was published and not noted."""
    await asyncio.to_thread(forget, stall.archive)
    mended = stall.cwd / "mended"
    await asyncio.to_thread(do, "cp", "-a", stall.archive, mended)
    async with open_archive(mended):
        pass
    expected = await answers(stall, mended)
    assert await answers(stall, stall.archive) == expected
    await alike(stall, expected)


async def test_what_a_killed_run_left_half_done(stall: Stall) -> None:
    """A file that the disk has spoilt since is no recording, and stays where it is."""
    name = await asyncio.to_thread(forget, stall.archive)
    (stall.archive / name).write_bytes(b"spoilt")
    with read_only(stall.archive) as snapshot:
        ended = await stall.run("gaps", str(snapshot))
        assert ended.code == 3, ended.stdout
        assert (snapshot / name).read_bytes() == b"spoilt"


async def test_files_of_somebody_else(stall: Stall) -> None:
    """Whoever may read them all may look, and is told what is missing when not."""
    need_root("give rights up")
    expected = await answers(stall, stall.archive)
    # Not below pytest's folder, which is root's alone.
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        archive = Path(name) / "archive"
        shutil.copytree(stall.archive, archive)
        await asyncio.to_thread(do, "chmod", "-R", "a+rX", archive)
        await asyncio.to_thread(change_in_log, archive, CHANGE)
        before = tree(archive)

        async def ask(look: tuple[str, ...]) -> Ended:
            order = stall.order(*command(look, archive))
            order = replace(order, **hook(become_nobody))
            return await run_forked(replace(order, cwd=Path(name)))

        for look, (code, text, _) in zip(LOOKS, expected, strict=True):
            ended = await ask(look)
            assert ended.code == code, ended.stderr
            assert plain(ended.stdout, archive) == text
        assert tree(archive) == before
        (archive / "user").chmod(0o700)
        ended = await ask(("verify",))
        assert ended.code == 6
        assert f"cannot read {archive}" in ended.stderr
        assert "let this user read" in ended.stderr


async def test_what_has_to_write_says_that_it_cannot(stall: Stall) -> None:
    """Of the archive itself, for which no other folder is a way out."""
    with read_only(stall.archive) as snapshot:
        for words in (
            ("hold", str(snapshot), "add", "CA1"),
            ("purge", str(snapshot), "--older-than", "1d", "--yes"),
            ("rebuild", str(snapshot)),
            ("verify", str(snapshot), "--repair"),
        ):
            ended = await stall.run(*words)
            assert ended.code == 6, words
            assert f"cannot write to the archive {snapshot}: the disk is mounted read-" in (
                " ".join(ended.stderr.split())
            ), (words, ended.stderr)
            assert "remount it writable" in ended.stderr
            assert "another folder" not in ended.stderr


async def test_a_plan_misses_no_right_to_write(stall: Stall) -> None:
    """It reads only, and asks for no more than that."""
    need_root("give rights up")
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        archive = Path(name) / "archive"
        shutil.copytree(stall.archive, archive)
        archive.chmod(0o700)
        whose = (*stall.whose[:-1], str(archive))
        words = ("plan", *stall.window, *whose)
        order = replace(stall.order(*words), **hook(become_nobody))
        ended = await run_forked(replace(order, cwd=Path(name)))
        assert ended.code == 6
        assert f"cannot read {archive}" in ended.stderr
        assert "let this user read" in ended.stderr


async def test_an_older_ledger(stall: Stall) -> None:
    """It is brought up to date in a copy, and where none can be made, that is said."""
    age(ledger_of(stall.archive))
    before = tree(stall.archive)
    with read_only(stall.archive) as snapshot, disk(stall.cwd / "small", "size=8k") as small:
        ended = await stall.run("verify", str(snapshot))
        assert ended.code == 0, ended.stderr
        ended = await stall.run("status", str(snapshot), TMPDIR=str(small.folder))
        assert ended.code == 6
        assert "TMPDIR" in ended.stderr
        assert list(small.folder.iterdir()) == []
    assert tree(stall.archive) == before


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("PRAGMA user_version = 99", "newer bulkaudio"),
        ("PRAGMA application_id = 7", "is not a ledger of bulkaudio"),
        ("UPDATE archive SET value = '{' WHERE name = 'layout'", "damaged"),
    ],
)
async def test_a_ledger_that_cannot_be_read(stall: Stall, statement: str, said: str) -> None:
    """Nobody gets an answer out of it, with or without a log."""
    with closing(sqlite3.connect(ledger_of(stall.archive), isolation_level=None)) as connection:
        connection.execute(statement)
    with read_only(stall.archive) as snapshot:
        for look in (("status",), ("verify",), ("gaps",), ("export",)):
            ended = await stall.run(*command(look, snapshot))
            assert ended.code == 6, ended.stdout
            assert said in ended.stderr
            assert f"rebuild {snapshot}" in ended.stderr


async def test_a_ledger_with_a_flipped_page(stall: Stall) -> None:
    """Damage is found where nothing can be mended, and the one command is named."""
    path = ledger_of(stall.archive)
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 3] = os.urandom(4096 * 2)
    path.write_bytes(content)
    with read_only(stall.archive) as snapshot:
        ended = await stall.run("verify", str(snapshot))
    assert ended.code == 6
    assert "is damaged" in ended.stderr
    assert "which moves this one aside" in ended.stderr
    assert "move it away" not in ended.stderr


async def test_a_lost_ledger(stall: Stall) -> None:
    """It is named as lost beside recordings, and not taken for a new beginning."""
    ledger_of(stall.archive).unlink()
    with read_only(stall.archive) as snapshot:
        ended = await stall.run("status", str(snapshot))
    assert ended.code == 6
    assert "missing beside saved recordings" in ended.stderr


async def test_a_run_holds_it_elsewhere(stall: Stall) -> None:
    """The lock is the same through a mount that cannot be written: 75, and status tells of the run."""
    holder = await asyncio.to_thread(start_holder, stall.archive / ".bulkaudio" / "lock")
    try:
        with read_only(stall.archive) as snapshot:
            for look in (("gaps",), ("verify",), ("export",), ("purge", "--older-than", "1d")):
                ended = await stall.run(*command(look, snapshot))
                assert ended.code == 75
                assert f"process {holder.pid}" in ended.stderr
            ended = await stall.run("status", str(snapshot), "--json")
            assert ended.code == 0
            assert ended.summary["running"] is not None
    finally:
        holder.kill()
        await asyncio.to_thread(holder.communicate)


async def test_a_look_where_there_is_no_lock_notices_a_run(stall: Stall) -> None:
    """In a copy that was made without it, nothing can be held; what is read is checked all the same."""
    (stall.archive / ".bulkaudio" / "lock").unlink()
    async with look_into(stall.archive) as seen:
        await seen.ledger.totals()
        await asyncio.to_thread(change_in_log, stall.archive, "DELETE FROM runs")
        with pytest.raises(ArchiveBusyError):
            await seen.ledger.totals()
    assert not (stall.archive / ".bulkaudio" / "lock").exists()


async def test_an_archive_that_was_only_begun(tmp_path: Path) -> None:
    """A run that was killed before its first word leaves an empty ledger, which is no damage."""
    state = tmp_path / "archive" / ".bulkaudio"
    state.mkdir(parents=True)
    with closing(sqlite3.connect(state / "ledger.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    async with look_into(tmp_path / "archive") as seen:
        assert await seen.ledger.totals() == {}
        assert await seen.remembered() == {}
        assert await seen.store.free_bytes() > 0
    assert [path.name for path in state.iterdir()] == ["ledger.db"]


# A copy of the ledger.


def age(path: Path) -> None:
    """Make a ledger what it was before anything could be erased."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in ("tombstones", "holds"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("ALTER TABLE recordings DROP COLUMN purged_at")
        connection.execute("PRAGMA user_version = 1")


def contents(root: Path) -> dict[Path, bytes]:
    """Return every file."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("most", [0, readonly.MOST_COPIED_BYTES])
async def test_what_is_supposed_is_read_and_nowhere_else(
    stall: Stall, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """In one copy, however often something is, and whether or not it was read from one before."""
    monkeypatch.setattr(readonly, "MOST_COPIED_BYTES", most)
    name = await asyncio.to_thread(forget, stall.archive)
    before = contents(stall.archive)
    async with look_into(stall.archive) as seen:
        found = await seen.store.left_behind(seen.ledger)
        assert found == []
        totals = await seen.ledger.totals()
        assert sum(total.count for total in totals.values()) == 36
        assert {status for _, status in totals} == {Status.SAVED}
        assert isinstance(seen.ledger, ReadOnlyLedger)
        direction, id_ = name.removesuffix(".wav").split("/")
        recording = Recording(conversation_id=id_, direction=Direction(direction))
        other = replace(recording, conversation_id="CA9")
        outcome = Outcome(recording=other, status=Status.ABSENT, reason="no_recording")
        await seen.ledger.suppose([outcome], datetime.now(UTC))
        totals = await seen.ledger.totals()
        assert sum(total.count for total in totals.values()) == 37
    assert contents(stall.archive) == before


@pytest.mark.parametrize("has_log", [False, True])
async def test_an_old_ledger_is_brought_up_to_date_elsewhere(
    stall: Stall, monkeypatch: pytest.MonkeyPatch, *, has_log: bool
) -> None:
    """With its log; where that fails, nothing is left of the copy."""
    path = ledger_of(stall.archive)
    age(path)
    if has_log:
        await asyncio.to_thread(change_in_log, stall.archive, CHANGE)
    before = tree(stall.archive)
    async with look_into(stall.archive) as seen:
        assert ("nobody asks" in await seen.remembered()) is has_log
    temporary = stall.cwd / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert tree(stall.archive) == before
    for name in ("migrate", "shutil.copyfile"):
        with monkeypatch.context() as patched:
            patched.setattr(f"bulkaudio.ledger.readonly.{name}", full)
            with pytest.raises(LedgerError):
                await ReadOnlyLedger.reading(path, is_new_allowed=False)
        assert list(temporary.iterdir()) == []


# A ledger and its log, where there is no room for a copy.


async def test_a_log_is_read_in_place_where_a_copy_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or where it would be too large; nothing beside the ledger changes."""

    def full(path: Path) -> readonly.Reading:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    archive = tmp_path / "archive"
    (archive / ".bulkaudio").mkdir(parents=True)
    path = ledger_of(archive)
    await filled(path, "CA1", "CA2")
    change = "UPDATE recordings SET reason = 'from the log'"
    await asyncio.to_thread(change_in_log, archive, change)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    for name, value in (("copied", full), ("MOST_COPIED_BYTES", 1)):
        with monkeypatch.context() as patched:
            patched.setattr(readonly, name, value)
            ledger = await ReadOnlyLedger.reading(path, is_new_allowed=False)
            rows = await ledger.rows_after(0, 10)
            assert {row.reason for row in rows} == {"from the log"}
            await ledger.note_files(["one.wav", "two.wav"])
            assert await ledger.unknown_files(10) == (2, ["one.wav", "two.wav"])
            await ledger.aclose()
        assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before


async def test_a_temporary_folder_without_room_is_told_as_that(tmp_path: Path) -> None:
    """The ledger's own disk is not to blame for it."""
    path = tmp_path / "ledger.db"
    await filled(path, "CA1")
    ledger = await ReadOnlyLedger.reading(path, is_new_allowed=False)

    def work(_: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with pytest.raises(LedgerError, match="temporary folder"):
        await ledger._database.read(work)
    await ledger.aclose()


# A disk without any room.


@contextmanager
def full_disk(archive: Path, spare_bytes: int = 0) -> Iterator[Path]:
    """Move an archive to a disk of its own, and fill that to the last byte but so many."""
    with disk(archive.parent / "disk", "size=4m") as mounted:
        moved = mounted.folder / "archive"
        shutil.copytree(archive, moved)
        moved.chmod(0o700)
        fill(mounted.folder / "filler", spare_bytes)
        yield moved


def fill(filler: Path, spare_bytes: int = 0) -> None:
    """Take what room there is."""
    free = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        file.write(bytes(free.f_bavail * free.f_frsize - spare_bytes))
    assert os.statvfs(filler.parent).f_bavail * free.f_frsize == spare_bytes


@pytest.mark.parametrize("was_killed", [False, True])
async def test_looks_on_a_full_disk(stall: Stall, *, was_killed: bool) -> None:
    """They need no room on it, with a log beside the ledger or without."""
    if was_killed:
        await asyncio.to_thread(change_in_log, stall.archive, CHANGE)
    expected = await answers(stall, stall.archive)
    with full_disk(stall.archive) as archive:
        before = tree(archive)
        assert await answers(stall, archive) == expected
        told = await stall.run("report", str(archive), "--output", stall.cwd / "page.html")
        assert told.code == 0, told.stderr
        assert tree(archive) == before


async def test_a_full_disk_is_told_without_words_of_ours(stall: Stall) -> None:
    """A download is refused, and nobody hears of the file that was tried out."""
    with full_disk(stall.archive) as archive:
        whose = [str(archive) if word == str(stall.archive) else word for word in stall.whose]
        ended = await stall.run("download", *stall.window, *whose)
    assert ended.code == 6
    assert "the disk has no space" in ended.stderr
    assert "probe" not in ended.stderr


def erased(archive: Path) -> int:
    """Count what the ledger calls erased."""
    with closing(sqlite3.connect(ledger_of(archive))) as connection:
        query = "SELECT count(*) FROM recordings WHERE status = 'purged'"
        return int(connection.execute(query).fetchone()[0])


async def test_a_purge_frees_a_disk_on_which_hardly_anything_is_left(stall: Stall) -> None:
    """Room for some of it at a time is enough: what goes first makes room for the rest."""
    count = len(wavs(stall.archive))
    with full_disk(stall.archive, 64 * 1024) as archive:
        ended = await stall.run("purge", str(archive), "--older-than", "1d", "--yes", "--json")
        assert ended.code == 0, ended.stderr
        assert ended.summary["recordings"] == count
        assert wavs(archive) == {}
        assert erased(archive) == count


async def test_a_purge_takes_old_copies_for_room(stall: Stall) -> None:
    """They go with every erasure, so they may go first when nothing else is to be had."""
    (stall.archive / ".bulkaudio" / "ledger.db.v1.20260101T000000000000.bak").write_bytes(
        bytes(100_000)
    )
    with full_disk(stall.archive) as archive:
        ended = await stall.run("purge", str(archive), "--older-than", "1d", "--yes")
        assert ended.code == 0, ended.stderr
        assert wavs(archive) == {}


async def test_a_purge_without_any_room_says_how_much_it_needs(stall: Stall) -> None:
    """Nothing is erased that could not be written down; with a megabyte the same line does it."""
    with full_disk(stall.archive) as archive:
        (archive / ".bulkaudio" / "status.json").unlink()
        fill(archive.parent / "more")
        before = wavs(archive)
        words = ("purge", str(archive), "--older-than", "1d", "--yes")
        ended = await stall.run(*words)
        assert ended.code == 6
        assert "is so full" in ended.stderr
        assert f"free a megabyte there (df -h {archive})" in ended.stderr
        assert wavs(archive) == before
        os.truncate(archive.parent / "filler", (archive.parent / "filler").stat().st_size - 10**6)
        ended = await stall.run(*words)
        assert ended.code == 0, ended.stderr
        assert wavs(archive) == {}
