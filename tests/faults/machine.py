"""
Machines that lack something: room, rights, descriptors, memory, a network.

What is made here is gone afterwards, whatever happens, and is nobody else's: mounts lie in the
test's own folder, networks and groups of processes end with what holds them open.
"""

import ctypes
import fcntl
import os
import resource
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import which
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.forked import Ended, Order
from tests.oracle import Trial
from tests.program import until, wavs

NOBODY = 65534

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_LIBC = ctypes.CDLL(None, use_errno=True)


def need_root(what: str) -> None:
    """Skip the test, saying what for, unless it is root's."""
    if os.geteuid() != 0:
        pytest.skip(f"only root can {what}")


def few(cases: Iterable[Any], by_default: Collection[Any]) -> list[Any]:
    """Leave all cases but a few to CI."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if case in by_default else pytest.mark.slow,
        )
        for case in cases
    ]


# Disks.


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A mounted disk; `image` is what it is kept in, unless it is kept in memory."""

    folder: Path
    image: Path | None = None

    def remount(self, options: str) -> None:
        """Change its size, or whether it can be written."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)

    def repair(self) -> None:
        """Take it out, check it, and mount it again."""
        assert self.image is not None
        subprocess.run(["umount", self.folder], check=True)
        checking = ["/usr/sbin/e2fsck", "-fy", str(self.image)]
        assert subprocess.run(checking, check=False, capture_output=True).returncode in {0, 1}
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.folder)], check=True)


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Disk]:
    """Mount a private tmpfs on a new folder, e.g. with ``size=64k`` or ``nr_inodes=9``."""
    need_root("mount a disk")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine mounts no tmpfs: {done.stderr.strip()}")
    try:
        yield Disk(folder=folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def failing_disk(folder: Path) -> Iterator[Disk]:
    """Mount an ext4 of its own, which `Disk.remount` with ``abort`` breaks as a bad sector would."""
    need_root("mount a disk")
    if which("mkfs.ext4", path="/usr/sbin:/sbin") is None:
        pytest.skip("Debian's e2fsprogs is not installed")
    image = folder.with_name(f"{folder.name}.img")
    with image.open("wb") as file:
        file.truncate(16 * 2**20)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", image], check=True)
    folder.mkdir()
    mounting = ["mount", "-o", "loop", str(image), str(folder)]
    done = subprocess.run(mounting, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine mounts no image: {done.stderr.strip()}")
    try:
        (folder / "lost+found").rmdir()
        folder.chmod(0o700)
        yield Disk(folder=folder, image=image)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


# Hooks: called in the child by name, before the program.


def limited(name: str, soft: int) -> None:
    """Give this process a resource limit, e.g. ``RLIMIT_NOFILE``."""
    number = getattr(resource, name)
    _, hard = resource.getrlimit(number)
    resource.setrlimit(number, (soft, hard))


def hook(function: Any, *arguments: Any) -> dict[str, Any]:
    """Return the fields of an `Order` that have the child call this function of a module."""
    return {
        "hook": f"{function.__module__}:{function.__name__}",
        "hook_arguments": arguments,
    }


def ordered(trial: Trial, *arguments: str | Path, **fields: Any) -> Order:
    """Order a download of a trial, with fields of `Order` replaced."""
    return replace(trial.order(*trial.words(*arguments)), **fields)


# Groups of processes.


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path]:
    """Make a control group that may use so much memory, and none of the disk's."""
    need_root("make a control group")
    one, two = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    is_old = (one / "memory.limit_in_bytes").exists()
    name = "memory.limit_in_bytes" if is_old else "memory.max"
    group = Path(mkdtemp(prefix="bulkaudio-", dir=one if is_old else two))
    try:
        if not (group / name).exists():
            pytest.skip("no control group can limit memory here")
        (group / name).write_text(str(limit_bytes))
        for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
            if (group / swap).exists():
                (group / swap).write_text(str(limit_bytes if is_old else 0))
        yield group
    finally:
        group.rmdir()


def joined(group: str) -> None:
    """Put this process into a control group."""
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))


# What is the same for every fault.


def refused(ended: Ended, *said: str, code: int = 6) -> None:
    """It ended with that code and a sentence that names cause and fix."""
    assert ended.code == code, ended.stderr
    assert "Fix: " in ended.stderr
    assert any(each in ended.stderr for each in said), ended.stderr
    assert ended.summary["exit_code"] == code


async def saved(trial: Trial, count: int) -> None:
    """Wait until the ledger calls so many saved."""
    await until((trial.archive / ".bulkaudio" / "ledger.db").exists)
    await until(lambda: len(trial.saved()) >= count)


async def lifted(trial: Trial, *arguments: str | Path) -> None:
    """Heal; beyond what the ledger calls saved, no file that was there is fetched again."""
    before, asked = set(wavs(trial.archive)) & set(trial.truth), dict(trial.asked())
    await trial.healed(*arguments)
    again = {path for path in before if trial.asked().get(path, 0) > asked.get(path, 0)}
    assert not again, f"{again} were there and asked for again"


def limited_memory(mib: int) -> None:
    """
    Let this process have so much address space more than it has.

    Threads are the first to find none: with less room for each, others would, and CPython waits for
    ever for a thread that finds none while it begins.
    """
    status = Path("/proc/self/status").read_text()
    has_kib = int(status.partition("VmSize:")[2].split()[0])
    limited("RLIMIT_AS", has_kib * 1024 + mib * 2**20)


# What somebody planted.

KINDS = ("link", "dangling link", "fifo", "folder", "socket", "device")

PRECIOUS = b"nobody may write here"


def planted(kind: str, path: Path, outside: Path) -> None:
    """Put something under a name; `outside` is a folder with the file that a link leads to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "link":
            (outside / "precious").write_bytes(PRECIOUS)
            path.symlink_to(outside / "precious")
        case "dangling link":
            path.symlink_to(outside / "missing")
        case "link to a folder":
            path.symlink_to(outside)
        case "fifo":
            os.mkfifo(path, 0o600)
        case "folder":
            path.mkdir(mode=0o700)
        case "socket":
            # Its name alone: an address is too long for a test's folder.
            os.mknod(path, stat.S_IFSOCK | 0o600)
        case "device":
            need_root("make a device")
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        case "file":
            path.write_bytes(PRECIOUS)
            path.chmod(0o600)
        case _:
            raise AssertionError(kind)


def untouched(kind: str, path: Path, outside: Path) -> None:
    """Nobody wrote through it, removed it or put anything in its place."""
    found = path.lstat().st_mode
    kinds = {
        "fifo": stat.S_ISFIFO,
        "folder": stat.S_ISDIR,
        "socket": stat.S_ISSOCK,
        "device": stat.S_ISCHR,
        "file": stat.S_ISREG,
    }
    assert kinds.get(kind, stat.S_ISLNK)(found), f"{path} is no {kind} any more"
    nothing_outside(outside)


def nothing_outside(outside: Path) -> None:
    """Nothing was written where links led to."""
    assert {each.name for each in outside.iterdir()} <= {"precious"}
    if (outside / "precious").exists():
        assert (outside / "precious").read_bytes() == PRECIOUS


def removed(path: Path) -> None:
    """Take away what was planted."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


# Surroundings.


def become_nobody() -> None:
    """Give all rights up, for good."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def without_streams(*broken: str) -> None:
    """Close standard streams, or lead them to where nobody reads or there is no room."""
    for each in broken:
        name, how = each.split(" ")
        fd = ("stdin", "stdout", "stderr").index(name)
        if how == "closed":
            os.close(fd)
        elif how == "full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), fd)
        else:
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, fd)
            # What the interpreter made of the stream before believes that it can seek.
            setattr(sys, name, open(fd, "w", buffering=1, closefd=False))  # noqa: SIM115


def in_a_deleted_folder() -> None:
    """Stand in a folder that is no longer there."""
    folder = Path("gone")
    folder.mkdir()
    os.chdir(folder)
    (Path("..") / "gone").rmdir()


# Networks.


class Network:
    """A network of its own in which only loopback exists; gone when nobody is in it any more."""

    def __init__(self) -> None:
        self._fd = -1

    @property
    def path(self) -> str:
        """What leads into it."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def listen(self) -> socket.socket:
        """Make the network, and a socket of this process that listens in it."""
        made: list[socket.socket | OSError] = []
        # A thread of its own, because a network belongs to the thread that made it.
        thread = threading.Thread(target=self._make, args=(made,))
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            pytest.skip(f"no network can be made here: {made[0].strerror}")
        return made[0]

    def _make(self, made: "list[socket.socket | OSError]") -> None:
        try:
            _checked(_LIBC.unshare(_CLONE_NEWNET))
            self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            with socket.socket() as any_:
                fcntl.ioctl(any_, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
            made.append(socket.create_server(("127.0.0.1", 0)))
        except OSError as error:
            made.append(error)

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)

    def run(self, *command: str, text: str = "") -> None:
        """Run a program in it, e.g. ``nft``."""
        if which(command[0], path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
            pytest.skip(f"there is no {command[0]} here")
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", *command],
            input=text,
            pass_fds=(self._fd,),
            env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"},
            check=False,
            capture_output=True,
            text=True,
        )
        if any(lack in done.stderr for lack in ("not permitted", "not supported", "No such file")):
            pytest.skip(f"this kernel lets {command[0]} not do that: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr

    def rule(self, verdict: str) -> None:
        """Do that with every packet to the server, e.g. ``drop``; nothing with ``accept``."""
        table = "table inet faults"
        chain = "type filter hook input priority 0; policy accept;"
        rules = f"{table}\ndelete {table}\n{table} {{\nchain input {{\n{chain}\n{verdict}\n}}\n}}\n"
        self.run("nft", "-f", "-", text=rules)


@contextmanager
def network() -> Iterator[Network]:
    """Make room for a network."""
    need_root("make a network")
    made = Network()
    try:
        yield made
    finally:
        made.close()


def in_network(path: str) -> None:
    """Put this process into a network."""
    fd = os.open(path, os.O_RDONLY)
    _checked(_LIBC.setns(fd, _CLONE_NEWNET))
    os.close(fd)


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
