"""Whole runs of the program against the simulator: streams, exit codes, signals."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bulkaudio.cli.app import main

CALLS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A simulator's environment, and the `download` command that it prints."""

    environ: Mapping[str, str]
    command: Sequence[str]


def simulator(*arguments: str) -> Iterator[Stand]:
    """Run the command `simulate` until the tests are over."""
    with subprocess.Popen(
        [sys.executable, "-m", "bulkaudio", "simulate", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        exports = [process.stdout.readline().removeprefix("export ") for _ in range(3)]
        words = process.stdout.readline().split()
        environ = dict(line.strip().split("=", 1) for line in exports)
        yield Stand(environ=environ, command=words[4 : words.index("--out")])
        process.terminate()


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """Serve a few calls at once."""
    yield from simulator("--conversations", str(CALLS))


@pytest.fixture(scope="module")
def slow_stand() -> Iterator[Stand]:
    """Serve many calls, each after a while."""
    yield from simulator("--conversations", "300", "--latency", "400ms")


def start(
    stand: Stand, *arguments: str, stdin: int | None = None, stdout: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Begin a command of the program with the simulator's key and hosts."""
    return subprocess.Popen(
        [sys.executable, "-m", "bulkaudio", *arguments],
        env={**os.environ, **stand.environ},
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Runs commands in this process, which is a second faster each than in their own."""

    stand: Stand
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> Done:
        """Run a command to its end."""
        self.capsys.readouterr()
        code = main(arguments)
        out, err = self.capsys.readouterr()
        return Done(returncode=code, stdout=out, stderr=err)

    def download(self, out: Path, *arguments: str) -> Done:
        """Download the simulator's calls."""
        return self.run("download", *self.stand.command, "--out", str(out), *arguments)


@pytest.fixture
def program(
    stand: Stand, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Program:
    """Make the program find the simulator and its key."""
    for name, value in stand.environ.items():
        monkeypatch.setenv(name, value)
    return Program(stand=stand, capsys=capsys)


def test_run_tells_its_result_on_stdout_and_the_rest_on_stderr(
    program: Program, tmp_path: Path
) -> None:
    """A page first, then with --json one line, then with -q nothing; a file when asked."""
    archive = tmp_path / "a"
    page = program.download(archive)
    assert page.returncode == 0, page.stderr
    assert page.stdout.startswith("Complete: ")
    assert page.stderr.startswith("bulkaudio: calls of 20")
    assert "\x1b" not in page.stdout + page.stderr
    summary_file = tmp_path / "summary.json"
    line = program.download(archive, "--json", "--summary-file", str(summary_file))
    assert line.stdout.count("\n") == 1
    document = json.loads(line.stdout)
    counts = document["counts"]
    assert (document["status"], document["exit_code"], counts["saved"]) == ("complete", 0, 0)
    assert counts["already"] > 0
    assert counts["recordings"] == sum(
        counts[name] for name in ("saved", "already", "absent", "deferred", "failed", "open")
    )
    assert summary_file.read_text() == line.stdout
    assert summary_file.stat().st_mode & 0o777 == 0o600
    quiet = program.run("download", "--out", str(archive), "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_key_is_in_nothing_that_is_written(program: Program, tmp_path: Path) -> None:
    """Even with -vv and a log file the key's value appears nowhere."""
    key = program.stand.environ["POLYAI_API_KEY"]
    log = tmp_path / "run.log"
    done = program.download(tmp_path / "a", "-vv", "--log-format", "json", "--log-file", str(log))
    assert done.returncode == 0
    assert key not in done.stdout + done.stderr
    files = [log, *(p for p in (tmp_path / "a" / ".bulkaudio").rglob("*") if p.is_file())]
    assert len(files) > 1
    for path in files:
        assert key.encode() not in path.read_bytes(), path
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"started", "saved"} <= {line["event"] for line in lines}


def test_refused_key_ends_with_four_and_names_its_source(program: Program, tmp_path: Path) -> None:
    """A wrong key ends the run at once; the error has its source, the fix and the support id."""
    path = tmp_path / "key"
    path.write_text("wrong-key")
    path.chmod(0o600)
    done = program.download(tmp_path / "a", "--json", "--api-key-file", str(path))
    assert done.returncode == 4
    document = json.loads(done.stdout)
    assert (document["status"], document["exit_code"]) == ("failed", 4)
    assert f"--api-key-file {path}" in done.stderr
    assert "\nFix: " in done.stderr
    assert "\nSupport id: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "wrong-key" not in done.stderr


def test_budget_ends_with_eight_and_goes_on_next_time(program: Program, tmp_path: Path) -> None:
    """A run stopped by a budget saves exactly so many; the next run takes the rest."""
    archive = tmp_path / "a"
    stopped = program.download(archive, "--max-recordings", "3", "--json")
    assert stopped.returncode == 8
    document = json.loads(stopped.stdout)
    assert (document["status"], document["counts"]["saved"]) == ("stopped", 3)
    rest = json.loads(program.download(archive, "--json").stdout)
    assert rest["status"] == "complete"
    assert rest["counts"]["already"] + rest["counts"]["saved"] > 3


def test_verify_finds_damage_and_repairs_it(program: Program, tmp_path: Path) -> None:
    """A changed and a deleted file end `verify` with 7; --repair fetches both again."""
    archive = tmp_path / "a"
    program.download(archive)
    clean = program.run("verify", str(archive))
    assert (clean.returncode, clean.stdout.split(":")[0]) == (0, "Whole"), clean.stderr
    first, second = sorted(archive.glob("combined/*.wav"))[:2]
    original = first.read_bytes()
    first.write_bytes(original[:-2] + b"xx")
    second.unlink()
    found = program.run("verify", str(archive), "--json")
    assert found.returncode == 7
    document = json.loads(found.stdout)
    assert [entry["damage"] for entry in document["damaged"]] == ["content"]
    assert [entry["id"] for entry in document["missing"]] == [second.stem]
    repaired = program.run("verify", str(archive), "--repair")
    assert repaired.returncode == 0, repaired.stderr
    assert "2 recordings fetched again" in repaired.stdout
    assert first.read_bytes() == original
    assert program.run("verify", str(archive), "-q").returncode == 0


def test_status_tells_the_download_before_a_repair(program: Program, tmp_path: Path) -> None:
    """A repair is no night's work: what the last download came to stays to be seen, beside it."""
    archive = tmp_path / "a"
    program.download(archive, "--max-recordings", "3")
    next(iter(archive.glob("*/*.wav"))).unlink()
    assert program.run("verify", str(archive), "--repair").returncode == 0
    page = program.run("status", str(archive)).stdout
    assert "Last run: stopped" in page
    assert "Repaired since (verify --repair): complete" in page
    document = json.loads(program.run("status", str(archive), "--json").stdout)
    assert document["last_run"]["status"] == "stopped"
    assert document["last_repair"]["counts"]["saved"] == 1
    program.download(archive)
    assert "Repaired" not in program.run("status", str(archive)).stdout
    assert json.loads(program.run("status", str(archive), "--json").stdout)["last_repair"] is None


def test_status_tells_totals_and_makes_nothing(program: Program, tmp_path: Path) -> None:
    """An archive's page and document have its totals; another folder is refused, unchanged."""
    archive = tmp_path / "a"
    program.download(archive)
    page = program.run("status", str(archive))
    assert page.returncode == 0, page.stderr
    assert "Last run: complete" in page.stdout
    document = json.loads(program.run("status", str(archive), "--json").stdout)
    assert document["running"] is None
    assert document["remembered"]["agent"] == "PROJECT-1"
    assert {total["direction"] for total in document["totals"]} == {"combined", "user", "agent"}
    refused = program.run("status", str(tmp_path))
    assert refused.returncode == 2
    assert not (tmp_path / ".bulkaudio").exists()


def wait_for(archive: Path, *, saved: int = 1) -> None:
    """Wait until a run tells that it has saved something."""
    path = archive / ".bulkaudio" / "status.json"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError):
            if json.loads(path.read_text())["counts"]["saved"] >= saved:
                return
        time.sleep(0.05)
    pytest.fail("the run has saved nothing")


@pytest.mark.slow
def test_first_signal_drains_and_status_works_meanwhile(
    slow_stand: Stand,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a run goes on status tells so and a second run gets 75; SIGTERM drains to 143."""
    archive = tmp_path / "a"
    arguments = ("download", *slow_stand.command, "--out", str(archive), "--json")
    process = start(slow_stand, *arguments)
    wait_for(archive)
    for name, value in slow_stand.environ.items():
        monkeypatch.setenv(name, value)
    capsys.readouterr()
    assert main(["status", str(archive), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["running"]["pid"] == process.pid
    assert main(arguments) == 75
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=40)
    assert process.returncode == 143, err
    result = json.loads(out)
    assert (result["status"], result["exit_code"]) == ("interrupted", 143)
    assert result["counts"]["saved"] > 0
    assert result["counts"]["open"] > 0
    assert " recordings, " in err
    assert "stopping: waiting up to 20s for what is under way; " in err
    assert list(archive.glob(".bulkaudio/tmp/*")) == []


@pytest.mark.slow
def test_second_signal_stops_now(slow_stand: Stand, tmp_path: Path) -> None:
    """The second Ctrl-C does not wait for downloads under way; the code is still 130."""
    archive = tmp_path / "a"
    process = start(
        slow_stand, "download", *slow_stand.command, "--out", str(archive), "--grace", "60s"
    )
    wait_for(archive)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=40)
    assert (process.returncode, time.monotonic() - begun < 10) == (130, True)
    assert "press Ctrl-C again to stop now" in err


def test_gone_reader_of_stdout_changes_nothing(stand: Stand, tmp_path: Path) -> None:
    """A closed pipe on stdout leaves the exit code and stderr as they were."""
    theirs, ours = os.pipe()
    os.close(theirs)
    arguments = ("download", *stand.command, "--out", str(tmp_path / "a"), "--json")
    process = start(stand, *arguments, stdout=ours)
    os.close(ours)
    _, err = process.communicate(timeout=40)
    assert process.returncode == 0
    assert "Broken" not in err
    assert "Traceback" not in err


def test_ids_may_come_from_standard_input(program: Program, tmp_path: Path) -> None:
    """`--csv -` reads ids from a pipe."""
    archive = tmp_path / "a"
    program.download(archive, "--direction", "combined", "--max-recordings", "1")
    known = next(archive.glob("combined/*.wav")).stem
    process = start(
        program.stand,
        *("download", "--csv", "-", "--region", "us", "--agent", "PROJECT-1"),
        *("--out", str(tmp_path / "b"), "--json"),
        stdin=subprocess.PIPE,
    )
    out, err = process.communicate(f"conversation_id\n{known}\n", timeout=40)
    assert process.returncode == 0, err
    assert json.loads(out)["counts"]["saved"] == 1
    assert (tmp_path / "b" / "combined" / f"{known}.wav").exists()


@pytest.mark.slow
def test_terminal_sees_a_bar_and_then_the_page(slow_stand: Stand, tmp_path: Path) -> None:
    """On a terminal progress moves while the run goes on, and only the page stays."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, **slow_stand.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    command = ["download", *slow_stand.command, "--out", str(tmp_path / "a")]
    process = subprocess.Popen(
        [sys.executable, "-m", "bulkaudio", *command, "--max-duration", "2s"],
        env=environ,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):
        while chunk := os.read(ours, 65536):
            shown += chunk
    os.close(ours)
    assert process.wait(timeout=40) == 8
    text = shown.decode()
    assert "files/s" in text
    assert "Stopped" in text.split("files/s")[-1]
