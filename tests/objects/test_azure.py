"""A bucket on Azure's own emulator, and what is read of Azure's variables."""

import hashlib
import os
from pathlib import PurePosixPath

import pytest

from bulkaudio.errors import BucketAuthError, StorageError
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.azure import EMULATOR, read_settings
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from bulkaudio.stores.objects.things import Body, Put
from bulkaudio.stores.objects.upload import SINGLE_BYTES
from tests.objects.azurite import new_container
from tests.objects.between import Answer, Between, Pass, between
from tests.objects.conftest import CANARY, hasty
from tests.objects.test_bucket import race


@pytest.fixture
def container(azure: str, monkeypatch: pytest.MonkeyPatch) -> ObjectUrl:
    """Name a new container."""
    return new_container(azure, monkeypatch)


def opened(url: ObjectUrl, endpoint: str) -> Bucket:
    """Open with little patience."""
    return Bucket.open(url, BucketOptions(endpoint=endpoint), patience=hasty())


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_container_is_a_bucket(azure: str, container: ObjectUrl) -> None:
    """All of it: probe, put, facts, read, names, move, delete."""
    bucket = opened(container, azure)
    conditions = bucket.probe()
    assert (conditions.honours_absence, conditions.keeps_facts, conditions.notes) == (
        True,
        True,
        (),
    )
    for size in (0, 300_000, SINGLE_BYTES + 3_000_000):
        body = Body.of(os.urandom(size))
        key, target = (container.key(PurePosixPath(f"{name}/{size}.wav")) for name in ("a", "b"))
        facts = {"sha256": body.sha256, "started": "2026-11-22T06:00:00+00:00"}
        assert bucket.put(key, body, facts=facts) is Put.CREATED
        assert bucket.put(key, body, facts={}) is Put.EXISTS
        found = bucket.head(key)
        assert found is not None
        assert (found.size, found.facts) == (size, facts)
        assert bucket.holds(found, body)
        assert b"".join(bucket.read(key)) == body.source
        assert bucket.move(key, target) is Put.CREATED
        moved = bucket.head(target)
        assert moved is not None
        assert moved.facts == facts
    names = [found.key for page in bucket.names("calls") for found in page]
    assert sorted(names) == sorted(
        f"calls/b/{n}.wav" for n in (0, 300_000, SINGLE_BYTES + 3_000_000)
    )
    bucket.delete([*names, "calls/gone"])
    assert list(bucket.names("calls")) == []
    assert bucket.head("calls/gone") is None


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_eight_writers_have_one_winner(azure: str, container: ObjectUrl) -> None:
    """On Azure too."""
    bucket = opened(container, azure)
    for turn in range(10):
        assert race(bucket, f"calls/{turn}", 8).count(Put.CREATED) == 1


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_faults_on_the_way_to_azure(azure: str, container: ObjectUrl) -> None:
    """A lost answer is ours; a bit that turned does not stay."""
    body = Body.of(os.urandom(100_000))
    with between(azure) as faulty:
        bucket = opened(container, faulty.endpoint)
        faulty.rule = lambda asked: Pass(drop_answer=True) if asked.number == 1 else None
        assert bucket.put("calls/1", body, facts={}) is Put.CREATED
        faulty.rule = lambda asked: Pass(corrupt=True) if asked.method == "PUT" else None
        with pytest.raises(StorageError, match="not what was sent"):
            bucket.put("calls/2", body, facts={})
    assert bucket_keys(opened(container, azure)) == ["calls/1"]


def bucket_keys(bucket: Bucket) -> list[str]:
    """Return all keys."""
    return [found.key for page in bucket.names("") for found in page]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_wrong_keys_and_containers(
    azure: str, container: ObjectUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is said as what it is, without the key."""
    nowhere = ObjectUrl("az", "nosuchcontainer", "x")
    with pytest.raises(StorageError, match="there is no container nosuchcontainer"):
        opened(nowhere, azure).probe()
    secret = hashlib.sha256(CANARY.encode()).hexdigest()
    monkeypatch.setenv("AZURE_STORAGE_KEY", secret)
    with pytest.raises(BucketAuthError, match="403 Auth") as caught:
        opened(container, azure).probe()
    assert secret not in str(caught.value)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_connection_string_is_enough(
    azure: str, container: ObjectUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the portal shows it."""
    for name in ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        f"DefaultEndpointsProtocol=http;AccountName={EMULATOR['account_name']};"
        f"AccountKey={EMULATOR['account_key']};BlobEndpoint={azure};",
    )
    Bucket.open(container, BucketOptions(), patience=hasty()).probe()


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (
            "AccountName=acc;AccountKey=a2V5==;EndpointSuffix=core.example",
            {"account_name": "acc", "account_key": "a2V5=="}
            | {"endpoint": "https://acc.blob.core.example"},
        ),
        (
            "BlobEndpoint=https://acc.blob.core.windows.net;SharedAccessSignature=sv=1&sig=x%3D",
            {"account_name": "acc", "sas_key": "sv=1&sig=x%3D"}
            | {"endpoint": "https://acc.blob.core.windows.net"},
        ),
        ("UseDevelopmentStorage=true", EMULATOR),
    ],
)
def test_connection_strings(text: str, settings: dict[str, str]) -> None:
    """Keys with = in them, signatures, the emulator."""
    assert read_settings({"AZURE_STORAGE_CONNECTION_STRING": text}) == settings


def test_a_connection_string_without_an_account_is_refused() -> None:
    """And not repeated."""
    with pytest.raises(BucketAuthError, match="names no account") as caught:
        read_settings({"AZURE_STORAGE_CONNECTION_STRING": f"AccountKey={CANARY}"})
    assert CANARY not in str(caught.value)


def test_a_signature_is_in_no_error(scripted: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is part of every address there."""
    scripted.rule = lambda _: Answer(status=500)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "acc")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=hunter2hunter2")
    bucket = opened(ObjectUrl("az", "container", ""), scripted.endpoint)
    with pytest.raises(StorageError, match="storing a first object") as caught:
        bucket.probe()
    assert "hunter2" in scripted.asked[0].target
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_no_account_is_no_client() -> None:
    """The name of the account is part of the address."""
    with pytest.raises(StorageError, match="preparing requests"):
        Bucket.open(ObjectUrl("az", "container", ""), BucketOptions())


def test_azures_own_variables() -> None:
    """As its command-line tool reads them; the emulator by the client library's."""
    assert read_settings({}) == {}
    told = {"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_SAS_TOKEN": "sig"}
    assert read_settings(told) == {"account_name": "acc", "sas_key": "sig"}
    assert read_settings({"AZURE_STORAGE_USE_EMULATOR": "true"}) == EMULATOR
