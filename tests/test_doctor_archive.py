"""What `doctor` says of an archive, its disk and its ledger; and that it leaves them as they were."""

import asyncio
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bulkaudio.steps import Step
from tests.doctored import KEY, WHOSE, Doctored, polyai, statuses
from tests.faults.machine import NOBODY, become_nobody, disk, hook, need_root
from tests.forked import Order, run_forked
from tests.inside import Inside
from tests.plans import whole
from tests.program import environment, run, write_csv
from tests.test_lock import start_holder
from tests.wire import WireServer, in_thread

IDS = ("CA1", "CA2", "CA3")

LISTED = (
    "INSERT INTO listings (scope, since, until, state, started_at, finished_at) VALUES "
    "('s', '2026-01-01T00:00:00.000000Z', '2026-01-02T00:00:00.000000Z', 'finished', "
    "'2026-01-02T00:00:00.000000Z', '2026-01-02T00:00:00.000000Z')"
)
"""What a night goes on from."""

Spoil = Callable[[Path], None]


@pytest.fixture
def doctored(inside: Inside) -> Iterator[Doctored]:
    """Return the program, with a PolyAI in whom nothing is wrong."""
    doctored = Doctored(inside)
    with in_thread(WireServer(polyai())) as server:
        doctored.reach(server.url())
        yield doctored


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an archive of three recordings, to be copied."""
    folder = tmp_path_factory.mktemp("model")
    csv = write_csv(folder / "calls.csv", list(IDS))
    with in_thread(WireServer(whole)) as server:
        env = environment(POLYAI_API_KEY=KEY, BULKAUDIO_AUDIO_URL=server.url())
        words = ("--region", "uk", "--agent", "PROJECT-1", "--csv", csv, "--out", "archive")
        done = asyncio.run(run("download", *words, env=env, cwd=folder))
    assert done.code == 0, done.stderr
    with closing(sqlite3.connect(ledger_of(folder / "archive"))) as connection:
        connection.execute(LISTED)
        connection.commit()
    return folder / "archive"


@pytest.fixture
def archive(model: Path, inside: Inside) -> Path:
    """Lend an archive of three recordings, and the file that named them."""
    write_csv(inside.folder / "calls.csv", list(IDS))
    shutil.copytree(model, inside.archive)
    return inside.archive


@pytest.fixture
def kept(archive: Path, doctored: Doctored) -> Iterator[Path]:
    """Hold an archive to being the same after the diagnosis as before it."""
    del doctored
    before: list[object] = []

    def seen() -> list[object]:
        found: list[object] = []
        for path in sorted(archive.rglob("*")):
            status = path.lstat()
            # A file was made and removed in there, which is all that may be seen.
            when = 0 if path.name == ".bulkaudio" else status.st_mtime_ns
            content = path.read_bytes() if path.is_file() else b""
            found.append((str(path), status.st_mode, status.st_ino, when, content))
        return found

    before.extend(seen())
    yield archive
    assert seen() == before


def ledger_of(archive: Path) -> Path:
    """Return the ledger's file."""
    return archive / ".bulkaudio" / "ledger.db"


# An archive in order.


def test_an_archive_in_order(kept: Path, doctored: Doctored) -> None:
    """Five checks, all well, and not a byte of it is another."""
    checks = doctored.checks("--out", kept, code=0)
    assert statuses(checks, "archive") == ["ok"] * 5
    assert checks["archive.ledger"]["detail"] == "3 saved, 0 to do; whole"


def test_what_the_archive_remembers_need_not_be_said(
    kept: Path, doctored: Doctored, inside: Inside
) -> None:
    """Region and agent are its own; the file of ids makes the account unnecessary."""
    done = inside.run("doctor", "--out", kept, "--csv", inside.folder / "calls.csv", "--json")
    assert done.code == 0, done.stdout
    assert done.summary["checks"][0]["detail"].startswith("uk / PROJECT-1")
    assert doctored.inside is inside


def test_what_the_archive_contradicts(kept: Path, inside: Inside) -> None:
    """A download would be refused, and so it is told; exit code 2."""
    words = ("--out", kept, "--region", "us", "--agent", "PROJECT-1", "--account", "x", "--json")
    done = inside.run("doctor", *words)
    assert done.code == 2
    assert "--region uk" in done.summary["checks"][0]["detail"]


def test_a_sample_is_nothing_to_go_on_from(archive: Path, doctored: Doctored) -> None:
    """Where nothing was listed a night would end with 2; a listing that was begun is enough."""
    with closing(sqlite3.connect(ledger_of(archive))) as connection:
        connection.execute("DELETE FROM listings")
        connection.commit()
    source = doctored.checks("--out", archive, code=2)["source"]
    assert "--limit does not count" in source["detail"]
    assert "without --limit" in source["fix"]
    inside = doctored.inside
    done = inside.run("schedule", "cron", *WHOSE, "--out", archive)
    assert done.code == 0
    assert f"nothing was listed into {archive} yet" in done.stderr
    assert "make the first run by hand" in done.stderr
    refused = inside.run("download", *WHOSE, "--out", archive)
    assert refused.code == 2
    assert source["detail"] in " ".join(refused.stderr.split())
    with closing(sqlite3.connect(ledger_of(archive))) as connection:
        connection.execute(LISTED.replace("'finished'", "'open'"))
        connection.commit()
    assert doctored.checks("--out", archive, code=0)["source"]["status"] == "ok"
    assert "by hand" not in inside.run("schedule", "cron", *WHOSE, "--out", archive).stderr


@pytest.mark.parametrize("spoil", ["_junk", "_gone"])
def test_what_a_spoilt_ledger_remembered_is_not_missed(
    spoil: str, archive: Path, doctored: Doctored
) -> None:
    """Region and agent are in it: the ledger is the fault, and what a download would end with."""
    globals()[spoil](archive)
    done = doctored.inside.run("doctor", "--out", archive, "--json")
    assert done.code == 6, done.stdout
    checks = done.summary["checks"]
    assert [each["name"] for each in checks if each["status"] == "fail"] == ["archive.ledger"]
    assert "ledger" in checks[0]["detail"]


def test_a_folder_that_is_not_there_yet(doctored: Doctored) -> None:
    """It is tried out where it would be made, and nothing of that stays."""
    inside = doctored.inside
    before = sorted(inside.folder.iterdir())
    checks = doctored.checks("--out", "deep/down/archive", code=0)
    assert statuses(checks, "archive") == ["ok", "ok", "ok", "ok", "skip"]
    assert str(inside.folder) in checks["archive.folder"]["detail"]
    assert sorted(inside.folder.iterdir()) == before


def test_without_an_archive_it_is_not_looked_at(doctored: Doctored) -> None:
    """A first look, before anything is decided about a disk."""
    assert set(statuses(doctored.checks(code=0), "archive")) == {"skip"}


# The ledger.


def _flip(archive: Path) -> None:
    path = ledger_of(archive)
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 8] = os.urandom(8)
    path.write_bytes(content)


def _junk(archive: Path) -> None:
    ledger_of(archive).write_bytes(b"not a database at all, but long enough to look like one" * 99)


def _gone(archive: Path) -> None:
    ledger_of(archive).unlink()


def _index(archive: Path) -> None:
    """Have an index miss a row: only a walk of everything finds that."""
    with closing(sqlite3.connect(ledger_of(archive))) as connection:
        connection.execute("PRAGMA writable_schema = 1")
        sql = "CREATE INDEX unsettled ON recordings (id) WHERE status IN ('saved')"
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'unsettled'", (sql,))
        connection.commit()


@pytest.mark.parametrize("spoil", [_flip, _junk, _gone, _index])
def test_a_ledger_that_is_spoilt(spoil: Spoil, archive: Path, doctored: Doctored) -> None:
    """Exit code 6, the way out is named, and it is not touched."""
    spoil(archive)
    path = ledger_of(archive)
    before = path.read_bytes() if path.exists() else None
    checks = doctored.checks("--out", archive, code=6)
    assert [name for name, check in checks.items() if check["status"] == "fail"] == [
        "archive.ledger"
    ]
    assert f"rebuild {archive}" in checks["archive.ledger"]["fix"]
    assert (path.read_bytes() if path.exists() else None) == before
    assert not list(path.parent.glob("ledger.db-*"))


def test_a_ledger_of_a_newer_program(archive: Path, doctored: Doctored) -> None:
    """It is told as such, and not as damage."""
    with closing(sqlite3.connect(ledger_of(archive))) as connection:
        connection.execute("PRAGMA user_version = 99")
    checks = doctored.checks("--out", archive, code=6)
    assert "newer" in checks["archive.ledger"]["detail"]


def test_another_run_holds_the_archive(archive: Path, doctored: Doctored) -> None:
    """That is no fault: it is said, with who it is, and what it remembers is known all the same."""
    lock = archive / ".bulkaudio" / "lock"
    holder = start_holder(lock)
    try:
        content = lock.read_bytes()
        checks = doctored.checks("--out", archive, code=0)
        assert checks["archive.ledger"]["status"] == "skip"
        assert f"process {holder.pid}" in checks["archive.ledger"]["detail"]
        done = doctored.inside.run("doctor", "--out", archive, "--account", "x", "--json")
        assert done.summary["checks"][0]["detail"].startswith("uk / x / PROJECT-1")
        assert f"process {holder.pid}" in done.summary["running"]
        assert ", since 20" in done.summary["running"]
        words = doctored.run("--out", archive).stdout
        assert "Well" in words
        assert "A run holds the archive, and another is refused (75)" in words
        assert lock.read_bytes() == content
    finally:
        holder.kill()
        holder.communicate()


def test_what_a_killed_run_left_is_read_and_left(archive: Path, doctored: Doctored) -> None:
    """The log beside the ledger counts, and stays for the run that takes it up."""
    path = ledger_of(archive)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute(
            "INSERT INTO recordings (conversation_id, direction, status, first_seen_at) "
            "VALUES ('CA9', 'user', 'open', '2026-11-01T00:00:00.000000Z')"
        )
        for part in ("", "-wal"):
            shutil.copy(f"{path}{part}", f"{path}{part}.copy")
    for part in ("", "-wal"):
        Path(f"{path}{part}.copy").rename(f"{path}{part}")
    before = {each: each.read_bytes() for each in path.parent.glob("ledger.db*")}
    assert len(before) == 2
    checks = doctored.checks("--out", archive, code=0)
    detail = checks["archive.ledger"]["detail"]
    assert detail == "3 saved, 1 to do; whole; what a killed run left is taken up by the next"
    assert "what is open needs about" in checks["archive.space"]["detail"]
    assert {each: each.read_bytes() for each in path.parent.glob("ledger.db*")} == before


def test_it_is_told_how_much_is_open(archive: Path, doctored: Doctored) -> None:
    """By the mean size of what was saved; too much of it is a warning."""
    with closing(sqlite3.connect(ledger_of(archive))) as connection:
        connection.execute("UPDATE recordings SET bytes = 1000000000000000")
        connection.execute("UPDATE recordings SET status = 'open' WHERE conversation_id = 'CA1'")
        connection.commit()
    checks = doctored.checks("--out", archive, code=0)
    assert checks["archive.space"]["status"] == "warn"
    assert "1.00 PB" in checks["archive.space"]["detail"]


# Folders and disks.


def test_others_can_reach_it(archive: Path, doctored: Doctored) -> None:
    """A warning, with the command that mends it."""
    (archive / ".bulkaudio").chmod(0o755)
    checks = doctored.checks("--out", archive, code=0)
    assert checks["archive.permissions"]["status"] == "warn"
    assert checks["archive.permissions"]["fix"] == f"chmod -R go-rwx {archive}"


def test_it_belongs_to_somebody_else(archive: Path, doctored: Doctored) -> None:
    """What root downloads into another user's archive, that user cannot go on with."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(ledger_of(archive), 65534, -1)
    checks = doctored.checks("--out", archive, code=0)
    assert checks["archive.permissions"]["status"] == "warn"
    assert "nobody" in checks["archive.permissions"]["fix"]


def test_a_file_is_in_the_way(doctored: Doctored) -> None:
    """Exit code 6, and the disk below it is not looked at."""
    (doctored.inside.folder / "file").write_text("mine")
    for out in ("file", "file/archive"):
        checks = doctored.checks("--out", out, code=6)
        assert statuses(checks, "archive") == ["fail", "skip", "skip", "skip", "skip"]
    assert (doctored.inside.folder / "file").read_text() == "mine"


def test_a_disk_that_takes_no_folders(doctored: Doctored) -> None:
    """It is said in words of its own, without the name of what was tried out."""
    checks = doctored.checks("--out", "/proc/archive", code=6)
    assert checks["archive.folder"]["detail"].startswith("the folder /proc/archive cannot be made")


def test_too_little_space_is_left(kept: Path, doctored: Doctored) -> None:
    """A download would stop at once, and that is told before."""
    checks = doctored.checks("--out", kept, "--min-free", "9000PB", code=6)
    assert checks["archive.space"]["status"] == "fail"
    assert "--min-free" in checks["archive.space"]["fix"]


def test_a_disk_that_cannot_be_written(doctored: Doctored) -> None:
    """Read-only, and no archive there yet: exit code 6, with the cause."""
    with disk(doctored.inside.folder / "disk", "size=1m") as mounted:
        mounted.remount("ro")
        checks = doctored.checks("--out", mounted.folder / "archive", code=6)
    assert checks["archive.folder"]["status"] == "fail"
    assert "read-only" in checks["archive.folder"]["detail"]


def test_an_archive_on_a_disk_that_cannot_be_written(archive: Path, doctored: Doctored) -> None:
    """The disk is named, what can be done with it as it is, and the ledger is read all the same."""
    with disk(doctored.inside.folder / "disk", "size=1m") as mounted:
        moved = mounted.folder / "archive"
        shutil.copytree(archive, moved)
        mounted.remount("ro")
        checks = doctored.checks("--out", moved, "--min-free", "0", code=6)
    assert statuses(checks, "archive") == ["ok", "ok", "fail", "ok", "ok"]
    assert "mounted read-only" in checks["archive.disk"]["detail"]
    assert "remount it writable" in checks["archive.disk"]["fix"]
    assert "verify" in checks["archive.disk"]["fix"]


@pytest.mark.parametrize("options", ["size=64k", "size=1m,nr_inodes=14"])
def test_an_archive_on_a_disk_that_is_full(options: str, archive: Path, doctored: Doctored) -> None:
    """Disk and space say so, with the fix; of the file that was tried out nobody hears."""
    with disk(doctored.inside.folder / "disk", "size=1m") as mounted:
        moved = mounted.folder / "archive"
        shutil.copytree(archive, moved)
        used = os.statvfs(mounted.folder)
        if "inodes" in options:
            mounted.remount(f"nr_inodes={used.f_files - used.f_ffree}")
        else:
            (mounted.folder / "filler").write_bytes(bytes(used.f_bavail * used.f_frsize))
        checks = doctored.checks("--out", moved, code=6)
    assert statuses(checks, "archive") == ["ok", "ok", "fail", "fail", "ok"]
    assert "no space or no inodes left" in checks["archive.disk"]["detail"]
    assert f"df -i {moved}" in checks["archive.disk"]["fix"]
    assert "doctor-" not in str(checks)


def test_a_disk_that_is_full(doctored: Doctored) -> None:
    """Nothing can be made there any more."""
    with disk(doctored.inside.folder / "disk", "size=1m,nr_inodes=3") as mounted:
        for name in ("one", "two"):
            (mounted.folder / name).touch()
        checks = doctored.checks("--out", mounted.folder, code=6)
    assert checks["archive.folder"]["status"] == "ok"
    assert checks["archive.disk"]["status"] == "fail"
    assert "inodes" in checks["archive.disk"]["detail"]


async def diagnosed_as_nobody(
    model: Path, mode: str, owner: int, whose: tuple[str, ...] = WHOSE
) -> dict[str, dict[str, str]]:
    """Give an archive's folders that mode and owner, and diagnose it as nobody."""
    need_root("take its rights away")
    # Not below pytest's folder, which is root's alone.
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(model, folder / "archive")
        words = ["chmod", "-R", mode, str(folder / "archive")]
        await asyncio.to_thread(subprocess.run, [*words], check=True)
        for path in (folder / "archive", *(folder / "archive").rglob("*")):
            os.chown(path, owner, owner)
        async with WireServer(polyai()) as server:
            env = environment(
                POLYAI_API_KEY=KEY,
                BULKAUDIO_AUDIO_URL=server.url(),
                BULKAUDIO_CONVERSATIONS_URL=server.url(),
            )
            arguments = ("doctor", *whose, "--json", "--out", str(folder / "archive"))
            order = Order(arguments=arguments, env=env, cwd=folder, **hook(become_nobody))
            ended = await run_forked(order)
        assert ended.code == 6, ended.stdout
        return {check["name"]: check for check in ended.summary["checks"]}


@pytest.mark.parametrize(
    ("mode", "owner", "fix"),
    [("a=rX", 0, "run bulkaudio as root"), ("u=rX,go=", NOBODY, "chmod -R u+rwX")],
)
async def test_a_folder_that_this_user_may_only_read(
    model: Path, mode: str, owner: int, fix: str
) -> None:
    """Permissions say so, who may write, and what works without."""
    checks = await diagnosed_as_nobody(model, mode, owner)
    assert statuses(checks, "archive")[:3] == ["ok", "fail", "skip"]
    assert statuses(checks, "archive")[4] == "ok"
    found = checks["archive.permissions"]
    assert "may read" in found["detail"]
    assert found["fix"].startswith(fix)
    assert "verify" in found["fix"]


@pytest.mark.parametrize("whose", [WHOSE, ()])
async def test_a_folder_that_this_user_may_not_enter(model: Path, whose: tuple[str, ...]) -> None:
    """One fault with its fix, whatever else could not be looked at for it."""
    checks = await diagnosed_as_nobody(model, "u+rwX", 0, whose)
    assert checks["configuration"]["status"] == ("ok" if whose else "skip")
    assert statuses(checks, "archive") == ["fail", "skip", "skip", "skip", "skip"]
    assert "permission" in checks["archive.folder"]["fix"]


def refuse_step(step: str, number: int) -> None:
    """Let what comes next at a step fail, as a disk does that cannot do it."""

    def strike(event: str, _: object) -> None:
        if event == step:
            raise OSError(number, os.strerror(number))

    sys.addaudithook(strike)


TRIALS = {
    Step.TRIAL_SYNC: (errno.EINVAL, "fail", 6, "cannot be synced"),
    Step.TRIAL_LINK: (errno.EOPNOTSUPP, "warn", 0, "no hard links"),
    Step.TRIAL_LOCK: (errno.ENOLCK, "fail", 6, "cannot be locked"),
}
"""Without hard links a run renames, so that is no fault."""


@pytest.mark.parametrize("step", TRIALS)
async def test_a_disk_that_cannot_do_something(step: Step, tmp_path: Path) -> None:
    """It is found by trying, told by name, and what was tried is removed."""
    number, status, code, words = TRIALS[step]
    async with WireServer(polyai()) as server:
        env = environment(
            POLYAI_API_KEY=KEY,
            BULKAUDIO_AUDIO_URL=server.url(),
            BULKAUDIO_CONVERSATIONS_URL=server.url(),
        )
        arguments = ("doctor", *WHOSE, "--json", "--out", "archive")
        broken = hook(refuse_step, str(step), number)
        before = sorted(tmp_path.iterdir())
        ended = await run_forked(Order(arguments=arguments, env=env, cwd=tmp_path, **broken))
    assert ended.code == code, ended.stdout
    checks = {check["name"]: check for check in ended.summary["checks"]}
    assert checks["archive.disk"]["status"] == status
    assert words in checks["archive.disk"]["detail"]
    assert "local disk" in checks["archive.disk"]["fix"]
    assert sorted(tmp_path.iterdir()) == before


# Pages.


def _in_terminal(folder: Path, env: dict[str, str], *words: str) -> str:
    """Run it in a terminal of 80 columns."""
    script = (
        "import pty, sys, fcntl, termios, struct, os\n"
        "pid, fd = pty.fork()\n"
        "if pid == 0:\n"
        "    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 80, 0, 0))\n"
        "    os.execv(sys.executable, [sys.executable, '-m', 'bulkaudio', *sys.argv[1:]])\n"
        "out = b''\n"
        "while True:\n"
        "    try: piece = os.read(fd, 65536)\n"
        "    except OSError: break\n"
        "    if not piece: break\n"
        "    out += piece\n"
        "sys.stdout.buffer.write(out)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], env=env, cwd=folder, capture_output=True, check=True
    )
    return done.stdout.decode()


@pytest.mark.parametrize("variable", ["", "NO_COLOR"])
def test_the_page_in_a_terminal(variable: str, doctored: Doctored) -> None:
    """Eighty columns hold every line, with colour or, where none is wanted, without."""
    env = dict(os.environ) | {"TERM": "xterm-256color"}
    env["PYTHONPATH"] = str(Path(__file__).parent.parent)
    env |= {variable: "1"} if variable else {}
    words = ("doctor", "--region", "uk", "--account", "ws-1", "--agent", "PROJECT-1")
    shown = _in_terminal(doctored.inside.folder, env, *words, "--min-free", "9000PB", "--out", "a")
    assert ("\x1b[" in shown) is (variable == "")
    plain = "".join(piece.partition("m")[2] for piece in ("m" + shown).split("\x1b["))
    # A path is never broken, so that it can be copied.
    breakable = [line for line in plain.splitlines() if str(doctored.inside.folder) not in line]
    assert max(map(len, breakable)) <= 80
    lines = [line.strip() for line in plain.splitlines()]
    assert any(line.startswith("✗ archive.space") for line in lines)
    assert any(line.startswith("Fix: free some space") for line in lines)
    assert lines[-1].startswith("Not well: 1 fault. A download would end with exit code 6")


def test_the_page_where_there_are_only_letters(doctored: Doctored, inside: Inside) -> None:
    """A stream of ASCII gets marks of its own instead of escapes."""
    env = dict(os.environ) | {"PYTHONIOENCODING": "ascii"}
    env["PYTHONPATH"] = str(Path(__file__).parent.parent)
    words = ("--region", "uk", "--account", "ws-1", "--agent", "PROJECT-1")
    done = subprocess.run(
        [sys.executable, "-m", "bulkaudio", "doctor", *words],
        env=env,
        cwd=inside.folder,
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode("ascii").splitlines()
    assert lines[0].startswith("+ configuration")
    assert not [line for line in lines if "\\u2713" in line]
    assert doctored.inside is inside


def test_every_line_is_whole_in_a_file(doctored: Doctored) -> None:
    """So that it can be searched: a check and its fix are a line each."""
    done = doctored.run("--out", "a", "--min-free", "9000PB")
    lines = done.stdout.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("✗"))
    assert lines[at].endswith("less than the 9000 PB of --min-free")
    assert lines[at + 1].strip() == ("Fix: free some space, use another disk, or lower --min-free")


def test_scripts_get_their_line_whatever_happens(doctored: Doctored) -> None:
    """Also for a command line that makes no sense."""
    for words in (("--since", "never"), ("--probe", "../x"), ("--config", "none.toml"), ("--x",)):
        done = doctored.run("--json", *words)
        assert done.code == done.summary["exit_code"] == 2
        assert done.summary["checks"][0]["fix"]


def test_the_configuration_file_in_use_is_named(doctored: Doctored) -> None:
    """Whichever it is."""
    assert "no configuration file" in doctored.checks()["configuration"]["detail"]
    (doctored.inside.folder / "mine.toml").write_text('tz = "UTC"\n')
    checks = doctored.checks("--config", "mine.toml", code=0)
    assert "options from mine.toml" in checks["configuration"]["detail"]


def test_a_downloads_own_table_counts(doctored: Doctored, inside: Inside) -> None:
    """What is set for a download is what is looked at; what only a run needs does no harm."""
    table = '[download]\nregion = "uk"\naccount = "ws-1"\nagent = "PROJECT-1"\nattempts = 3\n'
    (inside.folder / "mine.toml").write_text(table)
    done = inside.run("doctor", "--config", "mine.toml", "--json")
    assert done.code == 0, done.stdout
    assert done.summary["checks"][0]["detail"].startswith("uk / ws-1 / PROJECT-1")
    (inside.folder / "mine.toml").write_text(f"{table}atempts = 3\n")
    done = inside.run("doctor", "--config", "mine.toml", "--json")
    assert done.code == 2
    assert "did you mean attempts?" in done.summary["checks"][0]["fix"]
    assert doctored.inside is inside
