"""The command line: options, where they come from, streams and exit codes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkaudio.cli.app import COMMANDS, main, make_app
from bulkaudio.cli.options import DownloadOptions
from bulkaudio.cli.request import make_request, window_words
from bulkaudio.errors import UsageError
from bulkaudio.model import Direction, Metadata
from bulkaudio.settings import DownloadRequest

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
CANARY = "sk-canary-0123456789"


def options_of(*arguments: str) -> DownloadOptions:
    """Parse a `download` command line as the program would."""
    _, bound, _ = make_app().parse_args(
        ["download", *arguments], exit_on_error=False, print_error=False
    )
    options = bound.arguments.get("options", DownloadOptions())
    assert isinstance(options, DownloadOptions)
    return options


def request_of(*arguments: str, environ: Mapping[str, str] | None = None) -> DownloadRequest:
    """Make the request of a `download` command line, into the folder ``archive``."""
    out = () if "--out" in arguments else ("--out", "archive")
    options = options_of(*out, *arguments)
    return make_request(options, now=NOW, environ=environ or {})


def run(
    *arguments: str, environ: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "bulkaudio", *arguments],
        env={**os.environ, **(environ or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def config_file(folder: Path, text: str) -> Path:
    """Write a configuration file where the user's own is looked for."""
    path = folder / "home" / ".config" / "bulkaudio" / "bulkaudio.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# The contract's table: every option's name and default, as a request's values.


def test_bare_command_has_the_documented_defaults() -> None:
    """Only --out given, everything else is the contract's default or left to the archive."""
    request = request_of()
    assert (request.region, request.account, request.agent) == (None, None, None)
    assert (request.csv, request.csv_is_stdin, request.id_column) == (None, False, None)
    assert (request.directions, request.redacted, request.metadata) == (None, None, None)
    listing, pace, budgets = request.listing, request.pace, request.budgets
    assert (listing.since, listing.until, listing.lookback_s) == (None, None, 48 * 3600)
    assert (listing.env, listing.channels, listing.page_size) == ("live", (), 1000)
    assert (pace.concurrency, pace.attempts, pace.give_up_after_s) == (None, 5, 900)
    assert pace.max_rate is None
    assert budgets.grace_s == 20
    assert (budgets.max_recordings, budgets.max_bytes, budgets.max_duration_s) == (None,) * 3
    assert (request.place.out, request.place.layout) == (Path("archive"), None)
    assert request.place.min_free_bytes == 10**9


def test_every_option_reaches_the_request() -> None:
    """Each option of the table sets what it says."""
    request = request_of(
        *("--since", "2026-11-20", "--until", "2026-11-21T12:00Z", "--lookback", "1d"),
        *("--env", "sandbox", "--channel", "VOICE", "--channel", "SIP", "--variant", "v1"),
        *("--page-size", "50", "--region", "uk", "--account", "ws-1", "--agent", "PROJECT-1"),
        *("--direction", "agent", "--direction", "user", "--redacted", "--metadata", "full"),
        *("--limit", "7", "--layout", "{date}/{id}-{direction}.wav", "--min-free", "2GB"),
        *("--concurrency", "12", "--max-rate", "2.5", "--attempts", "3"),
        *("--give-up-after", "1h30m", "--ca-bundle", "ca.pem", "--proxy", "http://proxy:3128"),
        *("--max-recordings", "10", "--max-bytes", "3GB", "--max-duration", "2h"),
        *("--grace", "5s"),
        environ={"BULKAUDIO_AUDIO_URL": "http://127.0.0.1:1"},
    )
    assert request.listing.since == datetime(2026, 11, 20, tzinfo=UTC)
    assert request.listing.until == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert (request.listing.lookback_s, request.listing.env) == (86400, "sandbox")
    assert (request.listing.channels, request.listing.variant) == (("VOICE", "SIP"), "v1")
    assert (request.listing.page_size, request.limit) == (50, 7)
    assert (request.region, request.account, request.agent) == ("uk", "ws-1", "PROJECT-1")
    assert request.directions == (Direction.USER, Direction.AGENT)
    assert (request.redacted, request.metadata) == (True, Metadata.FULL)
    assert request.place.layout == "{date}/{id}-{direction}.wav"
    assert request.place.min_free_bytes == 2 * 10**9
    pace = request.pace
    assert (pace.concurrency, pace.max_rate) == (12, 2.5)
    assert (pace.attempts, pace.give_up_after_s) == (3, 5400)
    assert (request.ca_bundle, request.proxy) == (Path("ca.pem"), "http://proxy:3128")
    budgets = request.budgets
    assert (budgets.max_recordings, budgets.max_bytes) == (10, 3 * 10**9)
    assert (budgets.max_duration_s, budgets.grace_s) == (7200, 5)
    assert (request.audio_url, request.conversations_url) == ("http://127.0.0.1:1", None)


def test_all_directions_are_one_choice_in_one_order() -> None:
    """`all` and naming the three in any order are the same."""
    everything = tuple(Direction)
    assert request_of("--direction", "all").directions == everything
    named = [word for side in ("user", "agent", "combined") for word in ("--direction", side)]
    assert request_of(*named).directions == everything


def test_times_may_begin_with_a_hyphen_and_follow_the_zone() -> None:
    """`-36h` is a time, not an option; day words are days of --tz, echoed in UTC."""
    assert request_of("--since", "-36h").listing.since == datetime(2026, 11, 20, 18, tzinfo=UTC)
    zoned = ("--since", "yesterday", "--until", "today", "--tz", "America/New_York")
    assert window_words(request_of(*zoned)) == (
        "calls of 2026-11-21T05:00:00Z up to 2026-11-22T05:00:00Z"
    )
    assert window_words(request_of("--since", "today")) == "calls since 2026-11-22T00:00:00Z"
    assert window_words(request_of("--until", "today")) == "calls before 2026-11-22T00:00:00Z"
    assert window_words(request_of()) is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--csv", "a.csv", "--since", "today"], "--csv names the conversations"),
        (["--csv", "a.csv", "--channel", "VOICE"], "--channel"),
        (["--csv", "a.csv", "--lookback", "1h"], "--lookback"),
        (["--id-column", "id"], "there is no --csv"),
        (["--csv", "-", "--api-key-file", "-"], "standard input"),
        (["--since", "today", "--until", "yesterday"], "is before --since"),
        (["--since", "tomorrowish"], "--since"),
        (["--since", "2027-01-01"], "future"),
        (["--tz", "Mars/Olympus", "--since", "today"], "time zone"),
        (["--page-size", "5000"], "at most 1000"),
        (["--out", "https://bucket/calls"], "recordings cannot be kept at https"),
        (["--out", ""], "--out is missing"),
        (["--max-bytes", "3XB"], "--max-bytes"),
        (["--grace", "soon"], "--grace"),
        (["--concurrency", "0"], "--concurrency"),
        (["--concurrency", "many"], "--concurrency"),
        (["--concurrency", "1001"], "1000"),
        (["--attempts", "0"], "--attempts"),
        (["--max-rate", "nan"], "--max-rate"),
        (["--quiet", "--progress", "on"], "contradict"),
    ],
)
def test_contradictions_and_nonsense_are_refused_in_a_sentence(
    arguments: list[str], told: str
) -> None:
    """Each is a usage error that names the option."""
    with pytest.raises(UsageError) as caught:
        request_of(*arguments)
    assert told in caught.value.message


def test_key_lookup_waits_until_the_region_is_known(tmp_path: Path) -> None:
    """Parsing reads no key; the lookup takes the region's, and a file's name from the flag."""
    path = tmp_path / "key"
    path.write_text("listing-key")
    path.chmod(0o600)
    request = request_of("--conversations-key-file", str(path), environ={"POLY_ADK_KEY_UK": CANARY})
    key, listing_key = request.find_keys("uk")
    assert key.value.reveal() == CANARY
    assert listing_key is not None
    assert listing_key.source == f"--conversations-key-file {path}"
    assert CANARY not in repr(request)


# Flag > environment > file > default.


def test_flag_beats_variable_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source fills only what the ones before it left open."""
    config_file(tmp_path, 'region = "us"\nagent = "file"\naccount = "file"\nattempts = 7\n')
    monkeypatch.setenv("BULKAUDIO_AGENT", "variable")
    monkeypatch.setenv("BULKAUDIO_ACCOUNT", "variable")
    request = request_of("--account", "flag")
    assert (request.account, request.agent, request.region) == ("flag", "variable", "us")
    assert (request.pace.attempts, request.pace.give_up_after_s) == (7, 900)


def test_variables_of_every_kind_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists split at commas or spaces, flags take words, and an empty variable is none."""
    for name, value in {
        "DIRECTION": "user, agent",
        "REDACTED": "false",
        "JSON": "true",
        "VERBOSE": "2",
        "MAX_BYTES": "1GB",
        "REGION": "",
    }.items():
        monkeypatch.setenv(f"BULKAUDIO_{name}", value)
    options = options_of("--out", "archive")
    assert options.what.direction == ["user", "agent"]
    assert options.what.redacted is False
    assert options.what.region is None
    assert options.output.json is True
    assert options.output.verbose == 2
    assert options.stop.max_bytes == 10**9


def test_file_of_every_kind_of_value_is_understood(tmp_path: Path) -> None:
    """Lists, flags, numbers and sizes of the file; a command's table beats the top."""
    path = tmp_path / "my.toml"
    path.write_text(
        'direction = ["user", "agent"]\nredacted = false\nmax_bytes = "1GB"\nquiet = true\n'
        'limit = 5\nconcurrency = "auto"\n[download]\nlimit = 6\nsince = 2026-11-20\n'
        "[simulate]\nseed = 3\n"
    )
    options = options_of("--config", str(path))
    assert options.what.direction == ["user", "agent"]
    assert (options.what.redacted, options.what.limit) == (False, 6)
    assert options.output.quiet is True
    assert options.stop.max_bytes == 10**9
    assert options.source.since == "2026-11-20"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("concurency = 4", "did you mean concurrency?"),
        ("[download]\nregoin = 'uk'", "did you mean region?"),
        ("[dowload]\nregion = 'uk'", "did you mean download?"),
        ("api-key = 'secret'", 'here api-key-file = "FILE"'),
        ("region = {a = 1}", "region is unknown"),
        ("limit = [[1]]", "single value"),
        ("limit =", "not valid TOML"),
        ("limit = 'many'", "limit must be a number"),
        ("region = 'mars'", "us"),
    ],
)
def test_wrong_file_is_refused_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    """Unknown keys are refused with the nearest one, wrong values with the file's name."""
    path = config_file(tmp_path, text)
    assert main(["download", "--out", "archive"]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert str(path) in err or "limit: " in err


def test_keys_of_other_commands_do_not_trouble_this_one(tmp_path: Path) -> None:
    """One file serves all commands: what `simulate` knows, `download` passes over."""
    config_file(tmp_path, "seed = 3\nregion = 'uk'\n")
    assert request_of().region == "uk"


def test_current_folder_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bulkaudio.toml beside the job changes nothing unless it is named."""
    (tmp_path / "bulkaudio.toml").write_text("region = 'uk'")
    monkeypatch.chdir(tmp_path)
    assert request_of().region is None
    monkeypatch.setenv("BULKAUDIO_CONFIG", "bulkaudio.toml")
    assert request_of().region == "uk"
    monkeypatch.setenv("BULKAUDIO_CONFIG", "missing.toml")
    with pytest.raises(UsageError, match=r"missing\.toml does not exist"):
        request_of()


# Help, errors and streams of the real program.


@pytest.mark.parametrize("command", ["", *(name for name, *_ in COMMANDS)])
def test_help_is_light_and_plain(command: str) -> None:
    """Help of every command imports neither aiohttp nor sqlite3 and has no control codes."""
    code = (
        "import sys\n"
        "from bulkaudio.cli.app import main\n"
        f"code = main({[*command.split(), '--help']!r})\n"
        "heavy = {'aiohttp', 'sqlite3', 'ijson', 'aiofiles', 'tenacity'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout.startswith(f"Usage: bulkaudio {command}".rstrip())
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_every_option_has_one_clear_sentence() -> None:
    """No option is without help, and each help text ends as a sentence."""
    app = make_app()
    for argument in app["download"].assemble_argument_collection():
        if argument.name.startswith("--") and not argument.children:
            text = argument.parameter.help or ""
            assert text.endswith("."), argument.name
            assert text[0].isupper(), argument.name


def test_version_is_one_line() -> None:
    """`--version` names program and version."""
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("bulkaudio ")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["download", "--regoin", "uk"], "did you mean --region?"),
        (["download", "--region", "mars"], "'mars'"),
        (["download", "surplus"], "surplus"),
        (["dwnload"], "did you mean download?"),
        (["status"], "ARCHIVE"),
        (["download", "--api-key", CANARY], "--api-key"),
    ],
)
def test_usage_errors_end_with_two_and_plain_lines(arguments: list[str], told: str) -> None:
    """A wrong command line is told in plain lines on stderr, with where to look."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bulkaudio: ")
    assert told in done.stderr
    assert "\nFix: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not set("╭│╰") & set(done.stderr)
    assert CANARY not in done.stderr


def test_json_line_comes_even_when_the_command_line_is_wrong(tmp_path: Path) -> None:
    """With --json a refused command still ends with one line, status failed, exit code 2."""
    wrong_option = run("download", "--json", "--regoin", "uk")
    wrong_choice = run("download", "--json", "--out", str(tmp_path / "a"), "--id-column", "x")
    for done in (wrong_option, wrong_choice):
        assert done.returncode == 2
        assert done.stdout.count("\n") == 1
        document = json.loads(done.stdout)
        assert (document["schema"], document["status"]) == ("bulkaudio.run/1", "failed")
        assert (document["exit_code"], document["error"]["kind"]) == (2, "UsageError")
    assert not (tmp_path / "a").exists()
