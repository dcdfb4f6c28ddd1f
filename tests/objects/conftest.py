"""Object stores for tests: in memory, scripted, a real Ceph gateway, Azure's emulator."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from bulkaudio.stores.objects.patience import Patience
from tests.objects import gateway
from tests.objects.azurite import azurite
from tests.objects.between import Between, between

CANARY = "CANARY/secret+5c1e0f"


def hasty(attempts: int = 5) -> Patience:
    """Wait as long as a test can."""
    return Patience(attempts=attempts, base_s=0.01, busy_base_s=0.01, cap_s=0.05)


Open = Callable[..., Bucket]


@pytest.fixture(autouse=True)
def _no_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the clouds of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)


@pytest.fixture
def url() -> ObjectUrl:
    """Name a prefix that nobody else has."""
    return ObjectUrl("s3", gateway.BUCKET, f"test-{secrets.token_hex(6)}")


@pytest.fixture
def open_s3(url: ObjectUrl, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Return a way to open `url` at an endpoint, with the gateway's key and little patience."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.SECRET)

    def open_(endpoint: str, *, attempts: int = 5, **options: object) -> Bucket:
        asked = BucketOptions(endpoint=endpoint, **options)  # type: ignore[arg-type]
        return Bucket.open(url, asked, patience=hasty(attempts))

    return open_


@pytest.fixture
def memory(url: ObjectUrl) -> Bucket:
    """Return an empty bucket in memory."""
    return Bucket.in_memory(url)


@pytest.fixture
def scripted() -> Iterator[Between]:
    """Return a server that answers by its rule alone."""
    with between(None) as running:
        yield running


@pytest.fixture
def ceph() -> str:
    """Return the endpoint of a real gateway."""
    gateway.use_gateway()
    return gateway.ENDPOINT


@pytest.fixture
def faulty(ceph: str) -> Iterator[Between]:
    """Return what stands between a client and the gateway."""
    with between(ceph) as running:
        yield running


@pytest.fixture(scope="session")
def azure() -> Iterator[str]:
    """Return the endpoint of Azure's emulator."""
    with tempfile.TemporaryDirectory() as folder, azurite(Path(folder)) as endpoint:
        yield endpoint
