"""What the program prints, where, and that nothing around it can make it misbehave."""

import asyncio
import fcntl
import json
import os
import pty
import re
import resource
import signal
import stat
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.cli.app import COMMANDS
from tests import program
from tests.audio import wav_of
from tests.inside import Inside
from tests.plans import Plans, subject, whole
from tests.program import environment, wavs, write_csv
from tests.wire import Exchange, Script, WireServer, hangs, in_thread, says, says_json

KEY = "canary-streams-key"
IDS = ["CA1", "CA2", "CA3"]

SUMMARY_KEYS = (
    *("schema", "run_id", "status", "exit_code", "version", "started_at", "finished_at"),
    *("duration_s", "scope", "counts", "bytes", "audio_seconds", "http", "failures", "archive"),
    "report",
)
SCOPE_KEYS = {
    *("region", "account", "agent", "source", "since", "until", "directions"),
    "redaction_requested",
}
COUNT_KEYS = {
    *("conversations", "recordings", "saved", "already", "absent", "deferred", "failed"),
    *("rejected", "skipped", "retries"),
}
FAILURE_KEYS = {
    *("id", "direction", "reason", "http_status", "error_code", "attempts", "correlation_id"),
}


def line_of(folder: Path, *more: str | Path) -> list[str]:
    """Return a whole command line of ``download``."""
    csv = write_csv(folder / "calls.csv", IDS)
    fixed = ("--csv", csv, "--agent", "PROJECT-1", "--region", "uk", "--out", folder / "archive")
    return ["download", *map(str, (*fixed, *more))]


def around(server: WireServer, **more: str) -> dict[str, str]:
    """Return the environment in which `server` is PolyAI."""
    return environment() | {"BULKAUDIO_AUDIO_URL": server.url(), "POLYAI_API_KEY": KEY} | more


def check_summary(document: Mapping[str, Any]) -> None:
    """Insist on every key of the contract, and on numbers that add up."""
    assert [key for key in SUMMARY_KEYS if key not in document] == []
    assert document["schema"] == "bulkaudio.run/1"
    assert document["status"] in {"complete", "partial", "stopped", "failed", "interrupted"}
    assert document["scope"].keys() >= SCOPE_KEYS
    counts = document["counts"]
    assert counts.keys() >= COUNT_KEYS
    settled = ("saved", "already", "absent", "deferred", "failed")
    assert counts["recordings"] == sum(counts[name] for name in settled) + counts.get("open", 0)
    if document["status"] == "complete":
        assert counts.get("open", 0) == 0
    for failure in document["failures"]:
        assert failure.keys() >= FAILURE_KEYS
    for moment in ("started_at", "finished_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document[moment])


# One line of JSON, whatever happens.


def refuses(status: int, code: str) -> Script:
    """Refuse in PolyAI's own words."""
    return says_json(status, {"error_code": code, "error_id": "e-1"})


OLD = "2020-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("case", "status", "code"),
    [
        ("good", "complete", 0),
        ("mixed", "partial", 3),
        ("budget", "stopped", 8),
        ("refused", "failed", 4),
        ("down", "failed", 5),
        ("full", "failed", 6),
        ("usage", "failed", 2),
    ],
)
def test_json_is_exactly_one_line_with_the_whole_schema(
    case: str, status: str, code: int, inside: Inside
) -> None:
    """However a run ends, stdout holds one line that says so, and its figures add up."""
    scripts: dict[str, Script] = {
        "mixed": Plans(
            {
                "CA0": [refuses(410, "GONE")],
                "CA1": [refuses(404, "CONVERSATIONS_RECORDING_NOT_FOUND")],
                "CA2": [says(500), whole],
            }
        ),
        "refused": refuses(401, "AUTH_USER_INVALID_TOKEN"),
        "down": says(503),
    }
    script = scripts.get(case, whole)
    more = {
        "budget": ("--max-recordings", "2"),
        "down": ("--give-up-after", "1"),
        "full": ("--min-free", "999999TB"),
        "usage": ("--id-column", "missing"),
    }.get(case, ())
    rows = [f"CA{n:x},{OLD}" for n in range(30)]
    path = inside.folder / "calls.csv"
    path.write_text("\n".join(["conversation_id,started_at", *rows, "not an id,", ""]))
    if case == "good":
        path.write_text("\n".join(["conversation_id,started_at", *rows, ""]))
    with in_thread(WireServer(script)) as server:
        inside.reach(server)
        done = inside.download("--csv", path, *more)
    assert (done.code, done.stdout.count("\n")) == (code, 1)
    assert done.stdout.endswith("}\n")
    document = done.summary
    check_summary(document)
    assert (document["status"], document["exit_code"]) == (status, code)
    counts = document["counts"]
    if case == "mixed":
        assert (counts["failed"], counts["absent"], counts["saved"]) == (1, 1, 28)
        assert (counts["rejected"], counts["conversations"]) == (1, 30)
        assert document["http"] == {"200": 28, "404": 1, "410": 1, "500": 1}
        assert document["bytes"] == 28 * len(wav_of("CA3"))
    if case == "budget":
        assert counts["saved"] == 2
        assert counts["open"] > 0
    if case in {"good", "usage"}:
        assert document["failures"] == []


def test_quiet_is_silent_on_success_and_keeps_the_json_line(inside: Inside) -> None:
    """-q prints nothing at all; with --json the line stays; a failure is told."""
    plans = Plans({"CA9": [refuses(410, "GONE")]})
    with in_thread(WireServer(plans)) as server:
        inside.reach(server, KEY)
        line = line_of(inside.folder)
        silent = inside.run(*line, "-q")
        again = inside.run(*line, "-q", "--json")
        write_csv(inside.folder / "calls.csv", ["CA9"])
        bad = inside.run(*line, "-q")
    assert (silent.code, silent.stdout, silent.stderr) == (0, "", "")
    assert (again.code, again.stdout.count("\n"), again.stderr) == (0, 1, "")
    check_summary(again.summary)
    assert bad.code == 3
    assert "CA9" in bad.stdout


async def test_usr1_tells_and_a_signal_ends_with_a_summary(tmp_path: Path) -> None:
    """SIGUSR1 prints one status line; SIGTERM drains, and the figures of the rest are open."""
    async with WireServer(Plans({"CA3": [hangs]})) as server:
        line = line_of(tmp_path, "--json", "--grace", "0s")
        env = around(server)
        async with program.started(*line, env=env, cwd=tmp_path) as process:
            assert process.stderr is not None
            await server.wait_for_requests(3)
            while len(wavs(tmp_path / "archive")) < 2:  # noqa: ASYNC110  another process makes them
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGUSR1)
            told = await process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            stdout, stderr = await process.communicate()
    assert re.match(rb"bulkaudio: .*\d of 3\+? recordings", told), told
    assert process.returncode == 143
    assert stdout.count(b"\n") == 1
    document = json.loads(stdout)
    check_summary(document)
    assert (document["status"], document["counts"]["open"]) == ("interrupted", 1)
    assert b"Traceback" not in stderr


# Files and terminals.


async def test_a_file_gets_plain_lines_only(tmp_path: Path) -> None:
    """Piped, even with progress asked for and colours forced: no control code, no CR."""
    async with WireServer(Plans({"CA1": [says(500), whole]})) as server:
        env = around(server, FORCE_COLOR="1", CLICOLOR_FORCE="1", TERM="xterm-256color")
        line = line_of(tmp_path, "--progress", "on", "-vv")
        with (tmp_path / "calls.csv").open("a") as file:
            file.write("not an id\n")
        done = await program.run(*line, env=env, cwd=tmp_path)
    assert {c for c in done.stdout + done.stderr if not c.isprintable()} == {"\n"}
    assert done.code == 3
    assert "3 recordings saved" in done.stdout


async def _watched(arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> tuple[int, str]:
    """Run the program with a terminal as its stderr and stdout; return what was drawn."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = (sys.executable, "-m", "bulkaudio", *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=dict(env), cwd=cwd
    )
    os.close(theirs)
    drawn = b""
    # A terminal whose last writer is gone reads as an error.
    with suppress(OSError):
        while piece := await asyncio.to_thread(os.read, ours, 65536):
            drawn += piece
    os.close(ours)
    return await process.wait(), drawn.decode()


async def _slow(exchange: Exchange) -> None:
    if subject(exchange.head.target)[0] == "CA3":
        await asyncio.sleep(1.5)
    await whole(exchange)


BAR = ("━", "╸", "╺")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Khl]")


SHOWN: dict[str, tuple[dict[str, str], bool, bool]] = {
    "terminal": ({}, True, True),
    "NO_COLOR": ({"NO_COLOR": "1"}, True, False),
    "dumb": ({"TERM": "dumb"}, False, False),
    "CI": ({"CI": "true", "NO_COLOR": "1"}, False, False),
}
"""Variables; whether there is a bar, and whether there are colours."""


@pytest.mark.slow
async def test_a_terminal_gets_what_it_can_show(tmp_path: Path) -> None:
    """A bar with colours; no colours with NO_COLOR; plain lines where TERM or CI say so."""
    drawn: dict[str, str] = {}

    async def one(case: str) -> None:
        env = around(server) | {"TERM": "xterm-256color"} | SHOWN[case][0]
        folder = tmp_path / case
        folder.mkdir()
        code, drawn[case] = await _watched(line_of(folder), env, folder)
        assert code == 0, drawn[case]

    async with WireServer(_slow) as server, asyncio.TaskGroup() as all_:
        for case in SHOWN:
            all_.create_task(one(case))
    bars = {case: any(sign in text for sign in BAR) for case, text in drawn.items()}
    assert bars == {case: has_bar for case, (_, has_bar, _) in SHOWN.items()}
    assert {case: bool(MOVES.search(text)) for case, text in drawn.items()} == bars
    assert {case: bool(COLOUR.search(text)) for case, text in drawn.items()} == {
        case: has_colour for case, (_, _, has_colour) in SHOWN.items()
    }
    assert {case for case, text in drawn.items() if "3 recordings saved" not in text} == set()
    assert "\x1b" not in drawn["dumb"]
    # The cursor is given back.
    assert {t.count("\x1b[?25l") - t.count("\x1b[?25h") for t in drawn.values()} == {0}


# Surroundings.

TOGETHER = {
    "no reader of stdout": 'umask 000; "$@" | true',
    "no reader of stdout, json": 'umask 077; "$@" --json <&- | true',
    "no reader of stderr": '{ "$@" -vv 2>&1 >/dev/null; } | true',
    "all closed": '"$@" -vv --json <&- >&- 2>&-',
    "stdout full": '"$@" >/dev/full',
    "stderr full": '"$@" -vv 2>/dev/full',
    "nothing around": "unset HOME; mkdir gone; cd gone; rmdir ../gone; "
    'PYTHONIOENCODING=ascii PYTHONUTF8=0 LC_ALL=POSIX "$@"',
}
ALONE = {
    "stdin closed": '"$@" <&-',
    "stdout closed": '"$@" >&-',
    "stderr closed": '"$@" -vv 2>&-',
    "no HOME": 'unset HOME; "$@"',
    "HOME missing": 'HOME=/nonexistent "$@"',
    "C": 'LANG=C LC_ALL=C "$@"',
    "ASCII": 'PYTHONIOENCODING=ascii PYTHONUTF8=0 LC_ALL=POSIX "$@"',
    "open umask": 'umask 000; "$@"',
    "strict umask": 'umask 077; "$@"',
    "deleted folder": 'mkdir gone; cd gone; rmdir ../gone; "$@"',
}


async def _in_shell(script: str, line: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *("bash", "-o", "pipefail", "-c", script, "sh", sys.executable, "-m", "bulkaudio", *line),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
        cwd=cwd,
    )
    stdout, stderr = await process.communicate()
    return f"{process.returncode} {(stdout + stderr).decode()}"


async def _all_in_shell(cases: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """Run each case, look at what it saved, and return what it ended with and said."""
    said: dict[str, str] = {}
    folders = {case: tmp_path / re.sub(r"\W", "_", case) for case in cases}
    room = asyncio.Semaphore(3)

    async def one(case: str, folder: Path) -> None:
        folder.mkdir()
        async with room:
            said[case] = await _in_shell(cases[case], line_of(folder), around(server), folder)

    async with (
        WireServer(Plans({"CA2": [says(500), whole]})) as server,
        asyncio.TaskGroup() as all_,
    ):
        for case, folder in folders.items():
            all_.create_task(one(case, folder))
    noisy = ("Traceback", "Exception ignored", "BrokenPipe", "Warning", "logging error")
    assert {c: text for c, text in said.items() if any(word in text for word in noisy)} == {}
    wanted = {f"combined/{each}.wav": wav_of(each) for each in IDS}
    kept = {case: wavs(folder / "archive") for case, folder in folders.items()}
    assert {case: said[case] for case, files in kept.items() if files != wanted} == {}
    modes = {
        case: {
            (path.is_dir(), stat.S_IMODE(path.stat().st_mode))
            for path in (folder / "archive", *(folder / "archive").rglob("*"))
        }
        for case, folder in folders.items()
    }
    private = {(True, 0o700), (False, 0o600)}
    assert {case: found for case, found in modes.items() if found != private} == {}
    return said


@pytest.mark.slow
async def test_odd_surroundings_change_nothing_but_what_is_shown(tmp_path: Path) -> None:
    """Closed, full and unread streams, no HOME, ASCII, any umask: saved, private, no traceback."""
    said = await _all_in_shell(TOGETHER, tmp_path)
    full = said.pop("stdout full")
    assert full.startswith("6 bulkaudio: the result cannot be written to standard output")
    assert "Fix:" in full
    assert {case: text for case, text in said.items() if not text.startswith("0 ")} == {}


@pytest.mark.slow
async def test_each_oddity_by_itself_changes_nothing(tmp_path: Path) -> None:
    """One at a time, so that none hides behind another."""
    said = await _all_in_shell(ALONE, tmp_path)
    assert {case: text for case, text in said.items() if not text.startswith("0 ")} == {}


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("status", None),
        ("verify", None),
        ("gaps", "--csv"),
        ("export", "--output"),
        ("purge --older-than 1d", "--receipt"),
    ],
)
def test_advice_for_a_full_stdout_is_the_commands_own(
    command: str, advice: str | None, tmp_path: Path
) -> None:
    """An option is named only where it is to be had."""
    (tmp_path / "archive" / ".bulkaudio").mkdir(parents=True)
    name, *more = command.split()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bulkaudio", name, "archive", *more],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=tmp_path,
            check=False,
            text=True,
        )
    assert done.returncode == 6, done.stderr
    assert "cannot be written to standard output" in done.stderr
    assert re.findall(r"--[a-z-]+", done.stderr) == ([advice] if advice else [])


@pytest.mark.parametrize("line", ["--help", "status archive"])
def test_a_full_disk_behind_stdout_is_no_bug(line: str, tmp_path: Path) -> None:
    """Every command says so in a sentence and ends with the code of this machine's troubles."""
    (tmp_path / "archive" / ".bulkaudio").mkdir(parents=True)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bulkaudio", *line.split()],
            env=environment(),
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert (done.returncode, "standard output" in done.stderr) == (6, True), done.stderr
    assert "bug" not in done.stderr
    assert "Exception ignored" not in done.stderr


# Wrong command lines.

LISTING = ("--account", "ws-1")
CSV = ("--csv", "calls.csv")
WRONG: dict[str, tuple[str, ...]] = {
    "no such command": ("dwnload",),
    "no such option": ("download", "--regoin", "uk"),
    "no such region": ("download", "--region", "mars"),
    "surplus word": ("download", "surplus"),
    "a key as an option": ("download", "--api-key", "x"),
    "no out": ("download", "--csv", "calls.csv"),
    "out empty": ("download", "--out", ""),
    "out is a URL": ("download", "--out", "s3://bucket/calls"),
    "status of nothing": ("status",),
    "status of no archive": ("status", "missing"),
    "status of a file": ("status", "calls.csv"),
    "verify of no archive": ("verify", "."),
    "rebuild of no archive": ("rebuild", "missing"),
    "port": ("simulate", "--port", "99999"),
    "no calls": ("simulate", "--conversations", "0"),
    "faults": ("simulate", "--faults", "many"),
    "latency": ("simulate", "--latency", "soon"),
}
WRONG_DOWNLOADS: dict[str, tuple[str, ...]] = {
    "csv missing": ("--csv", "missing.csv"),
    "csv is a folder": ("--csv", "."),
    "csv empty": ("--csv", "empty.csv"),
    "csv has a header only": ("--csv", "header.csv"),
    "csv without ids": ("--csv", "columns.csv"),
    "csv is binary": ("--csv", "binary.csv"),
    "csv is cut gzip": ("--csv", "cut.csv.gz"),
    "csv without a name": ("--csv",),
    "csv takes an option": ("--csv", "--json"),
    "column missing": (*CSV, "--id-column", "nope"),
    "column without csv": ("--id-column", "id"),
    "csv and window": (*CSV, "--since", "today"),
    "csv and channel": (*CSV, "--channel", "VOICE"),
    "stdin twice": ("--csv", "-", "--api-key-file", "-"),
    "no account": ("--since", "yesterday"),
    "since": (*LISTING, "--since", "tomorrowish"),
    "since in the future": (*LISTING, "--since", "2999-01-01"),
    "window backwards": (*LISTING, "--since", "today", "--until", "yesterday"),
    "zone": (*LISTING, "--since", "today", "--tz", "Mars/Olympus"),
    "page size": (*LISTING, "--page-size", "5000"),
    "page size zero": (*LISTING, "--page-size", "0"),
    "lookback": (*LISTING, "--lookback", "long"),
    "env": (*LISTING, "--env", "prod"),
    "direction": (*CSV, "--direction", "left"),
    "metadata": (*CSV, "--metadata", "some"),
    "limit": (*CSV, "--limit", "0"),
    "other digits": (*CSV, "--limit", "٣"),
    "layout": (*CSV, "--layout", "{id}.wav"),
    "layout with dates": (*CSV, "--layout", "{date}/{direction}/{id}.wav"),
    "min free": (*CSV, "--min-free", "-1"),
    "concurrency zero": (*CSV, "--concurrency", "0"),
    "concurrency below": (*CSV, "--concurrency=-3"),
    "concurrency broken": (*CSV, "--concurrency", "1.5"),
    "rate": (*CSV, "--max-rate", "nan"),
    "rate zero": (*CSV, "--max-rate", "0"),
    "bandwidth": (*CSV, "--bandwidth", "fast"),
    "attempts": (*CSV, "--attempts", "0"),
    "give up": (*CSV, "--give-up-after", "soon"),
    "budget": (*CSV, "--max-bytes", "3XB"),
    "budget of time": (*CSV, "--max-duration", "x"),
    "grace": (*CSV, "--grace=-1s"),
    "bundle missing": (*CSV, "--ca-bundle", "missing.pem"),
    "bundle of nothing": (*CSV, "--ca-bundle", "calls.csv"),
    "proxy": (*CSV, "--proxy", "socks5://127.0.0.1:1"),
    "proxy of nothing": (*CSV, "--proxy", "nonsense"),
    "config missing": (*CSV, "--config", "missing.toml"),
    "config broken": (*CSV, "--config", "calls.csv"),
    "progress": (*CSV, "--progress", "maybe"),
    "quiet progress": (*CSV, "--quiet", "--progress", "on"),
    "log format": (*CSV, "--log-format", "xml"),
}
WRONG |= {
    case: ("download", "--agent", "P", "--region", "uk", "--out", "archive", *arguments)
    for case, arguments in WRONG_DOWNLOADS.items()
}
WRONG |= {
    "no agent": ("download", "--region", "uk", "--out", "archive", *CSV),
    "no region": ("download", "--agent", "P", "--out", "archive", *CSV),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_command_line_ends_with_a_sentence_and_a_fix(case: str, inside: Inside) -> None:
    """Exit 2, two plain lines on stderr, nothing on stdout, no request."""
    files = {
        "calls.csv": b"conversation_id\nCA1\n",
        "empty.csv": b"",
        "header.csv": b"conversation_id\n",
        "columns.csv": b"a,b\n1,2\n",
        "binary.csv": bytes(range(256)) * 10,
        "cut.csv.gz": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b",
    }
    for name, content in files.items():
        (inside.folder / name).write_bytes(content)
    with in_thread(WireServer(whole)) as server:
        inside.reach(server, KEY)
        done = inside.run(*WRONG[case])
    assert (done.code, done.stdout, server.connections) == (2, "", 0), done.stderr
    first, *rest = done.stderr.splitlines()
    assert re.fullmatch(r"bulkaudio: .{10,300}", first), done.stderr
    assert [text for text in rest if text.startswith("Fix: ")], done.stderr
    assert len(done.stderr) < 1000
    assert not {c for c in done.stderr if not c.isprintable()} - {"\n"}
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BULKAUDIO_AUDIO_URL", "http://example.org"),
        ("BULKAUDIO_AUDIO_URL", "ftp://127.0.0.1"),
        ("BULKAUDIO_AUDIO_URL", "nonsense"),
        ("BULKAUDIO_AUDIO_URL", "https://user:word@example.org"),
        ("BULKAUDIO_AUDIO_URL", "https://example.org:99999"),
        ("BULKAUDIO_CONVERSATIONS_URL", "http://10.0.0.1/\x1b[31m"),
        ("BULKAUDIO_CONCURRENCY", "many"),
        ("BULKAUDIO_REGION", "mars"),
        ("BULKAUDIO_REDACTED", "perhaps"),
        ("BULKAUDIO_LAYOUT", "/etc/{id}"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, inside: Inside) -> None:
    """Exit 2 with the variable, or what it sets, in the sentence; no request, no password."""
    csv = write_csv(inside.folder / "calls.csv", ["CA1"])
    with in_thread(WireServer(whole)) as server:
        inside.reach(server, KEY)
        inside.env("BULKAUDIO_REGION", "uk")
        inside.env(name, value)
        done = inside.run("download", "--agent", "P", "--out", "archive", "--csv", csv)
    assert (done.code, done.stdout, server.connections) == (2, "", 0), done.stderr
    option = name.removeprefix("BULKAUDIO_").lower()
    assert name in done.stderr or option in done.stderr.lower()
    assert "Fix: " in done.stderr
    assert "word" not in done.stderr.replace("password", "")
    assert not {c for c in done.stderr if not c.isprintable()} - {"\n"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--out", "calls.csv"), 6),
        (("--out", "calls.csv/archive"), 6),
        (("--out", "archive", "--log-file", "missing/log"), 6),
        (("--out", "archive", "--log-file", "."), 6),
        (("--out", "archive", "--summary-file", "missing/summary"), 6),
        (("--out", "archive", "--api-key-file", "missing"), 4),
        (("--out", "archive", "--api-key-file", "."), 4),
        (("--out", "archive", "--api-key-file", "empty"), 4),
        (("--out", "archive", "--api-key-file", "two-lines"), 4),
    ],
)
def test_what_this_machine_lacks_is_told_with_its_own_code(
    arguments: tuple[str, ...], code: int, inside: Inside
) -> None:
    """A sentence and a fix; keys are no business of stdout either."""
    csv = write_csv(inside.folder / "calls.csv", ["CA1"])
    (inside.folder / "empty").write_text("\n")
    (inside.folder / "two-lines").write_text(f"{KEY}\n{KEY}\n")
    with in_thread(WireServer(whole)) as server:
        inside.reach(server, KEY)
        done = inside.run("download", "--agent", "P", "--region", "uk", "--csv", csv, *arguments)
    assert done.code == code, done.stderr
    assert server.connections == 0 or "--summary-file" in arguments
    assert "Fix: " in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr


@pytest.mark.parametrize("option", ["--log-file", "--summary-file"])
@pytest.mark.parametrize(
    "name",
    [
        *("archive/.bulkaudio/ledger.db", "archive/.bulkaudio/log", "archive/.bulkaudio"),
        *("archive/combined/CA1.wav", "archive/combined/CA9.WAV", "archive/metadata/CA1.json"),
        *("state/ledger.db", "archive/combined/../.bulkaudio/lock"),
    ],
)
def test_log_and_summary_keep_away_from_what_the_archive_keeps(
    option: str, name: str, inside: Inside
) -> None:
    """Exit 2, and ledger, recordings and metadata are as they were."""
    line = ("--csv", write_csv(inside.folder / "calls.csv", ["CA1"]))
    (inside.folder / "state").symlink_to("archive/.bulkaudio")
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        assert inside.download(*line).code == 0
        (inside.archive / "metadata").mkdir()
        before = {path: path.read_bytes() for path in files_of(inside.archive)}
        done = inside.download(*line, option, name)
        assert (done.code, len(server.heads)) == (2, 1), done.stderr
        assert f"{option} {name} has the name of a recording" in done.stderr
        assert {path: path.read_bytes() for path in files_of(inside.archive)} == before
        for free in ("archive/run.log", "archive/combined/run.json", "metadata/run"):
            Path(free).parent.mkdir(exist_ok=True)
            assert inside.download(*line, option, free).code == 0


def files_of(archive: Path) -> list[Path]:
    """Return every file of an archive."""
    return sorted(path for path in archive.rglob("*") if path.is_file())


# Help.


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(name, marks=() if name == "download" else pytest.mark.slow)
        for name in ("", *(name for name, *_ in COMMANDS))
    ],
)
def test_help_is_quick_and_light(command: str, tmp_path: Path) -> None:
    """Under half a second of processor time, without aiohttp, sqlite3 or even asyncio."""
    code = (
        "import sys; from bulkaudio.cli.app import main; code = main(sys.argv[1:]);"
        "print({'aiohttp', 'asyncio', 'sqlite3'} & set(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    # Neighbours slow a core down and are not the program's fault.
    limit_s = 0.5 if os.getloadavg()[0] < 1.0 else 1.0
    spent: list[float] = []
    while len(spent) < 3 and not any(seconds < limit_s for seconds in spent):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", code, *command.split(), "--help"],
            env=environment(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert (done.returncode, done.stderr) == (0, "set()\n")
        assert done.stdout.startswith("Usage: bulkaudio")
    assert min(spent) < limit_s
