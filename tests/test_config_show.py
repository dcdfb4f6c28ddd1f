"""`config show`: every option's value in effect, and where it comes from."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.archive import open_archive
from bulkaudio.cli.app import main, make_app
from bulkaudio.simulator import Calls, Simulator
from tests.program import Desk, Done, run

CANARY = "sk-canary-0123456789abcdef"


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Return the document of `config show`."""
    assert main(["config", "show", "--json", *words]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    document: dict[str, Any] = json.loads(out)
    assert document["schema"] == "bulkaudio.config/1"
    return document


def page(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, tuple[str, str]]:
    """Return value and origin by option, as a person reads them."""
    assert main(["config", "show", *words]) == 0
    rows = (line[2:] for line in capsys.readouterr().out.splitlines() if line.startswith("  "))
    return {row[:24].strip(): (row[24:56].strip(), row[56:]) for row in rows}


def test_every_option_of_download_is_there_without_any_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each has its default, in the document as on the page, and nothing is needed for it."""
    names = {
        argument.name.removeprefix("--")
        for argument in make_app()["download"].assemble_argument_collection()
        if argument.name.startswith("--") and not argument.children
    }
    document = shown(capsys)
    assert document["options"].keys() == names
    assert {row["origin"] for row in document["options"].values()} == {"default"}
    assert (document["file"], document["profile"], document["archive"]) == (None, None, None)
    rows = page(capsys)
    assert rows.keys() >= names
    assert rows["lookback"] == ("48h", "default")
    assert document["options"]["lookback"]["value"] == 48 * 3600
    assert document["options"]["direction"]["value"] == ["combined"]
    assert rows["direction"] == ("combined", "default")


def test_each_source_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flag, variable, file, the file's tables, and default."""
    path = tmp_path / "my.toml"
    path.write_text(
        'agent = "top"\naccount = "top"\nregion = "us"\nlimit = 1\ntz = "Europe/London"\n'
        '[download]\nlimit = 3\nmax-bytes = "2GB"\n[profile.x]\ndirection = ["user", "agent"]\n'
    )
    monkeypatch.setenv("BULKAUDIO_ACCOUNT", "variable")
    monkeypatch.setenv("BULKAUDIO_PROFILE", "x")
    words = ("--config", str(path), "--region", "uk", "-vv", "--no-redacted")
    options = shown(capsys, *words)["options"]
    found = {name: (row["value"], row["origin"], row["source"]) for name, row in options.items()}
    assert found["region"] == ("uk", "flag", "--region")
    assert found["redacted"] == (False, "flag", "--no-redacted")
    assert found["verbose"] == (2, "flag", "-v")
    assert found["account"] == ("variable", "variable", "BULKAUDIO_ACCOUNT")
    assert found["profile"] == ("x", "variable", "BULKAUDIO_PROFILE")
    assert found["agent"] == ("top", "file", str(path))
    assert found["limit"] == (3, "file", f"{path} [download]")
    assert found["max-bytes"] == (2 * 10**9, "file", f"{path} [download]")
    assert found["direction"] == (["user", "agent"], "file", f"{path} [profile.x]")
    assert found["attempts"] == (5, "default", None)
    rows = page(capsys, *words)
    assert rows["max-bytes"][0] == "2GB"
    assert rows["direction"][0] == "user, agent"
    assert rows["account"] == ("variable", "BULKAUDIO_ACCOUNT")


def test_file_is_named_and_one_that_is_passed_over_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wonders why the file in this folder does not count is told."""
    monkeypatch.chdir(tmp_path)
    Path("bulkaudio.toml").write_text('region = "uk"\n')
    assert main(["config", "show"]) == 0
    out = capsys.readouterr().out
    assert "bulkaudio.toml in this folder is not read" in out
    assert "--config bulkaudio.toml" in out
    assert shown(capsys, "--config", "bulkaudio.toml")["file"] == "bulkaudio.toml"
    archive = tmp_path / "archive"
    archive.mkdir(mode=0o700)
    own = archive / "bulkaudio.toml"
    own.write_text('region = "uk"\n')
    own.chmod(0o600)
    document = shown(capsys, "--out", str(archive))
    assert document["file"] == str(own)
    assert document["options"]["region"]["source"] == str(own)


def test_keys_and_passwords_are_told_by_their_source_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not their values, not even where somebody took the option of a file for that of a key."""
    key = tmp_path / "polyai.key"
    key.write_text(CANARY)
    key.chmod(0o600)
    document = shown(capsys, "--api-key-file", str(key))
    assert document["keys"]["recordings"]["source"] == f"--api-key-file {key}"
    assert document["keys"]["conversations"] == document["keys"]["recordings"]
    monkeypatch.setenv("POLY_ADK_KEY_UK", CANARY)
    monkeypatch.setenv("POLYAI_CONVERSATIONS_API_KEY", CANARY)
    monkeypatch.setenv("BULKAUDIO_AUDIO_URL", f"http://me:{CANARY}@127.0.0.1:1")
    proxy = ("--proxy", f"http://me:{CANARY}@proxy:3128")
    for words in (("--region", "uk-1", *proxy), ("--api-key-file", CANARY, *proxy)):
        for more in ((), ("--json",)):
            assert main(["config", "show", *words, *more]) == 0
            out, err = capsys.readouterr()
            assert CANARY not in out + err
            assert "proxy:3128" in out
    document = shown(capsys, "--region", "uk-1")
    assert document["keys"]["recordings"]["source"] == "POLY_ADK_KEY_UK"
    assert document["keys"]["conversations"]["source"] == "POLYAI_CONVERSATIONS_API_KEY"
    assert document["base_urls"] == {"BULKAUDIO_AUDIO_URL": "http://***@127.0.0.1:1"}
    assert shown(capsys, "--api-key-file", "-")["keys"]["recordings"]["source"].startswith("--api")


def test_missing_key_is_told_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a look at what there is, also before there is a key."""
    assert main(["config", "show"]) == 0
    assert "no key: no PolyAI API key found; looked at: --api-key-file" in capsys.readouterr().out
    found = shown(capsys)["keys"]["recordings"]
    assert found["source"] is None
    assert "POLYAI_API_KEY" in found["trouble"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--regoin", "uk"], "did you mean --region?"),
        (["--limit", "many"], "--limit: 'many' is not a whole number"),
        (["--config", "missing.toml"], "missing.toml does not exist"),
        (["--profile", "x"], "no configuration file"),
        (["surplus"], "surplus"),
    ],
)
def test_what_download_refuses_is_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the same words, with exit code 2."""
    assert main(["config", "show", *words]) == 2
    assert told in capsys.readouterr().err


def test_unknown_word_of_the_family_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With the command that was meant."""
    assert main(["config", "shw"]) == 2
    assert "did you mean config show?" in capsys.readouterr().err


# What the archive remembers.


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """An archive of a listing with choices of its own."""
    async with Simulator(calls=Calls(count=3, speech_s=(0.1, 0.2))) as simulator:
        desk = Desk.at(simulator, tmp_path)
        done = await desk.list("--direction", "user", "--channel", "VOICE", "--redacted")
        assert done.code == 0, done.stderr
        yield desk


async def look(desk: Desk, *words: str | Path) -> Done:
    """Run `config show` on the desk's archive."""
    return await run(
        *("config", "show", "--json", "--out", desk.archive, *words), env=desk.env(), cwd=desk.cwd
    )


async def test_what_the_archive_remembers_is_shown_as_such(desk: Desk) -> None:
    """A nightly run says nothing, and takes all of this; a file of ids takes the identity alone."""
    done = await look(desk, "--agent", desk.simulator.agent)
    options = done.summary["options"]
    by_archive = {name: row for name, row in options.items() if row["origin"] == "archive"}
    assert {name: row["value"] for name, row in by_archive.items()} == {
        "region": "uk",
        "account": desk.simulator.account,
        "redacted": True,
        "layout": "{direction}/{id}.wav",
        "direction": ["user"],
        "metadata": "none",
        "env": "live",
        "channel": ["VOICE"],
        "variant": None,
    }
    assert {row["source"] for row in by_archive.values()} == {str(desk.archive)}
    assert options["agent"]["origin"] == "flag"
    assert done.summary["archive"] == str(desk.archive)
    csv = (await look(desk, "--csv", desk.csv(["CA1"]))).summary["options"]
    assert {name for name, row in csv.items() if row["origin"] == "archive"} == {
        *("region", "account", "agent", "redacted", "layout")
    }
    assert csv["direction"]["value"] == ["combined"]


async def test_what_contradicts_the_archive_is_told(desk: Desk) -> None:
    """Before a download is refused for it; another spelling of the same is no contradiction."""
    done = await look(desk, "--region", "us", "--no-redacted", "--agent", desk.simulator.agent)
    assert done.summary["contradicts_archive"] == ["redacted", "region"]
    assert (await look(desk, "--region", "uk-1", "--redacted")).summary["contradicts_archive"] == []
    words = ("config", "show", "--out", desk.archive, "--region", "us")
    done = await run(*words, env=desk.env(), cwd=desk.cwd)
    told = f"{desk.archive} goes by region uk, and holds recordings: a download with us is refused."
    assert told in done.stdout
    refused = await run("download", *words[2:], env=desk.env(), cwd=desk.cwd)
    assert (refused.code, "with --region uk" in refused.stderr) == (2, True)


async def test_an_archive_without_recordings_does_not_refuse(tmp_path: Path) -> None:
    """A first run with a wrong agent binds it to nothing, and nobody is told otherwise."""
    async with Simulator(calls=Calls(count=3, speech_s=(0.1, 0.2))) as simulator:
        desk = Desk.at(simulator, tmp_path)
        words = desk.words("--csv", desk.csv(["CA404"]))
        await run(*words, env=desk.env(), cwd=tmp_path)
        show = ("config", "show", "--out", desk.archive, "--agent", "other")
        done = await run(*show, env=desk.env(), cwd=tmp_path)
    assert "holds no recording yet: a download with other begins it anew." in done.stdout


async def test_archive_that_a_run_holds_is_not_guessed_at(desk: Desk) -> None:
    """No default is shown for what only the archive knows, and nobody waits for the run."""
    async with open_archive(desk.archive):
        done = await look(desk)
    assert (done.code, done.summary["archive_held"]) == (0, True)
    region = done.summary["options"]["region"]
    assert (region["origin"], region["value"]) == ("archive", None)
    env = desk.env()
    async with open_archive(desk.archive):
        done = await run("config", "show", "--out", desk.archive, env=env, cwd=desk.cwd)
    assert f"A run holds {desk.archive}" in done.stdout


async def test_spoilt_ledger_is_told_as_by_every_command(desk: Desk) -> None:
    """Exit code 6, and the way out."""
    (desk.archive / ".bulkaudio" / "ledger.db").write_bytes(b"junk" * 4096)
    done = await look(desk)
    assert (done.code, done.summary["error"]["kind"]) == (6, "LedgerError")
    assert "rebuild" in done.stderr


def test_nothing_is_made_where_no_archive_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A look leaves no folder behind."""
    assert shown(capsys, "--out", str(tmp_path / "new"))["archive"] is None
    assert shown(capsys, "--out", f"{tmp_path}/a\0b")["archive"] is None
    assert not (tmp_path / "new").exists()
