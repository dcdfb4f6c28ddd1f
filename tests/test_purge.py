"""Erasing: nothing is left of what was to go, nothing else goes, and nothing comes back."""

import errno
import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from bulkaudio.stores import pages
from bulkaudio.stores.lock import ArchiveLock
from tests.audio import wav_of
from tests.erasing import (
    DATED,
    IDS,
    SIDES,
    WINDOW,
    asked_for,
    audio_traces,
    counts_add_up,
    fill,
    polyai,
    statuses,
    traces,
)
from tests.inside import Inside
from tests.program import Done, ledger_rows, wavs, write_csv
from tests.wire import WireServer, in_thread

ALL_PURGED = dict.fromkeys(SIDES, "purged")


def purge(inside: Inside, *words: str | Path) -> Done:
    """Erase at once, and tell it as JSON."""
    return inside.run("purge", inside.archive, "--yes", "--json", *words)


def age(inside: Inside) -> None:
    """Give the archive a history: a file set aside as damaged, and ledgers of earlier times."""
    damaged = inside.archive / "user" / "CA1.wav"
    damaged.write_bytes(wav_of("CA1", "user")[:-2] + b"!!")
    assert inside.run("verify", inside.archive, "--repair").code == 0
    assert inside.run("rebuild", "--force", inside.archive).code == 0
    fill(inside)
    state = inside.archive / ".bulkaudio"
    (state / "ledger.db.v1.20260101T000000000000.bak").write_bytes(
        (state / "ledger.db").read_bytes()
    )


def test_no_byte_of_audio_and_no_detail_is_left(inside: Inside) -> None:
    """Not in the tree, not in the ledger, its log, its free pages or its copies; others are whole."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
        age(inside)
        before = wavs(inside.archive)
        assert len(traces(inside.archive, "CA1")) > 6
        dry = inside.run("purge", inside.archive, "--id", "CA1", "--json")
        assert (dry.code, dry.summary["recordings"], dry.summary["dry_run"]) == (0, 3, True)
        assert wavs(inside.archive) == before
        done = purge(inside, "--id", "CA1", "--id", "CA3", "--reason", "case 17")
        assert done.code == 0, done.stderr
        told = done.summary
        size = sum(len(wav_of(id_, side)) for id_ in ("CA1", "CA3") for side in SIDES)
        assert (told["conversations"], told["recordings"], told["tombstones"]) == (2, 6, 6)
        assert (told["metadata_files"], told["bytes"]) == (2, size)
        assert len(told["ledger_copies"]) == 2
        for id_ in ("CA1", "CA3"):
            assert traces(inside.archive, id_) == {}
            assert statuses(inside.archive, id_) == ALL_PURGED
        kept = {name: wav for name, wav in before.items() if "CA2" in name or "CA4" in name}
        assert wavs(inside.archive) == kept
        assert len(traces(inside.archive, "CA2")) == 3 + 1 + 1
        assert {path.name for path in inside.archive.glob("metadata/*")} == {"CA2.json", "CA4.json"}


def test_what_is_erased_never_comes_back(inside: Inside) -> None:
    """Listed again, named in a file, asked for in a direction that never was: no request, no file."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        assert inside.download(*WINDOW, "--metadata", "full").code == 0
        assert purge(inside, "--id", "CA1").summary["recordings"] == 1
        server.heads.clear()
        wanted = ("--direction", "combined", "--direction", "user")
        gaps = inside.run("gaps", inside.archive, "--json", *wanted).summary
        totals = gaps["totals"]
        assert (totals["missing"], totals["absent"], totals["erased"]) == (len(IDS) - 1, 0, 1)
        assert any(each["status"] == "erased" for each in gaps["reasons"])
        assert "missing  erased" in inside.run("gaps", inside.archive, *wanted).stdout
        assert inside.run("gaps", inside.archive, *wanted, "--csv", "-").stdout.startswith(
            "day,direction,coverage,listed,saved,absent,deferred,failed,missing,erased"
        )
        words = ("--out", inside.archive, "--json", *WINDOW, "--direction", "all")
        plan = inside.run("plan", *words).summary
        assert sum(each["already"] for each in plan["directions"].values()) == len(IDS) + 2
        assert [each["erased"] for each in plan["directions"].values()] == [1, 1, 1]
        assert plan["counts"]["erased"] == 3
        again = inside.download(*WINDOW, "--metadata", "full", "--direction", "all")
        assert again.code == 0, again.stderr
        counts_add_up(again, IDS)
        assert again.summary["counts"]["already"] == len(IDS) + 2
        csv = write_csv(inside.folder / "calls.csv", list(IDS))
        named = inside.download("--csv", csv, "--direction", "all", "--metadata", "full")
        assert (named.code, named.summary["counts"]["already"]) == (0, 3 * len(IDS))
        assert named.summary["counts"]["erased"] == 3
        target = ("--agent", "PROJECT-1", "--region", "uk", "--out", inside.archive)
        told = inside.run("download", *target, "--csv", csv, "--direction", "all")
        assert "9 already there, 3 recordings were erased" in told.stdout
        told = inside.run("plan", *target, "--csv", csv, "--direction", "all")
        assert "already  erased" in told.stdout
        assert "9 already there, 3 erased" in inside.run("status", inside.archive).stdout
        assert not {(id_, side) for id_, side in asked_for(server) if id_ == "CA1"}
        assert not any(target.endswith("/conversations/CA1") for target in server.targets)
        assert traces(inside.archive, "CA1") == {}
        assert not (inside.archive / "metadata" / "CA1.json").exists()
        assert inside.run("verify", inside.archive).code == 0
        totals = inside.run("status", inside.archive, "--json").summary["totals"]
        assert sum(each["recordings"] for each in totals if each["status"] == "purged") == 3
        page = inside.run("status", inside.archive)
        assert "erased" in page.stdout


def test_a_side_alone(inside: Inside) -> None:
    """The other sides and the metadata stay; with the last one with audio the metadata goes, too."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
        done = purge(inside, "--id", "CA1", "--direction", "user", "--direction", "agent")
        assert (done.summary["recordings"], done.summary["metadata_files"]) == (2, 0)
        assert audio_traces(inside.archive, "CA1", ("user", "agent")) == {}
        assert statuses(inside.archive, "CA1") == {**ALL_PURGED, "combined": "saved"}
        assert (inside.archive / "metadata" / "CA1.json").exists()
        done = purge(inside, "--id", "CA1", "--direction", "combined")
        assert (done.summary["recordings"], done.summary["metadata_files"]) == (1, 1)
        fill(inside)
        assert traces(inside.archive, "CA1") == {}


def test_no_page_in_the_archive_outlives_it(inside: Inside) -> None:
    """What `report` wrote there goes and is named; others' pages stay, and links and folders."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
    root = inside.archive
    for words in ((), ("--output", root / "November.HTML"), ("--output", "elsewhere.html")):
        assert inside.run("report", root, "--show-numbers", *words).code == 0
    (root / ".report.html.4711").write_bytes((root / "report.html").read_bytes()[:5000])
    assert "+447700900101" in (root / "report.html").read_text()
    (root / "theirs.html").write_text("<!DOCTYPE html>")
    (root / "folder.html").mkdir()
    (root / "link.html").symlink_to(inside.folder / "elsewhere.html")
    names = [".report.html.4711", "November.HTML", "report.html"]
    verified = inside.run("verify", root, "--json").summary
    assert (verified["reports"], verified["unknown"]) == (names, ["link.html", "theirs.html"])
    assert inside.run("purge", root, "--id", "CA1", "--json").summary["reports"] == names
    assert (
        "3 reports in the archive to be removed" in inside.run("purge", root, "--id", "CA1").stdout
    )
    assert (root / "report.html").exists()
    rebuilt = inside.run("rebuild", "--force", root, "--json").summary
    assert rebuilt["unknown"] == ["link.html", "theirs.html"]
    assert purge(inside, "--id", "CA1").summary["reports"] == names
    assert traces(root, "CA1") == {}
    assert {path.name for path in root.glob("*.[hH]*")} == {
        "theirs.html",
        "folder.html",
        "link.html",
    }
    assert (inside.folder / "elsewhere.html").exists()
    assert inside.run("report", root).code == 0
    assert purge(inside, "--id", "CA1").summary["reports"] == []
    assert (root / "report.html").exists()


def test_a_page_of_another_user_is_left_alone(
    small: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may not be read cannot be known; the erasure goes on."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (small.archive / "report.html").write_bytes(pages.MARK)
    monkeypatch.setattr(pages, "open_for_reading", refuse)
    done = purge(small, "--id", "CA1")
    assert (done.code, done.summary["reports"]) == (0, [])
    assert wavs(small.archive) == {"report.html": pages.MARK}


def test_a_side_that_was_never_fetched(inside: Inside) -> None:
    """It is barred from then on, of a known call and of an unknown one, also by a ledger made anew."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        csv = write_csv(inside.folder / "calls.csv", ["CA1", "CA2"])
        assert inside.download("--csv", csv).code == 0
        sides = ("--direction", "user", "--direction", "agent")
        done = purge(inside, "--id", "CA1", "--id", "CA4", *sides)
        assert (done.code, done.summary["unknown"], done.summary["already_erased"]) == (
            0,
            ["CA4"],
            0,
        )
        assert (done.summary["recordings"], done.summary["tombstones"]) == (0, 2)
        assert done.summary["erased"][0]["directions"] == ["user", "agent"]
        again = purge(inside, "--id", "CA1", "--id", "CA4", *sides)
        assert (again.summary["already_erased"], again.summary["unknown"]) == (2, [])
        gaps = inside.run("gaps", inside.archive, "--json", "--direction", "combined").summary
        assert (gaps["totals"]["listed"], gaps["totals"]["missing"]) == (2, 0)
        (inside.archive / ".bulkaudio" / "ledger.db").unlink()
        assert inside.run("rebuild", inside.archive).code == 0
        barred = {"user": "purged", "agent": "purged"}
        assert statuses(inside.archive, "CA1") == {"combined": "saved", **barred}
        assert statuses(inside.archive, "CA4") == barred
        server.heads.clear()
        fill(inside)
        never = {(id_, side) for id_ in ("CA1", "CA4") for side in barred}
        assert not asked_for(server) & never
        assert ("CA4", "combined") in asked_for(server)
        assert statuses(inside.archive, "CA4") == {"combined": "saved", **barred}
        assert audio_traces(inside.archive, "CA1", ("user", "agent")) == {}
        rest = purge(inside, "--id", "CA1")
        assert (rest.summary["recordings"], rest.summary["tombstones"]) == (1, 1)
        assert traces(inside.archive, "CA1") == {}


def test_a_conversation_that_was_never_here(inside: Inside) -> None:
    """It is told apart, and will not be fetched when a listing names it."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        csv = write_csv(inside.folder / "calls.csv", ["CA2"])
        assert inside.download("--csv", csv).code == 0
        done = purge(inside, "--id", "CA1", "--receipt", "receipt.json")
        assert (done.code, done.summary["unknown"]) == (0, ["CA1"])
        assert (done.summary["conversations"], done.summary["recordings"]) == (0, 0)
        receipt = json.loads((inside.folder / "receipt.json").read_text())
        assert receipt["erased"] == [{"id": "CA1", "directions": [], "known": False}]
        fill(inside)
        assert {id_ for id_, _ in asked_for(server)} == {"CA2", "CA3", "CA4"}
        side = purge(inside, "--id", "CA7", "--direction", "user")
        assert side.summary["unknown"] == ["CA7"]
        assert side.summary["erased"] == [{"id": "CA7", "directions": ["user"], "known": False}]
        assert side.summary["conversations"] == 0
        again = purge(inside, "--id", "CA1")
        assert (again.summary["unknown_count"], again.summary["already_erased"]) == (0, 1)


def test_what_is_held_stays(inside: Inside) -> None:
    """It is named, ends the command with 3, and goes when nobody holds it any more."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
    added = inside.run("hold", inside.archive, "add", "CA1", "CA9", "--reason", "case 17")
    assert added.code == 0
    assert "CA9" in added.stdout
    listed = inside.run("hold", inside.archive, "list", "--json")
    assert listed.stdout.count("\n") == 1
    assert (listed.summary["schema"], listed.summary["held"]) == ("bulkaudio.hold/1", 2)
    assert [(hold["id"], hold["reason"]) for hold in listed.summary["holds"]] == [
        ("CA1", "case 17"),
        ("CA9", "case 17"),
    ]
    csv = write_csv(inside.folder / "ids.csv", ["CA1", "CA2"])
    done = purge(inside, "--ids", csv)
    assert done.code == done.summary["exit_code"] == 3
    assert done.summary["held"] == [{"id": "CA1", "reason": "case 17"}]
    assert statuses(inside.archive, "CA1") == dict.fromkeys(SIDES, "saved")
    assert statuses(inside.archive, "CA2") == ALL_PURGED
    page = inside.run("purge", inside.archive, "--older-than", "2026-11-26")
    assert page.code == 3
    assert "CA1 (case 17)" in page.stdout
    freed = inside.run("hold", inside.archive, "remove", "CA1", "CA4", "--json")
    assert (freed.code, freed.summary["released"], freed.summary["not_held"]) == (0, 1, ["CA4"])
    assert purge(inside, "--id", "CA1").code == 0
    late = inside.run("hold", inside.archive, "add", "CA1", "--json")
    assert (late.code, late.summary["erased"]) == (3, ["CA1"])
    assert inside.run("hold", inside.archive, "list").stdout.startswith("CA9 ")


def test_holds_are_named_like_what_is_purged(small: Inside) -> None:
    """``--id`` counts for both, also beside plain ids; and the verb may come first."""
    for words in (("add", "--id", "CA1"), ("add", "CA2", "--id", "CA3", "--id", "CA4")):
        assert small.run("hold", small.archive, *words).code == 0
    assert small.run("hold", "add", small.archive, "--id", "CA5").code == 0
    listed = small.run("hold", "list", small.archive, "--json").summary
    assert [hold["id"] for hold in listed["holds"]] == ["CA1", "CA2", "CA3", "CA4", "CA5"]
    assert small.run("hold", small.archive, "list", "--id", "CA1").code == 2
    assert small.run("hold", small.archive, "remove", "--id", "../x").code == 2


def test_nothing_held_is_a_line_too(small: Inside) -> None:
    """Scripts get their one line whatever there is to list."""
    listed = small.run("hold", small.archive, "list", "--json")
    assert (listed.code, listed.stdout.count("\n")) == (0, 1)
    assert (listed.summary["holds"], listed.summary["held"]) == ([], 0)


def test_by_age_with_dated_folders(inside: Inside) -> None:
    """By the call's start; folders that are empty then go, those of other days stay."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside, "--layout", DATED)
        done = purge(inside, "--older-than", "2026-11-03")
    assert (done.code, done.summary["conversations"]) == (0, 2)
    assert done.summary["before"] == "2026-11-03T00:00:00.000Z"
    days = {path.name for path in (inside.archive / "2026" / "11").iterdir()}
    assert days == {"03", "04"}
    assert statuses(inside.archive, "CA2") == ALL_PURGED
    assert set(statuses(inside.archive, "CA3").values()) == {"saved"}
    nothing = purge(inside, "--older-than", "2026-11-03")
    assert nothing.summary["conversations"] == 0
    rest = purge(inside, "--older-than", "2026-11-26", "--direction", "user")
    assert (rest.summary["conversations"], rest.summary["recordings"]) == (2, 2)
    assert purge(inside, "--older-than", "2026-11-26").code == 0
    assert wavs(inside.archive) == {}
    assert not (inside.archive / "2026").exists()


def test_unknown_starts_count_by_first_sight(inside: Inside) -> None:
    """A file of ids knows no dates: what is new here is young, however old the call."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        csv = write_csv(inside.folder / "calls.csv", ["CA1"])
        assert inside.download("--csv", csv).code == 0
        assert purge(inside, "--older-than", "1d").summary["conversations"] == 0
        # The listing knows when it was.
        assert inside.download(*WINDOW).code == 0
        assert purge(inside, "--older-than", "2026-11-02").summary["conversations"] == 1


def test_a_ledger_that_is_lost_takes_no_tombstone_and_no_hold_along(inside: Inside) -> None:
    """Also when nothing but tombstones is left: it is noticed, made anew, and nothing is fetched."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
        for words in (("add", "CA2", "CA3"), ("remove", "CA3"), ("add", "CA4")):
            assert inside.run("hold", inside.archive, *words).code == 0
        assert purge(inside, "--id", "CA1", "--id", "CA3").code == 0
        for path in inside.archive.glob(".bulkaudio/ledger.db*"):
            path.unlink()
        rebuilt = inside.run("rebuild", inside.archive, "--json")
        assert rebuilt.code == 0, rebuilt.stderr
        told = rebuilt.summary
        assert (told["erased_conversations"], told["held_conversations"]) == (2, 2)
        found = inside.run("verify", inside.archive, "--json")
        assert (found.code, found.summary["interrupted_erasure"]) == (0, None)
        assert statuses(inside.archive, "CA1") == ALL_PURGED
        server.heads.clear()
        fill(inside)
        assert asked_for(server) == set()
        assert purge(inside, "--id", "CA2", "--id", "CA4").code == 3
        assert inside.run("hold", inside.archive, "remove", "CA2", "CA4").code == 0
        assert purge(inside, "--id", "CA2", "--id", "CA4").code == 0
        assert wavs(inside.archive) == {}
        (inside.archive / ".bulkaudio" / "ledger.db").unlink()
        refused = inside.download(*WINDOW)
        assert refused.code == 6
        assert "rebuild" in refused.stderr
        assert inside.run("rebuild", inside.archive).code == 0
        assert (
            inside.run(
                "download",
                *WINDOW,
                "--out",
                inside.archive,
                "--region",
                "uk",
                "--agent",
                "PROJECT-1",
                "--direction",
                "all",
            ).code
            == 0
        )
        assert asked_for(server) == set()


def test_a_rebuild_beside_files_of_the_erased(inside: Inside) -> None:
    """Restored from a backup, they are not taken up, and go with whatever works on the archive next."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
        old = {path: path.read_bytes() for path in inside.archive.rglob("*CA1.*")}
        assert len(old) == 4
        assert purge(inside, "--id", "CA1").code == 0
        for path, content in old.items():
            path.write_bytes(content)
        aside = inside.archive / ".bulkaudio" / "damaged"
        aside.mkdir(mode=0o700)
        name = "CA1.user.20261101T100000000000Z.wav"
        (aside / name).write_bytes(wav_of("CA1", "user"))
        strangers = (aside / "notes.txt", inside.archive / "metadata" / "notes.txt")
        for path in strangers:
            path.write_text("somebody else's")
        (inside.archive / ".bulkaudio" / "ledger.db").unlink()
        rebuilt = inside.run("rebuild", inside.archive, "--json")
        assert (rebuilt.summary["condemned"], rebuilt.summary["adopted"]) == (4, 9)
        done = inside.run("purge", inside.archive, "--resume", "--yes", "--json")
        assert (done.code, done.summary["resumed"]["conversations"]) == (0, 1)
        assert [each["id"] for each in done.summary["erased"]] == ["CA1"]
        verified = inside.run("verify", inside.archive, "--json")
        assert (verified.code, verified.summary["interrupted_erasure"]) == (0, None)
        assert traces(inside.archive, "CA1") == {}
        assert not (aside / name).exists()
        assert all(path.exists() for path in strangers)


def test_a_damaged_register_is_never_read_over(inside: Inside) -> None:
    """Half a line at the end is what a crash leaves; anything else stops a rebuild, but for force."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
    register = inside.archive / ".bulkaudio" / "tombstones.jsonl"
    assert purge(inside, "--id", "CA1").code == 0
    with register.open("ab") as file:
        file.write(b'{"purged":"CA2","is_wh')
    assert inside.run("rebuild", "--force", inside.archive).code == 0
    assert set(statuses(inside.archive, "CA2").values()) == {"saved"}
    assert purge(inside, "--id", "CA2").code == 0
    lines = register.read_bytes().splitlines()
    assert [json.loads(line).get("purged") for line in lines] == ["CA1", None, "CA2", None]
    (inside.archive / ".bulkaudio" / "ledger.db").write_bytes(b"junk" * 2000)
    register.write_bytes(lines[0][:20] + b"\n" + b'{"purged":"CA3"}\n' + lines[2] + b"\n")
    refused = inside.run("rebuild", inside.archive)
    assert refused.code == 6
    assert "line 1" in refused.stderr
    forced = inside.run("rebuild", "--force", inside.archive, "--json")
    assert (forced.code, forced.summary["erased_conversations"]) == (0, 1)
    assert forced.summary["erasures_known"] is False
    assert statuses(inside.archive, "CA1") == {}
    assert statuses(inside.archive, "CA2") == ALL_PURGED
    page = inside.run("rebuild", "--force", inside.archive)
    assert "may be forgotten" in page.stdout
    quiet = inside.run("rebuild", "--force", "--quiet", inside.archive)
    assert (quiet.code, quiet.stdout) == (0, "")
    assert "may be forgotten" in quiet.stderr
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        notes = [inside.download(*WINDOW).summary["notes"] for _ in range(2)]
    assert ["may be fetched again" in str(each) for each in notes] == [True, False]


BROKEN = {
    "no_json": b"junk\n",
    "no_object": b"[]\n",
    "no_kind": b'{"burnt":"CA2"}\n',
    "no_id": b'{"purged":"../x","is_whole":true,"recordings":{},"at":"2026-11-01T00:00:00Z"}\n',
    "no_time": b'{"purged":"CA2","is_whole":true,"recordings":{},"at":"soon"}\n',
    "no_sides": b'{"purged":"CA2","is_whole":true,"recordings":{"left":[]},"at":"2026-11-01T00:00:00Z"}\n',
    "no_words": b'{"held":"CA2"}\n',
    "endless": b'"' + b"x" * 40_000 + b"\n",
}


def test_every_line_that_nobody_wrote_is_noticed(small: Inside) -> None:
    """None of them is taken for another, and none ends a rebuild as a bug."""
    register = small.archive / ".bulkaudio" / "tombstones.jsonl"
    for name, line in BROKEN.items():
        register.write_bytes(line)
        (small.archive / ".bulkaudio" / "ledger.db").write_bytes(b"junk" * 2000)
        refused = small.run("rebuild", small.archive)
        assert refused.code == 6, (name, refused.stderr)
        assert "tombstones.jsonl" in refused.stderr, name
        forced = small.run("rebuild", "--force", small.archive)
        assert forced.code == 0, (name, forced.stderr)
        assert statuses(small.archive, "CA1") == {"combined": "saved"}
    register.unlink()
    register.symlink_to(small.folder / "elsewhere")
    assert small.run("rebuild", "--force", small.archive).code == 6
    assert purge(small, "--id", "CA1").code == 6
    assert not (small.folder / "elsewhere").exists()
    assert statuses(small.archive, "CA1") == {"combined": "saved"}
    assert (small.archive / "combined" / "CA1.wav").exists()
    register.unlink()
    assert purge(small, "--id", "CA1").code == 0
    assert wavs(small.archive) == {}


def test_tombstones_bind_an_archive(inside: Inside) -> None:
    """One that holds nothing else is not begun anew for another agent."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        csv = write_csv(inside.folder / "calls.csv", ["CA1"])
        assert inside.download("--csv", csv).code == 0
        assert purge(inside, "--id", "CA1").code == 0
        other = ("--agent", "OTHER", "--region", "uk", "--out", inside.archive)
        assert inside.run("download", "--csv", csv, *other).code == 2
    assert statuses(inside.archive, "CA1") == {"combined": "purged"}


def test_a_ledger_of_before(inside: Inside) -> None:
    """It is migrated with its rows and indexes, and its copy goes with the first erasure."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
    before = ledger_rows(inside.archive)
    path = inside.archive / ".bulkaudio" / "ledger.db"
    as_of_version_1(path)
    assert inside.run("status", inside.archive).code == 0
    looked = inside.run("doctor", "--out", inside.archive, "--json").summary["checks"]
    assert ("archive.ledger", "ok") in [(each["name"], each["status"]) for each in looked]
    assert not list(path.parent.glob("*.bak")), "a look migrates a copy of its own"
    assert inside.run("verify", "--repair", inside.archive).code == 0
    assert ledger_rows(inside.archive) == before
    [copy] = path.parent.glob("*.bak")
    with closing(sqlite3.connect(path)) as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = {row[0] for row in ledger.execute("SELECT name FROM sqlite_master")}
        assert "unsettled" in names
    assert purge(inside, "--id", "CA1").summary["ledger_copies"] == [copy.name]
    assert traces(inside.archive, "CA1") == {}


def as_of_version_1(path: Path) -> None:
    """Make a ledger what it was before anything could be erased."""
    with closing(sqlite3.connect(path, isolation_level=None)) as ledger:
        ledger.execute("ALTER TABLE recordings DROP COLUMN purged_at")
        [table] = ledger.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'recordings'"
        ).fetchone()
        old = table.replace(", 'purged'", "").replace('"recordings"', "old", 1)
        ledger.execute(old)
        ledger.execute("INSERT INTO old SELECT * FROM recordings")
        ledger.execute("DROP TABLE recordings")
        ledger.execute("ALTER TABLE old RENAME TO recordings")
        ledger.execute(
            "CREATE INDEX unsettled ON recordings (id) "
            "WHERE status IN ('open', 'failed', 'deferred')"
        )
        ledger.execute("DROP TABLE tombstones")
        ledger.execute("DROP TABLE holds")
        ledger.execute("PRAGMA user_version = 1")


def test_links_and_folders_under_the_names(inside: Inside) -> None:
    """Of a link only the link goes; a folder is nobody's recording and stays."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
    outside = inside.folder / "outside.wav"
    outside.write_bytes(b"elsewhere")
    linked, folder = (inside.archive / side / "CA1.wav" for side in ("user", "agent"))
    for path in (linked, folder):
        path.unlink()
    linked.symlink_to(outside)
    folder.mkdir()
    assert purge(inside, "--id", "CA1").code == 0
    assert outside.read_bytes() == b"elsewhere"
    assert not linked.is_symlink()
    assert folder.is_dir()


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": ((), "--older-than"),
    "three": (("--id", "CA1", "--resume"), "either"),
    "sides_of_the_rest": (("--resume", "--direction", "user"), "--direction"),
    "both": (("--id", "CA1", "--older-than", "13mo"), "either"),
    "no_id": (("--id", "../CA1"), "no conversation id"),
    "minutes": (("--older-than", "13m"), "13mo"),
    "future": (("--older-than", "2099-01-01"), "past"),
    "zone": (("--older-than", "1d", "--tz", "Nowhere/City"), "time zone"),
    "no_file": (("--ids", "--yes"), "--ids"),
    "missing_file": (("--ids", "nowhere.csv"), "nowhere.csv"),
    "contradiction": (("--id", "CA1", "--dry-run"), "contradict"),
    "receipt_over_ledger": (
        ("--id", "CA1", "--receipt", "archive/.bulkaudio/ledger.db"),
        "--receipt",
    ),
    "receipt_over_metadata": (
        ("--id", "CA1", "--receipt", "archive/metadata/CA1.json"),
        "--receipt",
    ),
    "long_reason": (("--id", "CA1", "--reason", "x" * 501), "--reason"),
}


@pytest.fixture
def small(inside: Inside) -> Inside:
    """Return the program with an archive of one recording."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        csv = write_csv(inside.folder / "calls.csv", ["CA1"])
        assert inside.download("--csv", csv).code == 0
    return inside


def test_what_makes_no_sense_is_refused_before_anything_is_touched(small: Inside) -> None:
    """Exit code 2, with the option named; and not a byte is gone."""
    before = wavs(small.archive)
    (small.folder / "bad.csv").write_text("conversation_id\nCA1\nnot an id\n")
    cases = REFUSED | {"bad_row": (("--ids", "bad.csv"), "line 3")}
    for name, (words, said) in cases.items():
        done = small.run("purge", small.archive, "--yes", *words)
        assert (done.code, done.stdout) == (2, ""), (name, done.stderr)
        assert said in done.stderr, (name, done.stderr)
    assert small.run("purge", small.folder, "--id", "CA1", "--yes").code == 2
    assert wavs(small.archive) == before
    assert statuses(small.archive, "CA1") == {"combined": "saved"}
    for words in (("add",), ("list", "CA1"), ("add", "../x"), ("drop", "CA1")):
        assert small.run("hold", small.archive, *words).code == 2
    assert (
        "bulkaudio hold ARCHIVE and one of: add, remove, list" in small.run("hold", "list").stderr
    )


def test_a_receipt_that_cannot_be_kept_comes_before_the_deed(small: Inside) -> None:
    """What cannot be put on record is not erased; what is, is its owner's alone."""
    (small.folder / "taken").mkdir()
    done = purge(small, "--id", "CA1", "--receipt", "taken")
    assert (done.code, done.summary["error"]["kind"]) == (6, "StorageError")
    assert statuses(small.archive, "CA1") == {"combined": "saved"}
    before = os.umask(0)
    try:
        done = purge(small, "--id", "CA1", "--receipt", "receipt.json", "--reason", "case 3")
    finally:
        os.umask(before)
    path = small.folder / "receipt.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    receipt = json.loads(path.read_text())
    assert receipt == {
        **receipt,
        "schema": "bulkaudio.purge/1",
        "reason": "case 3",
        "dry_run": False,
        "directions": "all",
        "erased": [{"id": "CA1", "directions": ["combined"], "known": True}],
        "recordings": 1,
    }
    assert receipt["who"]
    told = done.summary
    assert receipt == {name: told[name] for name in told if name != "erased_truncated"}


def test_no_variable_decides_what_is_erased(small: Inside) -> None:
    """What is set for the nightly job would, and --yes could be set as well."""
    small.env("BULKAUDIO_YES", "true")
    small.env("BULKAUDIO_DIRECTION", "user")
    done = small.run("purge", small.archive, "--id", "CA1", "--json")
    assert (done.summary["dry_run"], done.summary["directions"]) == (True, "all")


def test_a_run_that_holds_the_archive(small: Inside) -> None:
    """Nothing is erased under it: exit code 75, for holding as well."""
    with ArchiveLock(small.archive / ".bulkaudio" / "lock"):
        for words in (
            ("purge", small.archive, "--id", "CA1", "--yes"),
            ("hold", small.archive, "add", "CA1"),
            ("hold", small.archive, "list"),
        ):
            done = small.run(*words)
            assert done.code == 75
            assert "another run holds" in done.stderr
    assert statuses(small.archive, "CA1") == {"combined": "saved"}


def test_a_ledger_that_is_missing(small: Inside) -> None:
    """It is not begun anew, and nothing is erased by a guess."""
    (small.archive / ".bulkaudio" / "ledger.db").unlink()
    done = purge(small, "--id", "CA1")
    assert done.code == 6
    assert "rebuild" in done.stderr
    assert wavs(small.archive) == {"combined/CA1.wav": wav_of("CA1")}


def test_a_file_of_ids_that_is_not_there(inside: Inside) -> None:
    """The way out is one that the option has."""
    (inside.archive / ".bulkaudio").mkdir(parents=True)
    for words in (("purge", inside.archive), ("hold", inside.archive, "add")):
        done = inside.run(*words, "--ids", "nosuch.csv")
        assert done.code == 2
        assert "nosuch.csv cannot be read" in done.stderr
        assert "--csv" not in done.stderr


def test_files_of_a_call_that_nobody_knew_are_named(inside: Inside) -> None:
    """Somebody put them there; that they would go, and that they are gone, is said like anything else."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
    strays = [inside.archive / "metadata" / "CA8.json", inside.archive / "user" / "CA8.wav"]
    strays[0].write_text("{}")
    dry = inside.run("purge", inside.archive, "--id", "CA8")
    assert "To be erased: 1 metadata file of conversations not in this archive." in dry.stdout
    done = inside.run("purge", inside.archive, "--id", "CA8", "--yes")
    assert "Erased: 1 metadata file of conversations not in this archive." in done.stdout
    assert "are not the archive's: erase them where they are" in " ".join(done.stdout.split())
    for stray in strays:
        stray.write_bytes(b"")
    names = write_csv(inside.folder / "ids.csv", ["CA9", "CA7"])
    for stray in strays:
        stray.rename(stray.with_stem("CA7"))
    done = inside.run("purge", inside.archive, "--ids", names, "--yes")
    assert (
        "Erased: 1 file of audio and 1 metadata file of conversations not in this archive."
        in done.stdout
    )
    assert not list(inside.archive.rglob("CA7.*"))
    nothing = inside.run("purge", inside.archive, "--id", "CA6", "--yes")
    assert "Nothing to erase." in nothing.stdout
