"""The program on the wire: what exactly it asks, and what it makes of everything it may be told."""

import gzip
from pathlib import Path

import pytest

from bulkaudio.version import __version__
from tests import program
from tests.audio import pcm_wav, wav_of
from tests.inside import Inside
from tests.plans import STREAMED, Plans, listed_wav, mulaw_wav, resized, subject, whole
from tests.program import environment, wavs, write_csv
from tests.wire import (
    Certificates,
    Counting,
    Exchange,
    Head,
    Script,
    WireServer,
    chunked,
    closes,
    http_head,
    in_thread,
    resets,
    says,
    says_json,
    says_raw,
    self_signed_context,
)

KEY = "canary-wire-key"


def csv_of(inside: Inside, *ids: str) -> tuple[str, str]:
    """Write ids into a CSV; return the option that names it."""
    return "--csv", str(write_csv(inside.folder / "calls.csv", list(ids)))


def parts_in(archive: Path) -> list[str]:
    """Name what is left of unfinished work."""
    return [path.name for path in (archive / ".bulkaudio" / "tmp").iterdir()]


def refuses(status: int, code: str) -> Script:
    """Refuse in PolyAI's own words."""
    return says_json(status, {"success": False, "error_code": code, "error_id": "e-1"})


# What is asked.


def check_headers(head: Head, port: int, key: str) -> None:
    """Insist on exactly the documented headers, each once."""
    names = [name for name, _ in head.headers]
    assert len(names) == len(set(map(str.lower, names)))
    correlation = head.header("X-PolyAI-Correlation-Id") or ""
    assert len(correlation) == 32
    assert int(correlation, 16)
    assert dict(head.headers) == {
        "Host": f"127.0.0.1:{port}",
        "x-api-key": key,
        "Accept": "audio/wav",
        "Accept-Encoding": "identity",
        "User-Agent": f"bulkaudio/{__version__}",
        "X-PolyAI-Correlation-Id": correlation,
    }


@pytest.mark.parametrize(
    ("flags", "query"),
    [
        ([], "direction=combined"),
        (["--redacted"], "direction=combined&redacted=true"),
        (["--no-redacted"], "direction=combined&redacted=false"),
    ],
)
def test_a_recording_is_asked_for_with_these_bytes(
    flags: list[str], query: str, inside: Inside
) -> None:
    """Request line and headers are the documented ones, and no other byte is sent."""
    with in_thread(WireServer(whole)) as server:
        inside.reach(server, KEY)
        done = inside.download(*csv_of(inside, "CA1"), *flags)
    assert done.code == 0
    (head,) = server.heads
    path = "/v1/agents/PROJECT-1/conversations/CA1/audio"
    assert head.raw.startswith(f"GET {path}?{query} HTTP/1.1\r\n".encode())
    check_headers(head, server.port, KEY)


def test_an_archive_goes_on_asking_for_redaction(inside: Inside) -> None:
    """What the first run asked for is asked for again by a run that says nothing."""
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        assert inside.download(*csv_of(inside, "CA1"), "--redacted").code == 0
        assert inside.download(*csv_of(inside, "CA2")).code == 0
        refused = inside.download(*csv_of(inside, "CA3"), "--no-redacted")
    assert refused.code == 2
    assert "--redacted" in refused.stderr
    assert [target.partition("&")[2] for target in server.targets] == ["redacted=true"] * 2


def test_each_direction_is_its_own_request(inside: Inside) -> None:
    """`all` asks for three directions, and each answer gets its own folder."""
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = inside.download(*csv_of(inside, "CA1", "CA2"), "--direction", "all")
    sides = ("combined", "user", "agent")
    wanted = {f"{side}/{id_}.wav": wav_of(id_, side) for side in sides for id_ in ("CA1", "CA2")}
    assert (done.code, wavs(inside.archive)) == (0, wanted)
    asked = [subject(target) for target in server.targets]
    assert sorted(asked) == sorted((id_, side) for side in sides for id_ in ("CA1", "CA2"))


def test_retries_and_redirects_send_the_same_headers_with_ids_of_their_own(inside: Inside) -> None:
    """Each attempt has its own correlation id; a hop at home keeps the attempt's."""
    plans = (says(500), says(302, location="/moved"), says(200, wav_of("CA1")))
    with in_thread(WireServer(*plans)) as server:
        inside.reach(server, KEY)
        assert inside.download(*csv_of(inside, "CA1")).code == 0
    for head in server.heads:
        check_headers(head, server.port, KEY)
    first, second, hop = (head.header("X-PolyAI-Correlation-Id") for head in server.heads)
    assert first != second
    assert second == hop


@pytest.mark.parametrize(
    ("agent", "encoded"),
    [
        ("acme team/4", "acme%20team%2F4"),
        ("p?direction=user#x", "p%3Fdirection%3Duser%23x"),
        ("%2e%2e", "%252e%252e"),
        ("ü", "%C3%BC"),
        ("a\r\nX-Evil: 1", "a%0D%0AX-Evil%3A%201"),
    ],
)
def test_an_agent_stays_in_its_segment(agent: str, encoded: str, inside: Inside) -> None:
    """Whatever --agent holds, the server reads one request of the same shape."""
    with in_thread(WireServer(whole)) as server:
        inside.reach(server, KEY)
        done = inside.run(
            *("download", "--json", "--agent", agent, "--region", "uk", "--out", inside.archive),
            *csv_of(inside, "CA1"),
        )
    assert done.code == 0
    (head,) = server.heads
    assert head.target == f"/v1/agents/{encoded}/conversations/CA1/audio?direction=combined"
    check_headers(head, server.port, KEY)


@pytest.mark.parametrize("agent", ["", ".", ".."])
def test_an_agent_that_leads_elsewhere_is_refused(agent: str, inside: Inside) -> None:
    """Servers resolve such a segment even when it arrives encoded: it never leaves."""
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = inside.run(
            *("download", "--json", "--agent", agent, "--region", "uk", "--out", inside.archive),
            *csv_of(inside, "CA1"),
        )
    assert (done.code, server.connections) == (2, 0)
    assert "--agent" in done.stderr


# What heals.

WAV = pcm_wav(0.25, "healed")
SIZED = http_head(200, [("Content-Length", str(len(WAV)))])
CHUNKS = http_head(200, [("Transfer-Encoding", "chunked")])
UNFRAMED = http_head(200, [("Connection", "close")])
GOOD = says(200, WAV, content_type="audio/wav")


async def _closes_silently(exchange: Exchange) -> None:
    await whole(exchange)
    await exchange.drop()


FIRST_ANSWERS: tuple[Script, ...] = (
    *(says(status) for status in (500, 502, 503, 504, 408)),
    resets,
    closes,
    *(says_raw(SIZED + WAV[:at], end=Exchange.reset) for at in (0, 44, 1000, len(WAV) - 1)),
    *(says_raw(SIZED + WAV[:at]) for at in (0, 44, 1000, len(WAV) - 1)),
    says_raw(CHUNKS + chunked(WAV)[:-5]),
    says_raw(CHUNKS + chunked(WAV)[:1000], end=Exchange.reset),
    says_raw(UNFRAMED + WAV[:1000]),
    says_raw(UNFRAMED + WAV[:1000], end=Exchange.reset),
    says(200, b"<html>"),
    says(429, retry_after="1"),
    says(429, retry_after="soon"),
    says(
        429,
        retry_after="Sun, 22 Nov 2026 10:00:01 GMT",
        date="Sun, 22 Nov 2026 10:00:00 GMT",
    ),
)
KEPT_AS_THEY_ARE = (
    mulaw_wav("kept"),
    listed_wav("kept"),
    resized(WAV, STREAMED),
    resized(WAV, 0),
)


async def test_every_fault_heals_and_a_second_run_asks_for_nothing(tmp_path: Path) -> None:
    """One bad day: all saved byte for byte, nothing left over, nothing asked for twice later."""
    faulty: dict[str, tuple[Script, ...]] = {
        f"CA{n:04x}": (first, GOOD) for n, first in enumerate(FIRST_ANSWERS)
    }
    forms: dict[str, tuple[Script, ...]] = {
        f"CB{n:04x}": (says(200, body),) for n, body in enumerate(KEPT_AS_THEY_ARE)
    }
    idle = [f"CC{n:04x}" for n in range(8)]
    closing: dict[str, tuple[Script, ...]] = dict.fromkeys(idle, (_closes_silently,))
    plain = [f"CD{n:04x}" for n in range(20)]
    plans = Plans(faulty | forms | closing)
    ids = [*faulty, *forms, *idle, *plain]
    wanted = (
        dict.fromkeys(faulty, WAV)
        | dict(zip(forms, KEPT_AS_THEY_ARE, strict=True))
        | {id_: wav_of(id_) for id_ in (*idle, *plain)}
    )
    archive = tmp_path / "archive"
    csv = write_csv(tmp_path / "calls.csv", ids)
    line = ("download", "--csv", csv, "--agent", "PROJECT-1", "--region", "uk", "--out", archive)
    async with WireServer(plans) as server:
        env = environment(BULKAUDIO_AUDIO_URL=server.url(), POLYAI_API_KEY=KEY)
        first = await program.run(*line, "--json", "-v", env=env, cwd=tmp_path)
        asked = len(server.heads)
        second = await program.run(*line, "--json", env=env, cwd=tmp_path)
    assert first.code == 0, first.stderr
    assert wavs(archive) == {f"combined/{name(id_)}.wav": wanted[id_] for id_ in ids}
    assert parts_in(archive) == []
    counts = first.summary["counts"]
    assert (counts["saved"], counts["recordings"], counts["failed"]) == (len(ids), len(ids), 0)
    # aiohttp itself asks again, unseen, when a connection is lost before the answer.
    assert counts["retries"] >= len(FIRST_ANSWERS) - 2
    assert plans.asked.total() == asked
    assert {id_: n for id_, n in plans.asked.items() if id_ in faulty} == dict.fromkeys(faulty, 2)
    assert (second.code, len(server.heads)) == (0, asked)
    assert second.summary["counts"]["already"] == len(ids)
    assert second.summary["http"] == {}


def name(id_: str) -> str:
    """Name the file of an id of this test."""
    return id_ if id_.startswith("CA") else f"{id_}~3"


# What does not, and what is told of it.

HTML = says(200, b"<!doctype html><title>Sign in</title>", content_type="text/html")
AROUND = "/v1/agents/PROJECT-1/conversations/CA1b/audio?direction=user"
LASTING: dict[str, tuple[Script, str, int, str | None, int]] = {
    "CA00": (refuses(400, "CONVERSATIONS_VALIDATION_FAILED"), "http_400", 400, "=", 1),
    "CA01": (refuses(404, "CONVERSATIONS_NOT_FOUND"), "unknown_conversation", 404, "=", 1),
    "CA02": (refuses(403, "USER_ACCESS_FORBIDDEN"), "forbidden", 403, "=", 1),
    **{f"CA{s:x}": (refuses(s, "X"), f"http_{s}", s, "=", 1) for s in (405, 410, 415, 422, 451)},
    "CA501": (says(501), "http_501", 501, None, 1),
    "CA10": (HTML, "not_audio", 200, None, 2),
    "CA11": (says_json(200, {"url": "https://elsewhere"}), "not_audio", 200, None, 2),
    "CA12": (says(200), "not_audio", 200, None, 2),
    "CA13": (says_raw(http_head(204)), "not_audio", 204, None, 2),
    "CA14": (says(206, WAV), "not_audio", 206, None, 2),
    "CA15": (says_raw(http_head(304)), "not_audio", 304, None, 2),
    "CA16": (
        says(200, gzip.compress(WAV), content_encoding="gzip", content_type="audio/wav"),
        "encoding",
        200,
        None,
        1,
    ),
    "CA17": (
        says_raw(http_head(200, [("Content-Length", str(5 * 1024**3))]) + WAV),
        "too_large",
        200,
        None,
        1,
    ),
    "CA18": (says(200, WAV[:44]), "truncated", 200, None, 2),
    "CA19": (says(200, resized(WAV, len(WAV) + 1)), "truncated", 200, None, 2),
    "CA1a": (says_raw(UNFRAMED + resized(WAV, STREAMED)), "truncated", 200, None, 2),
    "CA1b": (says(302, location=AROUND), "redirect", 302, None, 1),
    "CA1c": (says(500), "http_500", 500, None, 2),
}


def test_what_fails_for_good_is_told_and_leaves_nothing(inside: Inside) -> None:
    """Each with reason, status, code and attempts; exit 3; the good one among them is saved."""
    plans = Plans({id_: (script,) for id_, (script, *_) in LASTING.items()})
    with in_thread(WireServer(plans)) as server:
        inside.reach(server)
        options = csv_of(inside, *LASTING, "CAfeed")
        done = inside.download(*options, "--attempts", "2", "--concurrency", "64")
    assert done.code == 3
    told = {
        each["id"]: (each["reason"], each["http_status"], each["attempts"])
        for each in done.summary["failures"]
    }
    assert told == {
        id_: (reason, status, attempts) for id_, (_, reason, status, _, attempts) in LASTING.items()
    }
    codes = {each["id"] for each in done.summary["failures"] if each["error_code"]}
    assert codes == {id_ for id_, (_, _, _, code, _) in LASTING.items() if code == "="}
    assert all(each["correlation_id"] for each in done.summary["failures"])
    # The redirect leads to itself by another query, and is followed once.
    assert dict(plans.asked) == {id_: case[4] for id_, case in LASTING.items()} | {
        "CAfeed": 1,
        "CA1b": 2,
    }
    assert wavs(inside.archive) == {"combined/CAfeed.wav": wav_of("CAfeed")}
    assert parts_in(inside.archive) == []


def test_the_page_names_what_failed_with_its_support_id(inside: Inside) -> None:
    """For people: id, direction, what happened, and the id that PolyAI's support asks for."""
    with in_thread(WireServer(refuses(410, "GONE_FOR_GOOD"))) as server:
        inside.reach(server)
        csv = csv_of(inside, "CA1")
        options = ("--agent", "PROJECT-1", "--region", "uk", "--out", inside.archive)
        done = inside.run("download", *options, *csv)
    assert done.code == 3
    for word in ("CA1", "combined", "410", "e-1"):
        assert word in done.stdout


def test_a_missing_recording_is_late_or_absent_by_its_age(inside: Inside) -> None:
    """An old call's is absent, a fresh one's deferred, and neither is a failure."""
    path = inside.folder / "calls.csv"
    path.write_text(
        "conversation_id,started_at\nCA1,2020-01-01T00:00:00Z\nCA2,2999-01-01T00:00:00Z\n"
    )
    with in_thread(WireServer(refuses(404, "CONVERSATIONS_RECORDING_NOT_FOUND"))) as server:
        inside.reach(server)
        done = inside.download("--csv", path)
    counts = done.summary["counts"]
    assert done.code == 0
    assert (counts["absent"], counts["deferred"], counts["failed"]) == (1, 1, 0)
    assert len(server.heads) == 2


def test_a_long_wait_is_left_to_a_later_run(inside: Inside) -> None:
    """Retry-After of a day defers the recording; a run before that does not ask for it."""
    with in_thread(WireServer(says(429, retry_after="86400"))) as server:
        inside.reach(server)
        first = inside.download(*csv_of(inside, "CA1"))
        second = inside.download(*csv_of(inside, "CA1"))
    # Nothing else was asked for: the first run cannot know that the host works.
    assert (first.code, second.code, len(server.heads)) == (5, 0, 1)
    assert second.summary["counts"]["deferred"] == second.summary["counts"]["put_off"] == 1


# What ends the run.


def test_a_refused_key_ends_the_run_at_once_and_the_next_one_goes_on(inside: Inside) -> None:
    """401: exit 4, at most a handful of requests for any number of recordings, nothing lost."""
    ids = [f"CA{n:03x}" for n in range(200)]
    with in_thread(WireServer(refuses(401, "AUTH_USER_INVALID_TOKEN"))) as server:
        inside.reach(server, KEY)
        refused = inside.download(*csv_of(inside, *ids))
        assert len(server.heads) <= 8
    assert refused.code == 4
    assert (refused.summary["status"], refused.summary["counts"]["failed"]) == ("failed", 0)
    assert "POLYAI_API_KEY" in refused.stderr
    assert "Support id: e-1" in refused.stderr
    assert KEY not in refused.stderr + refused.stdout
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        assert inside.download(*csv_of(inside, *ids)).code == 0
    assert len(wavs(inside.archive)) == 200


def test_a_wrong_host_ends_the_run_with_the_right_one(inside: Inside) -> None:
    """404 without a code of PolyAI's: exit 2 after a handful of requests, and where to look."""
    gateway = says_json(404, {"message": "no Route matched with those values"})
    with in_thread(WireServer(gateway)) as server:
        inside.reach(server)
        done = inside.download(*csv_of(inside, *(f"CA{n:02x}" for n in range(50))))
    # Eight are under way at first, and two more before the third answer.
    assert len(server.heads) <= 10
    assert done.code == 2
    assert "https://api.uk.poly.ai" in done.stderr
    assert "BULKAUDIO_AUDIO_URL" in done.stderr


def test_an_outage_ends_the_run_and_the_next_one_goes_on(inside: Inside) -> None:
    """Nothing but 503 for the give-up time: exit 5, everything stays open, and heals later."""
    ids = [f"CA{n:02x}" for n in range(50)]
    with in_thread(WireServer(says(503))) as server:
        inside.reach(server)
        down = inside.download(*csv_of(inside, *ids), "--give-up-after", "1")
    assert (down.code, down.summary["status"]) == (5, "failed")
    counts = down.summary["counts"]
    assert counts["open"] + counts["failed"] == counts["recordings"]
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        assert inside.download(*csv_of(inside, *ids)).code == 0
    assert len(wavs(inside.archive)) == 50


def test_nobody_listening_is_an_outage(inside: Inside) -> None:
    """A refused connection is waited for as long as the host may be down, and no longer."""
    with in_thread(WireServer()) as server:
        inside.reach(server)
    ids = (f"CA{n:02x}" for n in range(50))
    done = inside.download(*csv_of(inside, *ids), "--give-up-after", "1")
    assert done.code == 5
    assert f"127.0.0.1:{server.port}" in done.stderr


@pytest.mark.parametrize("flaw", ["unknown", "self-signed", "expired", "another host"])
def test_a_certificate_that_fails_ends_the_run_before_any_request(
    flaw: str, inside: Inside
) -> None:
    """Exit 5, never retried, no key sent; the way out is an authority of one's own."""
    authority = Certificates()
    bundle = authority.write_bundle(inside.folder)
    context = {
        "unknown": authority.context(),
        "self-signed": self_signed_context(),
        "expired": authority.context(expired=True),
        "another host": authority.context("example.org"),
    }[flaw]
    trust = () if flaw in {"unknown", "self-signed"} else ("--ca-bundle", bundle)
    listener = Counting()
    with in_thread(WireServer(whole, tls=context, listener=listener)) as server:
        inside.reach(server)
        done = inside.download(*csv_of(inside, "CA1", "CA2"), *trust)
    assert (done.code, server.heads) == (5, [])
    assert 1 <= listener.accepted <= 2, "one connection for each recording, and none again"
    assert "--ca-bundle" in done.stderr
    assert "certificate" in done.stderr


def test_an_authority_of_ones_own_is_trusted_when_named(inside: Inside) -> None:
    """--ca-bundle adds to what is trusted."""
    authority = Certificates()
    bundle = authority.write_bundle(inside.folder)
    with in_thread(WireServer(whole, tls=authority.context())) as server:
        inside.reach(server)
        done = inside.download(*csv_of(inside, "CA1"), "--ca-bundle", bundle)
    assert done.code == 0
    assert wavs(inside.archive) == {"combined/CA1.wav": wav_of("CA1")}


def test_a_rotated_key_is_read_again_from_its_file(inside: Inside) -> None:
    """A 401 half way has the file read once more, and the run goes on with what it holds then."""
    path = inside.folder / "key"
    path.write_text("old-key")
    path.chmod(0o600)

    async def rotating(exchange: Exchange) -> None:
        if exchange.head.header("x-api-key") == "new-key":
            await whole(exchange)
            return
        if path.read_text() == "old-key":
            # In one step, as whoever rotates keys should: half a key would be refused for good.
            path.with_name("new").write_text("new-key")
            path.with_name("new").replace(path)
        await refuses(401, "AUTH_USER_INVALID_TOKEN")(exchange)

    with in_thread(WireServer(rotating)) as server:
        inside.reach(server)
        done = inside.download(*csv_of(inside, "CA1", "CA2"), "--api-key-file", path)
    assert done.code == 0, done.stderr
    assert len(wavs(inside.archive)) == 2
