"""Odd surroundings, missing rights and planted settings: the same recordings, as private as ever."""

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.faults.machine import (
    NOBODY,
    become_nobody,
    disk,
    few,
    hook,
    in_a_deleted_folder,
    lifted,
    need_root,
    ordered,
    planted,
    refused,
    without_streams,
)
from tests.forked import ROOT, Ended, run_forked
from tests.oracle import CANARY, Trial, trial_on
from tests.plans import Plans
from tests.program import started, wavs
from tests.wire import Exchange, WireServer, says, says_json

IDS = ("CA1", "CA2", "CA3")

STREAMS = (
    *("stdin closed", "stdout closed", "stderr closed", "stdin closed,stdout closed,stderr closed"),
    *("stdout unread", "stderr unread", "stdout unread,stderr unread", "stderr full"),
)


def check_streams(trial: Trial, ended: Ended) -> None:
    """Hold it to everything; what closed streams lead to afterwards is nowhere."""
    assert ended.descriptors is not None
    kept = tuple(each for each in ended.descriptors if not each.endswith(" /dev/null"))
    trial.check(replace(ended, descriptors=kept))


@pytest.mark.parametrize("streams", few(STREAMS, (STREAMS[3],)))
async def test_standard_streams(tmp_path: Path, streams: str) -> None:
    """Whoever does not listen, or hung up, changes nothing about the archive or the exit code."""
    async with WireServer(Plans({"CA2": [says(500), Plans()]})) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = (*trial.csv(*IDS), "-vv", "--progress", "on")
        ended = await run_forked(ordered(trial, *csv, **hook(without_streams, *streams.split(","))))
        check_streams(trial, ended)
        assert ended.code == 0, ended.stderr
        assert wavs(trial.archive) == trial.truth
        await lifted(trial, *csv)


async def test_standard_output_without_room(tmp_path: Path) -> None:
    """The recordings are safe, the result is not told: exit 6, saying so."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = trial.csv(*IDS)
        ended = await run_forked(ordered(trial, *csv, **hook(without_streams, "stdout full")))
        check_streams(trial, ended)
        assert ended.code == 6
        assert "cannot be written to standard output" in ended.stderr
        assert wavs(trial.archive) == trial.truth
        await lifted(trial, *csv)


@pytest.mark.parametrize("umask", few((0o000, 0o027, 0o077, 0o377, 0o777), (0o777,)))
async def test_umask(tmp_path: Path, umask: int) -> None:
    """Files are 0600 and folders 0700: neither open to others nor closed to their owner."""

    async def answer(exchange: Exchange) -> None:
        is_audio = "direction=" in exchange.head.target
        await (Plans() if is_audio else says_json(200, {"turns": []}))(exchange)

    async with WireServer(answer) as server:
        trial = replace(trial_on(server, tmp_path / "work", *IDS), asked=dict)
        csv = (*trial.csv(*IDS), "--metadata", "full")
        files = ("--log-file", trial.archive / "log", "--summary-file", trial.archive / "summary")
        trial.archive.mkdir(mode=0o700)
        ended = await run_forked(ordered(trial, *csv, *files, umask=umask))
        assert ended.code == 0, ended.stderr
        wrong = {
            str(path.relative_to(trial.archive)): oct(mode)
            for path in trial.archive.rglob("*")
            if (mode := stat.S_IMODE(path.stat().st_mode)) != (0o700 if path.is_dir() else 0o600)
        }
        assert wrong == {}
        for name in ("log", "summary"):
            (trial.archive / name).unlink()
        trial.check(ended)
        await lifted(trial, *csv)


async def test_a_deleted_working_folder(tmp_path: Path) -> None:
    """Nobody needs to be somewhere."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = trial.csv(*IDS)
        ended = await run_forked(ordered(trial, *csv, **hook(in_a_deleted_folder)))
        trial.check(ended)
        assert ended.code == 0, ended.stderr
        await lifted(trial, *csv)


SPARSE = {
    "nothing": {},
    "no HOME": {"PATH": "/usr/bin:/bin"},
    "HOME missing": {"HOME": "/nonexistent"},
    "C": {"LANG": "C", "LC_ALL": "C"},
    "POSIX": {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    "no TMPDIR": {"TMPDIR": "/nonexistent"},
    "empty PATH": {"PATH": ""},
}


@pytest.mark.parametrize("surroundings", few(SPARSE, ("nothing",)))
async def test_environment(tmp_path: Path, surroundings: str) -> None:
    """Nothing but the key has to be there."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "wörk", *IDS)
        csv = trial.csv(*IDS)
        env = {**trial.env, **SPARSE[surroundings], "PYTHONPATH": str(ROOT)}
        async with started(*trial.words(*csv), env=env, cwd=trial.cwd) as process:
            stdout, stderr = await process.communicate()
        assert process.returncode == 0, stderr.decode()
        assert len(stdout.splitlines()) == 1
        trial.check_archive(is_whole=True)
        await lifted(trial, *csv)


# What is to be written where it cannot be.


@pytest.mark.parametrize(
    "kind", few(("file", "fifo", "socket", "device", "dangling link", "link"), ("fifo",))
)
@pytest.mark.parametrize("below", few(("", "below"), ("",)))
async def test_a_destination_that_is_no_folder(tmp_path: Path, kind: str, below: str) -> None:
    """It is refused at once, before any request, and left as it was."""
    outside = tmp_path / "outside"
    outside.mkdir()
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        planted(kind, trial.cwd / "place", outside)
        csv = trial.csv(*IDS)
        out = ("--out", trial.cwd / "place" / below)
        words = [each for each in trial.words(*csv) if each not in {"--out", str(trial.archive)}]
        ended = await run_forked(trial.order(*words, *out))
        trial.check(ended)
        refused(ended, "place")
        assert server.targets == []
        assert {each.name for each in outside.iterdir()} <= {"precious"}


async def test_a_read_only_disk(tmp_path: Path) -> None:
    """A run is refused before the first request; once it can be written again, all is fetched."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = (*trial.csv(*IDS), "--min-free", "0")
        with disk(trial.archive, "size=4m") as protected:
            assert (await trial.download(*trial.csv("CA1"), "--min-free", "0")).code == 0
            trial.csv(*IDS)
            protected.remount("ro")
            asked = dict(trial.asked())
            refused(await trial.download(*csv), "mounted read-only", "may not be written")
            for command in ("status", "verify"):
                looked = await run_forked(trial.order(command, trial.archive))
                assert looked.code == 0, looked.stderr
            stopped = await run_forked(trial.order("verify", trial.archive, "--repair"))
            assert stopped.code == 6, stopped.stderr
            assert "mounted read-only" in stopped.stderr
            assert "--out" not in stopped.stderr, "only download has it"
            assert dict(trial.asked()) == asked
            protected.remount("rw")
            await lifted(trial, *csv)


# A user without rights.


@pytest.fixture
def common() -> Iterator[Path]:
    """Return a folder that everybody can reach."""
    need_root("become somebody else")
    folder = Path(mkdtemp(prefix="bulkaudio-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def given_away(folder: Path) -> None:
    """Make nobody the owner of a folder and all in it."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)


async def test_nobody_may_have_an_archive(common: Path) -> None:
    """Root's rights are not needed for anything."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, common / "work", *IDS)
        csv = trial.csv(*IDS)
        given_away(trial.cwd)
        ended = await run_forked(ordered(trial, *csv, **hook(become_nobody)))
        trial.check(ended)
        assert ended.code == 0, ended.stderr
        assert trial.archive.stat().st_uid == NOBODY
        await lifted(trial, *csv)


@pytest.mark.parametrize(
    ("variable", "code"),
    [("HOME", 0), ("XDG_CONFIG_HOME", 0), ("CREDENTIALS_DIRECTORY", 4), ("BULKAUDIO_CONFIG", 2)],
)
async def test_a_place_that_this_user_may_not_enter(common: Path, variable: str, code: int) -> None:
    """A usual place, as that of who started the job, has nothing for us; a named one is told."""
    closed = common / "closed"
    closed.mkdir(mode=0o700)
    async with WireServer(Plans()) as server:
        trial = trial_on(server, common / "work", *IDS)
        csv = trial.csv(*IDS)
        given_away(trial.cwd)
        place = closed / "own.toml" if variable == "BULKAUDIO_CONFIG" else closed
        order = ordered(trial, *csv, **hook(become_nobody))
        ended = await run_forked(replace(order, env={**order.env, variable: str(place)}))
        trial.check(ended)
        assert ended.code == code, ended.stderr
        if code:
            assert "cannot be read: Permission denied" in ended.stderr
        await lifted(trial, *csv)


@pytest.mark.parametrize("part", few((".", ".bulkaudio", ".bulkaudio/tmp", "combined"), (".",)))
@pytest.mark.parametrize("mode", few((0o700, 0o500), (0o700,)))
async def test_an_archive_of_somebody_else(common: Path, part: str, mode: int) -> None:
    """What this user may not enter or write is named, and nothing is saved beside it."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, common / "work", *IDS)
        assert (await trial.download(*trial.csv("CA1"))).code == 0
        given_away(trial.cwd)
        os.chown(trial.archive / part, 0 if mode == 0o700 else NOBODY, 0)
        (trial.archive / part).chmod(mode)
        csv = trial.csv(*IDS)
        ended = await run_forked(ordered(trial, *csv, **hook(become_nobody)))
        trial.check(ended)
        if ended.code != 0 or (part, mode) != (".", 0o500):
            refused(ended, "no permission", "cannot be opened", "may not be written")
        (trial.archive / part).chmod(0o700)
        await lifted(trial, *csv)


@pytest.mark.parametrize("kind", few(("missing", "unwritable", "unreachable"), ("unwritable",)))
async def test_a_destination_that_is_not_ours(common: Path, kind: str) -> None:
    """A folder that this user cannot make is refused before any request."""
    async with WireServer(Plans()) as server:
        trial = trial_on(server, common / "work", *IDS)
        csv = trial.csv(*IDS)
        trial.cwd.chmod(0o755)
        if kind != "missing":
            trial.archive.mkdir(mode=0o555 if kind == "unwritable" else 0o700)
        order = ordered(trial, *csv, **hook(become_nobody))
        ended = await run_forked(order)
        assert ended.code == 6, ended.stderr
        refused(ended, "no permission")
        assert server.targets == []
        if kind != "missing":
            trial.archive.chmod(0o700)
        await lifted(trial, *csv)


# What others planted.

PLANTED = (
    *("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    *(".netrc", "NETRC", "bulkaudio.toml", ".env", "pyproject.toml"),
)


@pytest.mark.parametrize("name", few(("everything", *PLANTED), ("everything",)))
async def test_settings_that_nobody_asked_for(tmp_path: Path, name: str) -> None:
    """Every request goes to PolyAI alone, with its own key, for what was asked for."""
    names = PLANTED if name == "everything" else (name,)
    async with WireServer(says(418)) as trap, WireServer(Plans()) as server:
        trial = trial_on(server, tmp_path / "work", *IDS)
        csv = trial.csv(*IDS)
        netrc = "machine 127.0.0.1 login me password planted\ndefault login me password planted\n"
        config = f'out = "{tmp_path}/elsewhere"\nlimit = 1\nproxy = "{trap.url()}"\n'
        texts = {
            ".netrc": netrc,
            "NETRC": netrc,
            "bulkaudio.toml": config,
            "pyproject.toml": f"[tool.bulkaudio]\n{config}",
            ".env": f"BULKAUDIO_PROXY={trap.url()}\nPOLYAI_API_KEY=planted\n",
        }
        for each in set(names) & set(texts):
            (trial.cwd / each).write_text(texts[each])
            (trial.cwd / each).chmod(0o600)
        env = {each: trap.url() for each in names if each.lower().endswith("_proxy")}
        if "NETRC" in names:
            env["NETRC"] = str(trial.cwd / "NETRC")
        ended = await trial.download(*csv, **env)
        assert ended.code == 0, ended.stderr
        assert wavs(trial.archive) == trial.truth
        assert trap.connections == 0
        assert not (tmp_path / "elsewhere").exists()
        for head in server.heads:
            assert head.header("x-api-key") == CANARY
            assert head.header("Authorization") is None
            assert head.header("Proxy-Authorization") is None
            assert b"planted" not in head.raw
        await lifted(trial, *csv)
