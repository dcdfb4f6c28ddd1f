"""The command ``schedule``: what it bakes, what it refuses, and that what it prints runs."""

import stat
from pathlib import Path

import pytest

from tests.inside import Inside
from tests.schedule.printed import BASE, KINDS, pod_of, schedule, systemd_words
from tests.schedule.readers import (
    setting,
)

# What is baked.


def test_what_was_given_is_baked_wherever_from(inside: Inside) -> None:
    """Flags, variables and the file's table [download]; nothing else, and paths are absolute."""
    file = inside.folder / "b.toml"
    file.write_text('account = "ws-1"\n[download]\nlookback = "72h"\nattempts = 7\n')
    inside.env("BULKAUDIO_DIRECTION", "user,agent")
    inside.env("BULKAUDIO_REDACTED", "false")
    inside.env("BULKAUDIO_VERBOSE", "2")
    done = schedule(
        inside,
        "systemd",
        *("--config", file, "--out", "calls", "--region", "uk", "--agent", "PROJECT-1"),
        *("--since", "-36h", "--log-file", "logs/../b.log", "--at", "03:00", "--name", "nights"),
    )
    assert done.code == 0, done.stderr
    here = inside.folder
    assert systemd_words(done.stdout)[1:-2] == [
        "download",
        *("--since=-36h", "--lookback", "72h"),
        *("--region", "uk", "--account", "ws-1", "--agent", "PROJECT-1"),
        *("--direction", "user", "--direction", "agent", "--no-redacted"),
        *("--out", f"{here}/calls", "--attempts", "7"),
        *("--verbose", "--verbose", "--log-file", f"{here}/b.log"),
    ]
    assert setting(done.stdout, "ReadWritePaths") == [f"{here}/calls {here}"]


def test_base_urls_of_a_gateway_are_baked(inside: Inside) -> None:
    """They are variables only, so every file carries them."""
    inside.env("BULKAUDIO_AUDIO_URL", "https://gateway.example/a%20b")
    texts = {kind: schedule(inside, kind, *BASE).stdout for kind in KINDS}
    assert setting(texts["systemd"], "Environment") == [
        '"BULKAUDIO_AUDIO_URL=https://gateway.example/a%%20b"'
    ]
    variables = {
        each["name"]: each["value"] for each in pod_of(texts["kubernetes"])["containers"][0]["env"]
    }
    assert variables["BULKAUDIO_AUDIO_URL"] == "https://gateway.example/a%20b"
    assert "BULKAUDIO_AUDIO_URL=https://gateway.example/a\\%20b" in texts["cron"]
    assert "'BULKAUDIO_AUDIO_URL': 'https://gateway.example/a%20b'" in texts["airflow"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_stays_where_it_is(inside: Inside, kind: str) -> None:
    """Its file is named; its value, and that of a variable, is nowhere."""
    inside.env("POLYAI_API_KEY", "canary-of-the-variable")
    (inside.folder / "listing.key").write_text("canary-of-the-listing")
    (inside.folder / "polyai.key").write_text("canary-of-the-file")
    keys = ("--api-key-file", "polyai.key", "--conversations-key-file", "listing.key")
    done = schedule(inside, kind, *BASE, *keys)
    assert done.code == 0, done.stderr
    assert "canary" not in done.stdout + done.stderr
    for name in ("polyai.key", "listing.key"):
        assert f"{inside.folder}/{name}" in done.stdout


def test_usual_key_file_is_named_when_none_was(inside: Inside) -> None:
    """And it is said that it has still to be made."""
    done = schedule(inside, "systemd", *BASE)
    assert setting(done.stdout, "LoadCredential") == ["polyai-api-key:/etc/bulkaudio/polyai.key"]
    if not Path("/etc/bulkaudio/polyai.key").exists():
        assert "/etc/bulkaudio/polyai.key, which is not there yet" in done.stderr
    assert "make the first run by hand" in done.stderr


def test_a_window_that_never_moves_is_noted(inside: Inside) -> None:
    """A fixed --since would list years every night; words are as they should be."""
    fixed = schedule(inside, "cron", *BASE, "--since", "2024-01")
    assert "lists everything from then on every night" in fixed.stderr
    moving = schedule(inside, "cron", *BASE, "--since", "yesterday", "--until", "today")
    assert "every night" not in moving.stderr
    assert "is not made up for" in moving.stderr
    assert "--since yesterday --until today" in moving.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_every_night_is_noted(inside: Inside, kind: str) -> None:
    """It would never see more; what is meant is a ceiling. A file's counts as the option does."""
    done = schedule(inside, kind, *BASE, "--limit", "5")
    assert done.code == 0, done.stderr
    assert "each night would consider only 5 calls" in done.stderr
    assert "--max-recordings" in done.stderr
    (inside.folder / "mine.toml").write_text("[download]\nlimit = 7\n")
    done = schedule(inside, kind, *BASE, "--config", "mine.toml")
    assert "each night would consider only 7 calls" in done.stderr
    assert "consider only" not in schedule(inside, kind, *BASE).stderr


# What is refused.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "refusal",
    [
        (["--csv", "-"], "--csv - reads standard input", "name a file"),
        (["--api-key-file", "-"], "a job has none", "--api-key-file FILE"),
        (["--conversations-key-file", "-"], "a job has none", "--conversations-key-file FILE"),
        (["--progress", "on"], "a job has none", "leave it out"),
        (["--proxy", "http://me:pw@proxy:3128"], "user or a password", "bulkaudio.toml"),
        (["--api-key-file", "sk-canary-0123456789abcdef"], "looks like a key", "write the key"),
        (["--variant", "a\nb"], "line break", "without it"),
        (["--layout", "{id}.mp3"], "layout", "write something"),
        (["--at", "24:00"], "not a time of day", "02:30"),
        (["--at", "2:3"], "not a time of day", "02:30"),
        (["--spread", "12h"], "half a day", "15m"),
        (["--tz", "Mars/Olympus"], "time zone", "Europe/London"),
        (["--name", "Nights!"], "--name", "small letters"),
        (["--csv", "a.csv", "--since", "today"], "--csv names the conversations", "leave out"),
    ],
)
def test_what_makes_no_sense_in_a_job_is_refused(
    inside: Inside, kind: str, refusal: tuple[list[str], str, str]
) -> None:
    """With exit code 2, nothing on stdout, and a fix; a key given by mistake is not repeated."""
    arguments, told, fix = refusal
    done = schedule(inside, kind, *BASE, *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert told in done.stderr
    assert fix in done.stderr.partition("Fix:")[2]
    assert "canary" not in done.stderr
    assert ":pw@" not in done.stderr


@pytest.mark.parametrize(
    ("kind", "arguments", "told"),
    [
        ("cron", ["--json"], "--json"),
        ("cron", ["--variant", "x" * 900], "less than a thousand"),
        ("cron", ["--run-as", "me; id"], "no name of a user"),
        ("airflow", ["--run-as", "me"], "not for airflow"),
        ("systemd", ["--api-key-file", "/etc/a\\b.key"], "backslash"),
        ("kubernetes", ["--log-file", "/var/log/b.log"], "only folder that a pod keeps"),
        ("kubernetes", ["--csv", "/data/other.csv"], "only folder that a pod keeps"),
        ("kubernetes", ["--volume-size", "100GB"], "--volume-size"),
    ],
)
def test_what_one_scheduler_cannot_say_is_refused(
    inside: Inside, kind: str, arguments: list[str], told: str
) -> None:
    """Rather than printed wrongly."""
    done = schedule(inside, kind, *BASE, *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Fix:" in done.stderr


def test_missing_words_are_asked_for(inside: Inside) -> None:
    """The scheduler, the image, the archive."""
    done = inside.run("schedule")
    assert done.code == 2
    assert "cron, systemd, kubernetes, airflow" in done.stderr
    assert inside.run("schedule", "quartz", *BASE).code == 2
    done = inside.run("schedule", "kubernetes", *BASE)
    assert "--image is missing" in done.stderr
    assert "--out is missing" in inside.run("schedule", "cron").stderr


# Where it goes.


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_written_and_never_over_others(inside: Inside, kind: str) -> None:
    """Paths on stdout, mode 0644; again only with --force, and then all or none of them."""
    printed = schedule(inside, kind, *BASE)
    done = schedule(inside, kind, *BASE, "--output-dir", "made/here")
    assert done.code == 0, done.stderr
    paths = [inside.folder / line for line in done.stdout.splitlines()]
    assert sorted(paths) == sorted((inside.folder / "made/here").iterdir())
    for path in paths:
        assert path.read_text() in printed.stdout
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    paths[-1].write_text("mine")
    if len(paths) > 1:
        paths[0].unlink()
    done = schedule(inside, kind, *BASE, "--output-dir", "made/here")
    assert done.code == 2
    assert "--force" in done.stderr
    assert paths[-1].read_text() == "mine"
    assert paths[0].exists() == (len(paths) == 1)
    assert schedule(inside, kind, *BASE, "--output-dir", "made/here", "--force").code == 0
    assert paths[-1].read_text() in printed.stdout


def test_a_folder_that_cannot_be_written_to_is_told(inside: Inside) -> None:
    """As this machine's fault; a link under the name is replaced and not followed."""
    (inside.folder / "file").touch()
    done = schedule(inside, "cron", *BASE, "--output-dir", "file")
    assert done.code == 6
    target = inside.folder / "target"
    target.write_text("mine")
    (inside.folder / "bulkaudio-calls").symlink_to(target)
    assert schedule(inside, "cron", *BASE, "--output-dir", ".").code == 2
    assert schedule(inside, "cron", *BASE, "--output-dir", ".", "--force").code == 0
    assert target.read_text() == "mine"
