"""Parts of a manifest: whatever is written is read, whatever is changed is noticed."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.stores.objects.marks import Mark, Standing
from bulkaudio.stores.objects.parts import (
    Chain,
    Head,
    PartError,
    Place,
    Shelf,
    decode,
    encode,
    mark_path,
    part_path,
)

HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KINDS = st.sampled_from(["recording", "listing", "pins", "register"])
ENTRIES = st.lists(st.dictionaries(KINDS, VALUES, min_size=1, max_size=1), max_size=6)
HEADS = st.builds(
    Head,
    generation=st.integers(1, 10**9 - 1),
    number=st.integers(1, 10**12 - 1),
    previous=st.none() | HASHES,
    writer=st.text(max_size=30),
    written_at=st.datetimes(timezones=st.just(UTC)),
)


def chain_of(parts: Sequence[Sequence[Mapping[str, Any]]]) -> list[tuple[Place, bytes]]:
    """Write entries as a chain."""
    written: list[tuple[Place, bytes]] = []
    previous = None
    for number, entries in enumerate(parts, 1):
        head = Head(
            generation=1,
            number=number,
            previous=previous,
            writer="me",
            written_at=datetime(2026, 11, 27, tzinfo=UTC) + timedelta(seconds=number),
        )
        body = encode(head, entries)
        previous = sha256(body).hexdigest()
        written.append(((1, number), body))
    return written


@given(HEADS, ENTRIES)
def test_what_is_written_is_read(head: Head, entries: list[dict[str, Any]]) -> None:
    """Line by line, in plain ASCII."""
    body = encode(head, entries)
    assert body.isascii()
    assert body.count(b"\n") == 1 + len(entries)
    assert decode(body) == (head, entries)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_junk_is_no_part(body: bytes) -> None:
    """It is refused by one kind of error, whatever it is."""
    with pytest.raises(PartError):
        decode(body)


@given(HEADS, ENTRIES, st.integers(0, 10**6), st.binary(min_size=1, max_size=3))
def test_a_part_with_holes_is_read_or_refused(
    head: Head, entries: list[dict[str, Any]], at: int, junk: bytes
) -> None:
    """Never by another error."""
    body = encode(head, entries)
    cut = at % len(body)
    for spoilt in (body[:cut], body[:cut] + junk + body[cut + len(junk) :]):
        try:
            decode(spoilt)
        except PartError:
            continue


@given(st.lists(ENTRIES, min_size=1, max_size=6))
def test_a_whole_chain_has_no_fault(parts: list[list[dict[str, Any]]]) -> None:
    """And tells everything."""
    chain = Chain()
    for (place, body), entries in zip(chain_of(parts), parts, strict=True):
        assert chain.take(place, body) == entries
    assert chain.faults == []


@given(st.lists(ENTRIES, min_size=3, max_size=6), st.data())
def test_what_is_missing_or_changed_is_noticed(
    parts: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    """A part before the last that is gone, cut or replaced; behind it no listing counts."""
    written = chain_of(parts)
    index = data.draw(st.integers(0, len(written) - 2))
    place, body = written[index]
    how = data.draw(st.sampled_from(["gone", "cut", "other"]))
    if how == "gone":
        del written[index]
    elif how == "cut":
        written[index] = place, body[:-1]
    else:
        written[index] = place, encode(decode(body)[0], [{"pins": {"other": "1"}}, *parts[index]])
    chain = Chain()
    told = [chain.take(*part) for part in written]
    assert chain.faults
    behind = told[index:] if how == "gone" else told[index + 1 :]
    assert not [entry for entries in behind for entry in entries if "listing" in entry]


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), unique=True),
    st.sets(st.integers(2, 12)),
)
def test_shelves(places: list[Place], marks: set[int]) -> None:
    """The newest generation that is whole is told; older ones go, but for the last part of each."""
    others = [part_path((1, 1)).parent.parent / "tombstones.jsonl", part_path((1, 1)).parent / "x"]
    shelf = Shelf.of([*map(part_path, places), *map(mark_path, marks), *others])
    assert list(shelf.places) == sorted(places)
    assert shelf.newest == max(places, default=None)
    whole = max((place[0] for place in places if place[0] in marks | {1}), default=None)
    if shelf.unmarked is not None:
        assert whole is not None
        assert whole < shelf.unmarked
        assert sum(place[0] == whole for place in places) == 1
        whole = shelf.unmarked
    assert list(shelf.told) == [place for place in sorted(places) if place[0] == whole]
    gone = shelf.outdated(7)
    assert all(place[0] < 7 for place in gone)
    kept = {place for place in places if place[0] < 7} - set(gone)
    assert kept == {max(p for p in places if p[0] == g) for g in {p[0] for p in places if p[0] < 7}}


@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=6),
    st.integers(0, 4),
    st.data(),
)
def test_a_generation_that_lost_its_mark(parts: list[int], begun: int, data: st.DataObject) -> None:
    """It counts all the same, for those before it have been cleared away; one being told does not."""
    newest = len(parts)
    # Closing a generation writes a part of it, so that what is left of it is never the first.
    cleared = [(each, count + 1) for each, count in enumerate(parts[:-1], 1)]
    whole = [(newest, number) for number in range(1, parts[-1] + 1)]
    later = [(newest + 1, number) for number in range(1, begun + 1)]
    marks = data.draw(st.sets(st.integers(1, newest - 1)))
    names = [*map(part_path, [*cleared, *whole, *later]), *map(mark_path, marks)]
    shelf = Shelf.of(names)
    assert shelf.unmarked == newest
    assert list(shelf.told) == whole
    marked = Shelf.of([*names, mark_path(newest)])
    assert marked.unmarked is None
    assert marked.told == shelf.told


@given(
    st.builds(
        Mark,
        generation=st.integers(1, 99),
        number=st.integers(0, 99),
        sha256=st.none() | HASHES,
        intended=st.lists(HASHES, max_size=3).map(tuple),
        register_bytes=st.integers(0, 2**40),
        standing=st.sampled_from(Standing),
    )
)
def test_marks_are_remembered(mark: Mark) -> None:
    """As they were; nothing is a beginning."""
    assert Mark.from_json(mark.to_json()) == mark
    assert Mark.from_json(None) == Mark()
