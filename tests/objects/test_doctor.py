"""A diagnosis of an archive whose recordings are at an address."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.object_url import ObjectUrl
from bulkaudio.settings import Elsewhere
from bulkaudio.stores.disk import STATE_FOLDER
from bulkaudio.stores.objects.origin import origin_of
from bulkaudio.stores.opening import try_elsewhere
from tests.objects.desk import ADDRESS, Desk, line_of


async def checks_of(desk: Desk, *words: str | Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run a diagnosis; return its exit code and its checks by name."""
    scope = ("--agent", "PROJECT-1", "--region", "uk", "--csv", desk.folder / "calls.csv")
    ended = await desk.run("doctor", "--json", *scope, *(words or ("--out", ADDRESS)))
    found = {check["name"]: check for check in line_of(ended)["checks"]}
    return ended.code, found


async def test_a_store_that_is_well(tmp_path: Path) -> None:
    """Before there is an archive, and with one; nothing stays there."""
    async with Desk.at(tmp_path) as desk:
        code, checks = await checks_of(desk)
        assert code == 0
        assert checks["store.credentials"]["detail"] == (
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: accepted"
        )
        assert "certificate verified" in checks["store.tls"]["detail"]
        assert f"nothing is at {ADDRESS}" in checks["store.archive"]["detail"]
        assert not desk.bucket().objects()
        assert not desk.usual.exists()
        assert (await desk.download()).code == 0
        for words in (("--out", ADDRESS), ("--out", desk.usual)):
            code, checks = await checks_of(desk, *words)
            assert code == 0
            assert str(desk.usual) in checks["store.archive"]["detail"]
        code, checks = await checks_of(
            desk, "--out", ADDRESS, "--store-endpoint", "http://127.0.0.1:9"
        )
        assert checks["store.tls"]["detail"] == "plain http, to 127.0.0.1:9"
        desk.check_secrets()


async def test_a_folder_has_no_store(tmp_path: Path) -> None:
    """Nor has it checks of one, also where a state folder is named that nobody needs."""
    async with Desk.at(tmp_path) as desk:
        _, checks = await checks_of(desk, "--out", "folder")
        assert not [name for name in checks if name.startswith("store.")]
        desk.env["BULKAUDIO_STATE_DIR"] = str(tmp_path / "state")
        ended = await desk.run("doctor", "--json")
        assert line_of(ended)["checks"]


async def test_what_a_store_refuses(tmp_path: Path) -> None:
    """Said with its fix; the rest waits for it."""
    async with Desk.at(tmp_path) as desk:
        desk.fault = ("probe", "")
        code, checks = await checks_of(desk)
        assert code == 6
        assert checks["store.bucket"]["fix"] == "ask whoever owns it"
        assert checks["store.archive"]["status"] == "skip"
        code, checks = await checks_of(
            desk, "--out", ADDRESS, "--store-endpoint", "http://ceph.example"
        )
        assert code == 2
        assert "unencrypted" in checks["store.bucket"]["detail"]
        desk.env["AWS_PROFILE"] = "nobody"
        code, checks = await checks_of(desk)
        assert code == 6
        assert "no profile nobody" in checks["store.credentials"]["detail"]


async def test_a_lost_ledger_is_found_out(tmp_path: Path) -> None:
    """And a state folder of another address."""
    async with Desk.at(tmp_path) as desk:
        state = tmp_path / "state"
        assert (await desk.download("--state-dir", state)).code == 0
        code, checks = await checks_of(
            desk, "--out", "s3://recordings/other", "--state-dir", str(state)
        )
        assert code == 2
        assert "holds what is known of" in checks["store.archive"]["detail"]
        shutil.rmtree(state)
        await check_lost(desk, "--state-dir", str(state))


async def test_a_lost_ledger_is_the_only_fault(tmp_path: Path) -> None:
    """Also for a nightly line, which leaves out what it remembers; and after a refused rebuild."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        shutil.rmtree(desk.usual)
        await check_lost(desk)
        for name in desk.bucket().objects():
            if f"/{STATE_FOLDER}/" in f"/{name}":
                desk.bucket().spoil(name, None)
        assert (await desk.run("rebuild", ADDRESS)).code == 6
        assert desk.usual.exists()
        await check_lost(desk)


async def check_lost(desk: Desk, *words: str) -> None:
    """Find the lost ledger, and how it is made anew, and nothing else amiss."""
    ended = await desk.run("doctor", "--json", "--out", ADDRESS, *words)
    checks = {check["name"]: check for check in line_of(ended)["checks"]}
    assert ended.code == 6
    assert [name for name, each in checks.items() if each["status"] == "fail"] == ["archive.ledger"]
    assert f"bulkaudio rebuild {ADDRESS}" in checks["archive.ledger"]["fix"]
    assert "--force" not in checks["archive.ledger"]["fix"]
    assert checks["store.archive"]["status"] == "skip"


async def test_the_disk_is_not_judged_for_recordings(tmp_path: Path) -> None:
    """What is open goes elsewhere."""
    async with Desk.at(tmp_path) as desk:
        assert (await desk.download()).code == 0
        _, checks = await checks_of(desk)
        assert "what is open needs" not in checks["archive.space"]["detail"]


ORIGINS = [
    (
        "s3",
        {"AWS_ACCESS_KEY_ID": "A", "AWS_PROFILE": "x"},
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    ("s3", {"AWS_PROFILE": "job"}, "the profile job of ~/.aws"),
    ("s3", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}, "the role of AWS_WEB_IDENTITY_TOKEN_FILE"),
    ("s3", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x"}, "the role of the container"),
    ("s3", {}, "the role of the machine"),
    ("gs", {"STORAGE_EMULATOR_HOST": "x"}, "nowhere: STORAGE_EMULATOR_HOST names an emulator"),
    ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "/x"}, "GOOGLE_APPLICATION_CREDENTIALS"),
    ("gs", {"LOGIN": "1"}, "gcloud auth application-default login"),
    ("gs", {}, "the service account of the machine"),
    ("az", {"AZURE_STORAGE_CONNECTION_STRING": "x"}, "AZURE_STORAGE_CONNECTION_STRING"),
    ("az", {"AZURE_USE_AZURE_CLI": "true"}, "az login (AZURE_USE_AZURE_CLI)"),
    ("az", {}, "the identity of the machine"),
]


@pytest.mark.parametrize(("scheme", "environ", "said"), ORIGINS)
def test_credentials_are_named_by_their_place(
    scheme: str, environ: dict[str, str], said: str, tmp_path: Path
) -> None:
    """Never by what they are."""
    if "AWS_PROFILE" in environ:
        (tmp_path / ".aws").mkdir()
        words = "aws_access_key_id = CANARY\naws_secret_access_key = CANARY\n"
        (tmp_path / ".aws" / "credentials").write_text(f"[job]\n{words}[x]\n{words}")
    if "LOGIN" in environ:
        (tmp_path / ".config" / "gcloud").mkdir(parents=True)
        (tmp_path / ".config" / "gcloud" / "application_default_credentials.json").touch()
    found = origin_of(ObjectUrl(scheme, "bucket"), {"HOME": str(tmp_path), **environ})
    assert found == said


@pytest.mark.slow
def test_a_real_store(ceph: str, url: ObjectUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal tells where the credentials come from."""
    from bulkaudio.errors import BucketAuthError, StorageError
    from tests.objects import gateway

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.SECRET)
    trial = try_elsewhere(Elsewhere(url=url, endpoint=ceph))
    assert (trial.is_plain, trial.conditions.notes) == (True, ())
    with pytest.raises(StorageError, match="there is no bucket nobody-has-this"):
        try_elsewhere(Elsewhere(url=ObjectUrl("s3", "nobody-has-this", "x"), endpoint=ceph))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "CANARY")
    with pytest.raises(
        BucketAuthError, match="the credentials come from AWS_ACCESS_KEY_ID"
    ) as caught:
        try_elsewhere(Elsewhere(url=url, endpoint=ceph))
    assert "CANARY" not in caught.value.message
