"""What a bucket promises, on a store in memory."""

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from bulkaudio.errors import StorageError
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.allowance import Allowance
from bulkaudio.stores.objects.bucket import READ_BYTES, Bucket
from bulkaudio.stores.objects.faults import ObjectMissingError
from bulkaudio.stores.objects.things import Body, Found, Put
from bulkaudio.stores.objects.upload import SINGLE_BYTES

SMALL = Body.of(b"RIFF" + bytes(1000))
OTHER = Body.of(b"RIFX" + bytes(1000))
LARGE = Body.of(os.urandom(SINGLE_BYTES + 12_345))


def key_of(url: ObjectUrl, name: str = "combined/CA1.wav") -> str:
    """Name an object."""
    return url.key(PurePosixPath(name))


def listed(bucket: Bucket, prefix: str) -> Sequence[Found]:
    """Return all that is below a prefix."""
    return [found for page in bucket.names(prefix) for found in page]


@pytest.mark.parametrize("body", [Body.of(b""), SMALL, LARGE], ids=["empty", "small", "large"])
def test_bytes_come_back_as_they_were(memory: Bucket, url: ObjectUrl, body: Body) -> None:
    """With their facts; whole, in pieces and in parts."""
    key = key_of(url)
    facts = {"sha256": body.sha256, "conversation": "CA1", "started": "2026-11-22T06:00:00+00:00"}
    assert memory.put(key, body, facts=facts) is Put.CREATED
    found = memory.head(key)
    assert found is not None
    assert (found.key, found.size, found.facts) == (key, body.size, facts)
    pieces = list(memory.read(key))
    assert b"".join(pieces) == body.source
    assert max(map(len, pieces), default=0) <= READ_BYTES
    assert isinstance(body.source, bytes)
    assert memory.read_range(key, 2, 10) == body.source[2:12] or not body.size
    assert memory.read_range(key, body.size, 10) == b""
    assert memory.holds(found, body)
    assert [item.key for item in listed(memory, url.prefix)] == [key]


def test_a_file_is_put_as_its_bytes_are(memory: Bucket, url: ObjectUrl, tmp_path: Path) -> None:
    """Small and large."""
    for body in (SMALL, LARGE):
        path = tmp_path / "body"
        assert isinstance(body.source, bytes)
        path.write_bytes(body.source)
        key = key_of(url, f"combined/{body.size}.wav")
        put = Body(source=path, size=body.size, sha256=body.sha256)
        assert memory.put(key, put, facts={}) is Put.CREATED
        assert b"".join(memory.read(key)) == body.source


@pytest.mark.parametrize("first", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("second", [SMALL, OTHER, LARGE], ids=["same", "other", "large"])
def test_what_is_there_stays(memory: Bucket, url: ObjectUrl, first: Body, second: Body) -> None:
    """A put of a taken key changes nothing, and it can be asked what is there."""
    key = key_of(url)
    memory.put(key, first, facts={"sha256": first.sha256})
    assert memory.put(key, second, facts={}) is Put.EXISTS
    found = memory.head(key)
    assert found is not None
    assert b"".join(memory.read(key)) == first.source
    assert memory.holds(found, second) == (first is second)


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_bytes_that_changed_since_their_proof_are_not_stored(
    memory: Bucket, url: ObjectUrl, tmp_path: Path, body: Body
) -> None:
    """One bit, a byte less, a byte more in the promise, or no file at all: nothing is there."""
    assert isinstance(body.source, bytes)
    path = tmp_path / "body"
    path.write_bytes(body.source[:-1] + bytes([body.source[-1] ^ 1]))
    wrong = [
        Body(source=path, size=body.size, sha256=body.sha256),
        Body(source=body.source, size=body.size + 1, sha256=body.sha256),
        Body(source=body.source, size=body.size - 1, sha256=body.sha256),
    ]
    for each in wrong:
        with pytest.raises(StorageError, match="changed on this machine"):
            memory.put(key_of(url), each, facts={})
    gone = Body(source=tmp_path / "gone", size=body.size, sha256=body.sha256)
    with pytest.raises(StorageError, match="cannot be read"):
        memory.put(key_of(url), gone, facts={})
    assert listed(memory, url.prefix) == []


def test_replace_replaces(memory: Bucket, url: ObjectUrl) -> None:
    """Sidecars are rewritten."""
    key = key_of(url, "metadata/CA1.json")
    for text in (b"{}", b'{"a":1}'):
        memory.replace(key, text, facts={"of": "CA1"})
        assert b"".join(memory.read(key)) == text


def test_a_missing_object_is_said_to_be_missing(memory: Bucket, url: ObjectUrl) -> None:
    """And deleting it is no error."""
    key = key_of(url)
    assert memory.head(key) is None
    with pytest.raises(ObjectMissingError):
        list(memory.read(key))
    with pytest.raises(ObjectMissingError):
        memory.read_range(key, 0, 10)
    with pytest.raises(ObjectMissingError):
        memory.move(key, key_of(url, "x"))
    memory.delete([key])
    memory.delete([])


def test_move_takes_facts_along_and_replaces_nothing(memory: Bucket, url: ObjectUrl) -> None:
    """What else is at the target stays, and so does the source."""
    source, target, taken = (key_of(url, name) for name in ("a.wav", "b/a.wav", "c.wav"))
    memory.put(source, SMALL, facts={"sha256": SMALL.sha256})
    memory.put(taken, OTHER, facts={})
    assert memory.move(source, taken) is Put.EXISTS
    assert memory.move(source, target) is Put.CREATED
    found = memory.head(target)
    assert found is not None
    assert found.facts == {"sha256": SMALL.sha256}
    assert memory.head(source) is None
    assert b"".join(memory.read(taken)) == OTHER.source


def test_a_move_that_was_killed_is_finished(memory: Bucket, url: ObjectUrl) -> None:
    """The copy was there already: the source goes."""
    source, target = key_of(url, "a.wav"), key_of(url, "b.wav")
    for key in (source, target):
        memory.put(key, SMALL, facts={})
    assert memory.move(source, target) is Put.CREATED
    assert memory.head(source) is None


def test_names_are_of_whole_segments_and_in_pages(memory: Bucket, url: ObjectUrl) -> None:
    """`a` does not list `ab`; thousands come in pages."""
    for number in range(1500):
        memory.put(key_of(url, f"a/{number:04}"), Body.of(b""), facts={})
    memory.put(key_of(url, "ab/1"), SMALL, facts={})
    pages = list(memory.names(key_of(url, "a")))
    assert len(pages) > 1
    assert sum(map(len, pages)) == 1500
    assert len(listed(memory, url.prefix)) == 1501
    assert len(listed(memory, "")) == 1501


def test_delete_removes_many(memory: Bucket, url: ObjectUrl) -> None:
    """Those that are there and those that are not."""
    keys = [key_of(url, str(number)) for number in range(10)]
    for key in keys[:5]:
        memory.put(key, SMALL, facts={})
    memory.delete(keys)
    assert listed(memory, url.prefix) == []


@pytest.mark.parametrize(
    "facts",
    [{"started_at": "x"}, {"started-at": "x"}, {"SHA": "x"}, {"a": "é"}, {"a": "x\n"}, {"a": " x"}],
)
def test_facts_that_some_store_would_change_are_refused(
    memory: Bucket, url: ObjectUrl, facts: dict[str, str]
) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=r".+"):
        memory.put(key_of(url), SMALL, facts=facts)
    assert memory.head(key_of(url)) is None


def test_a_bucket_shows_where_it_is_and_nothing_else(memory: Bucket, url: ObjectUrl) -> None:
    """Its repr may be in a log."""
    assert repr(memory) == f"Bucket({url})"


def test_eight_threads_have_one_winner(memory: Bucket, url: ObjectUrl) -> None:
    """And the bytes are the winner's."""
    outcomes = race(memory, key_of(url), 8)
    assert outcomes.count(Put.CREATED) == 1
    winner = Body.of(bytes([outcomes.index(Put.CREATED)]) * 1000)
    found = memory.head(key_of(url))
    assert found is not None
    assert memory.holds(found, winner)


def race(bucket: Bucket, key: str, writers: int) -> list[Put]:
    """Let threads put different bytes at the same moment."""
    start = threading.Barrier(writers)
    outcomes: list[Put | None] = [None] * writers

    def write(number: int) -> None:
        body = Body.of(bytes([number]) * 1000)
        start.wait()
        outcomes[number] = bucket.put(key, body, facts={})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in outcomes
    return [outcome for outcome in outcomes if outcome is not None]


def test_bodies_wait_for_memory() -> None:
    """Never more than there is in use; one that is larger than all takes all."""
    allowance, used, most = Allowance(10), 0, 0
    lock = threading.Lock()

    def take(size: int) -> None:
        nonlocal used, most
        with allowance.take(size):
            with lock:
                used += min(size, 10)
                most = max(most, used)
            time.sleep(0.005)
            with lock:
                used -= min(size, 10)

    threads = [threading.Thread(target=take, args=(size,)) for size in [3, 4, 25, 1, 10, 6] * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert used == 0
    assert 0 < most <= 10
