"""A state folder that is lost, or never was: every command says which, and how one goes on."""

import shutil
from pathlib import Path

import pytest

from tests.forked import Order, run_forked
from tests.objects.desk import ADDRESS, Desk, has, line_of

ENDPOINT = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("fault", "code", "said"), [((), 2, "--region"), (("names", ""), 6, "the bucket refused")]
)
async def test_a_first_run_that_lacks_something(
    tmp_path: Path, fault: tuple[str, ...], code: int, said: str
) -> None:
    """It hears that, or that nobody can tell whether it is one; programs hear for which address."""
    async with Desk.at(tmp_path) as desk:
        desk.fault = fault
        ended = await desk.run("download", "--out", ADDRESS, "--json")
        assert ended.code == code, ended.stderr
        assert said in ended.stderr
        assert ("--region is missing" in ended.stderr) == (code == 2)
        assert (f"at {ADDRESS} there is no archive yet" in ended.stderr) == (code == 2)
        summary = line_of(ended)
        assert (summary["store"], summary["archive"]) == (ADDRESS, str(desk.usual))
        assert not desk.usual.exists()


@pytest.mark.parametrize("command", ["download", "plan"])
async def test_nobody_can_ask_without_credentials(tmp_path: Path, command: str) -> None:
    """A first run, or a nightly line that lost its state and its credentials: both fixes are named."""
    env = {"HOME": str(tmp_path), "AWS_METADATA_ENDPOINT": ENDPOINT}
    order = Order(arguments=(command, "--out", ADDRESS), env=env, cwd=tmp_path)
    ended = await run_forked(order)
    assert ended.code == 2, ended.stderr
    assert f"whether there is one at {ADDRESS}, nobody could ask: " in ended.stderr
    assert "no credentials were found\nFix: set AWS_ACCESS_KEY_ID" in ended.stderr
    assert "in a first run, add --region" in ended.stderr


LOOKS = (
    ("status",),
    ("verify",),
    ("gaps",),
    ("export",),
    ("report",),
    ("purge", "--id", "CA1"),
    ("hold", "list"),
)


@pytest.mark.parametrize("words", [(), ("--store-endpoint", ENDPOINT)])
async def test_a_lost_state_folder(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Everybody says how to make it anew, and then nothing is fetched again."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download(*words)).code == 0
        shutil.rmtree(desk.usual)
        asked = desk.asked()
        way = " ".join(("bulkaudio rebuild", ADDRESS, *words))
        ended = await desk.download(*words)
        assert ended.code == 6
        assert f"{way}\n" in ended.stderr
        assert desk.asked() == asked
        # What it remembers, a nightly line leaves out.
        for command in ("download", "plan"):
            # The refused download has left a folder, whose mere being there would be answer enough.
            shutil.rmtree(desk.usual, ignore_errors=True)
            ended = await desk.run(command, "--out", ADDRESS, *words)
            assert ended.code == 6, ended.stderr
            assert f"{way}\n" in ended.stderr
        for look in LOOKS:
            ended = await desk.run(look[0], ADDRESS, *look[1:])
            assert ended.code == 6, ended.stderr
            assert f"bulkaudio rebuild {ADDRESS}\n" in ended.stderr
            assert not desk.usual.exists()
        ended = await desk.well("rebuild", ADDRESS, *words)
        assert f"{len(desk.ids)} recordings taken up" in ended.stdout
        assert has(ended.stdout, f"download --out {ADDRESS}")
        assert not has(ended.stdout, str(desk.usual))
        assert line_of(await desk.download("--json"))["counts"]["already"] == len(desk.ids)
        assert desk.asked() == asked
        if words:
            assert desk.endpoints()[-1] == [ENDPOINT, None]


async def test_a_look_at_no_archive(tmp_path: Path) -> None:
    """A mistyped address is that; where the store does not say, a lost ledger is not ruled out."""
    async with Desk.at(tmp_path) as desk:
        ended = await desk.run("status", "s3://recordings/cals")
        assert ended.code == 2
        assert "there is no archive of bulkaudio at s3://recordings/cals" in ended.stderr
        assert "rebuild" not in ended.stderr
        desk.fault = ("names", "")
        ended = await desk.run("status", ADDRESS)
        assert ended.code == 6
        assert "whether there is an archive, it did not say: the bucket refused" in ended.stderr
        assert "this machine has no ledger of" in ended.stderr
        assert (
            "\nFix: ask whoever owns it; then, if the ledger is lost, make it anew" in ended.stderr
        )
        assert f"bulkaudio rebuild {ADDRESS};" in ended.stderr
        ended = await desk.run("doctor", "--json", "--out", ADDRESS)
        checks = {check["name"]: check for check in line_of(ended)["checks"]}
        assert ended.code == 6
        failing = [name for name, each in checks.items() if each["status"] == "fail"]
        assert failing == ["store.archive"]


async def test_a_lost_state_folder_of_ones_own(tmp_path: Path) -> None:
    """The advice names it, quoted for a shell."""
    async with Desk.at(tmp_path) as desk:
        state = tmp_path / "a state"
        assert (await desk.download("--state-dir", state)).code == 0
        shutil.rmtree(state)
        ended = await desk.download("--state-dir", state)
        assert f"bulkaudio rebuild {ADDRESS} --state-dir '{state}'\n" in ended.stderr
        ended = await desk.well("rebuild", ADDRESS, "--state-dir", state)
        assert has(ended.stdout, f"download --out {ADDRESS} --state-dir '{state}'")
        assert (await desk.download("--state-dir", state)).code == 0


async def test_quiet_hides_no_fault(tmp_path: Path) -> None:
    """What makes a rebuild end with 7 is said, whatever it is."""
    async with Desk.at(tmp_path) as desk:
        for count in ("1", "4"):
            assert (await desk.download("--limit", count)).code == 0
        first = min(name for name in desk.bucket().objects() if "manifest" in name)
        desk.bucket().spoil(first, None)
        shutil.rmtree(desk.usual)
        ended = await desk.run("rebuild", ADDRESS, "--quiet")
        assert (ended.code, ended.stderr) == (7, "")
        assert has(ended.stdout, "is not whole: 1 part missing before 0001-00000002.jsonl")


async def test_nothing_is_rebuilt_from_nothing(tmp_path: Path) -> None:
    """A mistyped address makes no archive."""
    async with Desk.at(tmp_path) as desk:
        ended = await desk.run("rebuild", "s3://recordings/cals")
        assert ended.code == 2
        assert "there is no archive of bulkaudio at s3://recordings/cals" in ended.stderr
        assert not (tmp_path / "home" / ".local").exists()


async def test_a_look_asks_where_the_folder_says(tmp_path: Path) -> None:
    """Its ledger lost, it still knows the server; nobody else is shown the credentials."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download("--limit", "1", "--store-endpoint", ENDPOINT)).code == 0
        (desk.usual / ".bulkaudio" / "ledger.db").unlink()
        ended = await desk.run("status", ADDRESS)
        assert ended.code == 6
        assert f"bulkaudio rebuild {ADDRESS}" in ended.stderr
        assert {tuple(each) for each in desk.endpoints()} == {(ENDPOINT, None)}


async def test_one_that_was_left_behind(tmp_path: Path) -> None:
    """Looks that ask nothing of the cloud answer as of the day it was left; whoever would act does not."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        first = tmp_path / "first"
        desk.usual.rename(first)
        await desk.well("rebuild", ADDRESS)
        await desk.well("purge", ADDRESS, "--id", desk.ids[0], "--yes")
        await desk.well("hold", ADDRESS, "add", desk.ids[1])
        assert "Nothing is held." in (await desk.well("hold", first, "list")).stdout
        words = ("purge", first, "--id", desk.ids[0])
        assert line_of(await desk.well(*words, "--json"))["recordings"] == 1
        for look in ("status", "gaps", "report", "export"):
            await desk.well(look, first)
        for doer in (("verify", first), (*words, "--yes"), ("hold", first, "add", desk.ids[2])):
            assert (await desk.run(*doer)).code == 75, doer
