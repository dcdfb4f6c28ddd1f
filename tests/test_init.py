"""`init`: from the address of Agent Studio to a file that `download` takes."""

import asyncio
import os
import pty
import re
import shlex
import stat
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.cli.app import main, make_app
from bulkaudio.errors import UsageError
from bulkaudio.polyai.studio import StudioAddress
from bulkaudio.simulator import Calls, Simulator
from tests.program import environment, run, wavs

CANARY = "sk-canary-0123456789abcdef"
URL = "https://studio.uk.poly.ai/acme-uk/acme-team-4"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def document() -> Mapping[str, Any]:
    """Read the file that was written."""
    return tomllib.loads(Path("bulkaudio.toml").read_text(encoding="utf-8"))


def names() -> list[str]:
    """Say what is in the folder."""
    return sorted(path.name for path in Path.cwd().iterdir())


# The address.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (URL, ("uk", "acme-uk", "acme-team-4")),
        (f"{URL}/", ("uk", "acme-uk", "acme-team-4")),
        (f"{URL}/conversations/CA1?x=1#y", ("uk", "acme-uk", "acme-team-4")),
        (f"{URL}?token=x", ("uk", "acme-uk", "acme-team-4")),
        (f"{URL}#top", ("uk", "acme-uk", "acme-team-4")),
        (f' "{URL}"\n', ("uk", "acme-uk", "acme-team-4")),
        (f"<{URL}>", ("uk", "acme-uk", "acme-team-4")),
        ("studio.us.poly.ai/ws-1/PROJECT-1", ("us", "ws-1", "PROJECT-1")),
        ("HTTPS://Studio.US-1.Poly.AI/ws-1/PROJECT-1", ("us", "ws-1", "PROJECT-1")),
        ("http://studio.uk-1.poly.ai:443/ws-1/PROJECT-1", ("uk", "ws-1", "PROJECT-1")),
        *(
            (f"https://studio.{region}.poly.ai/ws-1/PROJECT-1", ("eu", "ws-1", "PROJECT-1"))
            for region in ("eu", "euw", "euw-1")
        ),
        ("https://studio.uk-1.platform.polyai.app/ws-1/P.1", ("uk", "ws-1", "P.1")),
        ("https://studio.poly.ai/ws-1/PROJECT-1/", ("studio", "ws-1", "PROJECT-1")),
        ("https://studio.studio.poly.ai/ws-1/PROJECT-1", ("studio", "ws-1", "PROJECT-1")),
        ("https://studio.uk.poly.ai//ws%2D1//PROJECT-1", ("uk", "ws-1", "PROJECT-1")),
        (f"https://me:{CANARY}@studio.uk.poly.ai/ws-1/PROJECT-1", ("uk", "ws-1", "PROJECT-1")),
    ],
)
def test_address_gives_region_account_and_agent(text: str, expected: tuple[str, str, str]) -> None:
    """Whatever follows, and however the region is spelled."""
    found = StudioAddress.parse(text)
    assert (found.region, found.account, found.agent) == expected
    assert StudioAddress.parse(found.url) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no address"),
        (CANARY, "no address"),
        (f"ab.{CANARY}/x/y", "no address"),
        (f"https://[{CANARY}/a/b", "no address"),
        (f"https://evil.example/a/b?{CANARY}", "its host is evil.example"),
        ("https://api.uk.poly.ai/acme/agent", "its host is api.uk.poly.ai"),
        (f"https://studio.uk.poly.ai.evil.example/a/b#{CANARY}", "its host is studio.uk.poly"),
        ("https://studio.uk.poly.ai@evil.example/a/b", "its host is evil.example"),
        ("https://studio.mars.poly.ai/a/b", "region that is not known, 'mars'"),
        ("https://studio.uk.poly.ai", "names no account and no agent"),
        (f"https://studio.uk.poly.ai/?{CANARY}", "names no account and no agent"),
        ("https://studio.uk.poly.ai/acme", "names no agent"),
        ("https://studio.uk.poly.ai/acme/..%2f..", "where this address has its agent"),
        ("https://studio.uk.poly.ai/a%00b/agent", "where this address has its account"),
        ("https://studio.uk.poly.ai/a%1b[31m/agent", "\\x1b[31m"),
    ],
)
def test_what_is_no_address_is_refused(text: str, told: str) -> None:
    """Without repeating it: it may be a key, and a query may hold a token."""
    with pytest.raises(UsageError) as caught:
        StudioAddress.parse(text)
    said = str(caught.value)
    assert told in said
    assert CANARY not in said
    assert "\x1b" not in said
    assert caught.value.fix


# The file.


def test_file_is_the_users_alone_and_says_what_the_address_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever the umask; the archive is an absolute folder, wherever a job is started."""
    before = os.umask(0)
    try:
        assert main(["init", "--no-check", f"{URL}/x?token={CANARY}"]) == 0
    finally:
        os.umask(before)
    path = Path("bulkaudio.toml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert document() == {
        "region": "uk",
        "account": "acme-uk",
        "agent": "acme-team-4",
        "out": str(Path.cwd() / "archive"),
    }
    out, err = capsys.readouterr()
    assert err == ""
    assert CANARY not in out + path.read_text()


def test_every_example_in_it_is_valid(tmp_path: Path) -> None:
    """Whoever takes the # away has what the words above it say."""
    assert main(["init", "--no-check", URL, "--out", str(tmp_path / 'odd "name"\x7f\\')]) == 0
    text = Path("bulkaudio.toml").read_text(encoding="utf-8")
    lines = re.sub(r"^# (?=\[|[a-z-]+ = )", "", text, flags=re.MULTILINE)
    assert lines.count("\n[") == 2
    Path("all.toml").write_text(lines, encoding="utf-8")
    words = ["download", "--config", "all.toml"]
    _, bound, _ = make_app().parse_args(words, exit_on_error=False, print_error=False)
    options = bound.arguments["options"]
    assert options.what.direction == ["all"]
    assert options.stop.max_recordings == 10000
    assert options.where.out == str(tmp_path / 'odd "name"\x7f\\')
    assert options.keys.api_key_file == str(Path.cwd() / "polyai.key")
    words += ["--profile", "other"]
    _, bound, _ = make_app().parse_args(words, exit_on_error=False, print_error=False)
    assert bound.arguments["options"].what.agent == "OTHER-AGENT"


def test_file_that_is_there_is_not_overwritten_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused with what to do; asked for, the new one replaces it, as private as ever."""
    path = Path("bulkaudio.toml")
    path.write_text("precious = true\n")
    path.chmod(0o644)
    assert main(["init", "--no-check", URL]) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert path.read_text() == "precious = true\n"
    assert main(["init", "--no-check", URL, "--output", "other.toml"]) == 0
    assert main(["init", "--no-check", URL, "--overwrite"]) == 0
    assert document()["agent"] == "acme-team-4"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names() == ["bulkaudio.toml", "other.toml"]


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo"])
@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_what_is_no_file_is_left_alone(
    kind: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither followed nor replaced, also when overwriting was asked for."""
    path, elsewhere = Path("bulkaudio.toml"), Path("elsewhere")
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        if kind == "link":
            elsewhere.write_text("precious")
        path.symlink_to(elsewhere)
    assert main(["init", "--no-check", URL, *more]) == 2
    assert "no plain file" in capsys.readouterr().err
    assert elsewhere.exists() == (kind == "link")
    if kind == "link":
        assert elsewhere.read_text() == "precious"


def test_folders_are_made_and_a_place_that_cannot_be_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The user's usual place may not be there yet."""
    assert main(["init", "--no-check", URL, "--output", "a/b/bulkaudio.toml"]) == 0
    assert stat.S_IMODE(Path("a/b").stat().st_mode) == 0o700
    Path("file").touch()
    assert main(["init", "--no-check", URL, "--output", "file/bulkaudio.toml"]) == 6
    assert "cannot be written" in capsys.readouterr().err


def test_print_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The file is on stdout, and nothing else; where the key comes from is told beside it."""
    assert main(["init", "--no-check", URL, "--print"]) == 0
    out, err = capsys.readouterr()
    assert tomllib.loads(out)["agent"] == "acme-team-4"
    assert "no PolyAI API key found" in err
    assert names() == []


@pytest.mark.parametrize(
    "words",
    [
        ("--out", "ftp://bucket/calls"),
        ("--out", "gs://x"),
        ("--out", "s3:/bucket"),
        ("--out", "archive", "--state-dir", "state"),
        ("--out", "archive", "--store-endpoint", "https://ceph.example"),
    ],
)
def test_where_no_archive_can_be(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """What download would refuse later is refused now."""
    assert main(["init", "--no-check", URL, *words]) == 2
    assert "Fix: " in capsys.readouterr().err
    assert names() == []


def test_archive_at_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    """The file says where recordings and ledger go, and how the store is reached."""
    words = ("--state-dir", "state", "--store-endpoint", "https://ceph.example")
    assert main(["init", "--no-check", URL, "--out", "s3://bucket/calls", *words]) == 0
    found = tomllib.loads(Path("bulkaudio.toml").read_text())
    assert found["out"] == "s3://bucket/calls"
    assert found["state-dir"] == str(Path.cwd() / "state")
    assert found["store-endpoint"] == "https://ceph.example"
    assert "s3://bucket/calls" in capsys.readouterr().out
    assert main(["init", "--no-check", URL, "--out", "gs://bucket", "--print"]) == 0
    found = tomllib.loads(capsys.readouterr().out)
    assert found["out"] == "gs://bucket"
    assert not {"state-dir", "store-endpoint"} & found.keys()


# The key.


def test_key_is_told_by_its_place_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For recordings and for listing; the value is neither shown nor written."""
    monkeypatch.setenv("POLY_ADK_KEY_UK", CANARY)
    monkeypatch.setenv("POLYAI_CONVERSATIONS_API_KEY", f"{CANARY}-2")
    assert main(["init", "--no-check", URL]) == 0
    out = capsys.readouterr().out
    told = "comes from POLY_ADK_KEY_UK, and that for listing from POLYAI_CONVERSATIONS_API_KEY."
    assert told in out.replace("\n", " ")
    assert "cat >" not in out
    assert CANARY not in out + Path("bulkaudio.toml").read_text()


def test_key_that_cannot_be_used_is_no_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is written all the same, and where the key may go is told."""
    monkeypatch.setenv("POLYAI_API_KEY", f"{CANARY} x")
    assert main(["init", "--no-check", URL]) == 0
    out = capsys.readouterr().out
    assert "The API key from POLYAI_API_KEY has a space inside." in out
    assert CANARY not in out
    assert f"cat > {Path.cwd() / 'polyai.key'}" in out


def test_key_file_that_is_named_is_written_down(capsys: pytest.CaptureFixture[str]) -> None:
    """By its whole path; what is no key file is refused, and a key given in its place not shown."""
    Path("my.key").write_text(CANARY)
    Path("my.key").chmod(0o600)
    assert main(["init", "--no-check", URL, "--api-key-file", CANARY]) == 4
    assert CANARY not in "".join(capsys.readouterr())
    assert names() == ["my.key"]
    assert main(["init", "--no-check", URL, "--api-key-file", "my.key"]) == 0
    assert document()["api-key-file"] == str(Path.cwd() / "my.key")
    assert CANARY not in capsys.readouterr().out + Path("bulkaudio.toml").read_text()


# What comes next.


def test_commands_that_are_told_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each parses, with the file that was written; the nightly one from any folder."""
    assert main(["init", "--no-check", URL, "--output", "my conf.toml"]) == 0
    lines = [
        line.partition("$ ")[2]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("  $ ") and "umask" not in line
    ]
    assert len(lines) == 4
    for line in lines:
        words = shlex.split(line)
        start = next(n for n, word in enumerate(words) if word in {"config", "download"})
        make_app().parse_args(words[start:], exit_on_error=False, print_error=False)
        assert "my conf.toml" in words[words.index("--config") + 1]
    assert shlex.split(lines[-1])[-2] == str(Path.cwd() / "my conf.toml")


async def test_file_of_the_archive_is_found_by_its_folder(tmp_path: Path) -> None:
    """What is told to be typed names the folder, and finds the file."""
    words = ("--out", "calls", "--output", "calls/bulkaudio.toml", "--no-check")
    done = await run("init", URL, *words, env=environment(), cwd=tmp_path)
    assert done.code == 0
    assert "--config" not in done.stdout
    assert f"config show --out {tmp_path / 'calls'}\n" in done.stdout
    shown = await run("config", "show", "--out", "calls", "--json", env=environment(), cwd=tmp_path)
    assert shown.summary["file"] == "calls/bulkaudio.toml"


def test_file_at_a_usual_place_need_not_be_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Then the next commands are short."""
    place = tmp_path / "home" / ".config" / "bulkaudio" / "bulkaudio.toml"
    assert main(["init", "--no-check", URL, "--output", str(place)]) == 0
    assert "--config" not in capsys.readouterr().out
    assert main(["config", "show", "--json"]) == 0
    assert str(place) in capsys.readouterr().out


async def test_download_takes_the_file_as_it_is(tmp_path: Path) -> None:
    """From the address to the recordings, with nothing typed but the time."""
    async with Simulator(calls=Calls(count=3, speech_s=(0.1, 0.2))) as simulator:
        env = environment(simulator)
        address = f"https://studio.euw-1.poly.ai/{simulator.account}/{simulator.agent}/calls"
        done = await run("init", address, "--out", "calls", env=env, cwd=tmp_path)
        assert (done.code, done.stderr) == (0, "")
        # What `doctor` has to say of the new file stands below what was written.
        assert "✓ recordings.key" in done.stdout
        assert "Well" in done.stdout
        since = ("--since", simulator.calls.since.isoformat())
        words = ("download", "--config", "bulkaudio.toml", *since)
        done = await run(*words, "--json", env=env, cwd=tmp_path)
        assert done.code == 0, done.stderr
        scope = done.summary["scope"]
        assert (scope["region"], scope["account"]) == ("eu", simulator.account)
        assert len(wavs(tmp_path / "calls")) == len(simulator.calls.recorded_ids())


# Asking.


def test_without_a_terminal_the_address_must_be_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for an answer that cannot come."""
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["init"]) == 2
    err = capsys.readouterr().err
    assert "address of Agent Studio is missing" in err
    assert "https://studio.REGION.poly.ai/ACCOUNT/AGENT" in err


@pytest.mark.parametrize(
    ("typed", "code"),
    [(f"nonsense\n{URL}\n", 0), ("\n", 2), ("nonsense\n\x04", 2), ("\x03", 130)],
    ids=["wrong, then right", "nothing", "end of file", "Ctrl-C"],
)
async def test_on_a_terminal_it_asks(typed: str, code: int, tmp_path: Path) -> None:
    """Until there is an address, or nobody wants to give one; the questions are not on stdout."""
    master, slave = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _CONTROLLED, "init"),
            stdin=slave,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
            cwd=tmp_path,
            start_new_session=True,
        )
        assert process.stderr is not None
        err = await process.stderr.readuntil(b"Address: ")
        for line in re.findall(r"[^\n]*\n|[^\n]+", typed):
            os.write(master, line.encode())
        out, more = await process.communicate()
    finally:
        os.close(master)
        os.close(slave)
    assert process.returncode == code, err + more
    assert b"Address: " not in out
    assert (tmp_path / "bulkaudio.toml").exists() == (code == 0)
    if code == 0:
        assert b"this is no address of Agent Studio" in err + more


_CONTROLLED = """\
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from bulkaudio.cli.app import main
sys.exit(main(sys.argv[1:]))
"""
"""Its standard input is its terminal, so that Ctrl-C there is a signal."""
