"""Receipts of erasures, given back as what names the conversations; nothing more is erased by one."""

import json
import os
import shutil
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bulkaudio.sources.receipt import MOST_BYTES
from tests.erasing import IDS, SIDES, WINDOW, asked_for, fill, filled, polyai, statuses, traces
from tests.inside import Inside
from tests.program import wavs
from tests.test_purge_interrupted import break_off
from tests.wire import WireServer, in_thread

SCHEMA = "bulkaudio.purge/1"


def written(inside: Inside, *words: str | Path) -> Path:
    """Erase, and return the receipt."""
    path = inside.folder / "receipt.json"
    done = inside.run("purge", inside.archive, "--receipt", path, *words)
    assert done.code == 0, done.stderr
    return path


def made(inside: Inside, **changes: Any) -> Path:
    """Write a receipt by hand."""
    entry = {"id": "CA1", "directions": list(SIDES), "known": True}
    usual = {"schema": SCHEMA, "dry_run": False, "directions": "all", "erased": [entry]}
    path = inside.folder / "made.json"
    path.write_text(json.dumps(usual | changes))
    return path


def begun(inside: Inside) -> None:
    """Fill the archive."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)


def test_what_a_rebuild_forgot_is_erased_again_by_its_receipt(inside: Inside) -> None:
    """As the reminder says; no later run fetches any of it."""
    with in_thread(WireServer(polyai())) as server:
        inside.reach(server)
        fill(inside)
        backup = inside.folder / "backup"
        shutil.copytree(inside.archive, backup)
        receipt = written(inside, "--id", "CA1", "--id", "CA3", "--id", "CA9", "--yes")
        shutil.rmtree(inside.archive)
        backup.rename(inside.archive)
        shutil.rmtree(inside.archive / ".bulkaudio")
        assert inside.run("rebuild", inside.archive).code == 0
        dry = inside.run("purge", inside.archive, "--ids", receipt, "--json")
        assert (dry.code, dry.summary["conversations"]) == (0, 2)
        assert len(wavs(inside.archive)) == len(IDS) * len(SIDES)
        done = inside.run("purge", inside.archive, "--ids", receipt, "--yes", "--json")
        assert (done.code, done.summary["conversations"]) == (0, 2), done.stderr
        assert done.summary["unknown"] == ["CA9"]
        assert not traces(inside.archive, "CA1")
        assert set(statuses(inside.archive, "CA3").values()) == {"purged"}
        assert len(wavs(inside.archive)) == 2 * len(SIDES)
        server.heads.clear()
        assert inside.download(*WINDOW, "--direction", "all").code == 0
        assert asked_for(server) == set()


@pytest.mark.parametrize("change", ["line", "indented", "marked"])
def test_a_receipt_in_another_dress(inside: Inside, change: str) -> None:
    """The line of --json, what a person has laid out, and what an editor has put a mark before."""
    begun(inside)
    done = inside.run("purge", inside.archive, "--id", "CA1", "--json")
    receipt = inside.folder / "a receipt"
    text = {
        "line": done.stdout,
        "indented": json.dumps(done.summary, indent=4),
        "marked": "\ufeff\n " + done.stdout,
    }[change]
    receipt.write_text(text)
    held = inside.run("hold", inside.archive, "add", "--ids", receipt)
    assert (held.code, held.stdout) == (0, "1 conversation held.\n"), held.stderr
    assert inside.run("purge", inside.archive, "--ids", receipt).code == 3
    assert inside.run("hold", inside.archive, "remove", "--ids", receipt).code == 0
    assert inside.run("purge", inside.archive, "--ids", receipt).code == 0


def test_sides_are_those_of_the_receipt(inside: Inside) -> None:
    """Who erased one side is not to lose the others by it; fewer may go, if that is said."""
    begun(inside)
    words = ("--direction", "user", "--direction", "agent")
    receipt = written(inside, "--id", "CA1", *words)
    for others in ((), ("--direction", "user"), ("--direction", "all")):
        refused = inside.run("purge", inside.archive, "--ids", receipt, *others)
        assert refused.code == 2
        assert "the receipt of an erasure of some sides only" in refused.stderr
        assert "Fix: add --direction user --direction agent\n" in refused.stderr
    again = words[2:] + words[:2]
    assert inside.run("purge", inside.archive, "--ids", receipt, *again).code == 0
    held = inside.run("hold", inside.archive, "add", "--ids", receipt)
    assert held.code == 0
    assert inside.run("hold", inside.archive, "remove", "--ids", receipt).code == 0
    whole = made(inside)
    done = inside.run("purge", inside.archive, "--ids", whole, "--direction", "user", "--yes")
    assert done.code == 0
    assert statuses(inside.archive, "CA1") == {
        "combined": "saved",
        "user": "purged",
        "agent": "saved",
    }


def test_a_receipt_of_nothing_erases_nothing(inside: Inside) -> None:
    """What was only looked at may be what somebody decided against."""
    begun(inside)
    before = wavs(inside.archive)
    receipt = written(inside, "--id", "CA1")
    refused = inside.run("purge", inside.archive, "--id", "CA2", "--ids", receipt, "--yes")
    assert refused.code == 2
    assert "the receipt of a purge without --yes: nothing of it was erased" in refused.stderr
    assert wavs(inside.archive) == before


UNFIT: dict[str, dict[str, Any]] = {
    "another_schema": {"schema": "bulkaudio.hold/1"},
    "no_schema": {"schema": None},
    "no_entries": {"erased": None},
    "no_ids": {"erased": [{"directions": ["user"]}]},
    "no_id": {"erased": [{"id": "../x", "directions": ["user"]}]},
    "a_number": {"erased": [{"id": 7, "directions": ["user"]}]},
    "no_objects": {"erased": ["CA1"]},
    "no_side": {"directions": ["left"]},
    "no_sides": {"directions": 1},
}


@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.parametrize("command", ["purge", "hold"])
def test_what_is_no_receipt(inside: Inside, command: str, name: str) -> None:
    """It is refused as a whole."""
    (inside.archive / ".bulkaudio").mkdir(parents=True)
    assert inside.run("rebuild", inside.archive).code == 0
    path = made(inside, **UNFIT[name])
    words = ("add",) if command == "hold" else ()
    refused = inside.run(command, inside.archive, *words, "--ids", path)
    assert refused.code == 2
    assert "is JSON, and no whole receipt of a purge (bulkaudio.purge/1)" in refused.stderr
    assert "Fix: give the file that purge --receipt wrote, or a CSV of ids" in refused.stderr


def test_half_a_receipt_and_several(inside: Inside) -> None:
    """A file that was cut off, lines one after the other, a line that names the first hundred."""
    begun(inside)
    text = made(inside).read_text()
    path = inside.folder / "other.json"
    for content in (text[:-9], f"{text}\n{text}\n", "{" * 100_000, '{"a":'):
        path.write_text(content)
        refused = inside.run("purge", inside.archive, "--ids", path)
        assert refused.code == 2
        assert "no whole receipt" in refused.stderr
    cut = made(inside, erased_truncated=True)
    refused = inside.run("hold", inside.archive, "add", "--ids", cut)
    assert refused.code == 2
    assert "names only the first 1 of the conversations" in refused.stderr
    assert "purge --receipt wrote" in refused.stderr
    assert inside.run("hold", inside.archive, "list").stdout == "Nothing is held.\n"


def test_one_that_is_too_large(inside: Inside) -> None:
    """It is not read into memory; a list of any size is."""
    begun(inside)
    path = made(inside)
    os.truncate(path, MOST_BYTES + 1)
    refused = inside.run("purge", inside.archive, "--ids", path)
    assert refused.code == 2
    assert "is JSON of more than 1 GiB" in refused.stderr
    assert "CSV" in refused.stderr


def test_an_order_within_another(inside: Inside) -> None:
    """Sides of what was interrupted are not the receipt's, nor told whole."""
    begun(inside)
    break_off(inside, "--direction", "user", number=1)
    receipt = written(inside, "--id", "CA2", "--yes")
    refused = inside.run("purge", inside.archive, "--ids", receipt)
    assert refused.code == 2
    assert "names 2 of an interrupted erasure, such as CA1" in refused.stderr
    sides = inside.run("purge", inside.archive, "--ids", receipt, "--direction", "user")
    assert sides.code == 0
    assert inside.run("hold", inside.archive, "add", "--ids", receipt).code in {0, 3}


def test_a_pipe_and_what_cannot_be_read(inside: Inside) -> None:
    """A pipe gives what it has only once; of anything else the usual is said."""
    begun(inside)
    pipe = inside.folder / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_text, args=("conversation_id\nCA1\n",))
    writer.start()
    done = inside.run("purge", inside.archive, "--ids", pipe, "--json")
    writer.join()
    assert (done.code, done.summary["conversations"]) == (0, 1), done.stderr
    missing = inside.run("purge", inside.archive, "--ids", inside.folder / "none.csv")
    assert (missing.code, "cannot be read: No such file" in missing.stderr) == (2, True)
    folder = inside.run("purge", inside.archive, "--ids", inside.archive)
    assert (folder.code, "is a folder" in folder.stderr) == (2, True)


def test_no_receipt_takes_the_place_of_another(inside: Inside) -> None:
    """Not by a look, nor by the same line once more: nobody could write the first one again."""
    with filled(inside):
        file = inside.folder / "receipt.json"
        for is_acting in (False, True):
            words = ("--id", "CA1", "--receipt", file)
            done = inside.run("purge", inside.archive, *words, *(["--yes"] if is_acting else []))
            assert done.code == 0, done.stderr
        written = file.read_bytes()
        for again in (("--id", "CA2"), ("--id", "CA2", "--yes"), ("--ids", file, "--yes")):
            refused = inside.run("purge", inside.archive, *again, "--receipt", file)
            assert refused.code == 2
            assert f"{file} is the receipt of an earlier erasure" in refused.stderr
        assert file.read_bytes() == written
        assert (inside.archive / "user" / "CA2.wav").exists()
