"""A ledger whose bytes changed: said so or harmless, never replaced silently, made anew by `rebuild`."""

import random
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.faults.kept import IDS, kept, ledger_of, old_ledgers, rebuilt, run_on
from tests.faults.machine import few
from tests.forked import forked
from tests.oracle import Trial, trial_on
from tests.plans import whole
from tests.program import ledger_rows, until, wavs
from tests.wire import Exchange, WireServer, hangs

HEADER = {
    "magic": 0, "magic_end": 15, "page_size": 16, "page_size_low": 17, "write_version": 18,
    "read_version": 19, "reserved": 20, "max_fraction": 21, "min_fraction": 22,
    "change_counter": 27, "pages": 31, "freelist": 35, "freelist_count": 39,
    "schema_cookie": 43, "schema_format": 47, "vacuum": 55, "encoding": 59, "user_version": 63,
    "incremental": 67, "application_id": 68, "reserved_zero": 80, "valid_for": 95,
    "root_type": 100, "root_cells": 104,
}  # fmt: skip
TEXTS = {
    "schema": b'CREATE TABLE "recordings"',
    "schema_constraint": b"CHECK (status IN",
    "id": b"CA7",
    "status": b"saved",
    "path": b"combined/CA7.wav",
    "time": b"2026-",
    "summary": b'{"schema":',
    "layout": b"{direction}/{id}.wav",
    "redaction": b"unasked",
    "state": b"finished",
}
"""Where a text begins, one byte of it is another."""


def flips() -> dict[str, tuple[str | int, int]]:
    """Name what is flipped: in the header, in a text, anywhere; and how."""
    named: dict[str, tuple[str | int, int]] = {}
    for name, at in HEADER.items():
        named[f"header_{name}"] = (at, 0x80 if name == "write_version" else 0xFF)
    for name in TEXTS:
        named[f"text_{name}_0x80"] = (name, 0x80)
        named[f"text_{name}_0x01"] = (name, 0x01)
    draw = random.Random(20261122)
    for number in range(24):
        named[f"anywhere_{number}"] = (-1 - draw.randrange(2**31), draw.randrange(1, 256))
    return named


FLIPS = flips()
BRIEF = (
    *("header_magic", "header_write_version", "header_application_id", "text_schema_0x80"),
    *("text_time_0x01", "text_summary_0x01", "text_id_0x01", "anywhere_0"),
)


def flip(path: Path, name: str) -> None:
    """Change one byte."""
    where, mask = FLIPS[name]
    content = bytearray(path.read_bytes())
    at = content.index(TEXTS[where]) if isinstance(where, str) else where
    content[at % len(content)] ^= mask
    path.write_bytes(content)


def check_refusal(stderr: str, trial: Trial) -> None:
    """It names the damage and the command that mends it."""
    assert "Fix: " in stderr
    assert f"rebuild {trial.archive}" in stderr


@pytest.mark.parametrize("name", few(FLIPS, BRIEF))
async def test_a_flipped_byte(name: str, tmp_path: Path) -> None:
    """Every command says so, or works; no recording is lost, and a rebuilt ledger knows them all."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        flip(ledger_of(trial), name)
        looks = [await run_on(trial, command) for command in ("status", "verify")]
        assert {ended.code for ended in looks} <= {0, 6, 7}
        ended = await run_on(trial, "download")
        assert ended.code in {0, 6}, ended.stderr
        for each in (*looks, ended):
            if each.code == 6:
                check_refusal(each.stderr, trial)
        if ended.code == 6:
            assert server.heads == []
        assert len(server.heads) <= 1
        is_newer = "newer bulkaudio" in ended.stderr
        is_told = 6 in {each.code for each in (*looks, ended)}
        last = ledger_of(trial).read_bytes()
        await rebuilt(trial, server, *(("--force",) if is_newer or not is_told else ()))
        if ended.code == 6:
            assert old_ledgers(trial) == [last]
        assert len(old_ledgers(trial)) == 1


LOSSES = ["page_1", "page_2", "page_4", "page_last", "cut_1", "cut_100", "cut_4095", "cut_4096",
          "cut_5000", "cut_half", "cut_last_byte", "cut_last_page", "grown", "zero_page_3"]  # fmt: skip


MAYBE = {"grown", "page_last", "cut_last_byte"}
"""What SQLite may read past without a loss."""


def lose(path: Path, name: str) -> None:
    """Lose whole pages, or the end."""
    content = path.read_bytes()
    pages = len(content) // 4096
    kind, _, where = name.partition("_")
    if kind == "grown":
        content += b"\xa5" * 3000
    elif kind == "cut":
        ends = {"half": len(content) // 2, "last_byte": len(content) - 1}
        ends |= {"last_page": len(content) - 4096}
        content = content[: ends[where] if where in ends else int(where)]
    else:
        number = pages if where == "last" else int(where.removeprefix("page_"))
        filler = b"\0" if kind == "zero" else b"\xff"
        start = (number - 1) * 4096
        content = content[:start] + filler * 4096 + content[start + 4096 :]
    path.write_bytes(content)


@pytest.mark.parametrize("name", few(LOSSES, ("page_2", "cut_half")))
async def test_lost_pages(name: str, tmp_path: Path) -> None:
    """What is not whole is never written to: the same bytes are moved aside by `rebuild`."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        lose(ledger_of(trial), name)
        spoilt = ledger_of(trial).read_bytes()
        ended = await run_on(trial, "download")
        assert server.heads == []
        if name in MAYBE and ended.code == 0:
            await rebuilt(trial, server, "--force")
            return
        assert ended.code == 6, ended.stderr
        check_refusal(ended.stderr, trial)
        assert ledger_of(trial).read_bytes() == spoilt
        await rebuilt(trial, server)
        assert old_ledgers(trial) == [spoilt]


_KILLED: dict[str, Path] = {}


async def killed(server: WireServer, cwd: Path) -> Trial:
    """Return a trial whose run was killed after several commits, all of them in the log alone."""
    trial = trial_on(server, cwd, *IDS)
    if "it" in _KILLED:
        shutil.copytree(_KILLED["it"], trial.archive)
        trial.csv(*IDS)
        return trial
    last = len(IDS) - 3

    async def answer(exchange: Exchange) -> None:
        await (hangs if len(server.heads) > last else whole)(exchange)

    server.scripts = (answer,)
    words = trial.words(*trial.csv(*IDS), "--concurrency", "3")
    async with forked(trial.order(*words)) as fork:
        await until(lambda: len(wavs(trial.archive)) >= last - 3)
        await until(lambda: len(saved_rows(trial)) >= last - 3)
        fork.send(signal.SIGKILL)
        await fork.wait()
    server.scripts = (whole,)
    _KILLED["it"] = Path(mkdtemp(prefix="killed-")) / "archive"
    shutil.copytree(trial.archive, _KILLED["it"])
    server.heads.clear()
    return trial


def saved_rows(trial: Trial) -> set[str]:
    """Return what is saved; nothing while the ledger is being made."""
    return trial.saved() if ledger_of(trial).exists() else set()


WAL_CUTS = [f"cut_{at}" for at in (0, 1, 16, 31, 32, 33, 56, 57, 4151, 4152, 4153)]
WAL_CUTS += [f"share_{percent}" for percent in (20, 35, 50, 65, 80, 90, 99)]
WAL_CUTS += ["minus_1", "minus_4120", "deleted", *(f"flip_{n}" for n in range(8)), "junk"]


def cut_wal(path: Path, name: str) -> None:
    """Spoil the log."""
    content = path.read_bytes()
    kind, _, where = name.partition("_")
    match kind:
        case "cut":
            content = content[: int(where)]
        case "share":
            content = content[: len(content) * int(where) // 100]
        case "minus":
            content = content[: -int(where)]
        case "flip":
            at = random.Random(int(where)).randrange(len(content))
            content = content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]
        case "junk":
            content = random.Random(1).randbytes(len(content))
        case _:
            path.unlink()
            return
    path.write_bytes(content)


@pytest.mark.parametrize("name", few(WAL_CUTS, ("cut_0", "share_50", "flip_1")))
async def test_a_log_that_was_cut(name: str, tmp_path: Path) -> None:
    """What it held is lost to the ledger, and not to the archive: nothing is replaced or damaged."""
    async with WireServer(whole) as server:
        trial = await killed(server, tmp_path / "work")
        files = wavs(trial.archive)
        assert len(files) >= len(IDS) - 6
        cut_wal(ledger_of(trial).with_name("ledger.db-wal"), name)
        ended = await run_on(trial, "download")
        assert ended.code in {0, 6}, ended.stderr
        if ended.code == 6:
            check_refusal(ended.stderr, trial)
            assert server.heads == []
            assert wavs(trial.archive) == files
            await rebuilt(trial, server)
        else:
            trial.check(ended)
            await trial.healed(*trial.csv(*IDS))
        rows = ledger_rows(trial.archive)
        assert {row.status for row in rows.values()} == {"saved"}


async def test_a_ledger_with_an_index_of_another_table_is_found_by_verify(tmp_path: Path) -> None:
    """Opening walks the pages only; `verify` also holds every index to its table."""
    async with WireServer(whole) as server:
        trial = await kept(server, tmp_path / "work")
        with closing(sqlite3.connect(ledger_of(trial), isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA writable_schema = ON")
            schema = (
                "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_recordings_1'"
            )
            page = connection.execute(schema).fetchone()[0]
        content = bytearray(ledger_of(trial).read_bytes())
        start = (page - 1) * 4096
        at = content.index(b"CA7combined", start, start + 4096)
        content[at + 2] ^= 1
        ledger_of(trial).write_bytes(content)
        ended = await run_on(trial, "verify")
        assert ended.code == 6, ended.stdout
        check_refusal(ended.stderr, trial)
        await rebuilt(trial, server)
