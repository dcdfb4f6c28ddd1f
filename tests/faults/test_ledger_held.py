"""A ledger that is gone, another's, newer, taken or out of reach: never a silent new beginning."""

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bulkaudio.ledger.migrations import MIGRATIONS
from tests.faults.kept import IDS, kept, ledger_of, rebuilt, run_on
from tests.faults.machine import few, hook
from tests.forked import forked, run_forked
from tests.oracle import check_files, trial_on
from tests.plans import whole
from tests.program import until, wavs
from tests.wire import Exchange, WireServer, hangs, resets

COMMANDS = ("download", "verify", "status")


def other_program(path: Path) -> None:
    """Put a database there that somebody else keeps."""
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.commit()
    path.chmod(0o600)


def link_elsewhere(path: Path) -> None:
    """Put a link there to the same bytes, outside."""
    outside = path.parents[2] / "elsewhere.db"
    path.rename(outside)
    path.symlink_to(outside)


def pragma(name: str, value: int) -> Callable[[Path], None]:
    """Set a number in the header, as another version would."""

    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA {name} = {value}")

    return change


def in_its_place(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something else under the name."""

    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


SPOILT: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "zero_bytes": lambda path: os.truncate(path, 0),
    "one_byte": lambda path: path.write_bytes(b"S"),
    "text": lambda path: path.write_bytes(b"nothing to see here\n" * 500),
    "noise": lambda path: path.write_bytes(random.Random(7).randbytes(50_000)),
    "zeros": lambda path: path.write_bytes(bytes(40_960)),
    "journal": lambda path: path.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(5000)),
    "other_program": other_program,
    "no_application": pragma("application_id", 0),
    "no_version": pragma("user_version", 0),
    "folder": in_its_place(lambda path: path.mkdir(0o700)),
    "fifo": in_its_place(lambda path: os.mkfifo(path, 0o600)),
    "socket": in_its_place(lambda path: os.mknod(path, stat.S_IFSOCK | 0o600)),
    "link": link_elsewhere,
    "dangling_link": in_its_place(lambda path: path.symlink_to("nowhere.db")),
}


def shown(path: Path) -> object:
    """Return what stands under a name, to compare."""
    if not os.path.lexists(path):
        return None
    status = path.lstat()
    is_file = stat.S_ISREG(status.st_mode)
    return (stat.S_IFMT(status.st_mode), path.read_bytes() if is_file else status.st_ino)


@pytest.mark.parametrize("name", few(SPOILT, ("missing", "zero_bytes", "noise", "link")))
async def test_what_is_no_ledger_beside_recordings(name: str, tmp_path: Path) -> None:
    """Every command ends with 6 and names `rebuild`; nothing is asked for, made or written there."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        SPOILT[name](ledger_of(trial))
        before = shown(ledger_of(trial))
        for command in COMMANDS:
            ended = await run_on(trial, command)
            assert ended.code == 6, (command, ended.stderr)
            assert f"rebuild {trial.archive}" in ended.stderr
            assert shown(ledger_of(trial)) == before
        assert server.heads == []
        await rebuilt(trial, server)
        outside = trial.cwd / "elsewhere.db"
        assert (name == "link") == outside.exists()


@pytest.mark.parametrize("version", few((99, len(MIGRATIONS) + 1), (99,)))
async def test_a_newer_ledger(version: int, tmp_path: Path) -> None:
    """It is whole: only whoever insists replaces it, and it stays as it was until then."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        pragma("user_version", version)(ledger_of(trial))
        before = shown(ledger_of(trial))
        for command in (*COMMANDS, "rebuild"):
            ended = await run_on(trial, command)
            assert ended.code == 6, (command, ended.stderr)
            assert "newer bulkaudio" in ended.stderr
            assert shown(ledger_of(trial)) == before
        assert server.heads == []
        await rebuilt(trial, server, "--force")


async def test_a_lost_state_folder(tmp_path: Path) -> None:
    """Recordings without any of our own files beside them are an archive that lost its ledger."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        (trial.archive / ".bulkaudio").rename(tmp_path / "lost")
        ended = await run_on(trial, "download")
        assert ended.code == 6, ended.stderr
        assert f"rebuild {trial.archive}" in ended.stderr
        assert not ledger_of(trial).exists()
        await rebuilt(trial, server)


LOCKS = {
    "writing": ("BEGIN EXCLUSIVE",),
    "about_to_write": ("BEGIN IMMEDIATE",),
    "reading": ("BEGIN", "SELECT count(*) FROM recordings"),
    "exclusive_mode": ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"),
}


BROWSER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for words in sys.argv[2:]:
    connection.execute(words).fetchall()
print("ready", flush=True)
sys.stdin.read()
"""
"""A process of its own: a lock of ours would end as soon as this one reads the file."""


@contextmanager
def browsing(path: Path, words: Sequence[str]) -> Iterator[None]:
    """Have another program do this with a database, and hold it."""
    command = [sys.executable, "-c", BROWSER, str(path), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield


@pytest.mark.parametrize("name", few(LOCKS, ("writing",)))
async def test_another_program_has_it_locked(name: str, tmp_path: Path) -> None:
    """The run ends with 6, says so, and leaves it alone; afterwards all is well."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        with browsing(ledger_of(trial), LOCKS[name]):
            for command in ("download", "rebuild"):
                ended = await run_on(trial, command)
                assert ended.code == 6, (command, ended.stderr)
                assert "another program has it locked" in ended.stderr
            assert server.heads == []
        await trial.healed(*trial.csv(*IDS))
        assert server.heads == []


def without_rights() -> None:
    """Let this process, though root's, obey the modes of files."""
    import ctypes  # in the child alone

    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none = (ctypes.c_uint32 * 6)()
    assert libc.capset(header, none) == 0, os.strerror(ctypes.get_errno())


RIGHTS = {
    "ledger_read": ("ledger", 0o400),
    "ledger_none": ("ledger", 0),
    "folder_read": ("folder", 0o500),
    "folder_none": ("folder", 0),
}


@pytest.mark.parametrize("name", few(RIGHTS, ("ledger_read",)))
async def test_a_ledger_that_may_not_be_written(name: str, tmp_path: Path) -> None:
    """That is no damage: exit 6 without a request, and no advice to make it anew."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        target, mode = RIGHTS[name]
        path = ledger_of(trial) if target == "ledger" else ledger_of(trial).parent
        usual = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        order = trial.order(*trial.words("--csv", "calls.csv"))
        ended = await run_forked(replace(order, **hook(without_rights)))
        path.chmod(usual)
        assert ended.code == 6, ended.stderr
        assert "rebuild" not in ended.stderr
        assert "Fix: " in ended.stderr
        assert server.heads == []
        await trial.healed(*trial.csv(*IDS))
        assert server.heads == []


def delete_both(path: Path) -> None:
    """Delete ledger and log."""
    for each in path.parent.glob("ledger.db*"):
        each.unlink()


def replace_by_copy(path: Path) -> None:
    """Put a copy in its place, as a backup that is played back does."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o600)
    copy.rename(path)


MEANWHILE: dict[str, Callable[[Path], object]] = {
    "deleted": delete_both,
    "ledger_deleted": Path.unlink,
    "log_deleted": lambda path: path.with_name("ledger.db-wal").unlink(),
    "replaced": replace_by_copy,
    "moved": lambda path: path.rename(path.with_name("moved.db")),
    "folder_moved": lambda path: path.parent.rename(path.parents[2] / "moved"),
}


@pytest.mark.parametrize("name", few(MEANWHILE, ("deleted", "replaced")))
async def test_lost_while_a_run_is_going_on(name: str, tmp_path: Path) -> None:
    """The run notices and ends with 6: it reports nothing as saved that no ledger has."""
    gate: list[bool] = []

    async def answer(exchange: Exchange) -> None:
        held = len(server.heads) > 6 and not gate
        if held:
            await until(lambda: bool(gate))
        await whole(exchange)

    async with WireServer(answer) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        words = trial.words(*trial.csv(*IDS), "--concurrency", "4")
        async with forked(trial.order(*words)) as fork:
            await until(lambda: ledger_of(trial).exists() and len(trial.saved()) >= 3)
            MEANWHILE[name](ledger_of(trial))
            gate.append(True)
            ended = await fork.wait()
        assert ended.code == 6, ended.stderr
        assert ended.summary["counts"]["saved"] < len(IDS)
        check_files(wavs(trial.archive), trial.truth, {})
        server.scripts = (whole,)
        again = await run_on(trial, "download")
        assert again.code in {0, 6}, again.stderr
        if again.code == 6:
            assert f"rebuild {trial.archive}" in again.stderr
            await rebuilt(trial, server)
        await trial.healed(*trial.csv(*IDS))


async def test_a_rebuild_beside_a_running_download(tmp_path: Path) -> None:
    """It is turned away with 75 within a second, also by force; the download goes on to its end."""
    released: list[bool] = []

    async def answer(exchange: Exchange) -> None:
        await until(lambda: bool(released))
        await whole(exchange)

    async with WireServer(answer) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        words = trial.words(*trial.csv(*IDS))
        async with forked(trial.order(*words)) as fork:
            await until(lambda: len(server.heads) > 2)
            for command in (("rebuild",), ("rebuild", "--force"), ("verify",), ("download",)):
                ended = await run_on(trial, *command)
                assert ended.code == 75, (command, ended.stderr)
                assert str(fork.pid) in ended.stderr
            status = await run_on(trial, "status")
            assert status.code == 0, status.stderr
            released.append(True)
            first = await fork.wait()
        assert (first.code, first.summary["counts"]["saved"]) == (0, len(IDS)), first.stderr
        trial.check(first)
        await trial.healed(*trial.csv(*IDS))


@pytest.mark.parametrize("number", few((signal.SIGKILL, signal.SIGSTOP), (signal.SIGKILL,)))
async def test_a_lock_ends_with_its_process(number: signal.Signals, tmp_path: Path) -> None:
    """A killed run leaves no lock behind; one that merely stands still keeps it."""
    async with WireServer(hangs) as server:
        trial = trial_on(server, tmp_path / "work", *IDS[:3])
        words = trial.words(*trial.csv(*IDS[:3]))
        async with forked(trial.order(*words)) as fork:
            await until(lambda: server.heads != [])
            fork.send(number)
            if number is signal.SIGSTOP:
                assert (await run_on(trial, "download")).code == 75
                fork.send(signal.SIGCONT)
                server.scripts = (resets,)
            else:
                assert (await fork.wait()).code == 137
        server.scripts = (whole,)
        await trial.healed(*trial.csv(*IDS[:3]))
