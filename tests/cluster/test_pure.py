"""What a cluster decides without one: shards, shares, counts, and what travels."""

import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkaudio.cluster.counting import Count, Heard, looks_between
from bulkaudio.cluster.parcels import Counts, Fault, Orders, Parcel, Report, packed, unpacked
from bulkaudio.cluster.shards import FIRST, MOST, Shard, halves, key_of, size_of
from bulkaudio.cluster.shares import NOTHING, Notice, Pause, Whole
from bulkaudio.cluster.whose import checked_key_file, whose_of
from bulkaudio.errors import (
    BulkAudioError,
    HostUnavailableError,
    KeyRefusedError,
    StorageError,
    UsageError,
)
from bulkaudio.events import Answered, Noted, Received, Relayed, Retrying, SidecarSettled
from bulkaudio.model import Direction, Metadata, Recording, Task
from bulkaudio.policy import Reason
from bulkaudio.settings import ApiKey, ClusterWish, Connection, Pace, Secret
from bulkaudio.sidecars import SidecarTask
from bulkaudio.stores.objects.faults import ObjectMissingError

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CANARY = "canary-77aa-key"


def task(name: str, direction: Direction = Direction.COMBINED) -> Task:
    """Make a recording to fetch."""
    recording = Recording(conversation_id=name, direction=direction)
    return Task(recording=recording, first_seen_at=NOW)


def connection(**more: object) -> Connection:
    """Make a connection whose key is the canary."""
    plain: dict[str, object] = {"region": "uk", "agent": "A", "proxy": None}
    key = ApiKey(value=Secret(CANARY), source="POLYAI_API_KEY")
    return Connection(api_key=key, **(plain | more))  # type: ignore[arg-type]


def test_shards_begin_small_and_grow_to_a_bound() -> None:
    """A short run has something for everybody, a long one little to send."""
    sizes = [size_of(number, 4) for number in range(200)]
    assert sizes[0] == FIRST
    assert sizes == sorted(sizes)
    assert sizes[-1] == MOST
    assert size_of(0, 0) == FIRST


def test_halves_hold_what_the_shard_held() -> None:
    """Splitting loses nothing and doubles nothing, down to one recording."""
    shard = Shard(name="r-1", items=tuple(task(f"CA{n}") for n in range(7)))
    waiting, alone = [shard], []
    while waiting:
        each = waiting.pop()
        if len(each.items) == 1:
            alone.append(each)
        else:
            waiting.extend(halves(each))
    assert {key_of(each.items[0]) for each in alone} == shard.keys()
    assert len(alone) == 7
    assert len({each.name for each in alone}) == 7


def test_what_is_left_of_a_shard_is_what_nobody_named() -> None:
    """Metadata and each direction are items of their own."""
    items = (task("a"), task("a", Direction.USER), SidecarTask(conversation_id="a"))
    shard = Shard(name="r-1", items=items)
    left = shard.without({("a", "combined"), ("a", "")}, "r-2")
    assert left == Shard(name="r-2", items=items[1:2])
    assert shard.without(shard.keys(), "r-2") is None


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_shares_add_up_to_the_whole(count: int) -> None:
    """However many workers there are."""
    workers = [f"tls://10.0.0.{n}:1" for n in range(count)]
    shares = Whole(max_rate=120.0, slots=64, part=0.9).divided(workers)
    assert set(shares) == set(workers)
    assert sum(share.max_rate or 0 for share in shares.values()) == pytest.approx(120.0)
    assert sum(share.slots or 0 for share in shares.values()) == 64
    assert sum(share.part for share in shares.values()) == pytest.approx(0.9)


def test_whoever_is_not_named_may_do_nothing() -> None:
    """A worker that wakes up after its share was given away does not take it back."""
    notice = Notice.read(Notice(shares=Whole(max_rate=10.0).divided(["a"])).plain())
    assert notice.share_of("a").max_rate == 10.0
    assert notice.share_of("b") == NOTHING
    assert NOTHING.max_rate == 0.0


def test_a_pause_is_for_all_others_and_once() -> None:
    """Who was told by the host itself waits already."""
    pauses = tuple(
        Pause(number=n, seconds=2.0, reason="throttled", heard_by=by)
        for n, by in ((3, "a"), (4, "b"), (5, "a"))
    )
    notice = Notice.read(Notice(pauses=pauses).plain())
    assert [pause.number for pause in notice.pauses_for("b", 3)] == [5]
    assert [pause.number for pause in notice.pauses_for("a", 0)] == [4]
    assert notice.pauses_for("b", 5) == []


def test_what_is_heard_twice_late_or_never_is_counted_once() -> None:
    """The last word of an attempt decides, whatever came before."""
    heard, total = Heard(), Relayed()

    def hear(counts: Counts) -> None:
        nonlocal total
        news = heard.news("x", counts)
        if news is not None:
            http = dict(total.http)
            for status, number in news.http.items():
                http[status] = http.get(status, 0) + number
            total = Relayed(
                http=http,
                received_bytes=total.received_bytes + news.received_bytes,
                retries=total.retries + news.retries,
                throttled=total.throttled + news.throttled,
            )

    first = Counts(http={200: 3}, received_bytes=300, retries=1)
    second = Counts(http={200: 5, 429: 1}, received_bytes=500, retries=2, throttled=1)
    last = Counts(http={200: 9, 429: 1}, received_bytes=900, retries=2, throttled=1)
    for counts in (first, first, second, first, last, second, last):
        hear(counts)
    assert total == Relayed(http={200: 9, 429: 1}, received_bytes=900, retries=2, throttled=1)
    assert heard.news("x", last) is None
    assert heard.news("y", first) == Relayed(http={200: 3}, received_bytes=300, retries=1)


def test_few_workers_tell_at_each_look_and_many_every_second() -> None:
    """The run hears a bounded number of words a second for as long as it can be had."""
    assert [looks_between(count) for count in (0, 1, 7, 8, 16, 24, 500)] == [1, 1, 1, 2, 3, 4, 4]


def test_a_worker_counts_what_the_run_would_have() -> None:
    """Answers, bytes, retries, notes and metadata files."""
    count = Count()
    count(Answered(host="h", http_status=200, first_byte_s=0.1))
    count(Answered(host="h", http_status=429, first_byte_s=0.1))
    count(Received(bytes=70))
    count(Retrying(what="x", reason=Reason.THROTTLED, attempt=1, wait_s=0.0))
    count(Retrying(what="x", reason="http_503", attempt=1, wait_s=0.0))
    count(Noted(text="Something.", is_routine=True))
    count(SidecarSettled(conversation_id="a"))
    assert count.counts() == Counts(
        http={200: 1, 429: 1}, received_bytes=70, retries=2, throttled=1
    )
    assert count.notes == {"Something.": True}
    assert count.sidecars == [("a", None)]


@pytest.mark.parametrize(
    "error",
    [
        KeyRefusedError("no", fix="ask", correlation_id="c-1"),
        HostUnavailableError("down"),
        BulkAudioError("bug"),
    ],
)
def test_an_error_is_the_same_one_on_the_other_side(error: BulkAudioError) -> None:
    """Its class decides the exit code, its words are those of a run in one process."""
    report = Report(attempt="x", worker="w", bench=None, fault=Fault.of(error))
    back = unpacked(packed(report), Report)
    assert back.fault is not None
    again = back.fault.error()
    assert type(again) is type(error)
    assert (str(again), again.exit_code) == (str(error), error.exit_code)


def test_an_error_of_a_store_is_one_on_the_other_side() -> None:
    """The class that decides the exit code is the one that everybody knows."""
    again = Fault.of(ObjectMissingError("it is not there", fix="mend that")).error()
    assert type(again) is StorageError
    assert again.exit_code == StorageError.exit_code
    assert "mend that" in str(again)


def test_what_travels_holds_no_key(tmp_path: Path) -> None:
    """Not even by mistake: a secret refuses to be packed."""
    file = tmp_path / "key"
    file.write_text(CANARY)
    wish = ClusterWish(api_key_file=str(file))
    orders = Orders(
        run_id="r",
        version="0",
        archive=tmp_path,
        layout="{direction}/{id}.wav",
        whose=whose_of(connection(proxy="http://user:pass-word@proxy:3128"), wish),
        redacted=None,
        metadata=Metadata.NONE,
        pace=Pace(max_rate=3.0),
        grace_s=20.0,
    )
    packet = packed(Parcel(orders=orders, shard=Shard(name="r-1", items=(task("a"),))))
    assert CANARY.encode() not in packet
    assert b"pass-word" not in packet
    assert unpacked(packet, Parcel).orders == orders
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(connection())


def test_a_proxy_without_a_password_is_told_to_workers() -> None:
    """One with it, each worker finds around itself."""
    plain = whose_of(connection(proxy="http://proxy:3128"), ClusterWish())
    assert (plain.proxy, plain.needs_own_proxy) == ("http://proxy:3128", False)
    secret = whose_of(connection(proxy="http://me:x@proxy:3128"), ClusterWish())
    assert (secret.proxy, secret.needs_own_proxy) == (None, True)


def test_a_key_that_can_be_read_once_is_refused(tmp_path: Path) -> None:
    """Standard input and pipes: every worker looks the key up by itself."""
    file = tmp_path / "key"
    file.write_text("k")
    assert checked_key_file("--api-key-file", str(file)) == str(file)
    assert checked_key_file("--api-key-file", None) is None
    assert checked_key_file("--api-key-file", str(tmp_path / "none")) is not None
    for given in ("-", "/dev/null"):
        with pytest.raises(UsageError, match="only once"):
            checked_key_file("--api-key-file", given)
