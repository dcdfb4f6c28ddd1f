"""A register that was lost on both sides while the ledger is there: written anew before the manifest is."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bulkaudio.stores.disk import STATE_FOLDER
from tests.objects.desk import ADDRESS, Desk, line_of

REASON = "dispute 7"


@asynccontextmanager
async def held_and_erased(folder: Path) -> AsyncIterator[Desk]:
    """Open a desk whose archive has erased its first call, and holds its second and third."""
    async with Desk.at(folder) as desk:
        assert (await desk.download()).code == 0
        await desk.well("purge", ADDRESS, "--id", desk.ids[0], "--yes")
        for held in desk.ids[1:3]:
            await desk.well("hold", ADDRESS, "add", "--id", held, "--reason", REASON)
        yield desk


def register_of(desk: Desk) -> Path:
    """Return that of the state folder."""
    return desk.usual / STATE_FOLDER / "tombstones.jsonl"


def lose(desk: Desk, word: str) -> None:
    """Lose what is below `.bulkaudio` in the bucket and has a word in its name."""
    for name in desk.bucket().objects():
        if f"{STATE_FOLDER}/{word}" in name:
            desk.bucket().spoil(name, None)


def cut(register: Path) -> None:
    """Leave its first line."""
    register.write_text(register.read_text().splitlines(keepends=True)[0])


async def rebuilt(desk: Desk) -> dict[str, object]:
    """Lose the machine, and return what a ledger made anew has learnt."""
    shutil.rmtree(desk.usual)
    return line_of(await desk.well("rebuild", ADDRESS, "--json"))


async def nothing_is_forgotten(desk: Desk, *, erased: int = 1) -> None:
    """Also on another machine: both holds are there, and what was erased is not asked for."""
    learnt = await rebuilt(desk)
    assert (learnt["erased_conversations"], learnt["held_conversations"]) == (erased, 2)
    assert learnt["erasures_known"] is True
    asked = desk.asked()
    assert (await desk.download()).code == 0
    assert desk.asked() == asked
    listed = line_of(await desk.well("hold", ADDRESS, "list", "--json"))["holds"]
    assert {(each["id"], each["reason"]) for each in listed} == {
        (held, REASON) for held in desk.ids[1:3]
    }


@pytest.mark.parametrize("spoil", [Path.unlink, cut], ids=["gone", "cut"])
@pytest.mark.parametrize("command", ["verify", "download", "purge", "hold"])
async def test_both_lost(tmp_path: Path, spoil: Callable[[Path], object], command: str) -> None:
    """Whatever opens the archive tells what the ledger knows, before parts that knew it are cleared."""
    async with held_and_erased(tmp_path) as desk:
        spoil(register_of(desk))
        lose(desk, "register")
        found = await desk.run("verify", ADDRESS, "--json")
        assert found.code == 7
        faults = line_of(found)["manifest_faults"]
        assert "the copy of the register is missing" in faults
        [lacking] = [each for each in faults if each.startswith("tombstones.jsonl lacks")]
        assert "2 held conversations that the ledger knows" in lacking
        erased = 1
        match command:
            case "verify":
                await desk.well("verify", ADDRESS, "--repair")
            case "download":
                done = await desk.download()
                assert "tombstones.jsonl lacks" in done.stderr
            case "purge":
                await desk.well("purge", ADDRESS, "--id", desk.ids[3], "--yes")
                erased = 2
            case _:
                await desk.well("hold", ADDRESS, "add", "--id", desk.ids[2])
        assert (await desk.run("verify", ADDRESS)).code == 0
        await nothing_is_forgotten(desk, erased=erased)


async def test_an_older_register_and_an_older_copy(tmp_path: Path) -> None:
    """Put back from before the last words: held, released, held again, and one released for good."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        first, second = desk.ids[:2]
        for held in (first, second):
            await desk.well("hold", ADDRESS, "add", "--id", held, "--reason", REASON)
        await desk.well("hold", ADDRESS, "remove", "--id", first)
        bucket, register = desk.bucket(), register_of(desk)
        copy = {name: text for name, text in bucket.objects().items() if "register" in name}
        await desk.well("hold", ADDRESS, "add", "--id", first)
        register.unlink()
        for name, text in copy.items():
            bucket.spoil(name, text)
        assert (await desk.run("verify", ADDRESS)).code == 7
        await desk.well("verify", ADDRESS, "--repair")
        assert (await desk.run("verify", ADDRESS)).code == 0
        assert (await rebuilt(desk))["held_conversations"] == 2


@pytest.mark.parametrize("how", ["garbled", "deleted"])
async def test_a_word_that_was_lost_here_alone(tmp_path: Path, how: str) -> None:
    """Held, released, held again: the copy brings the middle behind the last, and the ledger its own."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        held = desk.ids[0]
        for action in ("add", "remove", "add"):
            await desk.well("hold", ADDRESS, action, "--id", held, "--reason", REASON)
        assert (await desk.download()).code == 0
        first, middle, last = register_of(desk).read_text().splitlines(keepends=True)
        spoilt = middle.replace("{", "[", 1) if how == "garbled" else ""
        register_of(desk).write_text(f"{first}{spoilt}{last}")
        for command in (desk.download(), desk.run("verify", ADDRESS)):
            assert (await command).code == 0
        assert (await rebuilt(desk))["held_conversations"] == 1
        assert (await desk.run("purge", ADDRESS, "--id", held, "--yes")).code == 3


async def test_a_whole_ledger_that_is_replaced(tmp_path: Path) -> None:
    """It tells what it knows first, also where nothing else does any more."""
    async with held_and_erased(tmp_path) as desk:
        register_of(desk).unlink()
        lose(desk, "register")
        for name in desk.bucket().objects():
            if "manifest" in name and not name.endswith(".whole"):
                desk.bucket().spoil(name, None)
        ended = await desk.run("rebuild", ADDRESS, "--force", "--json")
        learnt = line_of(ended)
        assert (learnt["erased_conversations"], learnt["held_conversations"]) == (1, 2)
        assert learnt["erasures_known"] is True
        asked = desk.asked()
        assert (await desk.download()).code == 0
        assert desk.asked() == asked
        await nothing_is_forgotten(desk)


async def test_lines_that_are_left_out_do_not_come_back(tmp_path: Path) -> None:
    """What fills a segment of its own in the copy goes from there as well."""
    async with held_and_erased(tmp_path) as desk:
        bucket = desk.bucket()
        strange = [f'{{"strange":{each},"x":"{"y" * 1000}"}}\n' for each in range(1500)]
        whole = register_of(desk).read_text()
        [name] = [name for name in bucket.objects() if "register" in name]
        bucket.spoil(name, (whole + "".join(strange[:1048])).encode())
        bucket.spoil(name.replace("1.jsonl", "2.jsonl"), "".join(strange[1048:]).encode())
        said = [(await desk.download()).stderr for _ in range(2)]
        assert "1,500 lines of tombstones.jsonl cannot be read" in said[0]
        assert "tombstones.jsonl" not in said[1]
        assert len([name for name in bucket.objects() if "register" in name]) == 1
        assert (await desk.run("verify", ADDRESS)).code == 0


async def test_the_copy_alone_brings_it_back(tmp_path: Path) -> None:
    """Line by line as it was, with who ordered what."""
    async with held_and_erased(tmp_path) as desk:
        register = register_of(desk)
        whole = register.read_text()
        register.unlink()
        done = await desk.download()
        assert (done.code, register.read_text()) == (0, whole)
        assert "tombstones.jsonl" not in done.stderr


async def test_a_line_that_only_the_copy_has(tmp_path: Path) -> None:
    """It is brought to the state folder by whatever opens the archive next."""
    async with held_and_erased(tmp_path) as desk:
        bucket, register = desk.bucket(), register_of(desk)
        [(name, text)] = [each for each in bucket.objects().items() if "register" in each[0]]
        whole = register.read_text()
        line = b'{"held":"CA9","at":"2126-11-01T00:00:00.000000Z","who":"ann","reason":null}\n'
        bucket.spoil(name, text + line)
        assert (await desk.download()).code == 0
        assert register.read_text() == whole + line.decode()
        listed = line_of(await desk.well("hold", ADDRESS, "list", "--json"))["holds"]
        assert "CA9" in [each["id"] for each in listed]
        assert (await desk.run("verify", ADDRESS)).code == 0


async def test_a_register_that_the_copy_makes_whole(tmp_path: Path) -> None:
    """Where the ledger is lost as well, a line that cannot be read here stops nothing."""
    async with held_and_erased(tmp_path) as desk:
        lines = register_of(desk).read_text().splitlines(keepends=True)
        lines[1] = lines[1].replace("{", "[", 1)
        register_of(desk).write_text("".join(lines))
        (desk.usual / STATE_FOLDER / "ledger.db").unlink()
        learnt = line_of(await desk.well("rebuild", ADDRESS, "--json"))
        assert (learnt["erased_conversations"], learnt["held_conversations"]) == (1, 2)
        assert learnt["erasures_known"] is True
        done = await desk.download("--json")
        assert line_of(done)["erasure_finished"] is None
        await nothing_is_forgotten(desk)
