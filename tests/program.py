"""The program as a user starts it: a child process, its streams, its exit code."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@asynccontextmanager
async def started(
    *arguments: str | Path, env: Mapping[str, str], cwd: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start ``python -m bulkaudio`` and see to it that it is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bulkaudio", *map(str, arguments)),
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
