"""Where the credentials for S3 are found: the same places as Amazon's own tools."""

import json
import os
import sys
from pathlib import Path, PurePosixPath

import pytest

from bulkaudio.errors import BucketAuthError, StorageError
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.aws import read_profile
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from bulkaudio.stores.objects.things import Body, Put
from tests.objects.between import Answer, Between
from tests.objects.conftest import CANARY, hasty

BODY = Body.of(b"x")
STORED = Answer(status=200, headers={"ETag": '"9dd4e461268c8034f5c8564e155c67a6"'})


def write(home: Path, name: str, text: str) -> Path:
    """Write a file of ~/.aws."""
    path = home / ".aws" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def home() -> Path:
    """Return this test's home folder."""
    return Path(os.environ["HOME"])


def key_used(server: Between, url: ObjectUrl) -> str:
    """Put something; returns the id of the key and the region that signed it."""
    server.rule = lambda _: STORED
    bucket = Bucket.open(url, BucketOptions(endpoint=server.endpoint), patience=hasty())
    assert bucket.put(url.key(PurePosixPath("a")), BODY, facts={}) is Put.CREATED
    scope = server.asked[-1].headers["authorization"].partition("Credential=")[2].split("/")
    return f"{scope[0]} {scope[2]}"


def test_the_default_profile(scripted: Between, url: ObjectUrl, home: Path) -> None:
    """Key of one file, region of the other."""
    write(
        home,
        "credentials",
        f"[default]\naws_access_key_id=AKFILE\naws_secret_access_key={CANARY}\n",
    )
    write(home, "config", "[default]\nregion = eu-north-1\n")
    assert key_used(scripted, url) == "AKFILE eu-north-1"


def test_a_named_profile(
    scripted: Between, url: ObjectUrl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a token, which is sent along; percent signs are no syntax."""
    write(
        home,
        "credentials",
        "[default]\naws_access_key_id=AKFILE\naws_secret_access_key=s\n"
        "[calls]\naws_access_key_id=AKCALLS\naws_secret_access_key=a%b%(c)s\naws_session_token=TOK\n",
    )
    write(home, "config", "[profile calls]\nregion = eu-west-3\n")
    monkeypatch.setenv("AWS_PROFILE", "calls")
    assert key_used(scripted, url) == "AKCALLS eu-west-3"
    assert scripted.asked[-1].headers["x-amz-security-token"] == "TOK"


def test_variables_come_first(
    scripted: Between, url: ObjectUrl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the files; also for the region."""
    write(home, "credentials", "[default]\naws_access_key_id=AKFILE\naws_secret_access_key=s\n")
    write(home, "config", "[default]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert key_used(scripted, url) == "AKENV us-west-2"


def test_a_process_prints_the_credentials(scripted: Between, url: ObjectUrl, home: Path) -> None:
    """What a profile of a company often is."""
    printed = {"Version": 1, "AccessKeyId": "AKPROC", "SecretAccessKey": CANARY}
    printed["Expiration"] = "2099-01-01T00:00:00Z"
    script = write(home, "print.py", f"print({json.dumps(printed)!r})")
    write(
        home,
        "config",
        f"[default]\nregion=eu-west-1\ncredential_process = {sys.executable} {script}\n",
    )
    assert key_used(scripted, url) == "AKPROC eu-west-1"


@pytest.mark.parametrize("command", ["false", "echo hello", "no-such-program", "echo []", "echo '"])
def test_a_process_that_prints_none(
    scripted: Between, url: ObjectUrl, home: Path, command: str
) -> None:
    """Said as what it is."""
    write(home, "config", f"[default]\ncredential_process = {command}\n")
    with pytest.raises(BucketAuthError, match="credential_process of the profile default"):
        key_used(scripted, url)


@pytest.mark.parametrize(
    "text", ["sso_session = x", "role_arn = arn:aws:iam::1:role/x\nsource_profile = default"]
)
def test_what_needs_amazons_tool_is_left_to_it(home: Path, text: str) -> None:
    """With the command that does it."""
    write(home, "config", f"[profile calls]\n{text}\n")
    with pytest.raises(BucketAuthError, match="login or by assuming a role") as caught:
        read_profile({"HOME": str(home), "AWS_PROFILE": "calls"})
    assert "aws configure export-credentials --profile calls" in (caught.value.fix or "")


def test_a_profile_that_is_not_there(home: Path) -> None:
    """A mistyped name is no other account."""
    with pytest.raises(BucketAuthError, match="no profile calls"):
        read_profile({"HOME": str(home), "AWS_PROFILE": "calls"})


@pytest.mark.parametrize("text", [f"{CANARY}\n", f"[default]\n{CANARY}\n"])
def test_a_broken_file_is_not_repeated(home: Path, text: str) -> None:
    """Its line may be the secret."""
    write(home, "credentials", text)
    with pytest.raises(StorageError, match="cannot be read") as caught:
        read_profile({"HOME": str(home)})
    assert CANARY not in str(caught.value)


def test_files_that_are_none_are_said(home: Path) -> None:
    """A folder, and what is no text."""
    (home / ".aws" / "config").mkdir(parents=True)
    with pytest.raises(StorageError, match="Is a directory"):
        read_profile({"HOME": str(home)})
    (home / ".aws" / "config").rmdir()
    (home / ".aws" / "config").write_bytes(b"\xff\xfe")
    with pytest.raises(StorageError, match="it is no text"):
        read_profile({"HOME": str(home)})


def test_files_can_be_elsewhere(tmp_path: Path) -> None:
    """By Amazon's own variables."""
    credentials, config = tmp_path / "a", tmp_path / "b"
    credentials.write_text("[default]\naws_access_key_id=AK\naws_secret_access_key=s\n")
    config.write_text("[default]\nregion=eu-west-1\nendpoint_url=https://store.example\n")
    environ = {
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_CONFIG_FILE": str(config),
    }
    profile = read_profile(environ)
    assert (profile.region, profile.endpoint) == ("eu-west-1", "https://store.example")
    assert profile.provider is not None
    assert profile.provider()["access_key_id"] == "AK"
    assert CANARY not in repr(profile)


def test_a_container_has_its_own_credentials(home: Path) -> None:
    """A file that lies about does not stand in for them, unless it is asked for by name."""
    write(home, "credentials", "[default]\naws_access_key_id=AK\naws_secret_access_key=s\n")
    environ = {"HOME": str(home), "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}
    assert read_profile(environ).provider is None
    assert read_profile(environ | {"AWS_PROFILE": "default"}).provider is not None


def test_the_machines_own_role_that_is_not_told_now(
    scripted: Between, url: ObjectUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again."""
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", scripted.endpoint)
    scripted.rule = lambda _: Answer(status=503)
    bucket = Bucket.open(url, BucketOptions(endpoint=scripted.endpoint), patience=hasty(3))
    with pytest.raises(StorageError, match="not told now"):
        bucket.probe()
    assert len(scripted.asked) == 3


def test_no_credentials_anywhere(
    scripted: Between, url: ObjectUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's own role is asked for last; without one, it is said where to put them."""
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    bucket = Bucket.open(url, BucketOptions(endpoint=scripted.endpoint), patience=hasty(1))
    with pytest.raises(BucketAuthError, match="no credentials were found") as caught:
        bucket.probe()
    assert "AWS_PROFILE" in (caught.value.fix or "")
    assert scripted.asked == []
