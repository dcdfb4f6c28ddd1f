"""A bucket in processes of their own: how they end, what they weigh."""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.things import Put
from tests.objects.conftest import Open

HEAD = """
import resource, sys
from pathlib import Path
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from bulkaudio.stores.objects.things import Body
url = ObjectUrl.parse(sys.argv[1])
bucket = Bucket.open(url, BucketOptions(endpoint=sys.argv[2]))

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
"""

SHORT = """
from concurrent.futures import ThreadPoolExecutor
keys = [f"{url.prefix}/{sys.argv[3]}/{number}" for number in range(8)]
with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda key: bucket.put(key, Body.of(b"x" * 10_000), facts={}), keys))
"""

ONE = """
path = Path(sys.argv[3])
before = peak()
print(bucket.put(f"{url.prefix}/large", Body(source=path, size=path.stat().st_size, sha256=sys.argv[4]), facts={}).name)
after = peak()
found = bucket.head(f"{url.prefix}/large")
size = sum(len(piece) for piece in bucket.read(found.key))
print(size, after - before, peak() - before)
"""

SIXTEEN = """
import hashlib, os
from concurrent.futures import ThreadPoolExecutor
size = int(sys.argv[3])
sum_ = hashlib.sha256(bytes(size)).hexdigest()
path = Path(sys.argv[4])
path.write_bytes(bytes(size))
before = peak()
def put(number):
    bucket.put(f"{url.prefix}/{number}", Body(source=path, size=size, sha256=sum_), facts={})
with ThreadPoolExecutor(16) as pool:
    list(pool.map(put, range(96)))
print(peak() - before)
"""


def run(script: str, url: ObjectUrl, endpoint: str, *arguments: str) -> Sequence[str]:
    """Run a script in a process that must end well; returns its words."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script, str(url), endpoint, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("_keys")
def test_short_runs_end_with_their_own_code(ceph: str, url: ObjectUrl, open_s3: Open) -> None:
    """Fifty of them: obstore's asynchronous calls would end some with 134."""
    for number in range(50):
        run(SHORT, url, ceph, str(number))
    bucket = open_s3(ceph)
    keys = [found.key for page in bucket.names(url.prefix) for found in page]
    assert len(keys) == 400
    bucket.delete(keys)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("_keys")
def test_memory_is_flat_for_one_large_object(
    ceph: str, url: ObjectUrl, open_s3: Open, large: tuple[Path, int]
) -> None:
    """Put and read: a few parts, whatever the size."""
    path, megabytes = large
    block = bytes(range(250)) * 4000
    sum_ = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(megabytes):
            piece = number.to_bytes(8, "big") + block[8:]
            sum_.update(piece)
            file.write(piece)
    put, size, put_mb, both_mb = run(ONE, url, ceph, str(path), sum_.hexdigest())
    assert put == Put.CREATED.name
    assert int(size) == megabytes * 1_000_000
    assert int(put_mb) < 48
    assert int(both_mb) < 64
    bucket = open_s3(ceph)
    key = url.key(PurePosixPath("large"))
    read = hashlib.sha256()
    for part in bucket.read(key):
        read.update(part)
    assert read.hexdigest() == sum_.hexdigest()
    bucket.delete([key])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("_keys")
def test_memory_of_sixteen_at_once(
    ceph: str, url: ObjectUrl, open_s3: Open, tmp_path: Path
) -> None:
    """The bodies on their way, and little more."""
    for size, most_mb in ((3_000_000, 80), (16_000_000, 290)):
        (used,) = run(SIXTEEN, url, ceph, str(size), str(tmp_path / "body"))
        assert int(used) < most_mb
        bucket = open_s3(ceph)
        bucket.delete([found.key for page in bucket.names(url.prefix) for found in page])


@pytest.fixture(params=[600, 1200])
def large(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, int]:
    """Name a file to make, and say of how many megabytes."""
    return tmp_path / "large", int(request.param)


@pytest.fixture
def _keys(open_s3: Open) -> None:
    """Put the gateway's key into the environment, which children inherit."""


LEAN = """
import sys
import bulkaudio.object_url, bulkaudio.stores.base, bulkaudio.stores.local
assert not any(name.partition(".")[0] == "obstore" for name in sys.modules), "obstore"
"""


def test_a_local_store_does_not_need_the_client() -> None:
    """It is an extra: nothing else imports it."""
    done = subprocess.run([sys.executable, "-c", LEAN], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
