"""Ids, options and listings that try to lead elsewhere: outside the archive, or into a terminal."""

import csv
import hashlib
import json
import stat
import unicodedata
from pathlib import Path

import pytest

from bulkaudio import api
from bulkaudio.model import Status
from bulkaudio.naming import file_stem
from tests.audio import wav_of
from tests.inside import Inside
from tests.plans import Plans, subject, whole
from tests.program import Done, wavs
from tests.wire import Exchange, WireServer, in_thread, says_json

HOSTILE = (
    *("../../escaped", "/etc/escaped", "..\\..\\escaped", "..", ".", "...", ".hidden"),
    *("%2e%2e/escaped", "%2e%2e%2fescaped", "%2F..%2Fescaped", "a/../../escaped", "a/b", "a\\b"),
    *("CA9?direction=user", "CA9#fragment", "CA9&redacted=true", "CA9;x", "CA9 x", "CA9%00"),
    *("CA9\x00.wav", "CA9\nCA10", "CA9\r\nX-Evil: 1", "CA9\tx", "CA9\x07", "CA9\x7f", "CA9\x85x"),
    *(
        "\x1b[31mpwned",
        "\x1b]0;title\x07",
        "\x9b31m",
        "CA9\u202egpj.wav",
        "CA9\u200b",
        "CA9\u2028x",
    ),
    *("{conversationId}", "<id>", "${ID}", "$(touch escaped)", "`touch escaped`", "CA9|x"),
    *(
        "-rf",
        "--out=escaped",
        "~",
        "~root",
        "CA1~3",
        "*",
        "CA?",
        "=1+1",
        "@x",
        "+1",
        "'CA9",
        'CA"9',
    ),
    *("\uff23\uff21\uff19", "CÀ9", "CA\u0663", "é", "\ufeffCA9\ufeff", "x" * 129, "x" * 300_000),
    *("http://127.0.0.1/x", "file:///etc/passwd", "C:\\escaped", "CON:", "CA9:stream", ""),
)
GOOD = ("CA1", "abc-1", "ABC-1", "Abc-1", "a.b_c-d", "x" * 128, "CA2.wav", "con", "0")


def write_rows(path: Path, ids: tuple[str, ...]) -> dict[str, int]:
    """Write a CSV with a second column; return at which line each id's row begins."""
    lines: dict[str, int] = {}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["conversation_id", "note"])
        line = 2
        for each in ids:
            lines[each] = line
            writer.writerow([each, "note"])
            line += 1 + len(each.replace("\r\n", "\n").replace("\r", "\n").split("\n")) - 1
    return lines


def everything_but(folder: Path, archive: Path) -> dict[str, tuple[int, str]]:
    """Return mode and content of every file below `folder` and outside the archive."""
    seen = {}
    for path in folder.rglob("*"):
        if path != archive and archive not in path.parents:
            status = path.lstat()
            is_file = stat.S_ISREG(status.st_mode)
            content = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
            seen[str(path)] = (status.st_mode, content)
    return seen


def active(text: str) -> set[str]:
    """Return the characters of a text that a terminal would act upon."""
    allowed = {"\n"}
    return {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} - allowed


def said(done: Done) -> str:
    """Return everything that was printed."""
    return done.stdout + done.stderr


def download(inside: Inside, *arguments: str | Path) -> Done:
    """Run ``download`` for people."""
    line = ("--agent", "PROJECT-1", "--region", "uk", "--out", inside.archive)
    return inside.run("download", *line, *arguments)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_hostile_ids_touch_nothing_and_are_told_with_their_lines(
    log_format: str, inside: Inside, tmp_path: Path
) -> None:
    """No request, no file outside, none inside; exit 3, each row named; the good ones are saved."""
    path = inside.folder / "calls.csv"
    ids = tuple(each for pair in zip(HOSTILE, GOOD * 9, strict=False) for each in pair)
    ids = tuple(dict.fromkeys((*ids, *GOOD)))
    lines = write_rows(path, ids)
    before = everything_but(tmp_path, inside.archive)
    log = tmp_path / "log"
    with in_thread(WireServer(Plans())) as server:
        inside.reach(server)
        options = ("--csv", path, "-vv", "--log-format", log_format)
        done = download(inside, *options, "--log-file", log)
    assert done.code == 3, done.stderr[-2000:]
    assert sorted(subject(target)[0] for target in server.targets) == sorted(GOOD)
    assert wavs(inside.archive) == {
        f"combined/{file_stem(each)}.wav": wav_of(each) for each in GOOD
    }
    told = log.read_text()
    log.unlink()
    assert everything_but(tmp_path, inside.archive) == before
    hostile = {lines[each] for each in HOSTILE}
    assert {number for number in range(1, 200) if says_line(told, number)} == hostile
    assert active(said(done) + told) == set()
    assert "escaped" not in told
    assert str(len(HOSTILE)) in done.stdout


def says_line(log: str, number: int) -> bool:
    """Whether the log names that line of the input as rejected."""
    return f'where="line {number}" ' in log or f'"where":"line {number}"' in log


def test_the_summary_counts_and_names_rejected_rows(inside: Inside) -> None:
    """The JSON line has the number, and where and why of the first twenty, without the text."""
    path = inside.folder / "calls.csv"
    lines = write_rows(path, (*HOSTILE, "CA1"))
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = inside.download("--csv", path)
    assert done.code == 3
    assert done.summary["counts"]["rejected"] == len(HOSTILE)
    assert done.summary["counts"]["recordings"] == 1
    named = [each["where"] for each in done.summary["rejections"]]
    assert named == [f"line {line}" for line in list(lines.values())[:20]]
    assert "escaped" not in done.stdout
    assert active(said(done)) == set()


def test_a_file_of_hostile_ids_alone_sends_nothing(inside: Inside, tmp_path: Path) -> None:
    """Exit 3 without one connection, and the parent as it was."""
    path = inside.folder / "calls.csv"
    write_rows(path, HOSTILE)
    before = everything_but(tmp_path, inside.archive)
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = download(inside, "--csv", path)
    assert (done.code, server.connections) == (3, 0)
    assert wavs(inside.archive) == {}
    assert everything_but(tmp_path, inside.archive) == before
    assert active(said(done)) == set()


def test_ids_that_differ_by_case_alone_have_files_of_their_own(inside: Inside) -> None:
    """Even on a file system that ignores case and composes characters."""
    twins = ("abcd", "ABCD", "Abcd", "aBcD", "CAFE01", "cafe01", "Cafe01", "CAfe01")
    path = inside.folder / "calls.csv"
    write_rows(path, twins)
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        assert inside.download("--csv", path).code == 0
    kept = wavs(inside.archive)
    folded = {unicodedata.normalize("NFC", name).casefold() for name in kept}
    assert len(folded) == len(twins)
    assert sorted(kept.values()) == sorted(wav_of(each) for each in twins)


async def test_hostile_ids_from_a_program_are_rejected(tmp_path: Path) -> None:
    """The Python interface refuses the same, half characters too, and goes on."""
    ids = [*HOSTILE, "CA\ud800", "CA1"]
    before = everything_but(tmp_path, tmp_path / "archive")
    async with (
        WireServer(whole) as server,
        api.Archive.open(tmp_path / "archive") as archive,
        api.Client(region="uk", agent="P", api_key="k", audio_url=server.url()) as client,
    ):
        run = archive.download(client, api.from_ids(ids))
        outcomes = [each async for each in run]
    assert [(each.recording.conversation_id, each.status) for each in outcomes] == [
        ("CA1", Status.SAVED)
    ]
    assert run.summary.counts.rejected == len(HOSTILE) + 1
    assert run.summary.exit_code == 3
    assert len(server.heads) == 1
    assert active(run.summary.to_json()) == set()
    assert everything_but(tmp_path, tmp_path / "archive") == before


# What a server says of conversations.


def test_hostile_ids_of_a_listing_are_set_aside(inside: Inside, tmp_path: Path) -> None:
    """A listing is no more trusted than a file: nothing is asked for, each record is counted."""
    start = "2026-11-20T10:00:00Z"
    records = [{"id": each, "started_at": start, "channel": "VOICE"} for each in HOSTILE]
    odd = [{"id": None}, {"id": 5}, {"id": ["CA9"]}, {"id": {"a": 1}}, {}, None, "CA9", [], 7]
    good = [{"id": "CA1", "started_at": start, "channel": "\x1b[31mVOICE"}]
    cursors = [None, "a b&limit=1\r\nX-Evil: 1#?/../"]

    async def answer(exchange: Exchange) -> None:
        if exchange.head.target.startswith("/v3/"):
            page = {"conversations": [*records, *odd, *good], "cursor": cursors.pop()}
            await says_json(200, page)(exchange)
        else:
            await whole(exchange)

    before = everything_but(tmp_path, inside.archive)
    with in_thread(WireServer(answer)) as server:
        inside.reach(server)
        window = ("--since", "2026-11-20", "--until", "2026-11-21", "--account", "ws-1")
        done = inside.download(*window, "--metadata", "basic", "-vv")
    assert done.code == 3, done.stderr[-3000:]
    assert wavs(inside.archive) == {"combined/CA1.wav": wav_of("CA1")}
    sidecars = [path.name for path in (inside.archive / "metadata").iterdir()]
    assert sidecars == ["CA1.json"]
    assert everything_but(tmp_path, inside.archive) == before
    assert done.summary["counts"]["rejected"] == 2 * (len(records) + len(odd))
    first, second, audio = server.heads if len(server.heads) == 3 else [None] * 3
    assert first is not None
    assert second is not None
    assert audio is not None
    pages = [head for head in server.heads if head.target.startswith("/v3/")]
    assert pages[1].target.endswith("cursor=a%20b%26limit%3D1%0D%0AX-Evil%3A%201%23%3F%2F..%2F")
    assert all(head.header("X-Evil") is None for head in pages)
    assert active(said(done)) == set()


def test_words_of_a_server_do_not_reach_the_terminal_raw(inside: Inside) -> None:
    """Messages, codes and ids with escape sequences are shown as text, or not at all."""
    evil = "\x1b]0;owned\x07\x1b[2J\u202e"

    async def answer(exchange: Exchange) -> None:
        envelope = {"error_code": evil, "error_id": evil, "error_message": evil}
        name = subject(exchange.head.target)[0]
        status = {"CA1": 410, "CA2": 404, "CA3": 500}[name]
        await says_json(status, envelope)(exchange)

    path = inside.folder / "calls.csv"
    write_rows(path, ("CA1", "CA2", "CA3"))
    with in_thread(WireServer(answer)) as server:
        inside.reach(server)
        done = download(inside, "--csv", path, "-vv", "--attempts", "1")
        page = inside.run("status", inside.archive)
    assert done.code in {2, 3}
    assert active(said(done) + said(page)) == set()


# Options.

LAYOUTS = (
    *("../{direction}/{id}.wav", "/tmp/{direction}/{id}.wav", "{direction}/../../{id}.wav"),
    *("./{direction}/{id}.wav", "{direction}/./{id}.wav", "{direction}//{id}.wav", "/{id}.wav"),
    *("{id}.wav", "{direction}.wav", "{direction}/{id}", "{direction}/{id}.mp3", ".wav", ""),
    *("{direction}/{id.__class__}.wav", "{direction}/{id!r}.wav", "{direction}/{id:>999}.wav"),
    *("{direction}/{0}.wav", "{direction}/{}.wav", "{direction}/{id}{secret}.wav"),
    *("{direction}/{{id}}.wav", "{direction}/{id.wav", "{direction}/id}.wav"),
    *(".bulkaudio/{direction}/{id}.wav", ".hidden/{direction}{id}.wav", "{direction}/.{id}.wav"),
    *("metadata/{direction}/{id}.wav", "METADATA/{direction}/{id}.wav"),
    *("{direction}\\..\\{id}.wav", "{direction}/\x1b[31m{id}.wav", "{direction}/{id}\u202e.wav"),
    *("{direction}/\x00{id}.wav", "{direction}\n/{id}.wav", " /{direction}/{id}.wav"),
    "x" * 300 + "{direction}/{id}.wav",
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=range(len(LAYOUTS)))
def test_a_hostile_layout_is_refused_before_anything_happens(
    layout: str, inside: Inside, tmp_path: Path
) -> None:
    """Exit 2 with the way to write one; no request, nothing outside the archive."""
    path = inside.folder / "calls.csv"
    write_rows(path, ("CA1",))
    before = everything_but(tmp_path, inside.archive)
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = download(inside, "--csv", path, "--layout", layout)
    assert (done.code, server.connections) == (2, 0)
    assert "layout" in done.stderr
    assert "Fix:" in done.stderr
    assert active(said(done)) == set()
    assert everything_but(tmp_path, inside.archive) == before
    assert wavs(inside.archive) == {}


@pytest.mark.parametrize("account", ["", ".", ".."])
def test_an_account_that_leads_elsewhere_is_refused(account: str, inside: Inside) -> None:
    """It never becomes a request's path."""
    with in_thread(WireServer(says_json(200, {"conversations": []}))) as server:
        inside.reach(server)
        done = inside.download("--since", "yesterday", "--account", account)
    assert (done.code, server.connections) == (2, 0)
    assert "--account" in done.stderr
    assert "Fix:" in done.stderr


@pytest.mark.parametrize(
    ("account", "encoded"),
    [
        ("../v1", "..%2Fv1"),
        ("ws-1?limit=1", "ws-1%3Flimit%3D1"),
        ("ws 1\r\nX-Evil: 1", "ws%201%0D%0AX-Evil%3A%201"),
        ("%2e%2e", "%252e%252e"),
        ("\x1b[31m", "%1B%5B31m"),
    ],
)
def test_an_account_stays_in_its_segment(account: str, encoded: str, inside: Inside) -> None:
    """The listing's request line keeps its shape, and the terminal its colour."""
    with in_thread(WireServer(says_json(200, {"conversations": [], "cursor": None}))) as server:
        inside.reach(server)
        done = download(inside, "--since", "yesterday", "--account", account, "-vv")
        page = inside.run("status", inside.archive)
    assert done.code == 0, done.stderr
    assert {t.split("?")[0] for t in server.targets} == {f"/v3/{encoded}/PROJECT-1/conversations"}
    assert all(head.header("X-Evil") is None for head in server.heads)
    assert active(said(done) + said(page)) == set()


def test_an_agent_with_control_characters_is_shown_harmlessly(inside: Inside) -> None:
    """By the run, by its log, by a contradiction later, and by the status page."""
    path = inside.folder / "calls.csv"
    write_rows(path, ("CA1",))
    agent = "\x1b]0;owned\x07P\u202e"
    line = ("download", "--region", "uk", "--out", inside.archive, "--csv", path, "-vv")
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = inside.run(*line, "--agent", agent)
        other = inside.run(*line, "--agent", "other")
        page = inside.run("status", inside.archive)
    assert (done.code, other.code, page.code) == (0, 2, 0)
    assert "--agent" in other.stderr
    assert active(said(done) + said(other) + said(page)) == set()


@pytest.mark.parametrize(
    "column", ["missing", "", "\x1b[31m", "conversation_id\n", "__class__", "0"]
)
def test_a_column_that_is_not_there_is_refused_with_those_that_are(
    column: str, inside: Inside
) -> None:
    """Exit 2 before any request, naming the columns seen, harmlessly."""
    path = inside.folder / "calls.csv"
    path.write_text("\x1b[2Jcall,note\nCA1,x\n")
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = download(inside, "--csv", path, "--id-column", column)
    assert (done.code, server.connections) == (2, 0)
    assert "note" in done.stderr
    assert active(said(done)) == set()


def test_the_status_file_and_sidecars_are_plain(inside: Inside) -> None:
    """What a listing says of a call is kept as JSON, where no control character stands raw."""
    record = {
        "id": "CA1",
        "started_at": "2026-11-20T10:00:00Z",
        "channel": "VOICE",
        "state": {"\x1b[31m": "\u202e\x00\ud800"},
        "from_number": "=cmd|' /C calc'!A0",
    }

    async def answer(exchange: Exchange) -> None:
        is_page = exchange.head.target.startswith("/v3/")
        page = says_json(200, {"conversations": [record], "cursor": None})
        await (page if is_page else whole)(exchange)

    with in_thread(WireServer(answer)) as server:
        inside.reach(server)
        window = ("--since", "2026-11-20", "--until", "2026-11-21", "--account", "ws-1")
        done = inside.download(*window, "--metadata", "basic")
    assert done.code == 0, done.stderr
    text = (inside.archive / "metadata" / "CA1.json").read_text()
    assert {c for c in active(text) if unicodedata.category(c) != "Cf"} == set()
    assert json.loads(text)
    assert active((inside.archive / ".bulkaudio" / "status.json").read_text()) == set()
