"""Pages of hundreds of megabytes pass in bounded memory, with and without what they tell."""

import json
from pathlib import Path

import pytest

from tests.listed import Book, listed, listing_trial, page, record
from tests.wire import Exchange, Script, WireServer, http_head

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PEAK_KIB = 200 * 1024
RECORDS, TURNS_BYTES = 100, 2_000_000


def heavy(records: int, turn: bytes, tail: bytes) -> Script:
    """Send a page of records with transcripts of two megabytes each, as chunks."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(http_head(200, [("Transfer-Encoding", "chunked")]))
        turns = b",".join([turn] * (TURNS_BYTES // len(turn)))
        for number in range(records):
            spelled = json.dumps(record(f"CA{number}")).encode()[:-1]
            start = b'{"conversations": [' if number == 0 else b","
            piece = start + spelled + b', "turns": [' + turns + b"]}"
            await exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await exchange.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(tail), tail))

    return script


TURN = json.dumps({"text": "hello, how can I help you? " * 8, "at": 1.5}).encode()


@pytest.mark.parametrize("metadata", ["none", "basic"])
async def test_a_page_of_two_hundred_megabytes(metadata: str, tmp_path: Path) -> None:
    """Every call on it is saved, whatever else it tells of them."""
    ids = tuple(f"CA{number}" for number in range(RECORDS))
    book = Book({"": heavy(RECORDS, TURN, b'], "cursor": "c1"}'), "c1": page("CA500")})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", *ids, "CA500")
        ended = await listed(trial, {"": ids, "c1": ("CA500",)}, "--metadata", metadata)
        trial.check(ended, peak_rss_kib=PEAK_KIB)
        assert ended.code == 0, ended.stderr
        assert trial.saved() == set(trial.truth)


async def test_a_page_that_never_ends(tmp_path: Path) -> None:
    """Text without an end is given up in bounded memory; the page before it is saved."""

    async def endless(exchange: Exchange) -> None:
        await exchange.send(http_head(200, [("Transfer-Encoding", "chunked")]))
        piece = b'{"conversations": [{"id": "' + b"x" * 1_000_000
        while True:
            await exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            piece = b"x" * 1_000_000

    book = Book({"": page("CA1", cursor="c1"), "c1": endless})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", "CA1")
        ended = await listed(trial, {"": ("CA1",), "c1": ()})
        assert ended.code == 5, ended.stderr
        assert ended.peak_rss_kib < 2 * PEAK_KIB
