"""A lost or damaged ledger made anew: nothing is fetched again, and nothing is lost on the way."""

import asyncio
import errno
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bulkaudio.archive import open_archive
from bulkaudio.errors import ArchiveBusyError, LedgerError, StorageError, UsageError
from bulkaudio.found import Progress, Report
from bulkaudio.identity import Identity, redacted_of
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Status
from bulkaudio.rebuild import rebuild
from bulkaudio.remember import LISTING_PIN
from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.server import Simulator
from bulkaudio.verify import Damage, verify
from tests.audio import wav_of
from tests.program import Desk, Done, environment, ledger_rows, run, wavs

DATED = "{year}/{month}/{day}/{direction}/{id}.wav"
TWINS = ("CA1", "ca1~0", "CA1~3", "abc", "ABC~7", "aBc~2")
"""Stems of ids that differ by case only, and one (``CA1~3``) that no id has."""


def ledger_of(root: Path) -> Path:
    """Path of an archive's ledger."""
    return root / ".bulkaudio" / "ledger.db"


def kept_ledgers(root: Path) -> list[Path]:
    """Every old ledger, without the files beside it."""
    return sorted((root / ".bulkaudio").glob("ledger.db.*.old"))


def drafts(root: Path) -> list[Path]:
    """What is left of unfinished ledgers."""
    return sorted((root / ".bulkaudio").glob("ledger.db.new*"))


def make_files(root: Path, *stems: str) -> Path:
    """Make an archive of files only."""
    folder = root / "combined"
    folder.mkdir(parents=True)
    for stem in stems:
        (folder / f"{stem}.wav").write_bytes(wav_of(stem))
    return root


async def rebuild_by_hand(desk: Desk, *arguments: str | Path) -> Done:
    """Run the command."""
    return await run("rebuild", desk.archive, *arguments, env=environment(), cwd=desk.cwd)


async def check_whole(root: Path, count: int) -> None:
    """Hold the new ledger against the files."""
    async with open_archive(root) as archive:
        report = await verify(archive.ledger, archive.store)
    assert report.is_clean
    assert (report.checked, report.unknown_count) == (count, 0)


def lose(ledger: Path) -> None:
    """Delete it with everything beside it."""
    for path in ledger.parent.glob("ledger.db*"):
        path.unlink()


def overwrite(ledger: Path) -> None:
    """Fill it with bytes that are no database."""
    ledger.write_bytes(b"junk" * 5000)


def truncate(ledger: Path) -> None:
    """Lose all of it but the name."""
    os.truncate(ledger, 0)


def spoil_a_page(ledger: Path) -> None:
    """Keep the header and lose what is behind it."""
    content = bytearray(ledger.read_bytes())
    content[4096 : 4096 * 3] = b"\xff" * (4096 * 2)
    ledger.write_bytes(content)


@pytest.mark.parametrize("spoil", [lose, overwrite])
async def test_after_a_rebuild_nothing_is_fetched_again(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """A download names the command; after it, the same download asks for no recording."""
    calls = Calls(count=6, speech_s=(0.05, 0.15), chat_share=0.0, opt_out_share=0.0)
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        source = ("--csv", desk.csv(simulator.calls.ids()), "--direction", "all")
        assert (await desk.download(*source)).code == 0
        before, rows = wavs(desk.archive), ledger_rows(desk.archive)
        spoil(ledger_of(desk.archive))
        refused = await desk.download(*source)
        assert refused.code == 6
        assert f"rebuild {desk.archive}" in refused.stderr
        done = await rebuild_by_hand(desk, "--json")
        assert done.code == 0, done.stderr
        document = done.summary
        assert (document["schema"], document["adopted"]) == ("bulkaudio.rebuild/1", 18)
        assert document["bytes"] == sum(map(len, before.values()))
        assert (document["damaged"], document["unknown"], document["remembered"]) == ([], [], {})
        assert len(kept_ledgers(desk.archive)) == (0 if spoil is lose else 1)
        assert len(document["set_aside"]) == len(kept_ledgers(desk.archive))
        assert ledger_rows(desk.archive) == rows

        simulator.requests.clear()
        again = await desk.download(*source)
        assert again.code == 0, again.stderr
        assert again.summary["counts"]["already"] == 18
        assert not simulator.requests.recordings()
        assert wavs(desk.archive) == before
        await check_whole(desk.archive, 18)
        async with open_archive(desk.archive) as archive:
            kept = await archive.remembered()
        assert (kept["region"], kept["agent"]) == (desk.region, simulator.agent)


@pytest.mark.slow
async def test_a_dated_archive_is_made_anew_with_its_layout(tmp_path: Path) -> None:
    """Without the layout nothing is changed; with it, listing again fetches nothing."""
    calls = Calls(count=6, speech_s=(0.05, 0.15), chat_share=0.0, opt_out_share=0.0)
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        assert (await desk.list("--layout", DATED)).code == 0
        before = wavs(desk.archive)
        overwrite(ledger_of(desk.archive))
        refused = await rebuild_by_hand(desk)
        assert refused.code == 2
        assert "--layout" in refused.stderr
        assert ledger_of(desk.archive).read_bytes().startswith(b"junk")
        assert not drafts(desk.archive)

        done = await rebuild_by_hand(desk, "--layout", DATED, "--json")
        assert (done.code, done.summary["layout"]) == (0, DATED), done.stderr
        simulator.requests.clear()
        again = await desk.list()
        assert again.code == 0, again.stderr
        assert not simulator.requests.recordings()
        assert wavs(desk.archive) == before
    async with open_archive(desk.archive) as archive:
        rows = await archive.ledger.saved_after(0, 100)
    assert len(rows) == 6
    for row in rows:
        start = row.recording.started_at
        assert row.path is not None
        assert start is not None
        assert start.strftime("%Y/%m/%d/%H%M") == "/".join(row.path.parts[:3]) + "/0000"


@pytest.mark.parametrize("spoil", [truncate, spoil_a_page])
async def test_other_damage_is_damage_too(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """A cut ledger and one with a bad page are replaced without --force, and kept."""
    root = make_files(tmp_path / "archive", *(f"CA{n}" for n in range(40)))
    await rebuild(root)
    spoil(ledger_of(root))
    spoilt = ledger_of(root).read_bytes()
    report = await rebuild(root)
    assert report.adopted == 40
    assert [path.read_bytes() for path in kept_ledgers(root)] == [spoilt]
    await check_whole(root, 40)


async def test_old_ledgers_are_kept_however_often_one_rebuilds(tmp_path: Path) -> None:
    """Each under a name of its own, with the files beside it."""
    root = make_files(tmp_path / "archive", "CA1")
    for content in (b"first", b"second"):
        await rebuild(root, is_forced=True)
        ledger_of(root).write_bytes(content * 1000)
    await rebuild(root)
    ledger_of(root).unlink()
    ledger_of(root).with_name("ledger.db-wal").write_bytes(b"log")
    report = await rebuild(root)
    [log] = report.set_aside
    assert log.name.endswith(".old-wal")
    assert (root / log).read_bytes() == b"log"
    contents = [path.read_bytes()[:6] for path in kept_ledgers(root)]
    assert contents[:1] + contents[-1:] == [b"firstf", b"second"]
    await check_whole(root, 1)


@pytest.mark.slow
async def test_damaged_files_stay_and_are_named(tmp_path: Path) -> None:
    """They are not in the ledger: exit 7; moved away, they are fetched again."""
    calls = Calls(count=4, speech_s=(0.05, 0.15), chat_share=0.0, opt_out_share=0.0)
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        source = ("--csv", desk.csv(simulator.calls.ids()))
        assert (await desk.download(*source)).code == 0
        before = wavs(desk.archive)
        cut, linked = sorted((desk.archive / "combined").iterdir())[:2]
        os.truncate(cut, 100)
        linked.rename(tmp_path / "elsewhere.wav")
        linked.symlink_to(tmp_path / "elsewhere.wav")
        lose(ledger_of(desk.archive))
        done = await rebuild_by_hand(desk, "-q")
        assert done.code == 7
        assert "2 damaged" in done.stdout
        assert cut.stat().st_size == 100
        assert linked.is_symlink()
        assert {id_ for id_, _ in ledger_rows(desk.archive)} == {
            id_ for id_ in simulator.calls.ids() if id_ not in {cut.stem, linked.stem}
        }
        cut.unlink()
        linked.unlink()
        simulator.requests.clear()
        assert (await desk.download(*source)).code == 0
        assert len(simulator.requests.recordings()) == 2
        assert wavs(desk.archive) == before


async def test_every_kind_of_file_has_its_place_in_the_report(tmp_path: Path) -> None:
    """Case twins are told apart; strangers are left alone; links are never followed."""
    root = make_files(tmp_path / "archive", *TWINS)
    (root / "combined" / "CA2.wav").write_bytes(wav_of("CA2")[:-5])
    (root / "combined" / "CA3.wav").write_bytes(b"<html>")
    (root / "combined" / "CA4.wav").mkdir()
    os.mkfifo(root / "combined" / "CA5.wav")
    (root / "user").symlink_to(root / "combined")
    (root / "metadata").mkdir()
    (root / "metadata" / "CA1.json").write_text("{}")
    (root / "notes.txt").touch()
    (root / os.fsdecode(b"latin-\xe9.wav")).touch()
    seen: list[Progress] = []
    report = await rebuild(root, on_progress=seen.append)
    assert {(f.recording.conversation_id, f.damage) for f in report.damaged} == {
        ("CA2", Damage.PROOF),
        ("CA3", Damage.PROOF),
        ("CA5", Damage.NOT_A_FILE),
    }
    strangers = {"combined/CA1~3.wav", "user", "notes.txt", "latin-\\udce9.wav"}
    assert (set(report.unknown), report.unknown_count) == (strangers, 4)
    assert (report.adopted, report.damaged_count, report.is_clean) == (5, 3, False)
    assert seen[-1] == Progress(adopted=5, bytes=report.bytes, damaged=3)
    rows = ledger_rows(root)
    assert {id_: row.path for (id_, _), row in rows.items()} == {
        "CA1": "combined/CA1.wav",
        "ca1": "combined/ca1~0.wav",
        "abc": "combined/abc.wav",
        "ABC": "combined/ABC~7.wav",
        "aBc": "combined/aBc~2.wav",
    }


async def test_a_whole_ledger_is_not_replaced(tmp_path: Path) -> None:
    """It knows more than the files; --force keeps it aside, with what it remembers carried over."""
    root = make_files(tmp_path / "archive", "CA1")
    await rebuild(root)
    async with open_archive(root) as archive:
        await archive.bind(Identity(region="uk", agent="PROJECT-1", redacted=True))
    before = ledger_of(root).read_bytes()
    done = await run("rebuild", root, env=environment(), cwd=tmp_path)
    assert done.code == 2
    assert "--force" in done.stderr
    assert ledger_of(root).read_bytes() == before
    assert not kept_ledgers(root)

    forced = await run("rebuild", root, "--force", "--json", env=environment(), cwd=tmp_path)
    assert (forced.code, forced.summary["adopted"]) == (0, 1), forced.stderr
    assert forced.summary["remembered"] == {
        "region": "uk",
        "agent": "PROJECT-1",
        "redacted": "true",
    }
    assert [path.read_bytes() for path in kept_ledgers(root)] == [before]


async def test_a_ledger_out_of_reach_is_no_damage(tmp_path: Path) -> None:
    """One that another program has locked, or that a later version wrote, stays where it is."""
    root = make_files(tmp_path / "archive", "CA1")
    await rebuild(root)
    with closing(sqlite3.connect(ledger_of(root))) as browser:
        browser.execute("PRAGMA locking_mode = EXCLUSIVE")
        browser.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerError, match="locked"):
            await rebuild(root)
        browser.rollback()
    with closing(sqlite3.connect(ledger_of(root))) as later:
        later.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="newer"):
        await rebuild(root)
    assert not kept_ledgers(root)
    assert (await rebuild(root, is_forced=True)).adopted == 1


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from bulkaudio.rebuild import rebuild

def die(progress):
    if progress.adopted == 3:
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(rebuild(Path(sys.argv[1]), on_progress=die))
"""


async def test_a_killed_rebuild_is_begun_again(tmp_path: Path) -> None:
    """It leaves the old ledger in its place, so that no run takes half a ledger for a whole one."""
    root = make_files(tmp_path / "archive", *(f"CA{n}" for n in range(6)))
    await rebuild(root)
    overwrite(ledger_of(root))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(root), env=environment(), cwd=tmp_path
    )
    assert await child.wait() == -9
    assert drafts(root)
    assert ledger_of(root).read_bytes().startswith(b"junk")
    with pytest.raises(LedgerError, match="rebuild"):
        async with open_archive(root):
            pass
    assert (await rebuild(root)).adopted == 6
    assert not drafts(root)
    await check_whole(root, 6)


async def test_a_rebuild_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that this user may not read ends it: it is neither damaged nor unknown."""
    root = make_files(tmp_path / "archive", "CA1", "CA2")
    await rebuild(root)
    overwrite(ledger_of(root))

    def refuse(*_: int) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", refuse)
        with pytest.raises(StorageError, match="no permission"):
            await rebuild(root)
    assert ledger_of(root).read_bytes().startswith(b"junk")
    assert not kept_ledgers(root)
    assert not drafts(root)


async def test_a_run_is_not_disturbed(tmp_path: Path) -> None:
    """Whoever holds the archive goes on; a rebuild is turned away at once."""
    root = make_files(tmp_path / "archive", "CA1")
    await rebuild(root)
    async with open_archive(root):
        with pytest.raises(ArchiveBusyError):
            await rebuild(root, is_forced=True)


async def test_what_is_no_archive_is_left_alone(tmp_path: Path) -> None:
    """A folder without recordings is refused and stays empty, like one that is not there."""
    for folder in (tmp_path / "empty", tmp_path / "missing"):
        if folder.name == "empty":
            folder.mkdir()
        with pytest.raises(UsageError, match="not an archive"):
            await rebuild(folder)
    assert not list((tmp_path / "empty").iterdir())
    assert not (tmp_path / "missing").exists()


async def test_the_whole_state_folder_may_be_lost(tmp_path: Path) -> None:
    """Recordings copied from elsewhere become an archive."""
    report: Report = await rebuild(make_files(tmp_path / "archive", "CA1"))
    assert (report.adopted, report.set_aside) == (1, ())
    ledger = await Ledger.open(ledger_of(tmp_path / "archive"), is_new_allowed=False)
    [row] = await ledger.saved_after(0, 10)
    await ledger.aclose()
    assert row.status is Status.SAVED
    assert row.codec == "pcm"


async def test_the_first_run_afterwards_decides_whose_recordings_they_are(tmp_path: Path) -> None:
    """One that forgot to say so decides nothing, least of all that redaction was not asked for."""
    root = make_files(tmp_path / "archive", "CA1")
    await rebuild(root)
    async with open_archive(root) as archive:
        await archive.bind(Identity())
    async with open_archive(root) as archive:
        pins = await archive.bind(Identity(region="uk", agent="PROJECT-1", redacted=True))
        assert redacted_of(pins, None) is True
    async with open_archive(root) as archive:
        with pytest.raises(UsageError, match="--agent"):
            await archive.bind(Identity(agent="PROJECT-2"))


async def test_the_page_tells_a_person_what_to_do(tmp_path: Path) -> None:
    """What was taken up, what lies about, and what the next download has to say."""
    root = make_files(tmp_path / "archive", "CA1")
    (root / "notes.txt").touch()
    (root / "report.html").touch()
    done = await run("rebuild", root, env=environment(), cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("Made anew: 1 recording taken up")
    assert "1 unknown file, left alone: notes.txt" in done.stdout
    assert "--region" in done.stdout
    ledger_of(root).unlink()
    quiet = await run("rebuild", root, "-q", env=environment(), cwd=tmp_path)
    assert (quiet.code, quiet.stdout) == (0, "")
    assert quiet.stderr.count("may be forgotten") == quiet.stderr.count("\n") == 1
    # Of what a run has left, the ledger alone is gone.
    (root / ".bulkaudio" / "status.json").touch()
    ledger_of(root).unlink()
    quiet = await run("rebuild", root, "-q", env=environment(), cwd=tmp_path)
    assert (quiet.code, quiet.stdout, quiet.stderr) == (0, "", "")


async def test_the_page_names_what_the_nights_took(tmp_path: Path) -> None:
    """The first listing afterwards is the example of every later one: it must not take less."""

    async def page() -> str:
        done = await run("rebuild", root, "--force", env=environment(), cwd=tmp_path)
        return " ".join(done.stdout.replace("\\\n", " ").split())

    root = make_files(tmp_path / "archive", "CA1")
    told = await page()
    assert "--region REGION --account ACCOUNT --agent AGENT --since T --direction combined" in told
    assert "for all later nights, too: --env, --channel, --variant and --redacted." in told
    (root / "user").mkdir()
    (root / "user" / "CA1.wav").write_bytes(wav_of("CA1"))
    (root / "metadata").mkdir()
    told = await page()
    assert "--direction combined --direction user" in told
    assert "--metadata basic or full" in told
    (root / "agent").mkdir()
    (root / "agent" / "CA1.wav").write_bytes(wav_of("CA1"))
    assert "--since T --direction all " in await page()
    done = await run("rebuild", root, "--force", "--json", env=environment(), cwd=tmp_path)
    assert done.summary["directions"] == ["combined", "user", "agent"]
    assert done.summary["has_metadata"] is True
    async with open_archive(root) as archive:
        await archive.ledger.pin(
            {LISTING_PIN: "{}", "region": "uk", "agent": "P", "redacted": "true"}
        )
    told = await page()
    assert "--direction" not in told
    assert "download --out" in told
    assert "--account ACCOUNT --since T" in told
    assert "given before" not in told


async def test_what_only_the_files_tell_is_not_called_complete(tmp_path: Path) -> None:
    """What was missing is not in them: neither gaps nor the report know, until a download has."""
    root = make_files(tmp_path / "archive", "CA1")
    assert (await run("rebuild", root, env=environment(), cwd=tmp_path)).code == 0
    status = await run("status", root, env=environment(), cwd=tmp_path)
    assert "Last run: not known" in status.stdout
    gaps = await run("gaps", root, "--json", env=environment(), cwd=tmp_path)
    assert (gaps.code, gaps.summary["by_files_only"]) == (3, True)
    assert gaps.summary["verdict"].startswith("Not known to be complete: rebuild made the ledger")
    report = await run("report", root, "--json", env=environment(), cwd=tmp_path)
    assert report.summary["headline"].startswith(
        "Not known to be complete: rebuild made the ledger"
    )
    async with Simulator(calls=Calls(count=3, speech_s=(0.1, 0.2))) as simulator:
        desk = Desk.at(simulator, tmp_path)
        await desk.download("--csv", desk.csv(["CA1"]))
    gaps = await run("gaps", root, "--json", env=environment(), cwd=tmp_path)
    assert (gaps.code, gaps.summary["by_files_only"]) == (0, False)


@pytest.mark.parametrize("copied", ["2026-11-21", "2026-11-23"])
async def test_a_recording_that_is_found_twice_is_taken_up_once(
    copied: str, tmp_path: Path
) -> None:
    """A day's folder was copied: the first path is the recording's, the other is no one's."""
    root = tmp_path / "archive"
    for day in ("2026-11-22", copied):
        folder = root / day / "combined"
        folder.mkdir(parents=True)
        for id_ in ("CA1", "CA2"):
            (folder / f"{id_}.wav").write_bytes(wav_of(id_))
    report = await rebuild(root, layout="{date}/{direction}/{id}.wav")
    first, second = sorted(("2026-11-22", copied))
    assert (report.adopted, report.bytes) == (2, len(wav_of("CA1")) + len(wav_of("CA2")))
    assert report.unknown == tuple(f"{second}/combined/{id_}.wav" for id_ in ("CA1", "CA2"))
    assert (report.unknown_count, report.is_clean) == (2, True)
    paths = {row.path for row in ledger_rows(root).values()}
    assert paths == {f"{first}/combined/{id_}.wav" for id_ in ("CA1", "CA2")}
    async with open_archive(root) as archive:
        found = await verify(archive.ledger, archive.store)
    assert (found.is_clean, found.checked, found.unknown_count) == (True, 2, 2)


async def test_a_repair_of_nobodys_archive_says_who_can_tell(tmp_path: Path) -> None:
    """`verify` has no --region: the next download has, and nothing is moved before it."""
    root = make_files(tmp_path / "archive", "CA1")
    await rebuild(root)
    file = root / "combined" / "CA1.wav"
    file.write_bytes(file.read_bytes()[:-2])
    done = await run("verify", root, "--repair", env=environment(), cwd=tmp_path)
    assert done.code == 2, done.stderr
    assert "does not remember region and agent" in done.stderr
    assert "--region and --agent to the next download" in done.stderr
    assert file.exists()
    async with open_archive(root) as archive:
        await archive.bind(Identity(region="uk", agent="PROJECT-1"))
    done = await run("verify", root, "--repair", env=environment(), cwd=tmp_path)
    assert done.code == 4, done.stderr
