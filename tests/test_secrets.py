"""The API key goes into one header to one origin, and turns up nowhere else."""

import asyncio
import base64
import json
import os
import signal
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkaudio.stores.local import LocalStore
from tests import program
from tests.audio import wav_of
from tests.inside import Inside
from tests.plans import Plans, whole
from tests.program import Done, environment, wavs, write_csv
from tests.wire import (
    Certificates,
    Exchange,
    Script,
    WireServer,
    hangs,
    http_head,
    in_thread,
    resets,
    says,
    says_json,
    says_raw,
)

KEY = "canary-5eCr3t.Key_7f41"
"""Of characters that a code, an id and a file name may have: nothing would stop it by its form."""

LISTING_KEY = "canary-L1sting.Key_22ab"


def forms_of(key: str) -> set[bytes]:
    """Return the key as it might be spelled by accident."""
    raw = key.encode()
    return {
        raw,
        raw[::-1],
        raw.hex().encode(),
        base64.b64encode(raw).rstrip(b"="),
        urllib.parse.quote(key, safe="").encode(),
        json.dumps(key)[1:-1].encode(),
        key.upper().encode(),
        key.encode("utf-16-le"),
    }


def leaks(text: bytes, *keys: str) -> bool:
    """Whether a key is in there, in any of its forms."""
    return any(form in text for key in keys or (KEY, LISTING_KEY) for form in forms_of(key))


def files_with_key(folder: Path) -> list[str]:
    """Name every file below `folder` that holds a key, in its name or its bytes."""
    found = []
    for path in folder.rglob("*"):
        is_file = path.is_file() and not path.is_symlink()
        if leaks(os.fsencode(path.name)) or (is_file and leaks(path.read_bytes())):
            found.append(str(path))
    return found


def said(done: Done) -> bytes:
    """Return everything that was printed."""
    return (done.stdout + done.stderr).encode()


async def _saved(archive: Path, count: int) -> None:
    """Return when so many recordings are in their places."""
    while len(wavs(archive)) < count:  # noqa: ASYNC110  another process makes them
        await asyncio.sleep(0.05)


def refuses(status: int, code: str = "X") -> Script:
    """Refuse in PolyAI's own words."""
    return says_json(status, {"error_code": code, "error_id": "e-1", "error_message": "no"})


def csv_of(inside: Inside, *ids: str) -> tuple[str, str]:
    """Write ids into a CSV; return the option that names it."""
    return "--csv", str(write_csv(inside.folder / "calls.csv", list(ids)))


def test_the_search_itself_finds_a_key(tmp_path: Path) -> None:
    """What the tests below rely on: every form, in any file, in names too."""
    for number, form in enumerate(forms_of(KEY)):
        (tmp_path / f"file{number}").write_bytes(b"\x00\xff" + form + b"\x00")
    (tmp_path / KEY).mkdir()
    assert len(files_with_key(tmp_path)) == len(forms_of(KEY)) + 1
    assert not leaks(b"canary")


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_trace_of_the_key_while_a_run_goes_on_and_after_it(
    log_format: str, tmp_path: Path
) -> None:
    """Retries, refusals, a redirect away, a hang and a signal, all at -vv: the key is nowhere."""
    csv = write_csv(tmp_path / "calls.csv", ["CA1", "CA2", "CA3", "CA4", "CA5", "CA6"])
    archive, log = tmp_path / "archive", tmp_path / "log"
    async with WireServer(says(200, wav_of("elsewhere"))) as storage:
        plans = Plans(
            {
                "CA1": [says(500), resets, whole],
                "CA2": [refuses(410)],
                "CA3": [says(302, location=f"{storage.url()}/signed")],
                "CA4": [says(200, b"<html>"), whole],
                "CA5": [hangs],
            }
        )
        async with WireServer(plans) as server:
            env = environment(BULKAUDIO_AUDIO_URL=server.url(), POLYAI_API_KEY=KEY)
            line = (
                *("download", "--csv", csv, "--agent", "PROJECT-1", "--region", "uk"),
                *("--out", archive, "--json", "-vv", "--log-format", log_format),
                *("--log-file", log, "--summary-file", tmp_path / "summary.json"),
                *("--grace", "0s"),
            )
            async with program.started(*line, env=env, cwd=tmp_path) as process:
                assert process.stdin is not None
                process.stdin.close()
                await _saved(archive, 4)
                assert files_with_key(tmp_path) == []
                arguments = Path(f"/proc/{process.pid}/cmdline")
                if arguments.exists():
                    assert not leaks(arguments.read_bytes())
                process.send_signal(signal.SIGTERM)
                stdout, stderr = await process.communicate()
    assert process.returncode == 143
    assert len(stderr) > 1000
    assert b"http_500" in stderr
    assert json.loads(stdout)["status"] == "interrupted"
    assert not leaks(stdout + stderr)
    assert files_with_key(tmp_path) == []
    assert {"summary.json", "log"} < {path.name for path in tmp_path.iterdir()}
    assert [head.header("x-api-key") for head in server.heads] == [KEY] * len(server.heads)
    (hop,) = storage.heads
    assert not leaks(hop.raw)
    assert hop.header("X-PolyAI-Correlation-Id") is None


def test_a_key_from_a_file_is_named_by_its_file_only(inside: Inside, tmp_path: Path) -> None:
    """Neither a good run nor a refused one shows what the file holds."""
    path = tmp_path / "key.txt"
    path.write_text(KEY + "\n")
    path.chmod(0o644)
    for script, code in ((whole, 0), (refuses(401), 4)):
        with in_thread(WireServer(script)) as server:
            inside.reach(server, "another-key")
            done = inside.download(*csv_of(inside, f"CA{code}"), "-vv", "--api-key-file", path)
        assert done.code == code
        assert server.heads[0].header("x-api-key") == KEY
        assert str(path) in done.stderr
        assert not leaks(said(done))
    assert files_with_key(inside.folder) == []


# Errors of every kind.


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("flags", [(), ("-vv",)], ids=["plain", "verbose"])
def test_a_bug_shows_no_key(
    flags: tuple[str, ...], log_format: str, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception nobody expected, in the middle of a transfer: exit 1, and a traceback on -v."""

    async def breaks(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(LocalStore, "stage", breaks)
    with in_thread(WireServer(whole)) as server:
        inside.reach(server, KEY)
        done = inside.download(
            *csv_of(inside, "CA1", "CA2"),
            *flags,
            *("--log-format", log_format, "--log-file", "log", "--summary-file", "summary"),
        )
    assert done.code == 1
    assert "boom" in done.stderr
    assert ("Traceback" in done.stderr) == bool(flags)
    assert done.summary["status"] == "failed"
    assert done.summary["error"]["message"]
    assert not leaks(said(done))
    assert files_with_key(inside.folder) == []


def _endings() -> Iterator[tuple[str, Script, int]]:
    yield "refused", refuses(401), 4
    yield "forbidden", refuses(403), 4
    yield "lost", says(404, b"<html>"), 2
    yield "down", says(503), 5
    yield "reset", resets, 5
    yield "no http", says_raw(b"\xff\xfe\r\n\r\n"), 5
    yield "gone", refuses(410), 3
    yield "round", says(302, location="/round"), 3
    yield "away", says(302, location="http://169.254.169.254/"), 3


@pytest.mark.parametrize(
    ("script", "code"), [e[1:] for e in _endings()], ids=[e[0] for e in _endings()]
)
def test_no_error_shows_the_key(script: Script, code: int, inside: Inside) -> None:
    """At -vv, with tracebacks, in log, summary and archive."""
    with in_thread(WireServer(script)) as server:
        inside.reach(server, KEY)
        done = inside.download(
            *csv_of(inside, *(f"CA{n:02x}" for n in range(40))),
            *("-vv", "--log-file", "log", "--summary-file", "summary", "--attempts", "2"),
            *("--give-up-after", "1", "--concurrency", "40"),
        )
    assert done.code == code, done.stderr[-2000:]
    assert len((inside.folder / "log").read_bytes()) > 300
    assert not leaks(said(done))
    assert files_with_key(inside.folder) == []


async def _echoes(exchange: Exchange) -> None:
    """Say the request back, in every place an error has."""
    envelope = json.dumps(
        {
            "error_code": KEY,
            "error_id": KEY,
            "error_message": f"bad headers: x-api-key={KEY}",
            "error": {"message": KEY},
        }
    ).encode()
    headers = [
        *(("Content-Length", str(len(envelope))), ("Content-Type", f"text/{KEY}")),
        *(("X-PolyAI-Correlation-Id", KEY), ("Server", KEY), ("ETag", f'"{KEY}"')),
        *(("Set-Cookie", f"k={KEY}"), ("Location", f"/{KEY}"), ("Retry-After", KEY)),
    ]
    await exchange.send(http_head(f"410 {KEY}", headers) + envelope)


def test_a_server_that_says_the_key_back_is_not_quoted(inside: Inside) -> None:
    """A gateway that echoes headers in its errors does not bring the key into log or ledger."""
    with in_thread(WireServer(_echoes)) as server:
        inside.reach(server, KEY)
        done = inside.download(
            *csv_of(inside, "CA1"), *("-vv", "--log-file", "log", "--summary-file", "summary")
        )
        page = inside.run("status", inside.archive)
    assert done.code == 3
    assert not leaks(said(done) + said(page))
    assert files_with_key(inside.folder) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--api-key", KEY),
        (f"--api-key={KEY}",),
        ("--key", KEY),
        ("--x-api-key", KEY),
        ("--token", KEY),
    ],
)
def test_an_option_that_would_take_a_key_does_not_exist(
    arguments: tuple[str, ...], inside: Inside
) -> None:
    """It is refused without being repeated, and leads to the right option."""
    done = inside.download(*arguments, "--csv", "calls.csv")
    assert done.code == 2
    assert not leaks(said(done))


def test_a_password_of_the_proxy_is_not_shown(inside: Inside) -> None:
    """The proxy refuses, then nobody listens: no error names more than its host."""
    with in_thread(WireServer(says(407))) as proxy:
        inside.reach(proxy, "another-key")
        address = f"http://me:{KEY}@127.0.0.1:{proxy.port}"
        inside.env("BULKAUDIO_PROXY", address)
        inside.env("BULKAUDIO_AUDIO_URL", "https://127.0.0.1:1")
        options = ("-vv", "--log-file", "log", "--give-up-after", "1", "--attempts", "2")
        refused = inside.download(*csv_of(inside, *(f"CA{n:02x}" for n in range(30))), *options)
    silent = inside.download(*csv_of(inside, *(f"CA{n:02x}" for n in range(30))), *options)
    assert (refused.code, silent.code) == (2, 5)
    for done in (refused, silent):
        assert not leaks(said(done), KEY)
    assert files_with_key(inside.folder) == []
    # The proxy is not sent the key of the host behind it either.
    assert all(not leaks(head.raw, "another-key") for head in proxy.heads)


# Two hosts, two keys.


def test_each_host_is_sent_its_own_key(inside: Inside) -> None:
    """The listing's key goes to the listing only, the recordings' to the recordings only."""
    record = {"id": "CA1", "started_at": "2026-11-20T10:00:00Z", "channel": "VOICE-SIP"}
    page = says_json(200, {"conversations": [record], "cursor": None})
    with in_thread(WireServer(whole)) as audio, in_thread(WireServer(page)) as listing:
        inside.reach(audio, KEY)
        inside.env("BULKAUDIO_CONVERSATIONS_URL", listing.url())
        inside.env("POLYAI_CONVERSATIONS_API_KEY", LISTING_KEY)
        done = inside.download(
            *("--since", "2026-11-20", "--until", "2026-11-21", "--account", "ws-1", "-vv"),
            *("--metadata", "basic"),
        )
    assert done.code == 0, done.stderr
    assert {head.header("x-api-key") for head in audio.heads} == {KEY}
    assert {head.header("x-api-key") for head in listing.heads} == {LISTING_KEY}
    assert (len(audio.heads), len(wavs(inside.archive))) == (1, 1)
    assert not leaks(said(done))
    assert files_with_key(inside.folder) == []


def test_a_listing_that_leads_away_takes_no_key_along(inside: Inside) -> None:
    """A redirected page is asked for without the key, and without the recordings' one too."""
    page = says_json(200, {"conversations": [], "cursor": None})
    with in_thread(WireServer(page)) as away:
        script = says(302, location=f"{away.url()}/page")
        with in_thread(WireServer(script)) as listing:
            inside.reach(listing, KEY)
            inside.env("POLYAI_CONVERSATIONS_API_KEY", LISTING_KEY)
            inside.download("--since", "2026-11-20", "--until", "2026-11-21", "--account", "ws-1")
    assert len(listing.heads) > 0
    assert [head for head in away.heads if leaks(head.raw)] == []
    assert [head for head in listing.heads if leaks(head.raw, KEY)] == []


# What was planted.


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_what_others_planted_is_ignored(
    tls: bool,  # noqa: FBT001  a test's parameter
    inside: Inside,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Proxy variables, .netrc, and a bulkaudio.toml or .env in the current folder."""
    netrc = f"machine 127.0.0.1 login me password {LISTING_KEY}\n"
    for place in (tmp_path / "home" / ".netrc", inside.folder / "netrc"):
        place.write_text(netrc)
        place.chmod(0o600)
    monkeypatch.setenv("NETRC", str(inside.folder / "netrc"))
    (inside.folder / "bulkaudio.toml").write_text(
        'region = "us"\nagent = "EVIL"\nlimit = 1\nout = "/nowhere"\nredacted = true\n'
    )
    (inside.folder / ".env").write_text("BULKAUDIO_LIMIT=1\nPOLYAI_API_KEY=evil\n")
    authority = Certificates()
    trust = ("--ca-bundle", authority.write_bundle(tmp_path)) if tls else ()
    with (
        in_thread(WireServer(says(418))) as trap,
        in_thread(WireServer(whole, tls=authority.context() if tls else None)) as server,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "SOCKS_PROXY"):
            monkeypatch.setenv(name, trap.url())
            monkeypatch.setenv(name.lower(), trap.url())
        inside.reach(server, KEY)
        done = inside.download(*csv_of(inside, "CA1", "CA2"), *trust)
    assert done.code == 0, done.stderr
    assert trap.connections == 0
    assert len(server.heads) == 2
    for head in server.heads:
        assert head.target.startswith("/v1/agents/PROJECT-1/")
        assert head.target.endswith("?direction=combined")
        assert head.header("x-api-key") == KEY
        assert head.header("Authorization") is None
        assert head.header("Proxy-Authorization") is None
        assert LISTING_KEY.encode() not in head.raw


def test_cookies_of_one_answer_are_not_sent_with_the_next(inside: Inside) -> None:
    """Nothing a server sets comes back to it."""
    plans = Plans(
        {"CA1": [says(200, wav_of("CA1"), set_cookie="session=1; Path=/")], "CA2": [whole]}
    )
    with in_thread(WireServer(plans)) as server:
        inside.reach(server, KEY)
        assert inside.download(*csv_of(inside, "CA1", "CA2"), "--concurrency", "1").code == 0
    assert [head.header("Cookie") for head in server.heads] == [None, None]


def test_files_that_hold_a_run_are_for_their_owner_alone(inside: Inside) -> None:
    """Log, summary and everything of the archive, whatever the umask."""
    before = os.umask(0)
    try:
        with in_thread(WireServer(whole)) as server:
            inside.reach(server, KEY)
            options = ("--log-file", "log", "--summary-file", "summary")
            assert inside.download(*csv_of(inside, "CA1"), *options).code == 0
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(inside.folder)): path.stat().st_mode & 0o7777
        for path in inside.folder.rglob("*")
        if path.name != "calls.csv"
    }
    wrong = {
        name: oct(mode)
        for name, mode in modes.items()
        if mode != (0o700 if (inside.folder / name).is_dir() else 0o600)
    }
    assert wrong == {}
    assert {"log", "summary", "archive", "archive/.bulkaudio/ledger.db"} < modes.keys()
