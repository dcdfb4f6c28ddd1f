"""A bucket on a real Ceph gateway, alone and with faults between."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import pytest

from bulkaudio.errors import BucketAuthError, StorageError
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from bulkaudio.stores.objects.probe import IGNORES_ABSENCE, NO_DELETE
from bulkaudio.stores.objects.things import Body, Found, Put
from bulkaudio.stores.objects.upload import PART_BYTES, SINGLE_BYTES
from tests.objects import gateway
from tests.objects.between import Asked, Between, Pass, Treatment, refused, slow_down
from tests.objects.conftest import Open, hasty
from tests.objects.uploads import asked_by_curl, uploads_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SMALL = Body.of(os.urandom(300_000))
LARGE = Body.of(os.urandom(SINGLE_BYTES + 3_000_000))
SIZES = [0, 1, 300_000, SINGLE_BYTES - 1, SINGLE_BYTES, SINGLE_BYTES + 1, 4 * PART_BYTES]


def key_of(url: ObjectUrl, name: str = "combined/CA1.wav") -> str:
    """Name an object."""
    return url.key(PurePosixPath(name))


def listed(bucket: Bucket, url: ObjectUrl) -> Sequence[Found]:
    """Return all of a test's objects."""
    return [found for page in bucket.names(url.prefix) for found in page]


def assert_holds(bucket: Bucket, key: str, body: Body) -> None:
    """Read it all back."""
    digest = hashlib.sha256()
    for piece in bucket.read(key):
        digest.update(piece)
    assert digest.hexdigest() == body.sha256


def nth(method: str, number: int, treatment: Treatment) -> Callable[[Asked], Treatment]:
    """Treat the n-th request of a method differently."""
    seen = 0

    def rule(asked: Asked) -> Treatment:
        nonlocal seen
        seen += asked.method == method
        return treatment if asked.method == method and seen == number else None

    return rule


@pytest.mark.parametrize("size", SIZES)
def test_bytes_come_back(ceph: str, open_s3: Open, url: ObjectUrl, size: int) -> None:
    """Around every border, with their facts and the store's own sum."""
    bucket, body = open_s3(ceph), Body.of(os.urandom(size))
    facts = {"sha256": body.sha256, "conversation": "CA1", "started": "2026-11-22T06:00:00+00:00"}
    assert bucket.put(key_of(url), body, facts=facts) is Put.CREATED
    assert_holds(bucket, key_of(url), body)
    found = bucket.head(key_of(url))
    assert found is not None
    assert (found.size, found.facts) == (size, facts)
    assert bucket.holds(found, body)
    assert not bucket.holds(found, Body.of(bytes(size + 1)))
    assert bucket.put(key_of(url), body, facts={}) is Put.EXISTS


def test_the_gateway_is_found_to_be_good(ceph: str, open_s3: Open, url: ObjectUrl) -> None:
    """And nothing stays of the probe."""
    bucket = open_s3(ceph)
    conditions = bucket.probe()
    assert conditions.honours_absence
    assert conditions.keeps_facts
    assert conditions.can_delete
    assert conditions.notes == ()
    assert listed(bucket, url) == []


WRITER = """
import sys
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from bulkaudio.stores.objects.things import Body
url = ObjectUrl.parse(sys.argv[1])
bucket = Bucket.open(url, BucketOptions(endpoint=sys.argv[2]))
bucket.head(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
print(bucket.put(sys.argv[3], Body.of(sys.argv[4].encode() * 100_000), facts={"by": sys.argv[4]}).name)
"""


def test_eight_processes_have_one_winner(ceph: str, open_s3: Open, url: ObjectUrl) -> None:
    """Ten times; the bytes and the facts are the winner's."""
    bucket = open_s3(ceph)
    for turn in range(10):
        key = key_of(url, f"race/{turn}")
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(url), ceph, key, str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(8)
        ]
        for writer in writers:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin
            writer.stdin.write("go\n")
            writer.stdin.flush()
        said = [writer.communicate()[0].strip() for writer in writers]
        assert sorted(said) == ["CREATED"] + ["EXISTS"] * 7
        winner = str(said.index("CREATED"))
        found = bucket.head(key)
        assert found is not None
        assert found.facts == {"by": winner}
        assert_holds(bucket, key, Body.of(winner.encode() * 100_000))


def test_eight_threads_have_one_winner(ceph: str, open_s3: Open, url: ObjectUrl) -> None:
    """Of one client."""
    bucket = open_s3(ceph)
    for turn in range(20):
        key = key_of(url, f"race/{turn}")
        bodies = [Body.of(bytes([number]) * 50_000) for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda body: bucket.put(key, body, facts={}), bodies))  # noqa: B023
        assert outcomes.count(Put.CREATED) == 1
        assert_holds(bucket, key, bodies[outcomes.index(Put.CREATED)])


def ignoring(asked: Asked) -> Treatment:
    """Be a store that does not know If-None-Match."""
    del asked
    return Pass(without=frozenset({"if-none-match"}))


def test_a_store_that_ignores_absence_is_noticed(
    faulty: Between, open_s3: Open, url: ObjectUrl
) -> None:
    """It is said once, and from then on every put looks first."""
    faulty.rule = ignoring
    bucket = open_s3(faulty.endpoint)
    conditions = bucket.probe()
    assert not conditions.honours_absence
    assert conditions.notes == (IGNORES_ABSENCE,)
    assert listed(bucket, url) == []
    for body in (SMALL, LARGE):
        key = key_of(url, f"{body.size}.wav")
        assert bucket.put(key, body, facts={"sha256": body.sha256}) is Put.CREATED
        assert bucket.put(key, Body.of(b"other"), facts={}) is Put.EXISTS
        assert_holds(bucket, key, body)


def test_a_lost_answer_is_no_loss_there_either(
    faulty: Between, open_s3: Open, url: ObjectUrl
) -> None:
    """Looked first, stored, not told, looked again: it is ours."""
    faulty.rule = ignoring
    bucket = open_s3(faulty.endpoint)
    bucket.probe()
    faulty.rule = nth("PUT", 1, Pass(without=frozenset({"if-none-match"}), drop_answer=True))
    assert bucket.put(key_of(url), SMALL, facts={}) is Put.CREATED
    assert_holds(bucket, key_of(url), SMALL)


@pytest.mark.parametrize("code", ["NotImplemented", "MethodNotAllowed"])
def test_a_store_that_refuses_the_condition_is_used_without(
    faulty: Between, open_s3: Open, url: ObjectUrl, code: str
) -> None:
    """Some answer 501 to what they do not know."""
    faulty.rule = lambda asked: (
        refused(code, 501) if "if-none-match" in asked.headers and asked.method == "PUT" else None
    )
    bucket = open_s3(faulty.endpoint)
    assert not bucket.probe().honours_absence
    assert bucket.put(key_of(url), SMALL, facts={}) is Put.CREATED
    assert listed(bucket, url)[0].key == key_of(url)


def test_credentials_that_cannot_delete_are_noted(faulty: Between, open_s3: Open) -> None:
    """A download does not need it."""
    faulty.rule = lambda asked: (
        refused() if asked.method == "DELETE" or "?delete" in asked.target else None
    )
    conditions = open_s3(faulty.endpoint).probe()
    assert not conditions.can_delete
    assert conditions.notes == (NO_DELETE,)


RIGHTS: dict[str, Callable[[Asked], bool]] = {
    "storing a first object": lambda asked: asked.method == "PUT",
    "looking at an object": lambda asked: asked.method == "HEAD",
    "reading an object": lambda asked: asked.method == "GET" and "/probe/" in asked.target,
    "listing objects": lambda asked: "list-type" in asked.target,
}


@pytest.mark.parametrize("what", RIGHTS)
def test_a_right_that_lacks_is_named(
    faulty: Between, open_s3: Open, url: ObjectUrl, what: str
) -> None:
    """At the start, by the probe; which leaves nothing behind."""
    faulty.rule = lambda asked: refused() if RIGHTS[what](asked) else None
    bucket = open_s3(faulty.endpoint)
    with pytest.raises(BucketAuthError, match=what):
        bucket.probe()
    faulty.rule = lambda _: None
    assert listed(bucket, url) == []


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_lost_answer_is_no_loss(
    faulty: Between, open_s3: Open, url: ObjectUrl, body: Body
) -> None:
    """Stored, not told: the repeated put is refused, compared, and ours."""
    number = 1 if body is SMALL else 2
    method = "PUT" if body is SMALL else "POST"  # the second POST completes what the first began
    faulty.rule = nth(method, number, Pass(drop_answer=True))
    bucket = open_s3(faulty.endpoint)
    assert bucket.put(key_of(url), body, facts={"sha256": body.sha256}) is Put.CREATED
    assert_holds(bucket, key_of(url), body)
    assert [found.key for found in listed(bucket, url)] == [key_of(url)]
    assert uploads_of(url) == []


def test_a_lost_answer_over_somebody_elses_object_is_not_taken_for_ours(
    ceph: str, faulty: Between, open_s3: Open, url: ObjectUrl
) -> None:
    """Another writer was first, with other bytes."""
    open_s3(ceph).put(key_of(url), Body.of(b"theirs"), facts={})
    faulty.rule = nth("PUT", 1, Pass(drop_answer=True))
    assert open_s3(faulty.endpoint).put(key_of(url), SMALL, facts={}) is Put.EXISTS
    assert_holds(open_s3(ceph), key_of(url), Body.of(b"theirs"))


def test_slow_down_in_the_midst_of_it(faulty: Between, open_s3: Open, url: ObjectUrl) -> None:
    """Every third request: all 60 arrive all the same."""
    faulty.rule = lambda asked: slow_down() if asked.number % 3 == 0 else None
    bucket = open_s3(faulty.endpoint, attempts=8)
    bodies = {key_of(url, f"{number}.wav"): Body.of(os.urandom(5_000)) for number in range(60)}
    with ThreadPoolExecutor(16) as pool:
        puts = list(pool.map(lambda key: bucket.put(key, bodies[key], facts={}), bodies))
    assert puts == [Put.CREATED] * 60
    assert {found.key: found.size for found in listed(bucket, url)} == dict.fromkeys(bodies, 5_000)
    assert bucket.put(key_of(url, "large.wav"), LARGE, facts={}) is Put.CREATED
    assert_holds(bucket, key_of(url, "large.wav"), LARGE)
    bucket.delete(list(bodies))


def test_refused_from_some_moment_on(faulty: Between, open_s3: Open, url: ObjectUrl) -> None:
    """Credentials that end mid-run: what was told to be stored is, and the rest is an error."""
    faulty.rule = lambda asked: refused("ExpiredToken", 400) if asked.number > 25 else None
    bucket = open_s3(faulty.endpoint)
    done: list[str] = []

    def put_many() -> None:
        for number in range(100):
            key = key_of(url, f"{number:03}.wav")
            bucket.put(key, Body.of(b"x" * number), facts={})
            done.append(key)

    with pytest.raises(BucketAuthError, match="400 ExpiredToken") as caught:
        put_many()
    assert gateway.SECRET not in str(caught.value)
    faulty.rule = lambda _: None
    assert [found.key for found in listed(bucket, url)] == done


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_bit_that_turned_on_the_way_is_noticed(
    faulty: Between, open_s3: Open, url: ObjectUrl, body: Body
) -> None:
    """By the store, because the body's SHA-256 is signed; and the next attempt is right."""
    faulty.rule = nth("PUT", 1, Pass(corrupt=True))
    bucket = open_s3(faulty.endpoint)
    assert bucket.put(key_of(url), body, facts={}) is Put.CREATED
    assert_holds(bucket, key_of(url), body)


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.usefixtures("_unsigned")
def test_a_bit_that_a_store_lets_pass_is_noticed_here(
    faulty: Between, open_s3: Open, url: ObjectUrl, body: Body
) -> None:
    """Nothing wrong stays under a final name, whatever the store believes."""
    bucket = open_s3(faulty.endpoint, attempts=2)
    faulty.rule = lambda asked: Pass(corrupt=True) if asked.method == "PUT" else None
    with pytest.raises(StorageError, match="not what was sent"):
        bucket.put(key_of(url), body, facts={})
    assert listed(bucket, url) == []
    faulty.rule = nth("PUT", 1, Pass(corrupt=True))
    assert bucket.put(key_of(url), body, facts={}) is Put.CREATED
    assert_holds(bucket, key_of(url), body)


def test_a_cut_body_is_sent_again(faulty: Between, open_s3: Open, url: ObjectUrl) -> None:
    """A put whose connection broke in the middle leaves nothing."""
    faulty.rule = nth("PUT", 1, Pass(cut_body_at=100_000))
    bucket = open_s3(faulty.endpoint)
    assert bucket.put(key_of(url), SMALL, facts={}) is Put.CREATED
    assert_holds(bucket, key_of(url), SMALL)


def test_parts_that_cannot_be_sent_are_taken_back(
    faulty: Between, open_s3: Open, url: ObjectUrl
) -> None:
    """Cut in the third part, for ever: nothing is visible, nothing is left to pay for."""
    faulty.rule = lambda asked: (
        Pass(cut_body_at=1_000_000) if "partNumber=3" in asked.target else None
    )
    bucket = open_s3(faulty.endpoint, attempts=2)
    with pytest.raises(StorageError, match="the connection broke"):
        bucket.put(key_of(url), LARGE, facts={})
    assert listed(bucket, url) == []
    assert uploads_of(url) == []


def test_a_part_that_broke_is_sent_again_alone(
    faulty: Between, open_s3: Open, url: ObjectUrl
) -> None:
    """Not all of the body."""
    faulty.rule = nth("PUT", 3, Pass(cut_body_at=1_000_000))
    assert open_s3(faulty.endpoint).put(key_of(url), LARGE, facts={}) is Put.CREATED
    assert faulty.count("PUT") == -(-LARGE.size // PART_BYTES) + 1
    assert_holds(open_s3(faulty.endpoint), key_of(url), LARGE)


def test_a_file_that_is_cut_while_it_is_sent_is_taken_back(
    faulty: Between, open_s3: Open, url: ObjectUrl, tmp_path: Path
) -> None:
    """The bytes on this machine are proven once more before the last part goes."""
    path = tmp_path / "recording"
    assert isinstance(LARGE.source, bytes)
    path.write_bytes(LARGE.source)

    def rule(asked: Asked) -> Treatment:
        if "partNumber=1" in asked.target:
            os.truncate(path, LARGE.size - 1)
        return None

    faulty.rule = rule
    body = Body(source=path, size=LARGE.size, sha256=LARGE.sha256)
    bucket = open_s3(faulty.endpoint)
    with pytest.raises(StorageError, match="changed on this machine"):
        bucket.put(key_of(url), body, facts={})
    assert listed(bucket, url) == []
    assert uploads_of(url) == []


LARGE_WRITER = """
import sys
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from bulkaudio.stores.objects.things import Body
url = ObjectUrl.parse(sys.argv[1])
bucket = Bucket.open(url, BucketOptions(endpoint=sys.argv[2]))
bucket.put(sys.argv[3], Body.of(bytes(60_000_000)), facts={})
"""


def test_a_killed_upload_in_parts_is_not_visible(
    faulty: Between, open_s3: Open, url: ObjectUrl
) -> None:
    """And does not disturb the next one. What it left is for the bucket's lifecycle rule."""

    def rule(asked: Asked) -> Treatment:
        if "partNumber=3" in asked.target:
            os.kill(writer.pid, signal.SIGKILL)
            time.sleep(0.2)
        return None

    faulty.rule = rule
    command = [sys.executable, "-c", LARGE_WRITER, str(url), faulty.endpoint, key_of(url)]
    with subprocess.Popen(command) as writer:
        assert writer.wait() == -signal.SIGKILL
    faulty.rule = lambda _: None
    bucket = open_s3(faulty.endpoint)
    assert listed(bucket, url) == []
    assert bucket.head(key_of(url)) is None
    assert len(uploads_of(url)) == 1
    assert bucket.put(key_of(url), LARGE, facts={}) is Put.CREATED
    assert_holds(bucket, key_of(url), LARGE)


def test_reads_go_on_where_they_broke(faulty: Between, open_s3: Open, url: ObjectUrl) -> None:
    """In pieces, each of which is asked for again."""
    bucket = open_s3(faulty.endpoint)
    bucket.put(key_of(url), LARGE, facts={})
    faulty.rule = nth("GET", 2, Pass(drop_answer=True))
    assert_holds(bucket, key_of(url), LARGE)


def test_a_read_of_what_was_replaced_meanwhile_is_an_error(
    ceph: str, open_s3: Open, url: ObjectUrl
) -> None:
    """Not half of one and half of the other."""
    bucket = open_s3(ceph)
    bucket.put(key_of(url), LARGE, facts={})
    pieces = bucket.read(key_of(url))
    next(pieces)
    bucket.replace(key_of(url), bytes(SINGLE_BYTES), facts={})
    with pytest.raises(StorageError, match="412"):
        list(pieces)


def test_move_on_a_store_that_cannot_copy_if_absent(
    ceph: str, open_s3: Open, url: ObjectUrl
) -> None:
    """It looks, copies on the server, facts and all, and removes."""
    bucket = open_s3(ceph)
    for body in (SMALL, LARGE):
        source, target = (key_of(url, f"{name}/{body.size}") for name in ("a", "b"))
        bucket.put(source, body, facts={"sha256": body.sha256})
        assert bucket.move(source, target) is Put.CREATED
        found = bucket.head(target)
        assert found is not None
        assert found.facts == {"sha256": body.sha256}
        assert_holds(bucket, target, body)
        assert bucket.head(source) is None
        bucket.put(source, Body.of(b"new"), facts={})
        assert bucket.move(source, target) is Put.EXISTS
        assert_holds(bucket, target, body)


@pytest.mark.parametrize("named", [("a//b", "a//b"), ("a%01b", r"a\\x01b")])
def test_a_name_that_cannot_be_read_is_said(
    ceph: str, open_s3: Open, url: ObjectUrl, named: tuple[str, str]
) -> None:
    """Somebody else's object: the client cannot list past it."""
    name, told = named
    asked_by_curl("PUT", f"{url.prefix}/{name}")
    try:
        with pytest.raises(StorageError, match="cannot be read") as caught:
            listed(open_s3(ceph), url)
    finally:
        asked_by_curl("DELETE", f"{url.prefix}/{name}")
    assert f"{url.prefix}/{told}" in str(caught.value)
    assert "remove that object" in (caught.value.fix or "")


def test_many_names(ceph: str, open_s3: Open, url: ObjectUrl) -> None:
    """2,300 objects are listed in three pages, and deleted in three requests."""
    bucket = open_s3(ceph)
    keys = [key_of(url, f"n/{number:05}") for number in range(2300)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: bucket.put(key, Body.of(b""), facts={}), keys))
    pages = list(bucket.names(url.prefix))
    assert len(pages) == 3
    assert [found.key for page in pages for found in page] == keys
    bucket.delete(keys)
    assert listed(bucket, url) == []


def test_a_store_that_cannot_delete_many_at_once(
    faulty: Between, open_s3: Open, url: ObjectUrl
) -> None:
    """They go one by one."""
    bucket = open_s3(faulty.endpoint)
    keys = [key_of(url, str(number)) for number in range(5)]
    for key in keys:
        bucket.put(key, SMALL, facts={})
    faulty.rule = lambda asked: refused("NotImplemented", 501) if asked.method == "POST" else None
    bucket.delete(keys)
    assert listed(bucket, url) == []


@pytest.mark.parametrize(
    "case",
    [
        ("bulkaudio", gateway.KEY_ID, "wrong", "403 SignatureDoesNotMatch"),
        ("bulkaudio", "AKNOBODY", gateway.SECRET, "403 InvalidAccessKeyId"),
        ("nosuchbucket", gateway.KEY_ID, gateway.SECRET, "there is no bucket nosuchbucket"),
    ],
)
def test_wrong_keys_and_buckets(
    ceph: str, monkeypatch: pytest.MonkeyPatch, case: tuple[str, str, str, str]
) -> None:
    """Each is said as what it is."""
    bucket_name, key_id, secret, told = case
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    url = ObjectUrl("s3", bucket_name, "x")
    bucket = Bucket.open(url, BucketOptions(endpoint=ceph), patience=hasty())
    with pytest.raises(StorageError, match=told) as caught:
        bucket.probe()
    assert secret not in str(caught.value)
    assert caught.value.fix


@pytest.fixture
def _unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the sum of the body out of what is signed, so that the store cannot compare it."""
    monkeypatch.setenv("AWS_UNSIGNED_PAYLOAD", "true")


@pytest.fixture(autouse=True)
def _tidy(ceph: str, open_s3: Open, url: ObjectUrl) -> Iterator[None]:
    """Remove what a test has stored."""
    yield
    os.environ["AWS_ACCESS_KEY_ID"] = gateway.KEY_ID
    os.environ["AWS_SECRET_ACCESS_KEY"] = gateway.SECRET
    bucket = open_s3(ceph)
    bucket.delete([found.key for found in listed(bucket, url)])
