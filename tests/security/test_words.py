"""What others wrote is shown, logged and kept as text that nothing acts upon."""

import json
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bulkaudio.cli.app import main as run_program
from tests.audio import wav_of
from tests.inside import Inside
from tests.plans import subject, whole
from tests.program import Done, write_csv
from tests.wire import Exchange, Script, WireServer, http_head, in_thread, says, says_json, says_raw

KEY = "canary-w0rds.key"
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e\u2066\u200b\u2028\0\x08\x7f\ud800end"
LATIN = "\x1b]0;owned\x07\x1b[2J\x08\x7f\x9b31mend"
"""What a header may carry: no line end, no NUL."""


def active(text: str) -> set[str]:
    """Return the characters of a text that a terminal would act upon."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {c for c in text if unicodedata.category(c) in kinds} - {"\n"}


def said(done: Done) -> str:
    """Return everything that was printed."""
    return done.stdout + done.stderr


def check_all(inside: Inside, *done: Done) -> None:
    """See that nothing printed and no file for people or machines holds an active character."""
    for each in done:
        assert each.code != 1, each.stderr
        assert active(said(each)) == set()
    files = [inside.folder / "log", inside.folder / "summary"]
    files += [inside.archive / ".bulkaudio" / "status.json"]
    for path in files:
        assert active(path.read_text()) == set(), path


def envelope(text: str, status: int = 410) -> Script:
    """Refuse with a text in every place that an error has."""
    fields = ("error_code", "error_id", "error_message", "message", "code", "detail")
    return says_json(status, dict.fromkeys(fields, text) | {"error": {"message": text}})


def headers(text: str, status: str | int = 410, body: bytes = b"{}") -> Script:
    """Answer with a text in every header that anybody might quote."""
    names = (
        "X-PolyAI-Correlation-Id",
        "Content-Type",
        "Content-Encoding",
        "Server",
        "ETag",
        "Date",
    )
    pairs = [("Content-Length", str(len(body))), *((name, text) for name in names)]
    pairs += [("Retry-After", text), ("Location", text), ("Content-Disposition", text)]
    return says_raw(http_head(status, pairs) + body)


def label(text: str) -> Script:
    """Send a recording under a label of one's own."""

    async def script(exchange: Exchange) -> None:
        body = wav_of(*subject(exchange.head.target))
        pairs = [("Content-Length", str(len(body))), ("Content-Type", text)]
        await exchange.send(http_head(200, pairs) + body)

    return script


ANSWERS: Mapping[str, Callable[[str], Script]] = {
    "envelope of a 410": envelope,
    "envelope of a 404": lambda text: envelope(text, 404),
    "envelope of a 401": lambda text: envelope(text, 401),
    "envelope of a 500": lambda text: envelope(text, 500),
    "headers of a 410": headers,
    "headers of a 302": lambda text: headers(text, 302),
    "headers of a 429": lambda text: headers(text, 429),
    "headers of a 200": lambda text: headers(text, 200),
    "phrase of a 410": lambda text: headers("x", f"410 {text}"),
    "phrase of a 500": lambda text: headers("x", f"500 {text}"),
    "label": label,
    "no HTTP": lambda text: says_raw(text.encode("latin-1", "replace") + b"\r\n\r\n"),
    "header name": lambda text: says_raw(f"HTTP/1.1 200 OK\r\n{text}: x\r\n\r\n".encode("latin-1")),
    "body": lambda text: says(200, text.encode("utf-8", "replace"), content_type="text/html"),
}


def give(inside: Inside, script: Script, *flags: str) -> tuple[Done, Done]:
    """Download one recording that is answered so, and ask how it stands."""
    csv = str(write_csv(inside.folder / "calls.csv", ["CA1", "CA2"]))
    options = ("--log-file", "log", "--summary-file", "summary", "--attempts", "2")

    async def answer(exchange: Exchange) -> None:
        await (script if "/CA1/" in exchange.head.target else whole)(exchange)

    with in_thread(WireServer(answer)) as server:
        inside.reach(server, KEY)
        limits = ("--give-up-after", "1s", "--concurrency", "2")
        done = inside.download("--csv", csv, *options, *flags, *limits)
    return done, inside.run("status", inside.archive)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("log_format", ["text", pytest.param("json", marks=pytest.mark.slow)])
def test_no_word_of_an_answer_acts_on_a_terminal(
    log_format: str, name: str, inside: Inside
) -> None:
    """Codes, messages, ids, phrases, headers and labels, at -vv."""
    text = EVIL if name.startswith("envelope") else LATIN
    check_all(inside, *give(inside, ANSWERS[name](text), "-vv", "--log-format", log_format))


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "header name"])
def test_a_key_that_an_answer_says_back_is_not_quoted(name: str, inside: Inside) -> None:
    """Not even as the label of a good recording."""
    done = give(inside, ANSWERS[name](KEY), "-vv")
    for each in done:
        assert KEY not in said(each)
    for path in inside.folder.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_word_of_a_listing_acts_on_a_terminal(log_format: str, inside: Inside) -> None:
    """In any field of a record, in the page around it, and in what is set aside."""
    fields = ("channel", "variant_id", "environment", "state", "from_number", "to_number", "note")
    start = "2026-11-20T10:00:00Z"
    good = {"id": "CA1", "started_at": start, EVIL: EVIL, **dict.fromkeys(fields, EVIL)}
    bad = [{"id": EVIL, "started_at": start}, {"id": "CA2", "started_at": EVIL}, EVIL, [EVIL]]
    bad += [{"id": "CA3", "started_at": start, "in_progress": EVIL}]

    async def script(exchange: Exchange) -> None:
        is_page = exchange.head.target.startswith("/v3/")
        page = says_json(200, {"conversations": [good, *bad], "cursor": None, EVIL: EVIL})
        await (page if is_page else whole)(exchange)

    options = ("--log-file", "log", "--summary-file", "summary", "--metadata", "full", "-vv")
    window = ("--since", "2026-11-20", "--until", "2026-11-21", "--account", "ws-1")
    with in_thread(WireServer(script)) as server:
        inside.reach(server, KEY)
        done = inside.download(*window, *options, "--log-format", log_format)
        page = inside.run("status", inside.archive)
    assert done.code == 3
    assert done.summary["counts"]["rejected"] == len(bad)
    check_all(inside, done, page)


@pytest.mark.parametrize("cursor", [EVIL, "x" * 10_000], ids=["evil", "long"])
def test_a_listing_in_circles_does_not_quote_its_cursor_raw(cursor: str, inside: Inside) -> None:
    """The error that names it is fit for a terminal."""
    page = {
        "conversations": [{"id": "CA1", "started_at": "2026-11-20T10:00:00Z"}],
        "cursor": cursor,
    }

    async def script(exchange: Exchange) -> None:
        is_page = exchange.head.target.startswith("/v3/")
        await (says_json(200, page) if is_page else whole)(exchange)

    window = ("--since", "2026-11-20", "--until", "2026-11-21", "--account", "ws-1")
    with in_thread(WireServer(script)) as server:
        inside.reach(server, KEY)
        done = inside.download(*window, "-vv")
    assert done.code in {2, 5}
    assert active(said(done)) == set()
    assert "x" * 500 not in said(done)


NAMES = {
    "escape": "\x1b[31mx",
    "title": "\x1b]0;owned\x07x",
    "line": "a\nbulkaudio: Complete",
    "carriage": "a\rbulkaudio: Complete",
    "bidi": "a\u202egpj",
    "C1": "a\x9b31m",
    "bytes": "a\udcffx",
    "separator": "a\u2028x",
}


USUAL = {"line", "bidi", "bytes"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in USUAL else pytest.mark.slow) for n in NAMES]
)
def test_names_of_files_are_shown_harmlessly(name: str, inside: Inside) -> None:
    """Of the archive, the CSV, the log, the summary and the key; there and missing."""
    text = NAMES[name]
    folder = inside.folder / f"folder {text}"
    folder.mkdir()
    csv, key = write_csv(folder / f"{text}.csv", ["CA1", "\x1b[31mbad"]), folder / f"{text}.key"
    key.write_text(KEY)
    key.chmod(0o644)
    outputs = ("--log-file", folder / "log", "--summary-file", folder / "summary", "-vv")
    line = ("download", "--agent", "P", "--region", "uk", "--out", folder / "archive")
    missing = folder / f"missing {text}"
    with in_thread(WireServer(whole)) as server:
        inside.reach(server, KEY)
        results = [
            inside.run(*line, "--csv", csv, "--api-key-file", key, *outputs),
            inside.run(*line, "--csv", csv, "--json"),
            inside.run("status", folder / "archive"),
            inside.run("verify", folder / "archive"),
            inside.run(*line, "--csv", missing),
            inside.run(*line, "--csv", csv, "--api-key-file", missing),
            inside.run(*line, "--csv", csv, "--log-file", missing / "log"),
            inside.run(*line, "--csv", csv, "--ca-bundle", missing),
            inside.run(*line, "--csv", csv, "--config", missing),
            inside.run("status", missing),
            inside.run("rebuild", missing),
        ]
    assert [each.code for each in results[:4]] == [3, 3, 0, 0]
    for each in results:
        assert each.code in {0, 2, 3, 4, 6}, said(each)
        assert active(said(each)) == set()
    assert active((folder / "log").read_text()) == set()
    assert json.loads((folder / "summary").read_text())
    assert active((folder / "summary").read_text()) == set()


@pytest.mark.parametrize(
    "option", ["--agent", "--since", "--region", "--channel", "--no-such", "x"]
)
def test_words_of_the_command_line_are_shown_harmlessly(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped option or value is told in a sentence that a terminal only shows."""
    code = run_program(["download", f"{option}={EVIL}", "--out", f"{EVIL[:-4]}", "--json"])
    printed = capsys.readouterr()
    assert code == 2
    assert active(printed.out + printed.err) == set()
    assert not Path(EVIL.replace("\0", "")).exists()
