"""The replay itself: which bytes are on the disk after which power cut."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from tests.powercuts import script
from tests.powercuts.log import Record, Recorder, Write, read_log
from tests.powercuts.oracle import Found, Row, check
from tests.powercuts.replay import (
    BLOCK_BYTES,
    Arrived,
    Disk,
    Replay,
    State,
    arrived,
    choose,
    reported,
)

SIZE = 16 * BLOCK_BYTES


def block(letter: str) -> bytes:
    """Return a block of one letter."""
    return letter.encode() * BLOCK_BYTES


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Write a log as the disk's process does: A, flush, B over C, half a D over A."""
    log = Recorder(tmp_path / "log")
    log.write(0, block("A"))
    log.flush()
    log.write(BLOCK_BYTES, block("B") + block("C"))
    log.write(512, b"D" * 512)
    return read_log(tmp_path / "log")


def content(disk: Disk, tmp_path: Path) -> bytes:
    """Return a disk's first blocks, through an image."""
    disk.write(tmp_path / "image")
    assert (tmp_path / "image").stat().st_size == SIZE
    return (tmp_path / "image").read_bytes()[: 4 * BLOCK_BYTES]


def states(records: list[Record], *wanted: State) -> list[bytes]:
    """Return the first three blocks' first letters, and what stands at 512, for each state."""
    replay = Replay(Disk(SIZE, {}), records)
    found = []
    for state in wanted:
        blocks = replay.at(state).blocks
        first = [blocks.get(number, b".")[:1] for number in range(3)]
        found.append(b"".join([*first, blocks.get(0, bytes(BLOCK_BYTES))[512:513]]))
    return found


def test_what_was_flushed_is_there_and_the_rest_as_it_came(records: list[Record]) -> None:
    """A prefix with everything, or with nothing that came after its last flush."""
    wanted = [State(n, kind) for n in range(5) for kind in (Arrived.ALL, Arrived.NONE)]
    assert states(records, *wanted) == [
        b"...\0",
        b"...\0",
        b"A..A",
        b"...\0",
        b"A..A",
        b"A..A",
        b"ABCA",
        b"A..A",
        b"ABCD",
        b"A..A",
    ]


def test_half_is_any_part_in_blocks(records: list[Record]) -> None:
    """Draws reach every mixture of the three unflushed pieces, and each seed always the same."""
    draws = [State(4, Arrived.HALF, seed) for seed in range(200)]
    found = states(records, *draws)
    assert states(records, *draws) == found
    assert len(set(found)) == 8
    assert max(Counter(found).values()) < 60


def test_an_image_holds_blocks_in_their_places_and_zeros_elsewhere(
    records: list[Record], tmp_path: Path
) -> None:
    """What is written to an image is read back, holes included."""
    disk = Replay(Disk(SIZE, {3: block("X")}), records).at(State(4, Arrived.ALL))
    text = content(disk, tmp_path)
    assert text[:1536] == b"A" * 512 + b"D" * 512 + b"A" * 512
    assert text[BLOCK_BYTES:] == block("B") + block("C") + block("X")
    again = Disk.read(tmp_path / "image")
    assert (again.size, again.blocks) == (SIZE, disk.blocks)


def test_a_log_cut_short_ends_with_its_last_whole_record(
    records: list[Record], tmp_path: Path
) -> None:
    """Whoever is killed while it appends leaves the records before."""
    whole = (tmp_path / "log").read_bytes()
    for cut in (1, 511, 513):
        (tmp_path / "log").write_bytes(whole[:-cut])
        assert read_log(tmp_path / "log") == records[:-1]


def test_a_report_counts_from_the_record_that_it_followed(records: list[Record]) -> None:
    """Reported after the flush: a cut before it owes nothing, one after it does."""
    flush = records[1].end
    counts = [reported([0, flush, flush], records, State(n, Arrived.ALL)) for n in range(4)]
    assert counts == [1, 1, 3, 3]


def test_chosen_states_are_different_and_of_every_kind(records: list[Record]) -> None:
    """So many as were asked for, in order; no draw equals all or nothing."""
    long = records * 50
    chosen = choose(long, 180, seed=3)
    assert len(chosen) == 180
    assert chosen == sorted(chosen)
    kinds = Counter(state.arrived for state in chosen)
    # A repeated log has two flushes' worth of writes between two flushes.
    assert kinds == {Arrived.NONE: 51, Arrived.ALL: 64, Arrived.HALF: 65}
    for state in chosen:
        everything = sum(
            -(-len(r.data) // BLOCK_BYTES)
            for r in long[: state.records][-3:]
            if isinstance(r, Write)
        )
        if state.arrived is Arrived.HALF:
            assert 0 < len(arrived(long, state)) < everything


KEY = next(key for key in script.recordings() if not script.is_absent(key))
BODY = script.audio(KEY)


def found_with(body: bytes | None, status: str, pages: int = 0) -> Found:
    """Return an archive of one recording."""
    row = Row(
        status=status,
        path=script.path(KEY),
        sha256=hashlib.sha256(BODY).hexdigest(),
        bytes=len(BODY),
    )
    files = {} if body is None else {script.path(KEY): body}
    return Found(files=files, sidecars={}, rows={KEY: row}, pages=pages)


@pytest.mark.parametrize(
    ("found", "promise"),
    [
        (found_with(BODY, "saved"), None),
        (found_with(BODY, "open"), None),
        (found_with(None, "open"), None),
        (found_with(None, "saved"), "I1"),
        (found_with(BODY[:-1], "saved"), "I1"),
        (found_with(BODY[:-1], "open"), "I2"),
        (found_with(b"", "open"), "I2"),
        (found_with(BODY, "saved", pages=1), "I4"),
    ],
)
def test_the_oracle_sees_a_broken_promise(found: Found, promise: str | None) -> None:
    """One thing wrong at a time; a crash in the middle of the work is nothing wrong."""
    wrong = check(found, [])
    assert [text[:2] for text in wrong][:1] == ([promise] if promise else [])


@pytest.mark.parametrize(
    "report",
    [
        {"what": "settled", "key": [*KEY], "status": "saved"},
        {"what": "settled", "key": ["CA0001", "user"], "status": "failed"},
        {"what": "page", "number": 0},
        {"what": "sidecars", "ids": ["CA0001"], "edition": 2},
        {"what": "run", "run_id": "run 0"},
        {"what": "bound", "identity": {"region": "uk"}},
    ],
    ids=lambda report: str(report["what"]),
)
def test_the_oracle_holds_to_every_report(report: dict[str, object]) -> None:
    """What was acknowledged and is not there breaks I5."""
    found = found_with(BODY, "open")
    found.sidecars["CA0001"] = script.sidecar("CA0001", 1)
    wrong = check(found, [report])
    assert len(wrong) == 1
    assert wrong[0].startswith("I5")
