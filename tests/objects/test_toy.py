"""A bucket on a store that is not as it should be."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bulkaudio.errors import BucketAuthError, StorageError
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.probe import IGNORES_ABSENCE, NO_DELETE
from bulkaudio.stores.objects.things import Body, Put
from bulkaudio.stores.objects.upload import MAX_PARTS, PART_BYTES, SINGLE_BYTES, Upload
from tests.objects.between import Answer, Asked, Between, Treatment, refused
from tests.objects.conftest import Open
from tests.objects.toy import Toy

SMALL = Body.of(os.urandom(3_000))
LARGE = Body.of(os.urandom(SINGLE_BYTES + 3_000))
BODIES = pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])


@pytest.fixture
def toy(scripted: Between) -> Toy:
    """Return a store that is as it should be."""
    toy = Toy()
    scripted.rule = toy
    return toy


@pytest.fixture
def bucket(toy: Toy, scripted: Between, open_s3: Open) -> Bucket:
    """Return a bucket in it."""
    del toy
    return open_s3(scripted.endpoint, attempts=3)


@pytest.fixture
def key(url: ObjectUrl) -> str:
    """Name an object."""
    return f"{url.prefix}/a.wav"


def test_a_good_store_is_found_good(bucket: Bucket, toy: Toy) -> None:
    """And nothing stays of the probe."""
    conditions = bucket.probe()
    assert (conditions.honours_absence, conditions.keeps_facts, conditions.can_delete) == (
        True,
    ) * 3
    assert conditions.notes == ()
    assert toy.objects == {}


@BODIES
def test_a_store_that_ignores_absence(bucket: Bucket, toy: Toy, key: str, body: Body) -> None:
    """It is said, and every put looks first."""
    toy.honours_absence = False
    conditions = bucket.probe()
    assert conditions.notes == (IGNORES_ABSENCE,)
    assert toy.objects == {}
    assert bucket.put(key, body, facts={}) is Put.CREATED
    assert bucket.put(key, Body.of(b"other"), facts={}) is Put.EXISTS
    assert toy.objects[key][0] == body.source


def test_a_store_that_knows_no_condition(
    bucket: Bucket, toy: Toy, scripted: Between, key: str
) -> None:
    """It is used without."""
    scripted.rule = lambda asked: (
        refused("NotImplemented", 501) if "if-none-match" in asked.headers else toy(asked)
    )
    assert not bucket.probe().honours_absence
    assert bucket.put(key, SMALL, facts={}) is Put.CREATED


def test_a_store_that_loses_metadata(bucket: Bucket, toy: Toy, key: str) -> None:
    """What is there is told by its bytes."""
    toy.keeps_facts = False
    assert not bucket.probe().keeps_facts
    bucket.put(key, SMALL, facts={"sha256": SMALL.sha256})
    found = bucket.head(key)
    assert found is not None
    assert found.facts == {}
    assert bucket.holds(found, SMALL)


@BODIES
def test_a_store_whose_sums_are_none(bucket: Bucket, toy: Toy, key: str, body: Body) -> None:
    """With keys of one's own an ETag looks like an MD5 and is not: the bytes are read."""
    toy.sums = False
    assert bucket.put(key, body, facts={}) is Put.CREATED
    assert bucket.put(key, body, facts={}) is Put.EXISTS
    found = bucket.head(key)
    assert found is not None
    assert bucket.holds(found, body)


@BODIES
def test_other_bytes_do_not_stay(bucket: Bucket, toy: Toy, key: str, body: Body) -> None:
    """A store that turns a bit over and says nothing: tried again, and an error in the end."""
    toy.turns = 2
    assert bucket.put(key, body, facts={}) is Put.CREATED
    assert toy.objects[key][0] == body.source
    toy.objects.clear()
    toy.turns = 9
    with pytest.raises(StorageError, match="not what was sent"):
        bucket.put(key, body, facts={})
    assert toy.objects == {}
    with pytest.raises(StorageError, match="not what was sent"):
        bucket.replace(key, b"text", facts={})


def test_a_store_that_shows_late(bucket: Bucket, toy: Toy, scripted: Between) -> None:
    """What was stored must be listed at once."""
    scripted.rule = lambda asked: (
        Answer(status=200, body=b"<ListBucketResult></ListBucketResult>")
        if "list-type" in asked.target
        else toy(asked)
    )
    with pytest.raises(StorageError, match="does not come back"):
        bucket.probe()
    assert toy.objects == {}


def test_no_right_to_delete(bucket: Bucket, toy: Toy, scripted: Between) -> None:
    """Noted."""
    scripted.rule = lambda asked: refused() if "?delete" in asked.target else toy(asked)
    conditions = bucket.probe()
    assert conditions.notes == (NO_DELETE,)
    assert len(toy.objects) == 1


def test_no_right_to_list(bucket: Bucket, toy: Toy, scripted: Between) -> None:
    """An error, which leaves nothing behind."""
    scripted.rule = lambda asked: refused() if "list-type" in asked.target else toy(asked)
    with pytest.raises(BucketAuthError, match="listing objects"):
        bucket.probe()
    assert toy.objects == {}


def test_one_by_one_where_many_at_once_is_not_known(
    bucket: Bucket, toy: Toy, scripted: Between, key: str
) -> None:
    """Google and others."""
    for number in range(3):
        bucket.put(f"{key}{number}", SMALL, facts={})
    scripted.rule = lambda asked: (
        refused("NotImplemented", 501) if "?delete" in asked.target else toy(asked)
    )
    bucket.delete([f"{key}{number}" for number in range(4)])
    assert toy.objects == {}


@pytest.mark.parametrize("last", ["PUT", "POST"])
def test_a_lost_answer(bucket: Bucket, scripted: Between, key: str, last: str) -> None:
    """The store did it: ours, in one piece and in parts."""
    body, toy = SMALL if last == "PUT" else LARGE, Toy()
    lost: list[Asked] = []

    def rule(asked: Asked) -> Treatment:
        answer = toy(asked)
        if asked.method == last and "uploads" not in asked.target and not lost:
            lost.append(asked)
            # A kind of answer that is repeated from outside only.
            return refused("RequestTimeout", 400)
        return answer

    scripted.rule = rule
    assert bucket.put(key, body, facts={}) is Put.CREATED
    assert len(lost) == 1
    assert toy.objects[key][0] == body.source


def test_two_told_off_at_once(bucket: Bucket, toy: Toy, scripted: Between, key: str) -> None:
    """A store may refuse both of two writers: one tries again."""
    scripted.rule = lambda asked: (
        refused("ConditionalRequestConflict", 409) if asked.number == 1 else toy(asked)
    )
    assert bucket.put(key, SMALL, facts={}) is Put.CREATED


def test_a_move(bucket: Bucket, toy: Toy, key: str) -> None:
    """Looks, copies, removes; what is there stays."""
    bucket.put(key, SMALL, facts={"by": "me"})
    assert bucket.move(key, f"{key}2") is Put.CREATED
    assert list(toy.objects) == [f"{key}2"]
    bucket.put(key, Body.of(bytes(3_000)), facts={})
    assert bucket.move(key, f"{key}2") is Put.EXISTS
    assert len(toy.objects) == 2


def test_what_changes_while_it_is_read(bucket: Bucket, key: str) -> None:
    """Shorter, or another."""
    bucket.put(key, LARGE, facts={})
    pieces = bucket.read(key)
    next(pieces)
    bucket.replace(key, b"short", facts={})
    with pytest.raises(StorageError, match=r"412|shorter"):
        list(pieces)


def test_parts_of_huge_bodies_are_larger() -> None:
    """S3 takes 10,000 parts."""
    huge = Upload(key="k", body=replace(SMALL, size=10**12))
    assert PART_BYTES * MAX_PARTS < huge.part_bytes * MAX_PARTS < 10**12 + MAX_PARTS
    assert huge.memory == 3 * huge.part_bytes


def test_a_file_that_becomes_shorter_while_it_is_read(
    bucket: Bucket, toy: Toy, scripted: Between, tmp_path: Path
) -> None:
    """Its first part is on the way already: all of it is taken back."""
    path = tmp_path / "recording"
    assert isinstance(LARGE.source, bytes)
    path.write_bytes(LARGE.source)

    def rule(asked: Asked) -> Treatment:
        if "partNumber=1" in asked.target:
            os.truncate(path, 0)
        return toy(asked)

    scripted.rule = rule
    with pytest.raises(StorageError, match="changed on this machine"):
        bucket.put("a", Body(source=path, size=LARGE.size, sha256=LARGE.sha256), facts={})
    assert (toy.objects, toy.parts) == ({}, {})


def test_a_part_of_an_object_that_is_no_longer_there(
    bucket: Bucket, toy: Toy, scripted: Between, key: str
) -> None:
    """A store that answers with less than it told of."""
    bucket.put(key, LARGE, facts={})
    scripted.rule = lambda asked: (
        refused("InvalidRange", 416) if asked.method == "GET" else toy(asked)
    )
    with pytest.raises(StorageError, match="shorter than it was"):
        list(bucket.read(key))


def test_a_move_to_where_another_size_is(bucket: Bucket, key: str) -> None:
    """It needs no reading to see that."""
    bucket.put(key, SMALL, facts={})
    bucket.put(f"{key}2", Body.of(b"x"), facts={})
    assert bucket.move(key, f"{key}2") is Put.EXISTS


def test_a_right_that_ends_in_the_midst_of_a_move(
    bucket: Bucket, toy: Toy, scripted: Between, key: str
) -> None:
    """The source stays."""
    bucket.put(key, SMALL, facts={})
    scripted.rule = lambda asked: refused() if "x-amz-copy-source" in asked.headers else toy(asked)
    with pytest.raises(BucketAuthError, match="copying an object"):
        bucket.move(key, f"{key}2")
    assert list(toy.objects) == [key]


def test_a_store_that_stumbles_over_what_is_gone(
    bucket: Bucket, toy: Toy, scripted: Between, key: str
) -> None:
    """404 to a delete is success."""
    bucket.put(key, SMALL, facts={})
    scripted.rule = lambda asked: (
        Answer(status=404)
        if "?delete" in asked.target or (asked.method == "DELETE" and key not in asked.target)
        else toy(asked)
    )
    bucket.delete(["gone", key])
    assert toy.objects == {}
