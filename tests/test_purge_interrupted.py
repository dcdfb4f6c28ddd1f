"""An erasure that broke off: everybody says so, nobody finishes it unasked or in silence."""

import errno
import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.steps import Step
from bulkaudio.stores import erasing
from tests.erasing import IDS, SIDES, WINDOW, asked_for, fill, polyai, statuses, traces
from tests.inside import Inside
from tests.program import Done, wavs
from tests.wire import WireServer, in_thread

LEFT = {"conversations": 2, "recordings": 6, "held": 0}
"""One batch was written down, and two of its files are gone."""


@pytest.fixture
def server(inside: Inside) -> Iterator[WireServer]:
    """Serve the calls, all of which are archived."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
        server.heads.clear()
        yield server


def break_off(inside: Inside, *words: str, at: Step = Step.ERASE_REMOVE, number: int = 3) -> None:
    """Let the disk fail at the n-th step of an erasure of CA1 and CA3."""
    reached = 0

    def fail(step: Step) -> None:
        nonlocal reached
        reached += step is at
        if reached == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasing, "reach", fail)
        done = inside.run(
            "purge",
            inside.archive,
            "--id",
            "CA1",
            "--id",
            "CA3",
            "--yes",
            "--reason",
            "case 17",
            *words,
        )
    assert done.code == 6, done.stderr
    assert "--resume --yes" in done.stderr
    assert reached >= number


def looks(inside: Inside) -> Iterator[tuple[str, Done]]:
    """Run everything that only looks, as words."""
    root, out = inside.archive, ("--out", inside.archive)
    csv = inside.folder / "calls.csv"
    csv.write_text("conversation_id\nCA1\nCA2\n")
    commands: dict[str, tuple[str | Path, ...]] = {
        "status": ("status", root),
        "gaps": ("gaps", root),
        "report": ("report", root, "--output", inside.folder / "report.html"),
        "export": ("export", root, "--output", inside.folder / "export.csv"),
        "plan": ("plan", *out, "--csv", csv, "--direction", "all"),
        "verify": ("verify", root),
        "hold list": ("hold", root, "list"),
        "hold add": ("hold", root, "add", "CA9"),
        "dry run": ("purge", root, "--id", "CA2"),
    }
    for name, words in commands.items():
        yield name, inside.run(*words)


def left(inside: Inside, *words: str | Path) -> Any:
    """Return what a command's JSON says of it."""
    return inside.run(*words, "--json").summary["interrupted_erasure"]


def test_every_look_tells_and_none_deletes(inside: Inside, server: WireServer) -> None:
    """With the number of recordings, and the command that finishes it."""
    break_off(inside)
    before = wavs(inside.archive)
    assert len(before) == 10
    for name, done in looks(inside):
        said = " ".join((done.stdout + done.stderr).split())
        assert "6 recordings of 2 conversations that count as erased may still" in said, name
        assert "--resume --yes" in said, name
        assert done.code == 0, (name, done.stderr)
    root = inside.archive
    assert "support-CA1" not in inside.run("gaps", root, "--json").stdout
    for words in (("status", root), ("gaps", root), ("verify", root)):
        assert left(inside, *words) == LEFT, words
    assert left(inside, "report", root, "--output", "report.html") == LEFT
    assert left(inside, "plan", "--out", root, "--csv", "calls.csv") == LEFT
    assert left(inside, "purge", root, "--id", "CA2") == LEFT
    assert inside.run("verify", root, "--json").summary["unknown_count"] == 0
    doctor = inside.run("doctor", "--out", root, "--json").summary
    [ledger] = [each for each in doctor["checks"] if each["name"] == "archive.ledger"]
    assert ledger["status"] == "warn"
    assert "6 recordings of 2 conversations" in json.dumps(ledger)
    dry = inside.run("purge", root, "--resume", "--json").summary
    assert (dry["dry_run"], dry["conversations"], dry["recordings"]) == (True, 2, 6)
    assert [each["id"] for each in dry["erased"]] == ["CA1", "CA3"]
    assert wavs(inside.archive) == before
    assert inside.run("hold", root, "remove", "CA9").code == 0
    assert wavs(inside.archive) == before
    assert "--resume --yes" in (inside.folder / "report.html").read_text()
    assert not {id_ for id_, _ in asked_for(server)} & set(IDS)


def test_a_download_finishes_it_and_says_so(inside: Inside, server: WireServer) -> None:
    """In a line, in the summary and in the log; and asks for none of it."""
    break_off(inside)
    log = inside.folder / "log.jsonl"
    words = (
        "--direction",
        "all",
        "--metadata",
        "full",
        "--log-format",
        "json",
        "--log-file",
        str(log),
    )
    done = inside.download(*WINDOW, *words)
    assert done.code == 0
    [line] = [line for line in done.stderr.splitlines() if "interrupted erasure" in line]
    assert "6 recordings and 2 metadata files of 2 conversations" in line
    told = done.summary["erasure_finished"]
    assert (told["conversations"], told["recordings"], told["held"]) == (2, 6, 0)
    assert (told["ids"], told["reason"]) == (["CA1", "CA3"], "case 17")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    [event] = [each for each in events if each["event"] == "erasure_finished"]
    assert (event["ids"], event["recordings"], event["level"]) == (["CA1", "CA3"], 6, "warning")
    assert asked_for(server) == set()
    for id_ in ("CA1", "CA3"):
        assert traces(inside.archive, id_) == {}
    assert left(inside, "status", inside.archive) is None
    again = inside.download(*WINDOW, "--direction", "all")
    assert again.summary["erasure_finished"] is None
    assert "interrupted" not in again.stderr


def test_the_rest_on_demand_has_a_receipt(inside: Inside, server: WireServer) -> None:
    """With who ordered it, and when; what the erasure had not come to is whole."""
    del server
    break_off(inside)
    done = inside.run("purge", inside.archive, "--resume", "--yes", "--receipt", "rest.json")
    assert done.code == 0
    assert "Erased: 6 recordings" in done.stdout
    assert "an interrupted erasure's, which is finished now" in " ".join(done.stdout.split())
    assert done.stderr == ""
    receipt = json.loads((inside.folder / "rest.json").read_text())
    assert [(each["id"], each["resumed"]) for each in receipt["erased"]] == [
        ("CA1", True),
        ("CA3", True),
    ]
    assert receipt["erased"][0]["directions"] == sorted(SIDES)
    assert (receipt["resume"], receipt["resumed"]["reason"]) == (True, "case 17")
    assert (receipt["recordings"], receipt["metadata_files"]) == (6, 2)
    for id_ in ("CA1", "CA3"):
        assert traces(inside.archive, id_) == {}
    again = inside.run("purge", inside.archive, "--resume", "--yes", "--json")
    assert (again.code, again.summary["resumed"], again.summary["erased"]) == (0, None, [])
    assert "Nothing to erase" in inside.run("purge", inside.archive, "--resume", "--yes").stdout


def test_the_next_erasure_finishes_it_first(inside: Inside, server: WireServer) -> None:
    """Both are in its receipt, told apart."""
    del server
    break_off(inside)
    done = inside.run("purge", inside.archive, "--id", "CA2", "--yes", "--json")
    told = done.summary
    [line] = done.stderr.splitlines()
    assert "An interrupted erasure was finished: 6 recordings and 2 metadata files" in line
    flags = {each["id"]: each.get("resumed", False) for each in told["erased"]}
    assert flags == {"CA1": True, "CA3": True, "CA2": False}
    assert (told["conversations"], told["recordings"], told["resumed"]["recordings"]) == (3, 9, 6)
    assert told["interrupted_erasure"] is None
    assert set(wavs(inside.archive)) == {f"{side}/CA4.wav" for side in SIDES}


def test_what_only_the_ledger_still_knows(inside: Inside, server: WireServer) -> None:
    """Broken off when every file was gone: told as that, and finished as well."""
    del server
    state = inside.archive / ".bulkaudio"
    (state / "ledger.db.v1.20260101T000000000000.bak").write_bytes(
        (state / "ledger.db").read_bytes()
    )
    break_off(inside, at=Step.ERASE_COPY, number=1)
    assert left(inside, "status", inside.archive) == dict.fromkeys(LEFT, 0)
    assert "files are gone" in inside.run("status", inside.archive).stdout
    dry = inside.run("purge", inside.archive, "--resume")
    assert "Nothing to erase but what the ledger tells." in dry.stdout
    assert "0 recordings" not in dry.stdout
    done = inside.download(*WINDOW, "--direction", "all")
    assert "the files were gone already" in done.stderr
    assert traces(inside.archive, "CA1") == {}


def test_a_hold_that_comes_in_between(inside: Inside, server: WireServer) -> None:
    """It comes too late for what is gone, says so, and keeps the rest until it is taken off."""
    break_off(inside)
    before = wavs(inside.archive)
    kept = {name for name in before if "CA3" in name}
    assert len(kept) == 3
    added = inside.run("hold", inside.archive, "add", "CA3", "--reason", "dispute 4", "--json")
    assert (added.code, added.summary["held"], added.summary["half_erased"]) == (3, 1, ["CA3"])
    words = inside.run("hold", inside.archive, "add", "CA3", "--reason", "dispute 4")
    assert "half erased" in words.stdout
    assert left(inside, "status", inside.archive) == LEFT | {"held": 1}
    done = inside.download(*WINDOW, "--direction", "all", "--metadata", "full")
    assert done.code == 0
    assert (done.summary["erasure_finished"]["ids"], done.summary["erasure_finished"]["held"]) == (
        ["CA1"],
        1,
    )
    assert asked_for(server) == set()
    assert {name for name in wavs(inside.archive) if "CA3" in name} == kept
    assert traces(inside.archive, "CA1") == {}
    only = {"conversations": 1, "recordings": 3, "held": 1}
    assert left(inside, "status", inside.archive) == only
    # Night after night nothing is said to be finished that is not.
    assert inside.download(*WINDOW, "--direction", "all").summary["erasure_finished"] is None
    for words_ in (("--resume",), ("--id", "CA3")):
        refused = inside.run("purge", inside.archive, *words_, "--yes", "--json")
        assert (refused.code, refused.summary["held"][0]["id"]) == (3, "CA3"), words_
    other = inside.run("purge", inside.archive, "--id", "CA2", "--yes", "--json")
    assert (other.code, other.summary["interrupted_erasure"]) == (0, only)
    assert traces(inside.archive, "CA2") == {}
    (inside.archive / ".bulkaudio" / "ledger.db").unlink()
    assert inside.run("rebuild", inside.archive, "--json").summary["condemned"] == 3
    fill(inside)
    assert {name for name in wavs(inside.archive) if "CA3" in name} == kept
    assert left(inside, "status", inside.archive) == only
    assert inside.run("hold", inside.archive, "remove", "CA3").code == 0
    assert inside.run("purge", inside.archive, "--resume", "--yes").code == 0
    assert traces(inside.archive, "CA3") == {}
    assert statuses(inside.archive, "CA3") == dict.fromkeys(SIDES, "purged")
    assert left(inside, "status", inside.archive) is None
    assert asked_for(server) == set()
    assert set(IDS) - {"CA1", "CA2", "CA3"} == {Path(name).stem for name in wavs(inside.archive)}


@pytest.mark.usefixtures("server")
def test_a_rebuild_keeps_the_order(inside: Inside) -> None:
    """Whoever finishes the erasure tells who had wanted it, when and why, not who rebuilt."""
    break_off(inside)
    register = inside.archive / ".bulkaudio" / "tombstones.jsonl"
    ordered = json.loads(register.read_text().splitlines()[-1])
    assert ordered["reason"] == "case 17"
    (inside.archive / ".bulkaudio" / "ledger.db").unlink()
    assert inside.run("rebuild", inside.archive).code == 0
    told = inside.download(*WINDOW, "--direction", "all").summary["erasure_finished"]
    assert (told["who"], told["reason"]) == (ordered["who"], ordered["reason"])
    assert datetime.fromisoformat(ordered["at"]) - datetime.fromisoformat(
        told["ordered_at"]
    ) < timedelta(milliseconds=1)


@pytest.mark.usefixtures("server")
def test_a_rebuild_knows_the_last_of_several_orders(inside: Inside) -> None:
    """Also where no file is left of it, but copies of older ledgers, which know too much."""
    copies = inside.archive / ".bulkaudio" / "ledger.db.20261101T000000Z.old"
    copies.write_bytes(b"an older one")

    def fail(step: Step) -> None:
        if step is Step.ERASE_COPY:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasing, "reach", fail)
        for id_, reason in (("CA1", "case 16"), ("CA3", "case 17")):
            words = ("--id", id_, "--yes", "--reason", reason)
            assert inside.run("purge", inside.archive, *words).code == 6
    (inside.archive / ".bulkaudio" / "ledger.db").unlink()
    assert inside.run("rebuild", inside.archive).code == 0
    done = inside.download(*WINDOW, "--direction", "all")
    assert done.summary["erasure_finished"]["reason"] == "case 17"
    assert not copies.exists()


@pytest.mark.usefixtures("server")
def test_quiet_hides_no_erasure_that_broke_off(inside: Inside) -> None:
    """It is a warning, in one line on stderr, where nothing else is to be told."""
    break_off(inside)
    for command in ("gaps", "verify", "report"):
        done = inside.run(command, inside.archive, "--quiet")
        assert (done.code, done.stdout) == (0, ""), command
        assert done.stderr.count("\n") == 1
        assert "warning: An erasure was interrupted" in done.stderr
