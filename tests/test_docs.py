"""What the README says is true of the program."""

import asyncio
import re
import shlex
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkaudio import errors
from bulkaudio.cli.app import make_app
from bulkaudio.cli.options import DEFAULTS, DownloadOptions
from bulkaudio.cli.request import make_request
from bulkaudio.conduct import SHORTFALL_EXIT_CODE
from bulkaudio.crew import BUDGET_EXIT_CODE
from bulkaudio.observe.summary import Summary
from bulkaudio.simulator import Calls, Simulator
from tests.make_options import PAGE, replaced
from tests.program import environment, run, wavs, write_csv

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
PROGRAM = "python -m bulkaudio "

CLEAN_STARTS = [
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/python -m bulkaudio demo",
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
]


def blocks(*kinds: str) -> Iterator[str]:
    """Yield the fenced blocks of these kinds, unindented."""
    for kind, body in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", TEXT, re.DOTALL | re.MULTILINE):
        if kind in kinds:
            yield textwrap.dedent(body)


def command_lines() -> list[list[str]]:
    """Return the arguments of every `python -m bulkaudio` in a block, continuations joined."""
    shown = "\n".join(blocks("console", "cron")).replace("\\\n", " ")
    return [
        shlex.split(line.partition(PROGRAM)[2], comments=True)
        for line in shown.splitlines()
        if PROGRAM in line
    ]


def test_options_are_those_of_the_program() -> None:
    """Every option of `download`, with its sentence and default."""
    page = PAGE.read_text(encoding="utf-8")
    assert replaced(page) == page, "the options changed: run  python -m tests.make_options"
    assert "`--csv`" in page
    assert "`--conversations-key-file`" in page


def test_exit_codes_are_those_of_the_program() -> None:
    """The table has a row for each code that the program can end with, and no other."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    raised = {k.exit_code for k in kinds if issubclass(k, errors.BulkAudioError)}
    found_damage, interrupted = 7, {129, 130, 143}
    others = {0, SHORTFALL_EXIT_CODE, found_damage, BUDGET_EXIT_CODE} | interrupted
    _, _, section = TEXT.partition("## Exit codes")
    table, _, _ = section.partition("##")
    rows = re.findall(r"^\| ([\d /]+) \|", table, re.MULTILINE)
    assert {int(code) for row in rows for code in row.split("/")} == raised | others


def test_clean_starts_are_what_continuous_integration_runs() -> None:
    """Exactly two lines begin with a fresh environment; .ci/run takes them from here."""
    lines = [line for line in TEXT.splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert lines == CLEAN_STARTS


def test_every_command_line_parses() -> None:
    """Whatever is shown can be typed, and `download` takes it for no contradiction."""
    shown = command_lines()
    assert len(shown) >= 7
    for arguments in shown:
        command, bound, _ = make_app().parse_args(arguments, exit_on_error=False, print_error=False)
        if getattr(command, "__name__", "") == "download":
            options = bound.arguments.get("options", DEFAULTS)
            assert isinstance(options, DownloadOptions)
            make_request(options, now=datetime.now(UTC), environ={})


def test_links_lead_somewhere() -> None:
    """Files that the front page and its neighbours name are there."""
    for page in (README, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md"))):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)\)", text):
            assert target.startswith("https://") or (ROOT / target).exists(), (page, target)
    for name in re.findall(
        r"^\| `(\S+)` \|", (ROOT / "examples/README.md").read_text(), re.MULTILINE
    ):
        assert (ROOT / "examples" / name).exists()


def test_json_line_begins_as_shown() -> None:
    """The README's beginning of the summary has the first keys, in order."""
    (shown,) = blocks("json")
    keys = re.findall(r'"(\w+)":', shown)
    assert list(Summary.__annotations__)
    assert keys == ["schema", "run_id", "status", "exit_code"]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Serve yesterday's calls of the README's agent."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    calls = Calls(count=6, since=today - timedelta(days=1), until=today, speech_s=(0.1, 0.3))
    async with Simulator(calls=calls, account="acme-uk", agent="acme-team-4") as simulator:
        yield simulator


@pytest.mark.slow
async def test_command_lines_run(simulator: Simulator, tmp_path: Path) -> None:
    """From the handful of calls to the nightly job, each line does what its section says."""
    (tmp_path / "polyai.key").touch(mode=0o600)
    (tmp_path / "polyai.key").write_text(simulator.key)
    write_csv(tmp_path / "calls.csv", simulator.calls.recorded_ids())
    environ = environment(simulator)
    shown = [each for each in command_lines() if each[0] in {"download", "status", "verify"}]
    # The nightly job comes first on the page, and says itself that a first run is made by hand.
    shown.sort(key=lambda each: "--quiet" in each)
    for arguments in shown:
        here = [each.replace("/data/calls", "calls") for each in arguments]
        done = await run(*here, env=environ, cwd=tmp_path)
        assert done.code == 0, (arguments, done.stderr)
        assert not (done.stdout and "--quiet" in arguments)
    assert 0 < len(wavs(tmp_path / "archive")) <= 5 * 3
    assert len(wavs(tmp_path / "calls")) >= len(simulator.calls.recorded_ids())


async def test_python_of_the_front_page_runs(tmp_path: Path) -> None:
    """The two snippets, as they stand, save the recordings of a CSV."""
    blocking, streaming = blocks("python")
    body = textwrap.indent(streaming, "    ")
    script = f"{blocking}\nimport asyncio\nasync def main():\n{body}\nasyncio.run(main())\n"
    async with Simulator(calls=Calls(count=3, speech_s=(0.1, 0.3))) as simulator:
        ids = simulator.calls.recorded_ids()
        write_csv(tmp_path / "calls.csv", ids)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script),
            cwd=tmp_path,
            env=environment(simulator),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    assert process.returncode == 0
    lines = out.decode().splitlines()
    assert lines[0] == f"{len(ids)} 0"
    assert {line.split()[1] for line in lines[1:]} == {"saved"}
    assert len(lines[1:]) == 2 * len(ids)
    assert len(wavs(tmp_path / "archive")) == 3 * len(ids)
