"""Every byte that leaves: request lines and headers, whatever stands in agent, account or id."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bulkaudio.naming import is_conversation_id
from bulkaudio.version import __version__
from tests.audio import wav_of
from tests.inside import Inside
from tests.plans import whole
from tests.program import Done, wavs
from tests.security.values import REFUSED, WORDS, encoded, toml_text
from tests.wire import Exchange, Head, Script, WireServer, in_thread, says_json

KEY = "canary-out-5d1.key"
START = "2026-11-20T10:00:00Z"
WINDOW = (
    "start_time=2026-11-20T00%3A00%3A00Z&end_time=2026-11-21T00%3A00%3A00Z"
    "&limit=1000&client_env=live"
)
PLAIN = dict.fromkeys(("agent", "account", "variant"), "P")
SOURCES = ("flag", "variable", "file")


def polyai(ids: Sequence[str], cursors: Sequence[str] = ()) -> Script:
    """Answer as PolyAI does: recordings whole, and pages that list `ids`, one for each cursor."""
    left = [None, *reversed(cursors)]

    async def script(exchange: Exchange) -> None:
        if exchange.head.target.startswith("/v3/"):
            records = [{"id": each, "started_at": START, "channel": "VOICE-SIP"} for each in ids]
            page = {"conversations": records, "cursor": left.pop()}
            await says_json(200, page)(exchange)
        else:
            await whole(exchange)

    return script


def check_head(head: Head, target: str, port: int, accept: str) -> None:
    """Compare a request with what it is to be, byte for byte but for its random support id."""
    support = head.header("X-PolyAI-Correlation-Id") or ""
    assert re.fullmatch("[0-9a-f]{32}", support)
    expected = (
        f"GET {target} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        f"Accept: {accept}\r\n"
        "Accept-Encoding: identity\r\n"
        f"User-Agent: bulkaudio/{__version__}\r\n"
        f"x-api-key: {KEY}\r\n"
        f"X-PolyAI-Correlation-Id: {support}\r\n"
    )
    assert head.raw.decode("ascii") == expected


def list_with(inside: Inside, texts: Mapping[str, str], source: str) -> Done:
    """Download a day's calls with these options, each given by `source`."""
    words = ["download", "--json", "--region", "uk", "--out", str(inside.archive)]
    words += ["--since", "2026-11-20", "--until", "2026-11-21"]
    if source == "flag":
        words += [f"--{option}={text}" for option, text in texts.items()]
    elif source == "variable":
        for option, text in texts.items():
            inside.env(f"BULKAUDIO_{option.upper()}", text)
    else:
        path = inside.folder / "settings.toml"
        lines = [f"{option} = {toml_text(text)}" for option, text in texts.items()]
        path.write_text("\n".join([*lines[:2], "[download]", *lines[2:]]))
        words += ["--config", str(path)]
    return inside.run(*words)


def check_values(inside: Inside, names: Sequence[str], source: str) -> None:
    """See that each of three values is sent to the letter in its place, and nothing else is asked."""
    agent, account, variant = (WORDS[name] for name in names)
    texts = {"agent": agent, "account": account, "variant": variant}
    if "\0" in agent + account + variant:
        source = "file"  # No operating system passes it on in another way.
    with in_thread(WireServer(polyai(["CA1"]))) as server:
        inside.reach(server, KEY)
        done = list_with(inside, texts, source)
    assert done.code == 0, done.stderr
    page, audio = server.heads
    place = f"/v3/{encoded(account)}/{encoded(agent)}/conversations"
    listing = f"{place}?{WINDOW}&variant_id={encoded(variant)}"
    check_head(page, listing, server.port, "application/json")
    recording = f"/v1/agents/{encoded(agent)}/conversations/CA1/audio?direction=combined"
    check_head(audio, recording, server.port, "audio/wav")
    assert wavs(inside.archive) == {"combined/CA1.wav": wav_of("CA1")}
    assert {path.name for path in inside.folder.iterdir()} <= {"archive", "settings.toml"}


FILLED = (*WORDS, *tuple(WORDS)[: -len(WORDS) % 3])
TRIPLES = [(FILLED[at : at + 3], SOURCES[at % 9 // 3]) for at in range(0, len(FILLED), 3)]
"""Each value once, in one of its three places, by one of the three sources."""


@pytest.mark.parametrize(("names", "source"), TRIPLES, ids=[names[0] for names, _ in TRIPLES])
def test_a_value_stays_a_value(names: Sequence[str], source: str, inside: Inside) -> None:
    """Agent, account and variant are one segment or one parameter each, to the letter."""
    check_values(inside, names, source)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", WORDS)
def test_a_value_stays_a_value_wherever_it_comes_from(
    name: str, source: str, inside: Inside
) -> None:
    """Each of them in all places at once, from the command line, a variable and a file."""
    check_values(inside, (name, name, name), source)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("source", ["flag", "file"])
@pytest.mark.parametrize("option", ["agent", "account"])
def test_what_cannot_be_a_segment_is_refused(
    option: str, source: str, name: str, inside: Inside
) -> None:
    """Exit 2 before any connection, and before the archive is made."""
    text = REFUSED[name]
    if source == "file" and "\ud800" in text:
        return  # TOML has no way to write it.
    other = "--account=ws-1" if option == "agent" else "--agent=P"
    words = ["download", "--region", "uk", "--out", str(inside.archive), other]
    words += ["--since", "2026-11-20", "--until", "2026-11-21"]
    if source == "file":
        path = inside.folder / "settings.toml"
        path.write_text(f"{option} = {toml_text(text)}\n")
        words += ["--config", str(path)]
    else:
        words += [f"--{option}={text}"]
    with in_thread(WireServer(polyai(["CA1"]))) as server:
        inside.reach(server, KEY)
        done = inside.run(*words)
    assert (done.code, server.connections) == (2, 0), done.stderr
    assert "Fix:" in done.stderr
    assert not inside.archive.exists()


SIGNS = (
    *map(chr, range(0x100)),
    *"\u0130\u0131\u017f\u212a\uff11\u0661\u200d\u202e\u2066\ufeff\ufffd\ue000\U0001f4de\U0010ffff",
)


@pytest.mark.parametrize("place", ["csv", "listing"])
def test_an_id_is_asked_for_to_the_letter_or_not_at_all(place: str, inside: Inside) -> None:
    """With every sign of Latin-1 and some of beyond, at the start, in the middle and at the end."""
    ids = [each for c in SIGNS for each in (f"{c}CA{ord(c)}", f"CA{c}{ord(c)}", f"C{ord(c)}A{c}")]
    good = sorted({each for each in ids if is_conversation_id(each)})
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", each) for each in good)
    assert len(good) > 150
    words: tuple[str | Path, ...] = ("--since", "2026-11-20", "--until", "2026-11-21")
    if place == "csv":
        path = inside.folder / "calls.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["conversation_id"], *([each] for each in ids)])
        words = ("--csv", path)
    with in_thread(WireServer(polyai(ids))) as server:
        inside.reach(server, KEY)
        done = inside.download(*words, "--account", "ws-1")
    assert done.code == 3
    sent = [head for head in server.heads if not head.target.startswith("/v3/")]
    for head in sent:
        check_head(head, head.target, server.port, "audio/wav")
    begin, end = "/v1/agents/PROJECT-1/conversations/", "/audio?direction=combined"
    targets = sorted(head.target for head in sent)
    if place == "csv":
        # Blanks around a cell belong to the file, not to the id.
        asked = {each.strip() for each in ids if is_conversation_id(each.strip())}
        assert targets == sorted(f"{begin}{each}{end}" for each in asked)
    else:
        assert targets == sorted(f"{begin}{each}{end}" for each in good)


def test_a_cursor_is_sent_back_to_the_letter(inside: Inside) -> None:
    """Whatever a listing calls its next page stays one parameter."""
    cursors = [*WORDS.values(), "."]
    with in_thread(WireServer(polyai(["CA1"], cursors))) as server:
        inside.reach(server, KEY)
        done = list_with(inside, PLAIN, "flag")
    assert done.code == 0, done.stderr
    pages = [head for head in server.heads if head.target.startswith("/v3/")]
    first = f"/v3/P/P/conversations?{WINDOW}&variant_id=P"
    targets = [first, *(f"{first}&cursor={encoded(each)}" for each in cursors)]
    assert [head.target for head in pages] == targets
    for head in pages:
        check_head(head, head.target, server.port, "application/json")


@pytest.mark.parametrize("name", ["CRLF", "bidi", "query", "C1"])
def test_a_channel_stays_a_value(name: str, inside: Inside) -> None:
    """A channel is matched here, and sent only when it is one that PolyAI knows."""
    with in_thread(WireServer(polyai(["CA1"]))) as server:
        inside.reach(server, KEY)
        inside.env("BULKAUDIO_CHANNEL", WORDS[name])
        done = list_with(inside, PLAIN, "flag")
    assert done.code == 0, done.stderr
    (page,) = server.heads
    check_head(
        page, f"/v3/P/P/conversations?{WINDOW}&variant_id=P", server.port, "application/json"
    )
