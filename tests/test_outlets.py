"""Files that take another's place: whole or not at all, and nothing is left beside them for ever."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bulkaudio.observe.outlets import replacing, write_whole
from tests.program import environment

WRITER = """
import sys, time
from pathlib import Path
from bulkaudio.observe.outlets import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that is in the middle of writing."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"writing\n"
            yield process
        finally:
            process.kill()


def hidden(folder: Path) -> set[str]:
    """Name the hidden files of a folder."""
    return {path.name for path in folder.iterdir() if path.name.startswith(".")}


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """Only for the same target, and only by a write to it."""
    path = tmp_path / "catalogue.csv"
    with writer(path) as process, writer(tmp_path / "other.csv") as other:
        process.send_signal(signal.SIGKILL)
        other.send_signal(signal.SIGKILL)
    left = {f".catalogue.csv.{process.pid}", f".other.csv.{other.pid}"}
    assert hidden(tmp_path) == left
    write_whole(path, "new")
    assert hidden(tmp_path) == {f".other.csv.{other.pid}"}
    assert path.read_text() == "new"


def test_a_writer_that_lives_is_left_alone(tmp_path: Path) -> None:
    """Two writers of one target: the one that ends last has its place."""
    path = tmp_path / "catalogue.csv"
    with writer(path) as process:
        write_whole(path, "new")
        assert hidden(tmp_path) == {f".catalogue.csv.{process.pid}"}


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    """Other names, other modes, links and folders are somebody's own."""
    path = tmp_path / "catalogue.csv"
    own = {name: tmp_path / name for name in (".catalogue.csv.bak", ".catalogue.csv.12x", "a.1")}
    own |= {name: tmp_path / name for name in (".catalogue.csv.", ".catalogueXcsv.1")}
    for each in own.values():
        each.touch(0o600)
    (tmp_path / ".catalogue.csv.7").write_text("a year's own")
    (tmp_path / ".catalogue.csv.7").chmod(0o640)
    (tmp_path / ".catalogue.csv.8").symlink_to("a.1")
    (tmp_path / ".catalogue.csv.9").mkdir()
    (tmp_path / ".catalogue.csv.10").touch(0o600)
    os.link(tmp_path / ".catalogue.csv.10", tmp_path / "another name")
    os.mkfifo(tmp_path / ".catalogue.csv.11")
    before = {each.name for each in tmp_path.iterdir()}
    write_whole(path, "new")
    assert {each.name for each in tmp_path.iterdir()} == before | {"catalogue.csv"}


def test_ones_own_number_is_used_again(tmp_path: Path) -> None:
    """Every container's process is number one: what the last one left is no content of this one."""
    (tmp_path / f".a.{os.getpid()}").write_text("what a much longer text was")
    write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert hidden(tmp_path) == set()


def test_without_locks_files_are_written_and_nothing_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cannot tell the dead from the living leaves both alone."""

    def unsupported(_fd: int, _kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / ".a.7").touch(0o600)
    monkeypatch.setattr(fcntl, "flock", unsupported)
    write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert hidden(tmp_path) == {".a.7"}


def test_a_file_that_is_cleared_before_it_is_claimed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its lock it looks like a dead one's."""
    real = fcntl.flock
    seen: list[int] = []

    def late(fd: int, kind: int) -> None:
        if not seen:
            (tmp_path / f".a.{os.getpid()}").unlink()
        seen.append(kind)
        real(fd, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert len(seen) == 2


def test_what_fails_leaves_the_old_one(tmp_path: Path) -> None:
    """And nothing beside it."""
    (tmp_path / "a").write_text("old")
    with pytest.raises(ValueError, match="closed"), replacing(tmp_path / "a") as file:
        file.close()
    assert (tmp_path / "a").read_text() == "old"
    assert hidden(tmp_path) == set()
