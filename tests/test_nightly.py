"""Every command of docs/nightly.md runs, in order, or says why not."""

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bulkaudio import errors
from bulkaudio.schedule.outcomes import FINE, HOPELESS
from bulkaudio.simulator import Calls, Simulator
from tests.program import environment, run, wavs

PAGE = Path(__file__).parent.parent / "docs" / "nightly.md"
PROGRAM = "python -m bulkaudio "
BLOCK = re.compile(r"^(<!-- not run: [^\n]+ -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks() -> list[tuple[bool, str, str]]:
    """Return whether each block is run, its kind, and what is in it."""
    text = PAGE.read_text(encoding="utf-8")
    found = [(not each[0], each[1], each[2]) for each in BLOCK.findall(text)]
    assert len(found) == text.count("\n```") // 2
    return found


def commands() -> list[list[str]]:
    """Return the arguments of every command that is run."""
    lines = [
        line
        for is_run, _, body in blocks()
        if is_run
        for line in body.replace("\\\n", " ").splitlines()
    ]
    assert all(line.startswith(PROGRAM) for line in lines)
    return [shlex.split(line.removeprefix(PROGRAM), comments=True) for line in lines]


def test_whatever_is_not_run_says_so() -> None:
    """All that is run is this program's, and it is most of what matters."""
    assert {kind for is_run, kind, _ in blocks() if is_run} == {"console"}
    shown = [each[:2] for each in commands()]
    for scheduler in ("cron", "systemd", "kubernetes", "airflow"):
        assert ["schedule", scheduler] in shown


def test_codes_are_those_that_the_files_are_made_of() -> None:
    """A row for each code, in its right class."""
    table = {
        row[0]: row
        for row in (
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in PAGE.read_text().splitlines()
            if re.match(r"\| [0-9]", line)
        )
    }
    codes = {int(code) for row in table for code in row.split(",")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert {k.exit_code for k in kinds if issubclass(k, errors.BulkAudioError)} <= codes
    assert table[", ".join(map(str, HOPELESS))][3:] == 3 * ["failed at once"]
    for code in FINE:
        assert table[str(code)][2:5] == ["silent", "success", "success"]
    assert table["3, 5"][3:] == 3 * ["tried again"]


async def test_commands_run(tmp_path: Path) -> None:
    """From an empty folder to the files of four schedulers and a look at the archive."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    calls = Calls(count=4, since=today - timedelta(days=1), until=today, speech_s=(0.1, 0.3))
    async with Simulator(calls=calls, account="acme-uk", agent="acme-team-4") as simulator:
        (tmp_path / "polyai.key").touch(mode=0o600)
        (tmp_path / "polyai.key").write_text(simulator.key)
        env = environment(simulator)
        del env["POLYAI_API_KEY"]
        for arguments in commands():
            here = [
                each.replace("/data/calls", "calls").replace("/etc/bulkaudio/", "")
                for each in arguments
            ]
            done = await run(*here, env=env, cwd=tmp_path)
            assert done.code == 0, (arguments, done.stderr)
            assert done.stdout
    assert len(wavs(tmp_path / "calls")) == 3 * len(simulator.calls.recorded_ids())
    made = {
        path.name for name in ("units", "manifests", "dags") for path in (tmp_path / name).iterdir()
    }
    named = {f"bulkaudio-calls.{suffix}" for suffix in ("service", "timer", "yaml")}
    assert made == named | {"bulkaudio_calls.py"}
