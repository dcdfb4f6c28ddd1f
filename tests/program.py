"""The program as a user starts it: a child process, its streams, its exit code."""

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

from bulkaudio.simulator.server import Simulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A program that ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        """The one line of ``--json``, which is the last of standard output."""
        found: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return found


class LedgerLine(NamedTuple):
    """What the ledger says of one recording."""

    status: str
    reason: str | None
    path: str | None
    sha256: str | None


def environment(simulator: Simulator | None = None, **more: str) -> dict[str, str]:
    """Return what the program finds around it: a simulated PolyAI and its key."""
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    root = str(Path(__file__).parent.parent)
    plain |= {"PYTHONPATH": root, "PYTHONWARNINGS": "error"}
    if simulator is not None:
        plain |= {
            "BULKAUDIO_AUDIO_URL": simulator.audio_url,
            "BULKAUDIO_CONVERSATIONS_URL": simulator.conversations_url,
            "POLYAI_API_KEY": simulator.key,
        }
    return plain | more


PROGRAM = ("-m", "bulkaudio")


@asynccontextmanager
async def started(
    *arguments: str | Path,
    env: Mapping[str, str],
    cwd: Path,
    program: Sequence[str] = PROGRAM,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start ``python -m bulkaudio`` and see to it that it is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *program, *map(str, arguments)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
        cwd=cwd,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def run(
    *arguments: str | Path, env: Mapping[str, str], cwd: Path, stdin: bytes = b""
) -> Done:
    """Run ``python -m bulkaudio`` to its end."""
    async with started(*arguments, env=env, cwd=cwd) as process:
        stdout, stderr = await process.communicate(stdin)
        code = process.returncode
    if code is None:
        raise AssertionError("it has ended")
    return Done(code=code, stdout=stdout.decode(), stderr=stderr.decode())


def write_csv(path: Path, ids: list[str]) -> Path:
    """Write a plain CSV of conversation ids."""
    path.write_text("\n".join(["conversation_id", *ids]) + "\n")
    return path


def wavs(archive: Path) -> dict[str, bytes]:
    """Read every file under a final name, by its path inside the archive."""
    found = (path for path in archive.rglob("*") if path.is_file())
    names = {str(path.relative_to(archive)): path for path in found}
    return {
        name: path.read_bytes()
        for name, path in names.items()
        if not name.startswith((".bulkaudio", "metadata"))
    }


def expected(simulator: Simulator, ids: list[str], directions: list[str]) -> dict[str, bytes]:
    """Return the files that an archive with these recordings holds."""
    return {
        f"{direction}/{id_}.wav": simulator.expected_bytes(id_, direction)
        for id_ in ids
        for direction in directions
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A simulated PolyAI, a folder to work in, and the archive that is made there."""

    simulator: Simulator
    cwd: Path
    archive: Path
    region: str = "uk"

    @classmethod
    def at(cls, simulator: Simulator, cwd: Path, *, region: str = "uk") -> Self:
        """Put a desk into a folder."""
        return cls(simulator=simulator, cwd=cwd, archive=cwd / "archive", region=region)

    def env(self, **more: str) -> dict[str, str]:
        """Return what the program finds around it."""
        return environment(self.simulator, **more)

    def csv(self, ids: Sequence[str], name: str = "calls.csv") -> Path:
        """Write a CSV of conversation ids."""
        return write_csv(self.cwd / name, list(ids))

    def words(self, *arguments: str | Path) -> tuple[str | Path, ...]:
        """Return the words of a run into the archive that says whose recordings it wants."""
        whose = ("--region", self.region, "--agent", self.simulator.agent)
        return ("download", *arguments, *whose, "--out", self.archive, "--json")

    def window(self, *arguments: str | Path) -> tuple[str | Path, ...]:
        """Return the words of a run that lists the whole time of the simulated calls."""
        calls = self.simulator.calls
        since, until = (moment.isoformat() for moment in (calls.since, calls.until))
        when = ("--since", since, "--until", until)
        return self.words(*when, "--account", self.simulator.account, *arguments)

    async def download(self, *arguments: str | Path, **env: str) -> Done:
        """Download into the archive."""
        return await run(*self.words(*arguments), env=self.env(**env), cwd=self.cwd)

    async def list(self, *arguments: str | Path, **env: str) -> Done:
        """Download what the listing has for the whole time of the simulated calls."""
        return await run(*self.window(*arguments), env=self.env(**env), cwd=self.cwd)

    async def go_on(self, *arguments: str | Path, **env: str) -> Done:
        """Download with nothing said but where, as a nightly job does."""
        words = ("download", "--out", self.archive, "--json", *arguments)
        return await run(*words, env=self.env(**env), cwd=self.cwd)


def ledger_rows(archive: Path) -> dict[tuple[str, str], LedgerLine]:
    """
    Read the ledger's recordings by (conversation id, direction), whatever became of its writer.

    It is copied first: opening a WAL database, even for reading, would recover it in place.
    """
    with TemporaryDirectory() as folder:
        for path in (archive / ".bulkaudio").glob("ledger.db*"):
            # A link or a FIFO under the name is nobody's ledger.
            if path.suffix in {".db", ".db-wal"} and S_ISREG(path.lstat().st_mode):
                shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder) / "ledger.db")) as connection:
            # A run that ended while it was making the ledger leaves one without tables.
            is_begun = "SELECT count(*) FROM sqlite_master WHERE name = 'recordings'"
            if not connection.execute(is_begun).fetchone()[0]:
                return {}
            rows = connection.execute(
                "SELECT conversation_id, direction, status, reason, path, sha256 FROM recordings"
            ).fetchall()
    return {(row[0], row[1]): LedgerLine(*row[2:]) for row in rows}


def temporary_files(archive: Path) -> list[str]:
    """Name what is left in the temporary folder."""
    return sorted(path.name for path in (archive / ".bulkaudio" / "tmp").iterdir())


def check_archive(archive: Path, simulator: Simulator) -> dict[tuple[str, str], LedgerLine]:
    """
    Hold an archive of the usual layout to its promises, at any moment; return its ledger.

    Every file under a final name is byte-exact, and every recording called saved has its file.
    """
    files = wavs(archive)
    for name, content in files.items():
        direction, _, id_ = name.removesuffix(".wav").partition("/")
        assert content == simulator.expected_bytes(id_, direction), f"{name} is damaged"
    rows = ledger_rows(archive)
    for row in rows.values():
        if row.status == "saved":
            assert row.path in files, f"{row.path} is called saved and is not there"
            assert hashlib.sha256(files[row.path]).hexdigest() == row.sha256
    return rows


async def until(
    holds: Callable[[], bool], process: asyncio.subprocess.Process | None = None
) -> None:
    """Wait until something holds, while the process that is to bring it about is running."""
    async with asyncio.timeout(30.0):
        while not holds():
            if process is not None and process.returncode is not None:
                stderr = b"" if process.stderr is None else await process.stderr.read()
                raise AssertionError(f"it ended with {process.returncode}: {stderr.decode()}")
            await asyncio.sleep(0.005)
