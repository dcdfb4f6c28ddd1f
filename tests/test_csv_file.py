"""The CSV source: whatever people export, read as it arrives, in constant memory."""

import asyncio
import codecs
import csv
import gzip
import io
import os
import random
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkaudio.errors import UsageError
from bulkaudio.model import Batch, Conversation, Rejected
from bulkaudio.run import dated
from bulkaudio.sources.base import Source
from bulkaudio.sources.csv_columns import find_columns
from bulkaudio.sources.csv_file import CsvSource
from bulkaudio.sources.csv_rows import read_batches
from bulkaudio.sources.csv_text import texts
from bulkaudio.sources.ids import IdSource

A_SOURCE: Source = CsvSource(Path("calls.csv"))
ANOTHER: Source = IdSource([])

DELIMITERS = ",;\t|"
ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}[0-9]", fullmatch=True)
CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", " ", 'say "no"', "a\nb", "a\r\nb", "\r", "x;y,z|\t", '"']
)


class Read:
    """Everything a source said."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = list(batches)
        self.conversations = [c for b in self.batches for c in b.conversations]
        self.rejected = [r for b in self.batches for r in b.rejected]

    @property
    def ids(self) -> list[str]:
        """The ids, in order."""
        return [c.id for c in self.conversations]

    @property
    def rejects(self) -> list[tuple[str, str]]:
        """Where rows were rejected, and what they said."""
        return [(r.where, r.text) for r in self.rejected]


async def read(path: Path, *, id_column: str | None = None, limit: int | None = None) -> Read:
    """Open, read to the end, close."""
    source = CsvSource(path, id_column=id_column, limit=limit)
    try:
        await source.open()
        return Read([batch async for batch in source.batches()])
    finally:
        await source.aclose()


def parse(pieces: Iterable[bytes], id_column: str | None = None) -> Read:
    """Read bytes that arrive in `pieces`, without a file."""
    arriving = filter(None, pieces)
    return Read(
        read_batches(texts(lambda: next(arriving, b""), "calls.csv"), id_column, "calls.csv")
    )


def pieces_of(data: bytes, seed: int, largest: int = 40) -> Iterator[bytes]:
    """Cut bytes as a slow pipe might."""
    dice, at = random.Random(seed), 0
    while at < len(data):
        size = dice.randint(1, largest)
        yield data[at : at + size]
        at += size


@pytest.mark.parametrize(
    ("text", "id_column", "ids"),
    [
        ("conversation_id\nCA1\nCA2\n", None, ["CA1", "CA2"]),
        ("CA1\nCA2", None, ["CA1", "CA2"]),
        ("id\r\nCA1\r\nCA2\r\n", None, ["CA1", "CA2"]),
        ("id\rCA1\rCA2", None, ["CA1", "CA2"]),
        ("\n  \n,,\nid,x\n\nCA1,1\n \n,\nCA2,2\n\n", None, ["CA1", "CA2"]),
        ("x;Conversation ID\n1;CA1\n", None, ["CA1"]),
        ("x\tconversationId\n\tCA1\n", None, ["CA1"]),
        ("\tid\n\tCA1\n", None, ["CA1"]),
        ("x|call_sid\n1| CA1 \n", None, ["CA1"]),
        ("id,conversation_id\n1,CA1\n", None, ["CA1"]),
        ("id,Call Ref\n1,CA1\n", "Call Ref", ["CA1"]),
        ("id,Call Ref\n1,CA1\n", "call_ref", ["CA1"]),
        ("sep=;\nid;x\nCA1;2\n", None, ["CA1"]),
        ('"id","Total, EUR"\n"CA1","1,5"\n', None, ["CA1"]),
        ('id,note\nCA1,"two\nlines"\nCA2,x\n', None, ["CA1", "CA2"]),
        ('id,note\nCA1,5" pipe\nCA2,x\n', None, ["CA1", "CA2"]),
        ('"call\nnumber",id\n7,CA1\n', None, ["CA1"]),
        ("conversation_id,x\nCA1,1\nconversation_id,x\nCA2,2\n", None, ["CA1", "CA2"]),
        ("id\nCA1\nconversation_id\nCA2\n", None, ["CA1", "CA2"]),
        ("Call Ref\nCA1\nCall Ref\nCA2\n", "Call Ref", ["CA1", "CA2"]),
        ("CA1,\nCA2,\n", None, ["CA1", "CA2"]),
        ("id\nCA1\nCA1\n", None, ["CA1", "CA1"]),
    ],
)
async def test_what_people_export(
    tmp_path: Path, text: str, id_column: str | None, ids: list[str]
) -> None:
    """Delimiters, headers, quotes, line ends and blank rows of all kinds give the same ids."""
    file = tmp_path / "calls.csv"
    file.write_bytes(text.encode())
    found = await read(file, id_column=id_column)
    assert (found.ids, found.rejected) == (ids, [])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("is_compressed", [False, True])
async def test_encodings(tmp_path: Path, encoding: str, *, is_compressed: bool) -> None:
    """Byte order marks and gzip are told from the bytes, not from the name."""
    data = ENCODINGS[encoding] + "id;käse\nCA1;ü\nCA2;\U0001f600\n".encode(encoding)
    file = tmp_path / "calls"
    file.write_bytes(gzip.compress(data, mtime=0) if is_compressed else data)
    assert (await read(file)).ids == ["CA1", "CA2"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"conversation_id\n", "nothing below"),
        (b"conversation_id,x\n\n,\n", "nothing below"),
        (b"uuid,started\n1,2\n", "its columns are: uuid, started"),
        (b"recording\nCA1\n", "its columns are: recording"),
        (b"CA1,CA2\nCA3,CA4\n", "its columns are: CA1, CA2"),
        (b"\x1b[31m,b\n1,2\n", "its columns are: \\x1b[31m, b"),
        (b"id\nCA1\n\xe4\n", "byte 8, in line 3"),
        (b"id\nCA1\n\xe4", "in line 3"),
        ("id\nCA1\nCA2\n".encode("utf-16-le"), "UTF-16 without"),
        ("id\nCA1\n".encode("utf-32"), "UTF-32"),
        (b"PK\x03\x04\x14\0", "workbook"),
        (b"x" * 200_000 + b"\nCA1\n", "column"),
        (gzip.compress(b"uuid,x\n1,2\n", mtime=0), "its columns are: uuid, x"),
        (b"\x1f\x8b\x08\x00junk that is no gzip at all", "damaged gzip"),
    ],
)
async def test_what_is_refused(tmp_path: Path, data: bytes, fault: str) -> None:
    """A file that cannot be right is refused at once, with what was seen and what to do."""
    file = tmp_path / "calls.csv"
    file.write_bytes(data)
    source = CsvSource(file)
    with pytest.raises(UsageError) as refusal:
        await source.open()
    assert fault in refusal.value.message
    assert refusal.value.fix


async def test_a_header_of_very_many_columns_is_read(tmp_path: Path) -> None:
    """As one field, with the wrong delimiter, it is longer than the csv module takes."""
    file = tmp_path / "calls.csv"
    file.write_bytes(b"id" + b",c" * 100_000 + b"\nCA1\n")
    source = CsvSource(file)
    await source.open()
    batches = [batch async for batch in source.batches()]
    await source.aclose()
    assert [call.id for batch in batches for call in batch.conversations] == ["CA1"]


def test_cut_gzip_is_found() -> None:
    """Gzip that ends early is refused where it ends, wherever that is."""
    data = gzip.compress(b"id\n" + b"".join(b"CA%d\n" % (n * 7919) for n in range(2000)))
    for kept in range(4, len(data), 97):
        with pytest.raises(UsageError, match="ends early"):
            parse(pieces_of(data[:kept], kept, 2000))


async def test_a_wrong_column_is_refused(tmp_path: Path) -> None:
    """Nothing is guessed where a column was named."""
    file = tmp_path / "calls.csv"
    file.write_text("conversation_id,x\nCA1,2\n")
    for wrong in ("Conversation", "", "CA1"):
        with pytest.raises(UsageError, match=r"its columns are: conversation_id, x"):
            await CsvSource(file, id_column=wrong).open()


async def test_what_cannot_be_opened(tmp_path: Path) -> None:
    """Folders, missing files and files of others are refused by name."""
    for path, fault in ((tmp_path, "is a folder"), (tmp_path / "none.csv", "No such file")):
        with pytest.raises(UsageError, match=fault):
            await CsvSource(path).open()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_forbidden_file(tmp_path: Path) -> None:
    """Missing permission is said."""
    file = tmp_path / "calls.csv"
    file.write_text("CA1\n")
    file.chmod(0)
    with pytest.raises(UsageError, match="Permission denied"):
        await CsvSource(file).open()


async def test_bad_rows_are_rejected_by_line(tmp_path: Path) -> None:
    """A bad row is named by the physical line on which it begins; the others go on."""
    file = tmp_path / "calls.csv"
    rows = [
        "note,id",  # 1
        '"two\nlines",CA1',  # 2, 3
        "x,../../etc/x",  # 4
        "",  # 5
        "x,{conversationId}",  # 6
        "x,",  # 7
        "short",  # 8
        f"x,{'x' * 129}",  # 9
        '"a\n\nb","CA\n2"',  # 10 to 13
        "x,\x1b[2J\u202e\0",  # 14
        "x,CA3",  # 15
    ]
    file.write_text("\n".join(rows))
    found = await read(file)
    assert found.ids == ["CA1", "CA3"]
    assert found.rejects == [
        ("line 4", "../../etc/x"),
        ("line 6", "{conversationId}"),
        ("line 7", ""),
        ("line 8", "short"),
        ("line 9", "x" * 79 + "…"),
        ("line 10", "CA\\n2"),
        ("line 14", "\\x1b[2J\\u202e\\x00"),
    ]
    assert "placeholder" in found.rejected[1].why
    assert "empty" in found.rejected[2].why
    assert "only 1 of the 2 columns" in found.rejected[3].why


async def test_an_unclosed_quote_costs_one_line(tmp_path: Path) -> None:
    """A quote that never closes does not swallow the rest of the file."""
    file = tmp_path / "calls.csv"
    ids = [f"CA{n}" for n in range(100_000)]
    file.write_text('id,note\n"oops,1\n' + "".join(f"{i},x\n" for i in ids))
    found = await read(file)
    assert found.ids == ids
    assert found.rejects == [("line 2", "oops,1")]
    assert max(len(b.conversations) for b in found.batches) <= 1000


async def test_starts_are_read(tmp_path: Path) -> None:
    """A column of starts gives dates in UTC; one bad cell does not cost its recording."""
    file = tmp_path / "calls.csv"
    file.write_text(
        "Started At,id\n2026-11-22T08:30:00+02:00,CA1\n2026-11-22 08:30:00,CA2\n"
        "2026-11-22 08:30 UTC,CA3\n2026-11-22T08:30:00.5Z,CA4\nlast week,CA5\n"
    )
    source = CsvSource(file)
    await source.open()
    assert source.knows_dates
    found = Read([batch async for batch in source.batches()])
    await source.aclose()
    at = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
    assert [c.started_at for c in found.conversations] == [
        at.replace(hour=6),
        at,
        at,
        at.replace(microsecond=500_000),
        None,
    ]


def test_rows_without_a_start_know_their_lines() -> None:
    """Where the layout needs a start they are told by line, and whether there was a text."""
    text = "id,started_at\nCA1,2026-11-22\nCA2,soon\nCA3,\n\nCA4\nCA5,99999-01-01\n"
    found = parse([text.encode()])
    assert found.rejected == [], "a layout without dates takes them all"
    assert found.ids == ["CA1", "CA2", "CA3", "CA4", "CA5"]
    needs = ", and the layout needs one"
    assert dated(Batch(conversations=tuple(found.conversations))).rejected == (
        Rejected(where="line 3", text="soon", why="its start is no time" + needs),
        Rejected(where="line 4", text="CA3", why="it has no start" + needs),
        Rejected(where="line 6", text="CA4", why="it has no start" + needs),
        Rejected(where="line 7", text="99999-01-01", why="its start is no time" + needs),
    )


@pytest.mark.parametrize("text", ["id\nCA1\n", "id,started_at\nCA1,soon\n"])
async def test_no_dates_are_claimed_without_dates(tmp_path: Path, text: str) -> None:
    """A source without a usable column of starts says so when it is opened."""
    file = tmp_path / "calls.csv"
    file.write_text(text)
    source = CsvSource(file)
    await source.open()
    assert not source.knows_dates
    await source.aclose()


async def test_fast_rows_equal_others(tmp_path: Path) -> None:
    """Conversations made in bulk are like any other."""
    file = tmp_path / "calls.csv"
    file.write_text("id\nCA1\nCA2\n")
    found = await read(file)
    assert found.conversations == [Conversation(id="CA1"), Conversation(id="CA2")]
    assert [hash(c) for c in found.conversations] == [hash(Conversation(id=i)) for i in found.ids]
    assert repr(found.conversations[0]) == repr(Conversation(id="CA1"))


def test_a_delimiter_that_an_id_may_hold_is_one_all_the_same() -> None:
    """Rows that look like nothing but ids are taken apart where Excel's hint says so."""
    assert parse([b"sep=.\nid\n", b"CA1\nCA2.5\n", b"CA3\n"]).ids == ["CA1", "CA2", "CA3"]


@pytest.mark.parametrize(
    "text", ["CA1\r\nCA2\r\n", "CA1\nCA2", "CA1\nCA2\r\n", "CA1\n\nCA2\n", "CA1\n\rCA2\n\n"]
)
def test_bare_lines_are_ids_whatever_ends_them(text: str) -> None:
    """A blank line among them is none, and the header may come again."""
    assert parse([b"id\n", text.encode(), b"\nid\nCA3"]).ids == ["CA1", "CA2", "CA3"]


@pytest.mark.parametrize("limit", [0, 1, 1500, 5000])
async def test_limits(tmp_path: Path, limit: int) -> None:
    """At most so many conversations are named."""
    file = tmp_path / "calls.csv"
    ids = [f"CA{n}" for n in range(3000)]
    file.write_text("id\n" + "\n".join(ids))
    assert (await read(file, limit=limit)).ids == ids[:limit]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(CELLS, IDS, CELLS), min_size=1, max_size=30),
    st.sampled_from(sorted(ENCODINGS)),
    st.builds(
        partial,
        st.just(csv.writer),
        delimiter=st.sampled_from(DELIMITERS),
        quoting=st.just(csv.QUOTE_ALL),
        lineterminator=st.sampled_from(["\n", "\r\n", "\r"]),
    )
    # Minimal quoting leaves line breaks other than its own bare, and the file ambiguous.
    | st.builds(partial, st.just(csv.writer), delimiter=st.sampled_from(DELIMITERS)),
    st.tuples(st.booleans(), st.integers()),
)
def test_every_dialect_reads_back(
    rows: list[tuple[str, str, str]],
    encoding: str,
    dialect: Callable[..., Any],
    arrival: tuple[bool, int],
) -> None:
    """What a spreadsheet writes is read, in any dialect and encoding, and however it arrives."""
    is_compressed, seed = arrival
    out = io.StringIO(newline="")
    writer = dialect(out)
    writer.writerow(["what", "Conversation ID", "so"])
    writer.writerows(rows)
    data = ENCODINGS[encoding] + out.getvalue().encode(encoding)
    found = parse(pieces_of(gzip.compress(data, mtime=0) if is_compressed else data, seed))
    assert (found.ids, found.rejected) == ([i for _, i, _ in rows], [])


@given(st.binary(max_size=300), st.integers(), st.booleans())
def test_no_bytes_crash(data: bytes, seed: int, has_header: bool) -> None:  # noqa: FBT001
    """Any bytes are rows, rejected rows, or refused."""
    try:
        parse(pieces_of(b"id,x\n" * has_header + data, seed))
    except UsageError as refusal:
        assert refusal.fix  # noqa: PT017 - both ways out are right


@given(st.text(st.sampled_from('",\n\r aC1'), max_size=60), st.integers(), st.integers())
def test_pieces_do_not_matter(text: str, one: int, other: int) -> None:
    """However the same text is cut into pieces: the same ids, rejected the same."""
    data = b"id,x\n" + text.encode()
    found = [parse(pieces_of(data, seed, 6)) for seed in (one, other)]
    assert found[0].ids == found[1].ids
    assert found[0].rejected == found[1].rejected


@given(st.text(max_size=60), st.none() | st.text(max_size=5))
def test_no_header_crashes(head: str, id_column: str | None) -> None:
    """Any first row shows its columns, or is refused."""
    try:
        assert find_columns(head, id_column, "calls.csv").id >= 0
    except UsageError as refusal:
        assert refusal.fix  # noqa: PT017 - both ways out are right


def test_rows_are_passed_on_as_they_arrive() -> None:
    """Each read yields its complete rows: nothing waits for a buffer to fill."""
    arrived: list[bytes] = []

    def arriving() -> bytes:
        arrived.append(script[len(arrived)])
        return arrived[-1]

    script = [b"id\nCA1\nCA2\nC", b"A3\n", b"CA4\r", b"\nCA5", b""]
    batches = read_batches(texts(arriving, "x"), None, "x")
    steps = [([c.id for c in batch.conversations], len(arrived)) for batch in batches]
    assert steps == [(["CA1", "CA2"], 1), (["CA3"], 2), (["CA4"], 4), (["CA5"], 5)]


def test_what_stands_before_a_bad_byte_is_kept() -> None:
    """A file that turns out wrong in its middle is read up to there, then refused."""
    arriving = iter([b"id\nCA1\n", b"CA2\nCA\xe4\n"])
    batches = read_batches(texts(lambda: next(arriving, b""), "x"), None, "x")
    found: list[str] = []
    with pytest.raises(UsageError, match="byte 14, in line 4"):
        found.extend(c.id for batch in batches for c in batch.conversations)
    assert found == ["CA1", "CA2"]


def test_gzip_members_and_padding() -> None:
    """Joined gzip files, padded as tapes do, are one file."""
    data = gzip.compress(b"id\nCA1\n", mtime=0) + gzip.compress(b"CA2\n") + bytes(512)
    for seed in range(5):
        assert parse(pieces_of(data, seed)).ids == ["CA1", "CA2"]


@pytest.mark.parametrize("is_quoted", [False, True])
def test_an_endless_line_is_one_bad_row(*, is_quoted: bool) -> None:
    """Two hundred megabytes without a line break cost a row, and no memory."""

    def arriving() -> Iterator[bytes]:
        yield b"id,x\nCA1,1\n"
        yield b'"' * is_quoted
        for _ in range(800):
            yield b"x" * 256 * 1024
        yield b"\nCA2,2\n"

    tracemalloc.start()
    try:
        found = parse(arriving())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.ids == ["CA1", "CA2"]
    assert [r.where for r in found.rejected] == ["line 3"]
    assert "longer than 1048576" in found.rejected[0].why
    assert peak < 16 * 2**20


def test_a_bomb_is_read_in_bounded_memory() -> None:
    """A small gzip file that unpacks to a huge line is bounded like any other."""
    packer = gzip.compress(b"id\nCA1\n" + b"x" * 50_000_000 + b"\nCA2\n")
    found = parse([packer])
    assert found.ids == ["CA1", "CA2"]


def test_long_cells_are_read() -> None:
    """A transcript of half a megabyte beside the id is no reason to lose the row."""
    data = b'id,text\nCA1,"' + b"la la\n" * 80_000 + b'"\nCA2,x\n'
    found = parse(data[at : at + 65536] for at in range(0, len(data), 65536))
    assert (found.ids, found.rejected) == (["CA1", "CA2"], [])


async def test_a_slow_fifo(tmp_path: Path) -> None:
    """Rows of a FIFO are there as soon as they are written, and its end is the end."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    source = CsvSource(fifo)
    opening = asyncio.ensure_future(source.open())
    await asyncio.sleep(0.05)
    writer = os.open(fifo, os.O_WRONLY)
    os.write(writer, b"id\nCA1\n")
    await asyncio.wait_for(opening, 5)
    batches = source.batches()
    assert [c.id for c in (await asyncio.wait_for(anext(batches), 5)).conversations] == ["CA1"]
    os.write(writer, b"CA2\n")
    assert [c.id for c in (await asyncio.wait_for(anext(batches), 5)).conversations] == ["CA2"]
    os.close(writer)
    assert [batch async for batch in batches] == []
    await source.aclose()


@pytest.mark.parametrize("has_writer", [False, True])
async def test_a_silent_fifo_can_be_left(tmp_path: Path, *, has_writer: bool) -> None:
    """Nobody waits for a pipe longer than they want to, and nothing of it stays behind."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    before = set(threading.enumerate())
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    writer = os.open(fifo, os.O_RDWR) if has_writer else None
    source = CsvSource(fifo)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await source.open()
    await source.aclose()
    if writer is not None:
        os.close(writer)
    for thread in set(threading.enumerate()) - before:
        thread.join(2)
        assert not thread.is_alive()
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208


PROGRAM = """
import asyncio, sys
from bulkaudio.sources.csv_file import CsvSource

async def main():
    source = CsvSource(None)
    await source.open()
    async with asyncio.timeout(1 if "--leave" in sys.argv else None):
        async for batch in source.batches():
            print(*(c.id for c in batch.conversations), flush=True)
    await source.aclose()

asyncio.run(main())
"""


def test_standard_input() -> None:
    """Ids piped in are read."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=b"CA1\nCA2\n", capture_output=True, check=True
    )
    assert done.stdout.split() == [b"CA1", b"CA2"]


def test_a_silent_pipe_does_not_keep_the_process() -> None:
    """A program that gives up on its standard input ends at once, even without closing it."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--leave"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"CA1\nCA2\n")
        child.stdin.flush()
        assert child.stdout.readline().split() == [b"CA1", b"CA2"]
        began = time.monotonic()
        assert child.wait(5) == 1
        assert time.monotonic() - began < 3


def test_closed_standard_input() -> None:
    """A parent that closed our standard input is told so, whatever is open under its number."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" <&-', sys.executable, PROGRAM],
        capture_output=True,
        check=False,
    )
    assert b"UsageError: standard input is closed" in done.stderr


async def test_closing_is_always_safe(tmp_path: Path) -> None:
    """A source can be closed before it is opened, in its middle, and again."""
    file = tmp_path / "calls.csv"
    file.write_text("id\n" + "CA1\n" * 100_000)
    source = CsvSource(file)
    await source.aclose()
    await source.open()
    async for _ in source.batches():
        break
    await source.aclose()
    await source.aclose()


async def test_ids_from_code() -> None:
    """Ids of an iterable come in batches; what is none is rejected by its position."""
    source = IdSource((f"CA{n}" if n != 7 else "../7" for n in range(5000)), limit=2500)
    await source.open()
    batches = [batch async for batch in source.batches()]
    await source.aclose()
    found = Read(batches)
    assert found.ids == [f"CA{n}" for n in range(2501) if n != 7]
    assert found.rejected == [Rejected(where="id 8", text="../7", why="it is no conversation id")]
    assert max(len(b.conversations) + len(b.rejected) for b in batches) <= 1000


def test_one_string_is_no_list_of_ids() -> None:
    """A single id, given where ids belong, is not taken letter by letter."""
    with pytest.raises(UsageError, match="one string"):
        IdSource("CA1")
