"""Answers that are no page: read again as a whole, nothing of them half kept, then an error."""

import gzip
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.listed import (
    DAY,
    Book,
    chapters,
    check_bookmark,
    listed,
    listing_lines,
    listing_trial,
    page,
    page_value,
    record,
    told_by,
)
from tests.program import ledger_rows
from tests.wire import (
    Exchange,
    Script,
    WireServer,
    chunked,
    closes,
    hangs,
    http_head,
    resets,
    says,
    says_json,
    says_raw,
)

PAGES = (("CA1", "CA2"), ("CA3", "CA4"), ("CA5",))
IDS = tuple(id_ for ids in PAGES for id_ in ids)
BODY = json.dumps(page_value("CA3", "CA4", cursor="c2")).encode()
"""What the second page is when nothing is wrong."""

PATIENCE = ("--give-up-after", "30s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    One thing that is no page.

    Attributes:
        requests: For the page, at most.
        code: What the run ends with.
        words: Of the error.
        is_final: Nothing of the kind passes by itself: the next run must find it gone.
    """

    script: Script
    requests: int = 2
    code: int = 5
    words: str = "page 2 of the listing"
    is_final: bool = False


def text(body: bytes, **headers: str) -> Case:
    """Say this text, framed as it should be."""
    return Case(script=says(200, body, **headers))


def odd(value: bytes) -> Case:
    """Say the page with a member of its second record spelled so."""
    return text(BODY.replace(b'"id": "CA4"', b'"state": ' + value + b', "id": "CA4"'))


def cut(data: bytes, end: Callable[[Exchange], Awaitable[None]] = Exchange.close) -> Case:
    """Break off amid the transfer; the whole host may be down, so that it is asked patiently."""
    return Case(script=says_raw(data, end=end), requests=40, words="")


def patient(script: Script) -> Case:
    """Answer as a host that is down does."""
    return Case(script=script, requests=40, words="")


def final(case: Case, **changes: object) -> Case:
    """Say that no other attempt helps."""
    return replace(case, is_final=True, requests=1, **changes)  # type: ignore[arg-type]


def refusal(code: int, said: object = None, **headers: str) -> Case:
    """Refuse the page for good."""
    return final(Case(script=says_json(code, said or {}, **headers), words=str(code)))


LENGTH = http_head(200, [("Content-Length", str(len(BODY)))])
CHUNKS = http_head(200, [("Transfer-Encoding", "chunked")])
NEITHER = http_head(200, [("Connection", "close")])
OFFSETS = [0, 1, 2, 17, 18, 19, 40, 66, 115, 136, 137, 139, 200, 258, 260, 272, len(BODY) - 1]
"""Through braces, keys, texts and numbers, between records, in the cursor, before the last brace."""

CASES: dict[str, Case] = {
    **{f"ends_at_{at}": text(BODY[:at]) for at in OFFSETS},
    **{f"noise_at_{at}": text(BODY[:at] + b"\x00\xff" + BODY[at:]) for at in OFFSETS[1::3]},
    **{f"length_cut_at_{at}": cut(LENGTH + BODY[:at]) for at in OFFSETS[::4]},
    **{f"reset_at_{at}": cut(LENGTH + BODY[:at], Exchange.reset) for at in OFFSETS[1::5]},
    **{f"chunks_cut_at_{at}": cut(CHUNKS + chunked(BODY[:at] or b" ")[:-5]) for at in OFFSETS[2::5]},
    "unframed_cut": Case(script=says_raw(NEITHER + BODY[:200])),
    "unframed_reset": cut(NEITHER + BODY[:200], Exchange.reset),
    "nan": odd(b"NaN"),
    "infinity": odd(b"-Infinity"),
    "endless_integer": odd(b"9" * 5000),
    "endless_exponent": odd(b"1e99999999999999999999"),
    "deep_arrays": odd(b"[" * 200 + b"]" * 200),
    "deep_objects": odd(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "surrogates_swapped": odd(b'"\\udc00\\ud83d"'),
    "surrogate_in_utf8": odd(b'"\xed\xa0\x80"'),
    "latin_1": odd('"é"'.encode("latin-1")),
    "trailing_comma": text(BODY.replace(b"], ", b",], ")),
    "two_documents": text(BODY + BODY),
    "utf_16": text(BODY.decode().encode("utf-16")),
    "html": text(b"<html>log in</html>", content_type="text/html"),
    "text": text(b'"conversations"'),
    "number": text(b"17"),
    "null": text(b"null"),
    "no_conversations": text(b'{"success": true, "data": {"conversations": []}}'),
    "conversations_no_array": text(b'{"conversations": {"CA3": {}}}'),
    "gzip_unannounced": text(gzip.compress(BODY)),
    "gzip": final(text(gzip.compress(BODY), content_encoding="gzip")),
    "gzip_bomb": final(text(gzip.compress(b"[" + b" " * 80_000_000), content_encoding="gzip")),
    "status_204": Case(script=says_raw(http_head(204)), requests=3),
    "status_206": Case(script=says(206, BODY), requests=3),
    "status_304": Case(script=says_raw(http_head(304)), requests=3),
    "status_401": replace(refusal(401), code=4),
    "status_403": replace(refusal(403), code=4),
    "status_404_page": replace(text(b"<html>"), script=says(404), is_final=True, requests=3,
                               code=2, words="404"),
    "status_404_agent": replace(refusal(404, {"error_code": "PROJECT_NOT_FOUND"}), code=2,
                                words="PROJECT-1"),
    "status_410": refusal(410),
    "status_422": refusal(422),
    "status_501": refusal(501),
    "redirect_elsewhere": final(Case(script=says(302, location="http://10.0.0.1/"))),
    "wait_of_hours": final(Case(script=says(429, retry_after="7200"), words="120 minutes")),
    "status_429": patient(says(429)),
    "status_500": patient(says_json(500, {})),
    "status_502": patient(says(502)),
    "status_503": patient(says(503, retry_after="2")),
    "status_504": patient(says(504)),
    "status_408": patient(says(408)),
    "closes": patient(closes),
    "resets": patient(resets),
    "hangs": patient(hangs),
    "garbage": patient(says_raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")),
    "endless_header": patient(says_raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000)),
}  # fmt: skip

BRIEF = (
    *("ends_at_0", "ends_at_137", "ends_at_272", "noise_at_18", "length_cut_at_18"),
    *("nan", "endless_integer", "deep_objects", "surrogates_swapped", "no_conversations"),
    *("gzip_bomb", "status_401", "status_404_page"),
)
"""The cases that everybody runs; CI runs the others, too."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in BRIEF else pytest.mark.slow) for name in CASES],
)
async def test_what_is_no_page(name: str, tmp_path: Path) -> None:
    """The ledger stands behind the page before and knows nothing of it, until it is whole."""
    case, healthy = CASES[name], chapters(*PAGES)
    book = Book({**healthy, "c1": case.script})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", *IDS, speed=20.0)
        ended = await listed(trial, told_by(*PAGES), *PATIENCE)
        assert ended.code == case.code, ended.stderr
        assert case.words in ended.stderr
        assert book.places.count("") == 1
        assert 1 <= book.places.count("c1") <= case.requests
        assert "c2" not in book.places
        assert {id_ for id_, _ in ledger_rows(trial.archive)} == {"CA1", "CA2"}
        [line] = listing_lines(trial.archive)
        assert (line.state, line.cursor) == ("open", "c1")
        once = healthy["c1"] if case.is_final else (case.script, healthy["c1"])
        book.mend({**healthy, "c1": once})
        await trial.healed(*DAY, *PATIENCE)
        check_bookmark(trial.archive, told_by(*PAGES))
        assert listing_lines(trial.archive)[0].state == "finished"
        # The second run went on at the page that failed, the third began the day anew.
        tries = 1 if case.is_final else 2
        assert book.places == [*["c1"] * tries, "c2", "", "c1", "c2"]


FORMS = {
    "html_type": says(200, BODY, content_type="text/html; charset=latin-1"),
    "no_type": says_raw(LENGTH + BODY),
    "one_byte_chunks": says_raw(CHUNKS + chunked(*(bytes([b]) for b in BODY))),
    "unframed": says_raw(NEITHER + BODY),
    "lone_surrogate": says(200, BODY.replace(b"VOICE-SIP", b"VOICE-\\ud83d.", 1)),
    "escapes": says(200, BODY.replace(b'"CA3"', b'"\\u0043A3"')),
    "conversations_twice": says(
        200,
        b'{"conversations": [' + json.dumps(record("CA3")).encode() + b'], "conversations": ['
        + json.dumps(record("CA4")).encode() + b'], "cursor": "c2"}',
    ),
    "cursor_first": says_json(200, {"cursor": "c2", **page_value("CA3", "CA4")}),
    "huge_values": page(
        record("CA3", state={"x": "y" * 2_000_000}, total_duration=10**400), "CA4", cursor="c2"
    ),
    "nested_to_the_limit": page(
        record("CA3", turns=json.loads("[" * 90 + "]" * 90)), "CA4", cursor="c2"
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=() if name in {"html_type", "lone_surrogate"} else pytest.mark.slow
        )
        for name in FORMS
    ],
)
async def test_odd_forms_of_a_page_are_pages(name: str, tmp_path: Path) -> None:
    """Type, framing, spelling and order do not matter: bytes decide."""
    book = Book({**chapters(*PAGES), "c1": FORMS[name]})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", *IDS)
        ended = await listed(trial, told_by(*PAGES))
        assert ended.code == 0, ended.stderr
        assert book.places == ["", "c1", "c2"]
        assert trial.saved() == set(trial.truth)
        asked = dict(book.asked)
        assert (await listed(trial, told_by(*PAGES))).code == 0
        assert dict(book.asked) == asked
