"""The configuration file: which is read, what may stand in it, and how it is refused."""

import os
import re
import shlex
from pathlib import Path

import pytest
from cyclopts import ArgumentCollection

from bulkaudio.cli.app import COMMANDS, main, make_app
from bulkaudio.cli.config_file import usual_places
from bulkaudio.cli.options import DownloadOptions
from bulkaudio.cli.settings_sources import options_in
from bulkaudio.cli.verify import VerifyOptions
from bulkaudio.errors import UsageError

CANARY = "sk-canary-0123456789abcdef"
AGENT = 'agent = "archive"\n'


def options_of(*words: str) -> DownloadOptions:
    """Parse a `download` command line as the program would."""
    command, bound, _ = make_app().parse_args(
        ["download", *words], exit_on_error=False, print_error=False
    )
    assert command.__name__ == "download"
    options = bound.arguments.get("options", DownloadOptions())
    assert isinstance(options, DownloadOptions)
    return options


def collection_of(command: str) -> ArgumentCollection:
    """Return what a command takes."""
    app = make_app()
    for word in command.split():
        app = app[word]
    return app.assemble_argument_collection()


def written(folder: Path, text: str, name: str = "bulkaudio.toml") -> Path:
    """Write a configuration file that nobody else can write to."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def refusal(*words: str) -> str:
    """Return what is said of a command line that is refused."""
    with pytest.raises(UsageError) as caught:
        options_of(*words)
    return str(caught.value)


# Which file.


def test_first_hit_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named file, the archive's own, the user's: one is read, and the others are not."""
    users = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(users))
    written(users / "bulkaudio", 'agent = "user"\naccount = "user"\n')
    archive = tmp_path / "archive"
    out = ("--out", str(archive))
    assert options_of(*out).what.agent == "user"
    own = written(archive, AGENT)
    assert (options_of(*out).what.agent, options_of(*out).what.account) == ("archive", None)
    assert options_of("--out", str(tmp_path / "other")).what.agent == "user"
    named = written(tmp_path, 'agent = "named"\n', "my.toml")
    assert options_of(*out, "--config", str(named)).what.agent == "named"
    monkeypatch.setenv("BULKAUDIO_CONFIG", str(named))
    assert options_of(*out).what.agent == "named"
    assert options_of(*out, "--config", str(own)).what.agent == "archive"


def test_usual_places_are_the_users_and_the_machines() -> None:
    """In this order; a relative XDG_CONFIG_HOME, which the current folder would decide, is none."""
    machines = Path("/etc/bulkaudio/bulkaudio.toml")
    home = {"HOME": "/home/me"}
    users = Path("/home/me/.config/bulkaudio/bulkaudio.toml")
    assert list(usual_places(home)) == [users, machines]
    elsewhere = Path("/x/bulkaudio/bulkaudio.toml")
    assert list(usual_places({**home, "XDG_CONFIG_HOME": "/x"})) == [elsewhere, machines]
    assert list(usual_places({**home, "XDG_CONFIG_HOME": "."})) == [machines]
    assert list(usual_places({})) == [machines]


def test_archive_may_be_told_by_a_variable_or_as_the_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What names the archive finds its file, whichever way; a file's own `out` does not."""
    archive = tmp_path / "archive"
    written(archive, 'log-format = "json"\nprogress = "off"\n')
    command, bound, _ = make_app().parse_args(["verify", str(archive)], exit_on_error=False)
    del command
    options = bound.arguments["options"]
    assert isinstance(options, VerifyOptions)
    assert options.progress == "off"
    monkeypatch.setenv("BULKAUDIO_OUT", str(archive))
    assert options_of().output.log_format == "json"
    monkeypatch.delenv("BULKAUDIO_OUT")
    named = written(tmp_path, f'out = "{archive}"\n', "my.toml")
    assert options_of("--config", str(named)).output.log_format == "text"


def test_beside_the_archive_is_not_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the archive's neighbour nor the current folder's file is looked at."""
    written(tmp_path, AGENT)
    monkeypatch.chdir(tmp_path)
    assert options_of("--out", "archive").what.agent is None
    assert options_of("--out", str(tmp_path / "archive")).what.agent is None


def test_file_that_is_passed_over_is_told_when_it_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever wrote it here learns how to have it count."""
    monkeypatch.chdir(tmp_path)
    assert main(["download"]) == 2
    assert "--config" not in capsys.readouterr().err
    written(tmp_path, AGENT)
    assert main(["download"]) == 2
    assert "name the file in this folder: --config bulkaudio.toml" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_archives_file_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """It is told, with what to do, instead of obeyed or passed over."""
    path = written(tmp_path / "archive", AGENT)
    path.chmod(mode)
    told = refusal("--out", str(path.parent))
    assert "others can write to it" in told
    assert f"chmod go-w {path}" in told
    assert options_of("--out", str(path.parent), "--config", str(path)).what.agent == "archive"
    path.chmod(0o644)
    assert options_of("--out", str(path.parent)).what.agent == "archive"


def test_archives_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    """Who can write there can move another of the user's files under the name."""
    path = written(tmp_path / "archive", AGENT)
    path.parent.chmod(0o777)
    told = refusal("--out", str(path.parent))
    assert f"others can write to its folder {path.parent}" in told
    path.unlink()
    assert options_of("--out", str(path.parent)).what.agent is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("whose", ["file", "folder"])
def test_archives_file_of_another_user_is_refused(tmp_path: Path, whose: str) -> None:
    """Whoever can put a file there must not decide for this user."""
    path = written(tmp_path / "archive", AGENT)
    os.chown(path if whose == "file" else path.parent, 65534, 65534)
    assert "belongs to another user" in refusal("--out", str(path.parent))


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "dangling"])
def test_archives_file_that_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    """A link may lead to a file of this user's that means something else; a FIFO would hang."""
    archive = tmp_path / "archive"
    archive.mkdir(mode=0o700)
    path = archive / "bulkaudio.toml"
    if kind == "link":
        path.symlink_to(written(tmp_path, AGENT, "other.toml"))
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nothing")
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.mkdir()
    told = refusal("--out", str(archive))
    assert "is not obeyed: it is" in told


@pytest.mark.parametrize("key", ["proxy", "ca-bundle", "ca_bundle"])
def test_file_that_was_not_named_does_not_say_who_reads_the_traffic(
    tmp_path: Path, key: str
) -> None:
    """An archive that came from elsewhere must not send the key through somebody's proxy."""
    path = written(tmp_path / "archive", f'[profile.x]\n{key} = "http://127.0.0.1:1"\n')
    told = refusal("--out", str(path.parent))
    assert "is not taken from a file that was found in the archive" in told
    assert options_of("--config", str(path)).how.proxy is None


# Profiles.

PROFILES = """\
region = "uk"
attempts = 7
[download]
agent = "usual"
limit = 3
[profile.night]
agent = "night"
attempts = 9
direction = ["all"]
[profile.us-sandbox]
region = "us"
env = "sandbox"
"""


def test_profile_beats_the_rest_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the profile leaves open, the file's other tables say; flags and variables beat it."""
    named = ("--config", str(written(tmp_path, PROFILES)))
    plain = options_of(*named)
    assert (plain.what.agent, plain.how.attempts, plain.what.direction) == ("usual", 7, None)
    night = options_of(*named, "--profile", "night")
    assert (night.what.region, night.what.agent, night.what.limit) == ("uk", "night", 3)
    assert (night.how.attempts, night.what.direction) == (9, ["all"])
    monkeypatch.setenv("BULKAUDIO_PROFILE", "us-sandbox")
    monkeypatch.setenv("BULKAUDIO_ENV", "live")
    other = options_of(*named, "--agent", "flag")
    assert (other.what.region, other.source.env, other.what.agent) == ("us", "live", "flag")


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ("nihgt", "did you mean night? it has night, us-sandbox"),
        ("x", "it has night, us-sandbox"),
        ("\x1b[31m", "no profile '\\\\x1b[31m'"),
    ],
)
def test_unknown_profile_is_refused(tmp_path: Path, profile: str, told: str) -> None:
    """With the nearest one, and those that there are."""
    path = written(tmp_path, PROFILES)
    assert told in refusal("--config", str(path), "--profile", profile)


def test_profile_without_a_place_to_be_in_is_refused(tmp_path: Path) -> None:
    """Neither no file nor a file without profiles is taken for the profile that was wanted."""
    assert "no configuration file that could have" in refusal("--profile", "night")
    path = written(tmp_path, AGENT)
    assert "write a table [profile.night]" in refusal("--config", str(path), "--profile", "night")


@pytest.mark.parametrize("command", [name for name, *_ in COMMANDS])
def test_who_reads_a_file_reads_its_profiles(command: str) -> None:
    """A command that takes ``--config`` takes ``--profile``, and no other does."""
    known = {option for option, _ in options_in(collection_of(command))}
    assert ("config" in known) == ("profile" in known)


def test_a_page_about_an_archive_takes_a_profile(tmp_path: Path) -> None:
    """As every look at an archive does."""
    path = written(tmp_path, 'tz = "UTC"\n[profile.uk]\ntz = "Europe/London"\n')
    words = ["report", str(tmp_path), "--config", str(path), "--profile", "uk"]
    _, bound, _ = make_app().parse_args(words, exit_on_error=False, print_error=False)
    assert bound.arguments["options"].tz == "Europe/London"


# The page about it.

PAGE = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8")


def shown(kind: str) -> list[str]:
    """Return the fenced blocks of a kind on the page."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_what_the_page_shows_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its commands run one after the other, and its example says what its comments say."""
    monkeypatch.chdir(tmp_path)
    (commands,) = shown("console")
    for line in commands.splitlines():
        assert main(shlex.split(line)[3:]) == 0, capsys.readouterr().err
    assert "acme-team-4" in capsys.readouterr().out
    (example,) = shown("toml")
    named = ("--config", str(written(tmp_path, example, "my.toml")))
    options = options_of(*named)
    assert (options.what.region, options.stop.max_duration) == ("uk", 6 * 3600)
    options = options_of(*named, "--profile", "us")
    assert (options.what.region, options.where.out) == ("us", "/data/calls-us")


# What stands in it.


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[profile.x]\nregoin = 'uk'", "[profile.x]: regoin is unknown\nFix: did you mean region?"),
        ("[verify]\nrepiar = true", "[verify]: repiar is unknown\nFix: did you mean repair?"),
        ("[verify]\nsince = '-1d'", "[verify]: since is unknown"),
        ("[profle.x]\nregion = 'uk'", "profle is unknown\nFix: did you mean profile?"),
        ("[profile]\nregion = 'uk'", "[profile]: region stands in no profile"),
        ("[[profile.x]]\nregion = 'uk'", "[profile]: x stands in no profile"),
        ("profile = 'x'", "profile cannot be set in the file itself"),
        ("config = 'x.toml'", "config cannot be set in the file itself"),
        ("max_bytes = 1\nmax-bytes = 2", "max-bytes is given twice"),
        ('"\\u001b[31m" = 1', "\\x1b[31m is unknown"),
        ("a = " + "[" * 100_000, "not valid TOML"),
        ("# " + "x" * 1_100_000, "longer than 1 MiB"),
    ],
)
def test_what_nobody_knows_is_refused_wherever_it_stands(
    tmp_path: Path, text: str, told: str
) -> None:
    """Also in tables that are not for this command: their night would find it at three o'clock."""
    path = written(tmp_path, text)
    said = refusal("--config", str(path))
    assert told in said
    assert said.startswith(str(path))
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("out = 5", "out must be a text, not a number"),
        ("out = ['a', 'b']", "out must be a single value, not a list"),
        ("agent = true", "agent must be a text, not true or false"),
        ("agent = 2026-11-22", "agent must be a text, not a date"),
        ("region = 1.5", "region must be a text, not a number"),
        ("quiet = 1", "quiet must be true or false, not a number"),
        ("redacted = 'no'", "redacted must be true or false, not a text"),
        ("verbose = 'very'", "verbose must be a number, not a text"),
        ("limit = '3'", "limit must be a number, not a text"),
        ("limit = true", "limit must be a number, not true or false"),
        ("since = 2026", "since must be a text or a date, not a number"),
        ("grace = false", "grace must be a number, not true or false"),
        ("channel = [1]", "channel must be a text, not a number"),
        ("direction = [['user']]", "single value or a list of them"),
        ("[profile.x.download]\nlimit = 1", "[profile.x]: download is unknown"),
        ("[download]\nlimit = {a = 1}", "[download]: limit must be a single value, not a table"),
    ],
)
def test_wrong_type_is_refused_with_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    """No number is taken for a folder's name, and no text for a switch."""
    path = written(tmp_path, text)
    said = refusal("--config", str(path))
    assert said.startswith(str(path))
    assert told in said
    assert "\nFix: " in said


def test_right_types_are_taken(tmp_path: Path) -> None:
    """Numbers, sizes, dates and times as they are most naturally written."""
    text = (
        'max-bytes = 1000\nmax_duration = "2h"\ngrace = 5\nmax-rate = 2.5\nconcurrency = 4\n'
        "since = 2026-11-20\nuntil = 2026-11-21T03:00:00Z\nverbose = 2\nchannel = 'VOICE'\n"
    )
    options = options_of("--config", str(written(tmp_path, text)))
    assert (options.stop.max_bytes, options.stop.max_duration, options.stop.grace) == (
        1000,
        7200,
        5,
    )
    assert (options.how.max_rate, options.how.concurrency) == (2.5, 4)
    assert options.source.since == "2026-11-20"
    assert options.source.until == "2026-11-21T03:00:00+00:00"
    assert (options.output.verbose, options.source.channel) == (2, ["VOICE"])


@pytest.mark.parametrize("table", ["", "[download]\n", "[profile.x]\n", "[verify]\n"])
@pytest.mark.parametrize(
    ("key", "option"),
    [
        *((key, "api-key-file") for key in ("api-key", "API_KEY", "key", "polyai_api_key")),
        *((key, "api-key-file") for key in ("x-api-key", "apikey", "token", "api_token")),
        ("conversations_key", "conversations-key-file"),
        ("polyai-conversations-api-key", "conversations-key-file"),
    ],
)
def test_no_key_is_taken_from_the_file(tmp_path: Path, table: str, key: str, option: str) -> None:
    """Its place is named, the way to do it right is told, and its value is not."""
    path = written(tmp_path, f'{table}{key} = "{CANARY}"\n')
    said = refusal("--config", str(path))
    assert f'here {option} = "FILE"' in said
    assert CANARY not in said


def test_broken_file_that_holds_a_key_does_not_show_it(tmp_path: Path) -> None:
    """The parser's error carries the document; nothing of it is kept."""
    path = written(tmp_path, f'api-key = "{CANARY}"\nregion = \n')
    with pytest.raises(UsageError) as caught:
        options_of("--config", str(path))
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
