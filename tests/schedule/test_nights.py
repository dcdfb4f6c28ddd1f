"""What is printed runs, against the simulator."""

import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkaudio.simulator import Calls, Simulator
from bulkaudio.stores.lock import ArchiveLock
from tests.program import Done, environment, run, wavs
from tests.schedule.printed import IMAGE, pod_command, pod_of, systemd_words
from tests.schedule.readers import (
    cron_lines,
    pod_expanded,
    setting,
)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Serve a few calls of yesterday."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    calls = Calls(count=4, since=today - timedelta(days=1), until=today, speech_s=(0.1, 0.3))
    async with Simulator(calls=calls) as simulator:
        yield simulator


async def started(words: list[str], cwd: Path, **environ: str) -> Done:
    """Start a command line as a scheduler does, with nothing of ours around it."""
    import asyncio

    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Done(code=process.returncode or 0, stdout=out.decode(), stderr=err.decode())


@pytest.mark.parametrize("kind", ["cron", "systemd", "kubernetes"])
async def test_what_is_printed_archives_a_night(
    simulator: Simulator, tmp_path: Path, kind: str
) -> None:
    """From another folder and an empty environment, twice, and once while the archive is busy."""
    key = tmp_path / "the key 100%"
    key.touch(mode=0o600)
    key.write_text(simulator.key)
    words = (
        *(
            "schedule",
            kind,
            *(IMAGE if kind == "kubernetes" else ()),
            "--out",
            "my calls 100% $HOME",
        ),
        *("--region", "us", "--account", simulator.account, "--agent", simulator.agent),
        *("--since", "2 days ago", "--api-key-file", key.name, "--spread", "0"),
    )
    env = environment(simulator)
    del env["POLYAI_API_KEY"]
    made = await run(*words, env=env, cwd=tmp_path)
    assert made.code == 0, made.stderr
    command, environ = real_command(kind, made.stdout, tmp_path)
    archive = tmp_path / "my calls 100% $HOME"
    for _ in range(2):
        done = await started(command, Path("/"), **environ)
        assert done.code == 0, done.stdout + done.stderr
        assert len(wavs(archive)) == len(simulator.calls.recorded_ids())
        if kind == "cron":
            assert (done.stdout, done.stderr) == ("", "")
    with ArchiveLock(archive / ".bulkaudio" / "lock"):
        done = await started(command, Path("/"), **environ)
    assert done.code == (75 if kind == "systemd" else 0)
    if kind == "cron":
        assert (done.stdout, done.stderr) == ("", "")


def real_command(kind: str, text: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Do what the scheduler does before it starts a command: keys, variables, escapes."""
    if kind == "cron":
        ((_, line),) = cron_lines(text)
        # The clock's part is another test's.
        return ["/bin/sh", "-c", re.sub(r"^\[ .*? exit 0; ", "", line)], {}
    if kind == "systemd":
        (credential,) = setting(text, "LoadCredential")
        name, _, path = credential.partition(":")
        (folder / name).write_text(Path(path.replace("%%", "%")).read_text())
        (folder / name).chmod(0o400)
        pairs = (
            each.strip('"').replace("%%", "%").partition("=")
            for each in setting(text, "Environment")
        )
        return systemd_words(text, str(folder)), {name: value for name, _, value in pairs}
    (container,) = pod_of(text)["containers"]
    environ = {each["name"]: pod_expanded(each["value"], {}) for each in container["env"]}
    environ["BULKAUDIO_API_KEY_FILE"] = str(folder / "the key 100%")
    environ["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return pod_command(text), environ
