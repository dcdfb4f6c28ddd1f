"""A register that was lost or cut while the ledger is there: named, and written anew by the ledger."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bulkaudio import archive, registered
from bulkaudio.steps import Step
from bulkaudio.stores import register
from tests.erasing import WINDOW, asked_for, fill, filled
from tests.inside import Inside
from tests.test_purge_interrupted import break_off
from tests.test_returned import copy_of
from tests.wire import WireServer

Spoils = Callable[[Path], object]


def cut(path: Path) -> None:
    """Leave its first line, as a copy from an earlier day has it."""
    path.write_text(path.read_text().splitlines(keepends=True)[0])


def garble(path: Path) -> None:
    """Change one letter of each line but the first."""
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text(first + "".join(line.replace("{", "[", 1) for line in others))


SPOILS = {
    "gone": Path.unlink,
    "cut": cut,
    "empty": lambda path: path.write_text(""),
    "garbled": garble,
}


@pytest.fixture
def server(inside: Inside) -> Iterator[WireServer]:
    """Serve the calls that an archive was filled with; two are erased, and one is held."""
    with filled(inside) as server:
        for words in (("--id", "CA1"), ("--id", "CA2", "--direction", "user")):
            assert inside.run("purge", inside.archive, "--yes", *words).code == 0
        held = inside.run("hold", inside.archive, "add", "--id", "CA3", "--reason", "dispute 7")
        assert held.code == 0
        yield server


def register_of(inside: Inside) -> Path:
    """Return its path."""
    return inside.archive / ".bulkaudio" / "tombstones.jsonl"


def lose_ledger(inside: Inside) -> dict[str, object]:
    """Lose it, make it anew, and return what that learnt."""
    for path in (inside.archive / ".bulkaudio").glob("ledger.db*"):
        path.unlink()
    rebuilt = inside.run("rebuild", inside.archive, "--json")
    assert rebuilt.code == 0, rebuilt.stderr
    return rebuilt.summary


def ledger_check(inside: Inside) -> str:
    """Return how a diagnosis judges the ledger."""
    checks = inside.run("doctor", "--out", inside.archive, "--json").summary["checks"]
    [found] = [each["status"] for each in checks if each["name"] == "archive.ledger"]
    return str(found)


def nothing_is_forgotten(inside: Inside, server: WireServer) -> None:
    """A ledger made anew knows what was erased, so that nothing of it is fetched, and what is held."""
    learnt = lose_ledger(inside)
    assert (
        learnt["erased_conversations"],
        learnt["held_conversations"],
        learnt["erasures_known"],
    ) == (2, 1, True)
    server.heads.clear()
    fill(inside)
    assert asked_for(server) == set()
    held = inside.run("hold", inside.archive, "list", "--json").summary["holds"]
    assert [(each["id"], each["reason"]) for each in held] == [("CA3", "dispute 7")]
    refused = inside.run("purge", inside.archive, "--id", "CA3", "--yes")
    assert refused.code == 3


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_verify_names_it_and_repairs_it(inside: Inside, server: WireServer, spoil: Spoils) -> None:
    """Exit 7 with how much of what is lacking; nothing is changed without --repair."""
    whole = inside.run("verify", inside.archive, "--json")
    assert (whole.code, whole.summary["manifest_faults"]) == (0, [])
    path = register_of(inside)
    spoil(path)
    before = path.read_bytes() if path.exists() else None
    assert ledger_check(inside) == ("ok" if spoil is garble else "warn")
    found = inside.run("verify", inside.archive, "--json")
    assert found.code == 7
    lacking, *spoilt = found.summary["manifest_faults"]
    assert lacking.startswith("tombstones.jsonl lacks ")
    assert "1 held conversation" in lacking
    assert spoilt == (["4 lines of tombstones.jsonl cannot be read"] if spoil is garble else [])
    page = inside.run("verify", inside.archive)
    assert page.code == 7
    assert "--repair" in page.stdout
    assert (path.read_bytes() if path.exists() else None) == before
    repaired = inside.run("verify", inside.archive, "--repair", "--json")
    assert (repaired.code, repaired.summary["manifest_told_anew"]) == (0, True)
    assert ledger_check(inside) == "ok"
    again = inside.run("verify", inside.archive, "--json")
    assert (again.code, again.summary["manifest_faults"]) == (0, [])
    nothing_is_forgotten(inside, server)


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_a_run_writes_it_anew_and_says_so(
    inside: Inside, server: WireServer, spoil: Spoils
) -> None:
    """Nobody has to have looked before the ledger is lost as well."""
    spoil(register_of(inside))
    done = inside.download(*WINDOW)
    assert done.code == 0
    assert "tombstones.jsonl lacks " in done.stderr
    assert "lacks" not in inside.download(*WINDOW).stderr
    # By now the ledger remembers how large it was.
    assert ledger_check(inside) == "ok"
    whole = register_of(inside).read_bytes()
    cut(register_of(inside))
    assert ledger_check(inside) == "warn"
    register_of(inside).write_bytes(whole)
    nothing_is_forgotten(inside, server)


@pytest.mark.usefixtures("server")
def test_what_is_written_anew_is_what_the_ledger_knows(inside: Inside) -> None:
    """Starts, first sights and the time of the erasure; who ordered it, no ledger keeps."""
    path = register_of(inside)
    before = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    assert inside.run("verify", inside.archive, "--repair").code == 0
    after = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = [next(kind for kind in ("purged", "held", "cleaned") if kind in line) for line in after]
    assert kinds == ["purged", "purged", "held", "cleaned"]
    old = {line["purged"]: line for line in before if "purged" in line}
    for line in after[:2]:
        told = old[line["purged"]]
        assert (line["is_whole"], line["recordings"]) == (told["is_whole"], told["recordings"])
        assert told["at"] <= line["at"] <= before[-1]["at"]
        assert line["who"] == "not known"
    assert {**after[2], "told_at": None} == {**before[-1], "told_at": None}


@pytest.mark.usefixtures("server")
def test_a_released_hold_stays_released(inside: Inside) -> None:
    """The register's last word on a call counts, and the ledger's is the same."""
    for action in ("remove", "add", "remove"):
        assert inside.run("hold", inside.archive, action, "--id", "CA3").code == 0
    assert inside.run("verify", inside.archive).code == 0
    path = register_of(inside)
    lines = path.read_text()
    assert inside.download(*WINDOW).code == 0
    assert path.read_text() == lines
    path.unlink()
    assert inside.download(*WINDOW).code == 0
    assert lose_ledger(inside)["held_conversations"] == 0


@pytest.mark.parametrize("is_gone", [True, False])
def test_an_erasure_that_was_killed_before_it_told_is_no_loss(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, *, is_gone: bool
) -> None:
    """Nothing of it is done yet; whatever opens the archive tells of it, and it goes on as ordered."""

    def fail(step: Step) -> None:
        if step is Step.REGISTER_WRITE:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with filled(inside):
        assert inside.run("purge", inside.archive, "--yes", "--id", "CA2").code == 0
        with monkeypatch.context() as patch:
            patch.setattr(register, "reach", fail)
            words = ("--id", "CA1", "--yes", "--reason", "case 18")
            assert inside.run("purge", inside.archive, *words).code == 6
        if is_gone:
            register_of(inside).unlink()
        looked = inside.run("verify", inside.archive, "--json")
        assert looked.code == (7 if is_gone else 0)
        lacking = ["tombstones.jsonl lacks 1 erased conversation that the ledger knows"]
        assert looked.summary["manifest_faults"] == (lacking if is_gone else [])
        assert looked.summary["interrupted_erasure"]["conversations"] == 1
        assert inside.run("verify", inside.archive, "--repair").code == 0
        assert lose_ledger(inside)["erased_conversations"] == 2
        finished = inside.download(*WINDOW).summary["erasure_finished"]
        assert (finished["ids"], finished["reason"]) == (["CA1"], "case 18")


def test_an_interrupted_erasure_goes_on_as_it_was_ordered(inside: Inside) -> None:
    """Also where the ledger is lost after the register was written anew."""
    with filled(inside):
        break_off(inside)
        register_of(inside).unlink()
        looked = inside.run("purge", inside.archive, "--id", "CA4")
        assert looked.code == 0
        assert not register_of(inside).exists()
        assert inside.run("verify", inside.archive, "--repair").code == 0
        learnt = lose_ledger(inside)
        assert learnt["condemned"]
        done = inside.download(*WINDOW)
        assert done.code == 0
        assert done.summary["erasure_finished"]["reason"] == "case 17"
        assert set(done.summary["erasure_finished"]["ids"]) <= {"CA1", "CA3"}


def test_a_line_that_is_told_anew_takes_no_order_along(inside: Inside) -> None:
    """Nor where only what is held since is left of it."""
    with filled(inside):
        assert inside.run("purge", inside.archive, "--yes", "--id", "CA2").code == 0
        break_off(inside)
        path = register_of(inside)
        first, *others = path.read_text().splitlines(keepends=True)
        path.write_text("".join([first.replace("{", "[", 1), *others]))
        assert inside.run("hold", inside.archive, "add", "--id", "CA3").code == 3
        assert inside.run("purge", inside.archive, "--resume", "--yes").code == 3
        path.unlink()
        assert inside.download(*WINDOW).code == 0
        lose_ledger(inside)
        assert inside.run("hold", inside.archive, "remove", "--id", "CA3").code == 0
        finished = inside.download(*WINDOW).summary["erasure_finished"]
        assert (finished["ids"], finished["reason"]) == (["CA3"], "case 17")


@pytest.mark.usefixtures("server")
def test_telling_that_breaks_off_orders_nothing(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next opening tells the rest, also that nothing is being erased."""
    register_of(inside).unlink()
    opened = 0

    def fail(step: Step) -> None:
        nonlocal opened
        opened += step is Step.REGISTER_OPEN
        if opened == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(register, "reach", fail)
        assert inside.download(*WINDOW).code == 6
    assert "cleaned" not in register_of(inside).read_text()
    for _ in range(2):
        assert inside.download(*WINDOW).code == 0
    assert register_of(inside).read_text().count('"cleaned"') == 1
    lose_ledger(inside)
    assert inside.download(*WINDOW).summary["erasure_finished"] is None


@pytest.mark.usefixtures("server")
def test_a_purge_of_nothing_frightens_no_diagnosis(inside: Inside) -> None:
    """A register that it has told anew may be shorter than the old one was."""
    for action in ("remove", "add", "remove", "add"):
        assert inside.run("hold", inside.archive, action, "--id", "CA3").code == 0
    assert inside.download(*WINDOW).code == 0
    register_of(inside).unlink()
    assert inside.run("purge", inside.archive, "--older-than", "3000d", "--yes").code == 0
    assert inside.run("verify", inside.archive).code == 0
    assert ledger_check(inside) == "ok"


def test_a_purge_without_room_leaves_it_to_the_next(
    inside: Inside, server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telling anew takes room, and what is erased gives some."""
    register_of(inside).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(archive, "ROOM_BYTES", 1 << 60)
        assert inside.run("purge", inside.archive, "--id", "CA4", "--yes").code == 0
    lines = [json.loads(line) for line in register_of(inside).read_text().splitlines()]
    assert [line.get("purged") for line in lines] == ["CA4", None]
    server.heads.clear()
    assert inside.download(*WINDOW).code == 0
    assert asked_for(server) == set()
    learnt = lose_ledger(inside)
    assert (learnt["erased_conversations"], learnt["held_conversations"]) == (3, 1)


@pytest.mark.usefixtures("server")
def test_a_register_of_somebody_elses(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root held a call by hand: who runs the nightly job hears whose the file is to be."""

    def refuse(name: str, folder_fd: int) -> int:
        del folder_fd
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    monkeypatch.setattr(register, "open_for_reading", refuse)
    for done in (inside.download(*WINDOW), inside.run("verify", inside.archive)):
        assert done.code == 6
        assert "tombstones.jsonl cannot be read by this user" in done.stderr
        assert f"sudo chown USER {register_of(inside)}" in done.stderr


def test_a_spoilt_line_of_equal_length(inside: Inside, server: WireServer) -> None:
    """Only who reads all of it can tell; the next change of the register is reason enough to."""
    assert inside.download(*WINDOW).code == 0
    garble(register_of(inside))
    assert inside.run("verify", inside.archive).code == 7
    assert inside.run("hold", inside.archive, "add", "--id", "CA4").code == 0
    assert "cannot be read" in inside.download(*WINDOW).stderr
    assert inside.run("hold", inside.archive, "remove", "--id", "CA4").code == 0
    nothing_is_forgotten(inside, server)


@pytest.mark.parametrize("act", ["download", "repair", "purge", "hold"])
def test_a_ledger_of_yesterday(inside: Inside, act: str) -> None:
    """Put back from a backup, it learns from the register what was erased and held since."""
    with filled(inside) as server:
        erased = copy_of(inside, "CA1") | copy_of(inside, "CA2")
        ledger = inside.archive / ".bulkaudio" / "ledger.db"
        backup = ledger.read_bytes()
        assert inside.run("purge", inside.archive, "--yes", "--id", "CA1").code == 0
        side = ("--id", "CA2", "--direction", "user")
        assert inside.run("purge", inside.archive, "--yes", *side).code == 0
        words = ("--id", "CA3", "--reason", "dispute 7")
        assert inside.run("hold", inside.archive, "add", *words).code == 0
        ledger.write_bytes(backup)
        found = inside.run("verify", inside.archive, "--json")
        assert found.code == 7
        assert found.summary["manifest_faults"] == [
            "the ledger lacks 2 erased conversations and 1 held conversation that tombstones.jsonl tells"
        ]
        server.heads.clear()
        match act:
            case "download":
                done = inside.download(*WINDOW, "--direction", "all", "--metadata", "full")
                assert done.code == 0
                assert "the ledger lacks 2 erased conversations" in done.stderr
            case "repair":
                assert inside.run("verify", inside.archive, "--repair").code == 0
            case "purge":
                assert inside.run("purge", inside.archive, "--yes", "--id", "CA3").code == 3
            case _:
                assert inside.run("hold", inside.archive, "add", "--id", "CA4").code == 0
        assert asked_for(server) == set()
        assert not [path for path in erased if path.exists() and "CA1" in path.name]
        assert inside.run("purge", inside.archive, "--yes", "--id", "CA3").code == 3
        assert inside.run("verify", inside.archive).code == 0
        # What is put back with it is left to whoever says that it is to go.
        for path, content in erased.items():
            path.write_bytes(content)
        ledger.write_bytes(backup)
        assert inside.download(*WINDOW, "--direction", "all", "--metadata", "full").code == 0
        assert all(path.exists() for path in erased)
        again = inside.run("verify", inside.archive, "--json")
        assert (again.code, again.summary["erased_count"]) == (7, 5)


def test_a_ledger_of_yesterday_learns_more_than_a_page(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has taken over already makes it no newer than it was."""
    monkeypatch.setattr(registered, "PAGE", 1)
    with filled(inside):
        ledger = inside.archive / ".bulkaudio" / "ledger.db"
        backup = ledger.read_bytes()
        # By id the newest comes first.
        for id_ in ("CA3", "CA2", "CA1"):
            assert inside.run("hold", inside.archive, "add", "--id", id_).code == 0
        ledger.write_bytes(backup)
        assert inside.run("verify", inside.archive, "--repair").code == 0
        held = inside.run("hold", inside.archive, "list", "--json").summary["holds"]
        assert [each["id"] for each in held] == ["CA1", "CA2", "CA3"]
        assert "released" not in register_of(inside).read_text()


def test_a_release_that_the_register_lost(inside: Inside, server: WireServer) -> None:
    """The ledger has been written to since, and so it knew the hold and knows better."""
    assert inside.download(*WINDOW).code == 0
    before = register_of(inside).read_bytes()
    assert inside.run("hold", inside.archive, "remove", "--id", "CA3").code == 0
    register_of(inside).write_bytes(before)
    found = inside.run("verify", inside.archive, "--json")
    assert found.summary["manifest_faults"] == [
        "tombstones.jsonl lacks 1 released conversation that the ledger knows"
    ]
    assert inside.run("verify", inside.archive, "--repair").code == 0
    assert inside.run("verify", inside.archive).code == 0
    assert lose_ledger(inside)["held_conversations"] == 0
    del server


def test_a_hold_that_was_killed_half_way_is_one(inside: Inside) -> None:
    """The register has it: nobody who saw it begin may find the call erased."""
    with filled(inside):
        assert inside.run("hold", inside.archive, "add", "--id", "CA3").code == 0
        line = register_of(inside).read_text().replace("CA3", "CA4")
        with register_of(inside).open("a") as file:
            file.write(line)
        assert inside.run("purge", inside.archive, "--id", "CA4", "--yes").code == 3
        assert inside.run("verify", inside.archive).code == 0


@pytest.mark.usefixtures("server")
def test_a_purge_completes_the_register_first(inside: Inside) -> None:
    """What it adds is behind all that was known before."""
    register_of(inside).unlink()
    assert inside.run("purge", inside.archive, "--id", "CA4", "--yes").code == 0
    learnt = lose_ledger(inside)
    assert (learnt["erased_conversations"], learnt["held_conversations"]) == (3, 1)


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_a_ledger_that_is_replaced_tells_first(
    inside: Inside, server: WireServer, spoil: Spoils
) -> None:
    """Who makes a whole one anew by force means its rows, and no hold."""
    spoil(register_of(inside))
    forced = inside.run("rebuild", "--force", inside.archive, "--json")
    assert forced.code == 0
    assert forced.summary["held_conversations"] == 1
    nothing_is_forgotten(inside, server)


def test_a_state_folder_that_is_gone_takes_it_along(inside: Inside, server: WireServer) -> None:
    """A rebuild says so, and the next run; a ledger alone that is gone means nothing of the kind."""
    folder = inside.archive / ".bulkaudio"
    for _ in range(2):
        # Also where it was tried before, and has left a folder.
        shutil.rmtree(folder)
        folder.mkdir()
        rebuilt = inside.run("rebuild", inside.archive, "--json")
        assert (rebuilt.code, rebuilt.summary["erasures_known"]) == (0, False)
    again = inside.run("rebuild", inside.archive, "--force")
    assert "may be forgotten" in again.stdout
    notes = [str(inside.download(*WINDOW).summary["notes"]) for _ in range(2)]
    assert ["may be fetched again" in each for each in notes] == [True, False]
    (folder / "tombstones.jsonl").unlink(missing_ok=True)
    assert lose_ledger(inside)["erasures_known"] is True
    del server


def test_a_disk_that_fails_meanwhile(
    inside: Inside, server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever step: what is there is whole lines, and the next opening completes them."""
    path, reached, number = register_of(inside), 0, 0

    def fail(step: Step) -> None:
        nonlocal reached
        del step
        reached += 1
        if reached == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    garble(path)
    spoilt = path.read_bytes()
    codes: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(register, "reach", fail)
        while not codes or codes[-1]:
            path.write_bytes(spoilt)
            reached, number = 0, number + 1
            codes.append(inside.run("verify", inside.archive, "--repair").code)
            assert all(line.endswith("}") for line in path.read_text().splitlines())
            assert path.read_text().endswith("\n")
    assert set(codes[:-1]) == {6}
    assert len(codes) > 10
    assert not [each.name for each in path.parent.iterdir() if each.name.endswith(".part")]
    nothing_is_forgotten(inside, server)
