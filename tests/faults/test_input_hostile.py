"""Ids, agents, accounts and keys that try to lead elsewhere: encoded or refused, told by their line."""

import csv
import json
from pathlib import Path

import pytest

from bulkaudio.naming import file_stem
from tests.faults.machine import few
from tests.forked import run_forked
from tests.listed import Book, listing_trial, page
from tests.oracle import CANARY, trial_on
from tests.plans import whole
from tests.wire import WireServer

GOOD = ("CA1", "a.b_c-d", "x" * 128, "0")

HOSTILE: dict[str, tuple[str, ...]] = {
    "traversal": ("../../etc/escaped", "..", ".", "...", "a/../../escaped", "..\\..\\escaped"),
    "absolute": ("/etc/escaped", "//host/escaped", "C:\\escaped", "file:///etc/passwd", "~root"),
    "encoded": ("%2e%2e/escaped", "%2e%2e%2fescaped", "CA9%00", "%252e%252e", "CA9%2Faudio"),
    "url_signs": (
        "CA9?direction=user",
        "CA9#x",
        "CA9&redacted=true",
        "CA9;x",
        "CA9/audio",
        "CA9@x",
    ),
    "line_breaks": ("CA9\nCA10", "CA9\r\nX-Evil: 1", "CA9\rX", "\nCA9\n.", "CA9\x0bx", "CA9\x85x"),
    "controls": (
        "CA9\x00",
        "CA9\x07",
        "CA9\x7f",
        "\x1b[31mred",
        "\x1b]0;t\x07",
        "\x9b31m",
        "CA9\tx",
    ),
    "directions_of_text": (
        "CA9\u202egpj.wav",
        "CA9\u200b",
        "CA9\u2028x",
        "\u2066CA9",
        "CA9\u00adx",
    ),
    "placeholders": ("{conversationId}", "<id>", "${ID}", "{{ id }}", "%ID%"),
    "shells": ("$(touch escaped)", "`touch escaped`", "CA9|x", "CA9 && x", "'CA9", "*", "CA?"),
    "options": ("-rf", "--out=escaped", "-"),
    "formulas": ("=1+1", "@SUM(A1)", "+1", "=cmd|' /C calc'!A0"),
    "look_alikes": ("\uff23\uff21\uff19", "CÀ9", "CA\u0663", "\u0421\u04109", "é", "e\u0301"),
    "long": ("x" * 129, "x" * 1_000_000),
    "hidden": (".hidden", "_CA9", "CA9 x", "CA1~3"),
}


def write_rows(path: Path, ids: tuple[str, ...]) -> list[int]:
    """Write a CSV of good ids around these; return at which lines these begin."""
    lines, line = [], 2
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(["conversation_id", "note"])
        for id_ in (GOOD[0], *ids, *GOOD[1:]):
            if id_ in ids:
                lines.append(line)
            writer.writerow([id_, "note"])
            line += 1 + id_.replace("\r\n", "\n").replace("\r", "\n").count("\n")
    return lines


def rejected_lines(stderr: str) -> list[str]:
    """Return where the log says that rows were rejected."""
    entries = [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]
    return [entry["where"] for entry in entries if "where" in entry]


def target_of(id_: str) -> str:
    """Spell the request for a recording."""
    return f"/v1/agents/PROJECT-1/conversations/{id_}/audio?direction=combined"


@pytest.mark.parametrize("name", few(HOSTILE, ("traversal", "line_breaks", "long")))
async def test_hostile_ids_of_a_file(name: str, tmp_path: Path) -> None:
    """No request and no file is made of them, each is named by its line; the good ones are saved."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", *GOOD)
        lines = write_rows(trial.cwd / "calls.csv", HOSTILE[name])
        before = set(tmp_path.rglob("*"))
        source = ("--csv", "calls.csv", "-v", "--log-format", "json")
        ended = await trial.download(*source)
        assert ended.code == 3, ended.stderr[-2000:]
        assert rejected_lines(ended.stderr) == [f"line {line}" for line in lines]
        assert ended.summary["counts"]["rejected"] == len(HOSTILE[name])
        assert sorted(server.targets) == sorted(map(target_of, GOOD))
        outside = set(tmp_path.rglob("*")) - before
        assert all(trial.archive in (path, *path.parents) for path in outside)
        assert "escaped" not in ended.stdout
        await trial.healed(*trial.csv(*GOOD))


async def test_case_twins_of_a_file(tmp_path: Path) -> None:
    """Each has a file of its own, under names that differ by more than case, whatever their order."""
    twins = ("abc-1", "ABC-1", "Abc-1", "aBC-1", "CAab", "CAAB", "caab")
    async with WireServer(book := Book({"": page()})) as server:
        trial = listing_trial(server, book, tmp_path / "work", *twins)
        ended = await trial.download(*trial.csv(*twins))
        assert ended.code == 0, ended.stderr
        assert len({path.casefold() for path in trial.saved()}) == len(twins)
        assert trial.saved() == {f"combined/{file_stem(id_)}.wav" for id_ in twins}
        await trial.healed(*trial.csv(*reversed(twins)))


SEGMENTS: dict[str, tuple[str, str | None]] = {
    "question_mark": ("a?b=c", "a%3Fb%3Dc"),
    "hash": ("a#b", "a%23b"),
    "slash": ("../v1", "..%2Fv1"),
    "percent": ("%2e%2e", "%252e%252e"),
    "blank": ("a b", "a%20b"),
    "line_break": ("a\r\nX-Evil: 1", "a%0D%0AX-Evil%3A%201"),
    "escape": ("\x1b[31m", "%1B%5B31m"),
    "accent": ("é", "%C3%A9"),
    "dot": (".", None),
    "dots": ("..", None),
    "empty": ("", None),
}
"""What is given, and what of it may stand in a path; None: it is refused."""


@pytest.mark.parametrize("kind", ["agent", "account"])
@pytest.mark.parametrize("name", few(SEGMENTS, ("line_break",)))
async def test_agent_and_account_keep_to_their_segment(
    name: str, kind: str, tmp_path: Path
) -> None:
    """The request line has the shape it should have, or there is no request."""
    given, encoded = SEGMENTS[name]
    book = Book({"": page("CA1")})
    async with WireServer(book) as server:
        trial = listing_trial(server, book, tmp_path / "work", "CA1")
        named = {"agent": "PROJECT-1", "account": "ws-1", kind: given}
        window = ("--since", "2026-11-10", "--until", "2026-11-11", f"--account={named['account']}")
        words = [*trial.words(*window)]
        words[words.index("--agent") : words.index("--agent") + 2] = [f"--agent={named['agent']}"]
        ended = await run_forked(trial.order(*words))
        trial.check(ended)
        if encoded is None:
            assert ended.code == 2, ended.stderr
            assert server.connections == 0
            return
        assert ended.code == 0, ended.stderr
        spelled = {"agent": "PROJECT-1", "account": "ws-1", kind: encoded}
        paths = [head.target.split("?")[0] for head in server.heads]
        assert paths == [
            f"/v3/{spelled['account']}/{spelled['agent']}/conversations",
            f"/v1/agents/{spelled['agent']}/conversations/CA1/audio",
        ]
        assert all(head.header("X-Evil") is None for head in server.heads)


KEYS: dict[str, tuple[str, bool]] = {
    "line_break_behind": (f"{CANARY}\n", True),
    "windows_line_break": (f"{CANARY}\r\n", True),
    "blanks_around": (f"  {CANARY}\t", True),
    "header": (f"{CANARY}\r\nX-Evil: 1", False),
    "two_lines": (f"{CANARY}\nother", False),
    "blank_within": (f"{CANARY} x", False),
    "accent": (f"{CANARY}é", False),
    "control": (f"{CANARY}\x07", False),
    "nothing": (" \n", False),
}
"""What is in the key's file, and whether it is a key."""


@pytest.mark.parametrize("name", few(KEYS, ("line_break_behind", "header")))
async def test_a_key_is_one_word_of_a_header(name: str, tmp_path: Path) -> None:
    """It is sent as it is, once; what would be more than a key is refused, and shown nowhere."""
    text, is_key = KEYS[name]
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", "CA1")
        (tmp_path / "key").write_bytes(text.encode())
        (tmp_path / "key").chmod(0o600)
        ended = await trial.download(*trial.csv("CA1"), "--api-key-file", tmp_path / "key")
        if is_key:
            assert ended.code == 0, ended.stderr
            assert [head.header("x-api-key") for head in server.heads] == [CANARY]
        else:
            assert ended.code == 4, ended.stderr
            assert server.connections == 0
        assert all(head.header("X-Evil") is None for head in server.heads)
