"""With ``--json``, a command that an error ends still has its one line on standard output."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.inside import Inside

COMMANDS = ("status", "gaps", "verify", "report", "rebuild", "purge", "hold", "export")


@pytest.fixture
def inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Inside:
    """A folder without an archive."""
    return Inside(tmp_path, monkeypatch, capsys)


WORDS = {"purge": ("--id", "CA1"), "hold": ("list",)}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_archive_that_is_not_there(inside: Inside, command: str) -> None:
    """The line tells what stderr does, and the exit code."""
    done = inside.run(command, "nowhere", *WORDS.get(command, ()), "--json")
    assert done.code == 2
    assert done.stdout.count("\n") == 1
    line = done.summary
    assert (line["schema"], line["command"]) == ("bulkaudio.error/1", command)
    assert (line["exit_code"], line["error"]["kind"]) == (2, "UsageError")
    assert line["error"]["message"] in done.stderr
    assert line["error"]["fix"] in done.stderr
    assert line["error"]["correlation_id"] is None


def test_commands_that_have_a_schema_for_it(inside: Inside) -> None:
    """A run is told as a run, a diagnosis as a diagnosis; a plan is neither."""
    schemas = {}
    for command in ("download", "doctor", "plan"):
        done = inside.run(command, "--json", "--since", "never", "--out", "archive")
        assert (done.code, done.stdout.count("\n")) == (2, 1), command
        schemas[command] = done.summary["schema"]
    assert schemas == {
        "download": "bulkaudio.run/1",
        "doctor": "bulkaudio.doctor/1",
        "plan": "bulkaudio.error/1",
    }


def test_what_cannot_be_read_at_all(inside: Inside) -> None:
    """No command of that name, or an option that there is not."""
    for words in (("statsu", "nowhere"), ("status", "--nowhere"), ("config", "show", "--nowhere")):
        done = inside.run(*words, "--json")
        command = "config show" if words[0] == "config" else words[0]
        assert (done.code, done.summary["command"]) == (2, command)
        assert done.stdout.count("\n") == 1


def test_json_that_a_variable_or_a_file_asks_for(inside: Inside) -> None:
    """It counts for errors as for results; a file that cannot be read does not hide a variable."""
    (inside.folder / "own.toml").write_text("json = true\n")
    done = inside.run("gaps", "nowhere", "--config", "own.toml")
    assert (done.code, done.summary["schema"]) == (2, "bulkaudio.error/1")
    (inside.folder / "bad.toml").write_text("json = \n")
    assert inside.run("gaps", "nowhere", "--config", "bad.toml").stdout == ""
    inside.env("BULKAUDIO_JSON", "true")
    done = inside.run("gaps", "nowhere", "--config", "bad.toml")
    assert (done.code, done.summary["command"]) == (2, "gaps")
    inside.env("BULKAUDIO_JSON", "maybe")
    assert inside.run("gaps", "nowhere").stdout == ""


def test_who_asks_for_no_json_gets_none(inside: Inside) -> None:
    """Nor is there a line for what another word may mean, or of the job that is written."""
    assert inside.run("status", "nowhere").stdout == ""
    assert inside.run("status", "--", "--json").stdout == ""
    assert inside.run("schedule", "cron", "--json").stdout == ""


def test_no_key_and_no_traceback(inside: Inside) -> None:
    """What -v adds is for people."""
    inside.env("POLYAI_API_KEY", "canary-in-a-line")
    done = inside.run("plan", "--csv", "nowhere.csv", "--out", "archive", "--json", "-v")
    assert done.code == 2
    assert "canary" not in done.stdout
    assert "Traceback" not in done.stdout


def test_an_interrupted_command(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C where no run is there to drain: 130, and a line that says so."""

    def interrupt(_archive: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bulkaudio.cli.existing.require_archive", interrupt)
    done = inside.run("status", "archive", "--json")
    assert (done.code, done.stderr) == (130, "")
    assert (done.summary["exit_code"], done.summary["error"]["kind"]) == (130, "InterruptionError")


SENT = {signal.SIGTERM: (143, "TerminationError"), signal.SIGHUP: (129, "HangupError")}


@pytest.mark.parametrize("place", ["loop", "outside"])
@pytest.mark.parametrize("number", SENT)
def test_a_command_that_is_sent_a_signal(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, place: str
) -> None:
    """It ends as by Ctrl-C, in a loop and outside, and says by what; the handlers are put back."""

    async def wait() -> None:
        os.kill(os.getpid(), number)
        await asyncio.sleep(60)

    def interrupt(_archive: Path) -> None:
        if place == "loop":
            asyncio.run(wait())
        os.kill(os.getpid(), number)

    code, kind = SENT[number]
    # Where the tests run, it may be ignored, and then stays so.
    before = signal.signal(number, signal.SIG_DFL)
    monkeypatch.setattr("bulkaudio.cli.existing.require_archive", interrupt)
    for command in ("gaps", "verify", "report", "purge", "hold"):
        done = inside.run(command, "archive", *WORDS.get(command, ()), "--json")
        line = done.summary
        assert (done.code, line["exit_code"], line["error"]["kind"]) == (code, code, kind)
        assert done.stdout.count("\n") == 1
        assert line["error"]["message"] in done.stderr
    assert signal.signal(number, before) is signal.SIG_DFL


async def test_a_signal_after_the_result(tmp_path: Path) -> None:
    """What was told stands: exit code and line agree, though SIGTERM comes then, to the very end."""
    program = (
        "import os, signal, sys\n"
        "from bulkaudio.cli import app, endings\n"
        "def run(_):\n"
        "    endings.told()\n"
        "    print('{}', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return 0\n"
        "app._run = run\n"
        "class Last:\n"
        "    def __del__(self, kill=os.kill, own=os.getpid(), number=int(signal.SIGTERM)):\n"
        "        kill(own, number)\n"
        "last = Last()\n"
        "sys.exit(app.main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    stdout, _ = await process.communicate()
    assert (process.returncode, stdout) == (0, b"{}\n")
