"""The demo, as a newcomer meets it."""

import asyncio
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.demo import MARK, RECORDINGS, Earlier, Folder, differing, make_simulator, serving
from bulkaudio.errors import ArchiveBusyError, StorageError, UsageError
from bulkaudio.model import Direction
from bulkaudio.stores.lock import ArchiveLock
from tests.make_picture import rows_of
from tests.program import Done, environment, started, wavs

QUICK_S = 30.0
"""On a machine that is busy with other tests; alone it takes a fifth of it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the demo is run."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def done(place: Path) -> Done:
    """Run it once, among settings that are meant for the nightly job."""
    home = place / "home"
    (home / ".config/bulkaudio").mkdir(parents=True)
    (home / ".config/bulkaudio/bulkaudio.toml").write_text('region = "eu"\nattempts = 1\n')
    nightly = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "BULKAUDIO_OUT": str(place / "calls"),
        "BULKAUDIO_SINCE": "yesterday",
        "BULKAUDIO_AUDIO_URL": "http://127.0.0.1:9",
        "POLYAI_API_KEY": "sk-canary-31415",
    }
    process = subprocess.run(
        [sys.executable, "-m", "bulkaudio", "demo"],
        env=environment() | nightly,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=QUICK_S,
        check=False,
    )
    return Done(code=process.returncode, stdout=process.stdout, stderr=process.stderr)


def test_it_saves_everything_and_then_asks_for_nothing(done: Done) -> None:
    """It ends well in a short time; a second run has nothing to do and makes no request."""
    assert (done.code, done.stderr) == (0, "")
    assert f"Complete: {RECORDINGS} recordings saved" in done.stdout
    assert f"all {RECORDINGS} recordings were already there" in done.stdout
    assert "It made no request." in done.stdout


def test_its_files_are_what_the_stand_in_has(done: Done, place: Path) -> None:
    """Every recording is there, byte for byte, and listed ids are those of the CSV."""
    assert done.code == 0
    simulator = make_simulator(datetime.now(UTC))
    found = wavs(place / "bulkaudio-demo" / "archive")
    # Another test of the same demo has its report written there.
    found.pop("report.html", None)
    ids = (place / "bulkaudio-demo" / "calls.csv").read_text().split()[1:]
    ids = [row.partition(",")[0] for row in ids]
    assert len(found) == RECORDINGS == len(ids) * len(Direction)
    for id_ in ids[::20]:
        for direction in Direction:
            assert found[f"{direction}/{id_}.wav"] == simulator.expected_bytes(id_, direction)


def test_it_writes_nothing_outside_its_folder(done: Done, place: Path) -> None:
    """Neither the current folder, nor the home, nor the one for temporary files changes."""
    assert done.code == 0
    outside = [
        str(path.relative_to(place))
        for path in place.rglob("*")
        if path.is_file() and not path.is_relative_to(place / "bulkaudio-demo")
    ]
    assert outside == ["home/.config/bulkaudio/bulkaudio.toml"]
    assert not list((place / "bulkaudio-demo" / "archive" / ".bulkaudio" / "tmp").iterdir())


def test_piped_output_is_plain(done: Done) -> None:
    """No control codes, no blanks at the end of lines, no address of a user's own settings."""
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert [line for line in done.stdout.splitlines() if line != line.rstrip()] == []
    assert "canary" not in done.stdout


async def test_commands_it_shows_can_be_typed(done: Done, place: Path) -> None:
    """Each command line for this archive runs as it is printed; the player's file exists."""
    shown = [line[2:] for line in done.stdout.splitlines() if line.startswith("$ ")]
    closer = [line for line in shown if line.split()[-2] in {"report", "status", "verify"}]
    assert len(closer) == 3
    for line in closer:
        process = await asyncio.create_subprocess_shell(
            line, cwd=place, env=environment(), stdout=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == 0
    page = (place / "bulkaudio-demo" / "archive" / "report.html").read_text()
    assert "Complete: every recording that was asked for and exists is archived." in page
    assert page.count("data-d=") == 1, "all calls are yesterday's"
    player = next(line for line in shown if line.endswith(".wav"))
    assert (place / player.split()[-1]).is_file()
    assert shown[-1] == "rm -r bulkaudio-demo"


@pytest.mark.slow
async def test_stopped_demo_goes_on_and_tells_machines(tmp_path: Path) -> None:
    """Ctrl-C ends it with 130 and whole files; the next one needs only what is missing."""
    environ = environment()
    async with started("demo", "--out", "here", env=environ, cwd=tmp_path) as process:
        async with asyncio.timeout(QUICK_S):
            while not list(tmp_path.glob("here/archive/*/*.wav")):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()
    assert process.returncode == 130, stderr
    assert b"Interrupted" in stdout
    assert b"Traceback" not in stderr
    early = len(wavs(tmp_path / "here" / "archive"))
    assert 0 < early < RECORDINGS

    async with started("demo", "--out", "here", "--json", env=environ, cwd=tmp_path) as process:
        stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr
    (line,) = stdout.splitlines()
    told: dict[str, Any] = json.loads(line)
    first, second = told["first"]["counts"], told["second"]["counts"]
    assert (first["already"], first["saved"]) == (early, RECORDINGS - early)
    assert (second["already"], second["saved"]) == (RECORDINGS, 0)
    assert told["earlier"] == "stopped"
    assert told["requests"][0] >= RECORDINGS - early
    assert told["requests"][1] == 0


# The folder.


def test_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Files that no demo made are named a reason to stop, and stay."""
    mine = tmp_path / "calls.csv"
    mine.write_text("mine")
    with pytest.raises(UsageError, match="something other"):
        Folder(root=tmp_path).prepare([], "key")
    assert mine.read_text() == "mine"
    assert list((tmp_path / "home").iterdir()) == []
    with pytest.raises(UsageError, match="not a folder"):
        Folder(root=mine).prepare([], "key")


def test_one_more_file_makes_a_demo_something_else(tmp_path: Path) -> None:
    """A folder that somebody put a file into is not cleared any more."""
    folder = Folder(root=tmp_path / "demo")
    folder.prepare([], "key")
    (folder.root / "notes.txt").write_text("mine")
    with pytest.raises(UsageError):
        folder.prepare([], "key")


def finished(folder: Folder) -> Path:
    """Make a folder look as a demo leaves it; return one of its recordings."""
    folder.prepare(["CA1"], "key")
    path = folder.archive / "user" / "0.wav"
    path.parent.mkdir(parents=True)
    for number in range(RECORDINGS):
        path.with_stem(str(number)).touch()
    (folder.archive / ".bulkaudio").mkdir()
    (folder.archive / "report.html").touch()
    return path


def test_finished_demo_is_replaced_and_one_at_work_is_not(tmp_path: Path) -> None:
    """All recordings there: begin anew. Some: go on. Held by a run: busy."""
    folder = Folder(root=tmp_path / "demo")
    assert folder.prepare(["CA1"], "key") is Earlier.NONE
    assert (folder.root / "about.txt").read_text().startswith(MARK)
    assert folder.key.stat().st_mode & 0o777 == 0o600
    path = finished(folder)
    with ArchiveLock(folder.archive / ".bulkaudio" / "lock"), pytest.raises(ArchiveBusyError):
        folder.prepare(["CA1"], "key")
    path.unlink()
    assert folder.prepare(["CA1"], "key") is Earlier.STOPPED
    path.touch()
    assert folder.prepare(["CA1"], "key") is Earlier.REPLACED
    assert not folder.archive.exists()


async def test_a_demo_says_that_it_replaces_another(tmp_path: Path) -> None:
    """The synthetic calls are no loss, but nobody should have to wonder where they went."""
    await asyncio.to_thread(finished, Folder(root=tmp_path / "here"))
    env = environment(PYTHONUNBUFFERED="1")
    async with (
        asyncio.timeout(QUICK_S),
        started("demo", "--out", "here", env=env, cwd=tmp_path) as process,
    ):
        assert process.stdout is not None
        said = b""
        while b"\n\n" not in said:
            said += await process.stdout.readline()
    assert "The finished demo that was in here is removed" in " ".join(said.decode().split())


@pytest.mark.parametrize(
    "name", ["notes.txt", "user/notes.txt", "metadata/mine.json", "bulkaudio.toml"]
)
def test_what_somebody_put_into_a_demos_archive_is_not_removed(tmp_path: Path, name: str) -> None:
    """As in the folder around it: a demo with a stranger in it is left alone."""
    folder = Folder(root=tmp_path / "demo")
    recording = finished(folder)
    mine = folder.archive / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(UsageError, match="something other") as caught:
        folder.prepare(["CA1"], "key")
    assert str(folder.archive / name.partition("/")[0]) in str(caught.value)
    assert (mine.read_text(), recording.exists()) == ("mine", True)


def test_folder_that_cannot_be_made_is_this_machine(tmp_path: Path) -> None:
    """A file where a folder has to be ends with the machine's exit code."""
    (tmp_path / "file").touch()
    with pytest.raises((StorageError, UsageError)):
        Folder(root=tmp_path / "file" / "demo").prepare([], "key")


def test_changed_file_is_found(tmp_path: Path) -> None:
    """The comparison with the stand-in tells one flipped byte, and a missing file."""
    simulator = make_simulator(datetime.now(UTC))
    folder = Folder(root=tmp_path)
    with serving(simulator):
        ids = simulator.calls.ids()[:2]
        for id_ in simulator.calls.ids():
            for direction in Direction:
                path = folder.archive / direction / f"{id_}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(simulator.expected_bytes(id_, direction))
        damaged = folder.archive / "user" / f"{ids[0]}.wav"
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
        missing = folder.archive / "agent" / f"{ids[1]}.wav"
        missing.unlink()
        assert differing(simulator, folder) == [damaged, missing]


# The picture.


def test_picture_keeps_a_frame_of_the_bar() -> None:
    """What was erased and drawn again is shown once, as it was on the way."""
    again = "\r\x1b[2K\x1b[1A\x1b[2K"
    bar = "".join(f"{n} of 9\nstate{again}" for n in range(9))
    assert rows_of(f"$ run\r\n\x1b[?25l{bar}\x1b[?25hDone.\r\n") == [
        *("$ run", "4 of 9", "state", "", "Done."),
    ]


def test_picture_is_small_and_of_a_whole_demo() -> None:
    """The README's picture is under 60 kB and shows the run, the bar and the way on."""
    picture = Path(__file__).parent.parent / "docs" / "demo.svg"
    text = picture.read_text(encoding="utf-8").replace("&#160;", " ")
    assert picture.stat().st_size < 60_000
    for words in ("of 360 recordings", "360 recordings saved", "It made no request", "own key"):
        assert words in text
    assert "http://www.w3.org/2000/svg" in text
    assert "url('http" not in text, "a picture fetches nothing"
