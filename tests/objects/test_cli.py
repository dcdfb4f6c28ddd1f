"""Archives at addresses, by the command line: what is typed, what is said, what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from tests.inside import Inside
from tests.objects.desk import ADDRESS, Desk, has, line_of

ENDPOINT = "http://127.0.0.1:9"


async def test_a_download_to_an_address(tmp_path: Path) -> None:
    """Recordings are there, the ledger here; a second run fetches nothing."""
    async with Desk.at(tmp_path) as desk:
        ended = await desk.download("--metadata", "full")
        assert ended.code == 0, ended.stderr
        assert has(ended.stdout, f"Archive: {ADDRESS} (ledger in {desk.usual})")
        objects = desk.bucket().objects()
        for id_ in desk.ids:
            assert objects[f"combined/{id_}.wav"] == desk.simulator.expected_bytes(id_, "combined")
            assert f"metadata/{id_}.json" in objects
        assert not list(desk.usual.rglob("*.wav"))
        asked = desk.asked()
        summary = line_of(await desk.download("--json"))
        assert (summary["store"], summary["archive"]) == (ADDRESS, str(desk.usual))
        assert summary["counts"]["already"] == len(desk.ids)
        assert desk.asked() == asked
        desk.check_secrets()


@pytest.mark.parametrize("by", ["address", "folder"])
async def test_every_command_knows_it(tmp_path: Path, by: str) -> None:
    """By the address, and by the state folder."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        name = ADDRESS if by == "address" else str(desk.usual)
        status = line_of(await desk.well("status", name, "--json"))
        assert status["store"] == ADDRESS
        assert ADDRESS in (await desk.well("status", name)).stdout
        verified = line_of(await desk.well("verify", name, "--json"))
        assert (verified["checked"], verified["store"]) == (len(desk.ids), ADDRESS)
        assert ADDRESS in (await desk.well("gaps", name)).stdout
        exported = (await desk.well("export", name)).stdout
        assert all(f"combined/{id_}.wav" in exported for id_ in desk.ids)
        assert line_of(await desk.well("gaps", name, "--json"))["store"] == ADDRESS
        assert line_of(await desk.well("report", name, "--json"))["store"] == ADDRESS
        assert (desk.usual / "report.html").is_file()
        await desk.well("hold", name, "add", "--id", desk.ids[0])
        assert desk.ids[0] in (await desk.well("hold", name, "list")).stdout
        await desk.well("purge", name, "--id", desk.ids[1], "--yes")
        assert f"combined/{desk.ids[1]}.wav" not in desk.bucket().objects()
        refused = await desk.run("purge", name, "--id", desk.ids[0], "--yes")
        assert refused.code == 3
        assert (await desk.download(out=name)).code == 0
        desk.check_secrets()


@pytest.mark.parametrize("by", ["option", "variable"])
async def test_a_state_folder_of_ones_own(tmp_path: Path, by: str) -> None:
    """Given once by an option or for every command by a variable."""
    async with Desk.at(tmp_path) as desk:
        state = tmp_path / "a state"
        words = ("--state-dir", str(state)) if by == "option" else ()
        if by == "variable":
            desk.env["BULKAUDIO_STATE_DIR"] = str(state)
        assert (await desk.download(*words)).code == 0
        assert (state / ".bulkaudio" / "ledger.db").is_file()
        assert not desk.usual.exists()
        ended = await desk.run("status", ADDRESS)
        if by == "variable":
            assert ended.code == 0, ended.stderr
            return
        assert ended.code == 6
        assert "this machine has no ledger of" in ended.stderr
        assert "--state-dir" in ended.stderr
        assert "BULKAUDIO_STATE_DIR" in ended.stderr
        await desk.well("status", state)


async def test_xdg_names_the_usual_place(tmp_path: Path) -> None:
    """As everybody's state."""
    async with Desk.at(tmp_path) as desk:
        desk.env["XDG_STATE_HOME"] = str(tmp_path / "xdg")
        assert (await desk.download()).code == 0
        assert (tmp_path / "xdg" / "bulkaudio" / desk.usual.name / ".bulkaudio").is_dir()


async def test_the_way_to_the_store_is_remembered(tmp_path: Path) -> None:
    """Endpoint and certificates are said once, and can be said anew."""
    async with Desk.at(tmp_path) as desk:
        bundle = tmp_path / "ca.pem"
        authority(bundle)
        ended = await desk.download("--store-endpoint", ENDPOINT, "--ca-bundle", bundle)
        assert ended.code == 0, ended.stderr
        store = desk.usual / ".bulkaudio" / "store"
        assert store.read_text().splitlines() == [
            ADDRESS,
            f"endpoint {ENDPOINT}",
            f"ca-bundle {bundle}",
        ]
        assert store.stat().st_mode & 0o077 == 0
        await desk.well("verify", ADDRESS)
        assert desk.endpoints()[-1] == [ENDPOINT, str(bundle)]
        assert (await desk.download()).code == 0
        assert desk.endpoints()[-1] == [ENDPOINT, str(bundle)]
        other = "https://other.example"
        assert (await desk.download("--store-endpoint", other)).code == 0
        assert desk.endpoints()[-1] == [other, str(bundle)]
        await desk.well("verify", ADDRESS)
        assert desk.endpoints()[-1] == [other, str(bundle)]


REFUSED = [
    (
        ("--out", "folder", "--state-dir", "state"),
        "--state-dir is for recordings in an object store",
    ),
    (("--out", "folder", "--store-endpoint", ENDPOINT), "--store-endpoint is for recordings in an"),
    (("--out", "s3:/recordings/calls"), "lacks its two slashes"),
    (("--out", "http://host/calls"), "recordings cannot be kept at http://"),
    (("--out", "s3://KEY:SECRET@recordings/calls"), "holds credentials or a port"),
    (("--out", ADDRESS, "--store-endpoint", "http://ceph.example:8080"), "unencrypted"),
    (("--out", ADDRESS, "--store-endpoint", "ceph.example"), "is not a web address"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED)
async def test_what_cannot_be_is_refused_in_words(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """Before anything is asked for, and nothing that was pasted is repeated."""
    async with Desk.at(tmp_path) as desk:
        scope = ("--agent", "PROJECT-1", "--region", "uk", "--csv", tmp_path / "calls.csv")
        ended = await desk.run("download", *words, *scope)
        assert ended.code == 2, ended.stderr
        assert said in ended.stderr
        assert "Fix: " in ended.stderr
        assert "SECRET" not in ended.stderr
        assert desk.asked() == 0
        assert not desk.bucket().objects()


SLASH = "lacks its two slashes"
SLIPS = [
    ("status s3:/recordings/calls", SLASH),
    ("verify gs:/recordings/calls", SLASH),
    ("gaps S3:/recordings/calls", SLASH),
    ("report az:recordings/calls", SLASH),
    ("export s3:/recordings/calls", SLASH),
    ("rebuild s3:/recordings/calls", SLASH),
    ("purge s3:/recordings/calls --id CA1", SLASH),
    ("hold s3:/recordings/calls list", SLASH),
    ("plan --out s3:/KEY:SECRET@recordings/calls", SLASH),
    ("download --json --out s3:/KEY:SECRET@recordings/calls", SLASH),
    ("status s3:/KEY:SECRET@recordings/calls", SLASH),
    ("status http://KEY:SECRET@recordings/calls", "cannot be kept at http://"),
]


@pytest.mark.parametrize(("line", "said"), SLIPS)
def test_an_address_with_one_slash_is_no_folder(inside: Inside, line: str, said: str) -> None:
    """Every command says the same of it, and repeats nothing that was pasted."""
    ended = inside.run(*line.split())
    assert ended.code == 2, ended.stderr
    assert said in ended.stderr
    assert "SECRET" not in ended.stderr + ended.stdout


def test_a_folder_may_have_such_a_name(inside: Inside) -> None:
    """Named as the fix says, or with what no address begins with."""
    for name in ("./s3:calls", f"{inside.folder}/s3:/calls", "calls/s3://calls"):
        ended = inside.run("status", name)
        assert ended.code == 2
        assert "is not an archive of bulkaudio" in ended.stderr


async def test_a_state_folder_is_of_one_address(tmp_path: Path) -> None:
    """Neither of another one nor of an archive in a folder."""
    async with Desk.at(tmp_path) as desk:
        state = tmp_path / "state"
        assert (await desk.download("--state-dir", state)).code == 0
        ended = await desk.download("--state-dir", state, out="s3://recordings/others")
        assert ended.code == 2
        assert f"{state} holds what is known of {ADDRESS}" in ended.stderr
        folder = tmp_path / "folder"
        assert (await desk.download(out=str(folder))).code == 0
        ended = await desk.download("--state-dir", folder)
        assert ended.code == 2
        assert f"{folder} holds recordings of its own" in ended.stderr


@pytest.mark.parametrize(
    "command", [("download",), ("plan",), ("rebuild",), ("doctor",)], ids=lambda each: each[0]
)
async def test_the_client_is_an_extra(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Without it, the fix is what to type."""
    async with Desk.at(tmp_path) as desk:
        scope = ("--agent", "PROJECT-1", "--region", "uk", "--csv", str(tmp_path / "calls.csv"))
        words = (ADDRESS,) if command == ("rebuild",) else ("--out", ADDRESS, *scope)
        ended = await desk.run(*command, *words, hook="tests.objects.hooks:miss_the_client")
        assert ended.code == 2, ended.stderr
        said = ended.stdout if command == ("doctor",) else ended.stderr
        assert has(said, "object stores need the package obstore")
        assert has(said, "pip install 'bulkaudio[objects]'")


async def test_a_plan_says_where_recordings_go(tmp_path: Path) -> None:
    """The disk here is not judged for bytes that go elsewhere."""
    async with Desk.at(tmp_path) as desk:
        scope = ("--agent", "PROJECT-1", "--region", "uk", "--csv", tmp_path / "calls.csv")
        ended = await desk.well("plan", "--out", ADDRESS, *scope)
        assert has(
            ended.stdout, f"The recordings go to {ADDRESS}; this machine's disk holds the ledger"
        )
        assert has(ended.stdout, f"Archive: {ADDRESS} (ledger in {desk.usual}), not begun yet")
        assert not desk.usual.exists()
        assert not desk.bucket().objects()
        ended = await desk.well("plan", "--out", ADDRESS, *scope, "--min-free", "900TB")
        assert has(ended.stdout, "The disk has no room for what is on its way to")
        found = line_of(await desk.well("plan", "--out", ADDRESS, *scope, "--json"))
        assert (found["store"], found["fits"]) == (ADDRESS, True)
        # Archived and lost: a download would not begin, and so the plan says how to go on.
        assert (await desk.download()).code == 0
        shutil.rmtree(desk.usual)
        ended = await desk.run("plan", "--out", ADDRESS, *scope)
        assert ended.code == 6
        assert f"bulkaudio rebuild {ADDRESS}" in ended.stderr


def authority(path: Path) -> None:
    """Write a certificate."""
    import trustme

    trustme.CA().cert_pem.write_to_path(str(path))


async def test_a_listing_goes_on_after_a_rebuild(tmp_path: Path) -> None:
    """Then the advice needs no time to begin at; it is a command in one piece, however long."""
    async with Desk.at(tmp_path) as desk:
        scope = ("--agent", "PROJECT-1", "--region", "uk", "--account", "ws-1")
        window = ("--since", "2026-01-01", "--until", "2026-02-01")
        state = tmp_path / ("a" * 120)
        own = ("--state-dir", str(state))
        await desk.well("download", "--out", ADDRESS, *own, *scope, *window)
        shutil.rmtree(state)
        found = line_of(await desk.well("rebuild", ADDRESS, *own, "--json"))
        assert (found["store"], found["listing_known"], found["manifest_faults"]) == (
            ADDRESS,
            True,
            [],
        )
        ended = await desk.well("rebuild", ADDRESS, *own, "--force")
        assert has(ended.stdout, "is known again. Next, to go on from there:")
        assert ended.stdout.rstrip().endswith(f"download --out {ADDRESS} --state-dir {state}")
        asked = desk.asked()
        await desk.well("download", "--out", ADDRESS, *own, "--until", "2026-02-02")
        assert desk.asked() == asked


async def test_a_whole_ledger_is_not_made_anew(tmp_path: Path) -> None:
    """Nothing is lost, also not by --force: what it knows is told beside the recordings."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        ended = await desk.run("rebuild", ADDRESS)
        assert ended.code == 2
        assert f"is whole and knows saved recordings: nothing of {ADDRESS} is lost" in ended.stderr
        assert "would forget" not in ended.stderr
        part = min(name for name in desk.bucket().objects() if "/manifest/" in name)
        desk.bucket().spoil(part, None)
        ended = await desk.run("rebuild", ADDRESS)
        assert ended.code == 2
        assert f"({Path(part).name} is missing)" in ended.stderr
        assert f"verify {ADDRESS} --repair" in ended.stderr
        await desk.well("verify", ADDRESS, "--repair")
        await desk.well("rebuild", ADDRESS, "--force")


async def test_a_spoilt_manifest_is_named(tmp_path: Path) -> None:
    """The objects make up for it, and its copy for the register."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        await desk.well("hold", ADDRESS, "add", "--id", desk.ids[0])
        shutil.rmtree(desk.usual)
        parts = sorted(name for name in desk.bucket().objects() if "/manifest/" in name)
        desk.bucket().spoil(parts[-1], b"spoilt\n")
        ended = await desk.run("rebuild", ADDRESS)
        assert ended.code == 7, ended.stderr
        assert has(ended.stdout, "What was erased and what is held is known all the same")
        assert has(ended.stdout, "What the ledger had told beside the recordings is not whole: ")
        assert Path(parts[-1]).name in ended.stdout
        assert has(ended.stdout, f"{len(desk.ids)} recordings taken up")
        assert has(ended.stdout, "1 conversation held, as before")
        desk.bucket().spoil(".bulkaudio/register/00000001.jsonl", None)
        shutil.rmtree(desk.usual)
        ended = await desk.run("rebuild", ADDRESS)
        assert ended.code == 6, ended.stderr
        ended = await desk.run("rebuild", ADDRESS, "--force")
        assert ended.code == 7, ended.stderr
        assert has(ended.stdout, "What was erased or held here before may be forgotten")


async def test_a_receipt_says_what_a_bucket_keeps(tmp_path: Path) -> None:
    """Versions and retention are the bucket's; the receipt names where it was erased."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        dry = await desk.well("purge", ADDRESS, "--id", desk.ids[0])
        assert not has(dry.stdout, "a bucket that keeps versions")
        receipt = tmp_path / "receipt.json"
        words = ("--id", desk.ids[0], "--yes", "--receipt", receipt)
        ended = await desk.well("purge", ADDRESS, *words)
        assert has(ended.stdout, f"{ADDRESS}: a bucket that keeps versions, or retains objects")
        found = json.loads(receipt.read_text())
        assert (found["archive"], found["store"]) == (str(desk.usual), ADDRESS)


async def test_an_erasure_that_was_killed_names_the_address(tmp_path: Path) -> None:
    """And the folder, where the address alone would not find it."""
    async with Desk.at(tmp_path) as desk:
        for words, named in (((), ADDRESS), (("--state-dir", tmp_path / "s"), str(tmp_path / "s"))):
            address = ADDRESS if not words else "s3://recordings/others"
            assert (await desk.download(*words, out=address)).code == 0
            desk.fault = ("delete", "combined")
            name = named if words else address
            ended = await desk.run("purge", name, "--id", desk.ids[0], "--yes")
            assert ended.code == 6, ended.stderr
            desk.fault = ()
            ended = await desk.well("status", name)
            assert has(ended.stdout, f"bulkaudio purge {named} --resume --yes")
            await desk.well("purge", name, "--resume", "--yes")


@pytest.mark.parametrize(
    "words",
    [
        ("download", "--json", "--out", "s3://AK:SECRETX@bucket/p"),
        ("config", "show", "--store-endpoint", "http://AK:SECRETX@127.0.0.1:9"),
        ("config", "show", "--json", "--store-endpoint", "http://AK:SECRETX@127.0.0.1:9"),
    ],
)
async def test_a_key_in_an_address_is_not_repeated(tmp_path: Path, words: tuple[str, ...]) -> None:
    """People paste addresses with their keys in them."""
    async with Desk.at(tmp_path) as desk:
        ended = await desk.run(*words)
        assert "SECRETX" not in ended.stdout + ended.stderr
