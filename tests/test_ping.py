"""The dead man's switch: pinged at the start and at every end, in secret, and never in the way."""

import asyncio
import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio import job
from bulkaudio.errors import UsageError
from bulkaudio.ping import Route, send
from bulkaudio.ping_url import PingUrl
from bulkaudio.stores.lock import ArchiveLock
from tests.forked import Order, forked
from tests.inside import Inside
from tests.listed import DAY
from tests.plans import whole
from tests.program import Done, environment, until, write_csv
from tests.wire import (
    Certificates,
    Exchange,
    Script,
    WireServer,
    closes,
    hangs,
    in_thread,
    says,
    self_signed_context,
)

UUID = "/0b1d3c5e-secret-uuid"
KEY = "canary-ping-key"
IDS = ["CA0", "CA1"]
AT_ONCE = Route(pauses_s=(0.0, 0.0))
DONE = says(200, b"OK")


@dataclass(slots=True)
class Switch:
    """A monitoring service: answers by its scripts, and remembers what it was told."""

    scripts: Sequence[Script] = (DONE,)
    told: list[tuple[str, bytes]] = field(default_factory=list)

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one ping."""
        script = self.scripts[min(len(self.told), len(self.scripts) - 1)]
        method, target, _ = exchange.head.request_line.split(" ")
        assert method == "POST"
        self.told.append((target, await exchange.body()))
        await script(exchange)

    @property
    def targets(self) -> list[str]:
        """Where it was pinged, in order."""
        return [target for target, _ in self.told]


@pytest.fixture
def switch() -> Switch:
    """Return a service that takes everything."""
    return Switch()


@pytest.fixture
def server(switch: Switch) -> Iterator[WireServer]:
    """Serve it."""
    with in_thread(WireServer(switch)) as serving:
        yield serving


def download(inside: Inside, script: Script, *arguments: str | Path) -> Done:
    """Download two recordings from a PolyAI that answers so."""
    csv = write_csv(inside.folder / "calls.csv", IDS)
    with in_thread(WireServer(script)) as polyai:
        inside.reach(polyai, KEY)
        return inside.download("--csv", csv, *arguments)


def check_secret(inside: Inside, done: Done) -> None:
    """The address is nowhere but in the request."""
    assert "secret-uuid" not in done.stdout + done.stderr
    for path in inside.folder.rglob("*"):
        assert path.is_dir() or b"secret-uuid" not in path.read_bytes(), path


def test_start_and_success_are_told(inside: Inside, switch: Switch, server: WireServer) -> None:
    """The start before the end; the end with counts, and with nothing else of the run."""
    inside.env("BULKAUDIO_PING_URL", server.url() + UUID)
    done = download(inside, whole, "--log-file", "run.log", "-v")
    assert done.code == 0, done.stderr
    assert switch.targets == [f"{UUID}/start", UUID]
    (_, empty), (_, body) = switch.told
    assert empty == b""
    message = json.loads(body)
    assert message.keys() == {
        *("schema", "status", "exit_code", "duration_s", "counts", "bytes", "audio_seconds"),
    }
    assert message["counts"] == done.summary["counts"]
    assert (message["status"], message["exit_code"]) == ("complete", 0)
    for word in (*IDS, "PROJECT-1", "archive", done.summary["run_id"], "uk"):
        assert f'"{word}' not in body.decode()
    check_secret(inside, done)
    for head in server.heads:
        assert KEY not in head.raw.decode()
        assert head.header("x-api-key") is None
        assert head.header("User-Agent").startswith("bulkaudio/")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("script", "arguments", "code", "starts"),
    [
        (says(410), (), 3, True),
        (says(401), (), 4, True),
        (whole, ("--max-recordings", "1"), 8, True),
        (whole, ("--api-key-file", "missing.key"), 4, False),
        (whole, ("--id-column", "no such"), 2, False),
        (whole, ("--since", "yesterday"), 2, False),
        (whole, ("--min-free", "900TB"), 6, True),
    ],
)
def test_every_other_end_is_told_by_its_code(
    *,
    script: Script,
    arguments: tuple[str, ...],
    code: int,
    starts: bool,
    inside: Inside,
    switch: Switch,
    server: WireServer,
) -> None:
    """Also of a run that ended before it had begun."""
    inside.env("BULKAUDIO_PING_URL", f"{server.url()}{UUID}/?create=1")
    done = download(inside, script, *arguments)
    assert done.code == code, done.stderr
    start = [f"{UUID}/start?create=1"] if starts else []
    assert switch.targets == [*start, f"{UUID}/{code}?create=1"]
    assert json.loads(switch.told[-1][1])["exit_code"] == code
    check_secret(inside, done)


async def test_a_full_disk_behind_stdout_is_told(tmp_path: Path) -> None:
    """The run was good, and its result is lost: with the code that it ends with."""
    switch = Switch()
    csv = write_csv(tmp_path / "calls.csv", IDS)
    async with WireServer(whole) as polyai, WireServer(switch) as server:
        env = environment() | {"BULKAUDIO_AUDIO_URL": polyai.url(), "POLYAI_API_KEY": KEY}
        words = ("--csv", str(csv), "--agent", "A", "--region", "uk", "--out", "archive", "--json")
        program = shlex.join([sys.executable, "-m", "bulkaudio", "download", *words])
        process = await asyncio.create_subprocess_shell(
            f"{program} > /dev/full",
            stderr=asyncio.subprocess.DEVNULL,
            env=env | {"BULKAUDIO_PING_URL": server.url() + UUID},
            cwd=tmp_path,
        )
        assert await process.wait() == 6
    assert switch.targets == [f"{UUID}/start", f"{UUID}/6"]


async def test_a_bug_is_told(tmp_path: Path) -> None:
    """What nobody expected ends with 1, for the service too."""
    switch = Switch()
    csv = write_csv(tmp_path / "calls.csv", IDS)
    async with WireServer(whole) as polyai, WireServer(switch) as server:
        env = environment() | {"BULKAUDIO_AUDIO_URL": polyai.url(), "POLYAI_API_KEY": KEY}
        words = ("--csv", str(csv), "--agent", "A", "--region", "uk", "--out", "archive")
        order = Order(
            arguments=("download", *words),
            env=env | {"BULKAUDIO_PING_URL": server.url() + UUID},
            cwd=tmp_path,
            hook="tests.test_ping:spoil",
        )
        async with forked(order) as fork:
            ended = await fork.wait()
    assert ended.code == 1
    assert switch.targets == [f"{UUID}/1"]


def spoil() -> None:
    """Put a mistake into this process's program."""

    async def mistake(*_: object) -> None:
        raise ZeroDivisionError

    vars(job)["run_download"] = mistake


def test_who_is_refused_because_another_run_goes_on_says_nothing(
    inside: Inside, switch: Switch, server: WireServer
) -> None:
    """That run pings for itself, and a second start would confuse its time."""
    inside.env("BULKAUDIO_PING_URL", server.url() + UUID)
    assert download(inside, whole).code == 0
    switch.told.clear()
    lock = ArchiveLock(inside.archive / ".bulkaudio" / "lock")
    lock.acquire()
    try:
        assert download(inside, whole).code == 75
    finally:
        lock.release()
    assert switch.told == []


async def test_a_run_that_is_terminated_tells_its_end(tmp_path: Path) -> None:
    """After the drain, with the signal's code."""
    switch = Switch()
    csv = write_csv(tmp_path / "calls.csv", IDS)
    async with WireServer(hangs) as polyai, WireServer(switch) as server:
        env = environment() | {"BULKAUDIO_AUDIO_URL": polyai.url(), "POLYAI_API_KEY": KEY}
        words = ("--csv", str(csv), "--agent", "A", "--region", "uk", "--out", "archive")
        order = Order(
            arguments=("download", *words, "--grace", "0.1s"),
            env=env | {"BULKAUDIO_PING_URL": server.url() + UUID},
            cwd=tmp_path,
        )
        async with forked(order) as fork:
            await until(lambda: len(polyai.heads) > 0)
            fork.send(signal.SIGTERM)
            ended = await fork.wait()
    assert ended.code == 143, ended.stderr
    assert switch.targets == [f"{UUID}/start", f"{UUID}/143"]
    assert (ended.descriptors, ended.threads, ended.tasks) == ((), (), ())


@pytest.mark.parametrize(
    ("scripts", "pings", "word"),
    [
        ((says(503), says(429), DONE), 3, None),
        ((closes, DONE), 2, None),
        ((says(500),), 3, "it answered 500"),
        ((says(404),), 1, "it answered 404"),
        ((says(200, b"OK (not found)"),), 1, 'it answered "not found"'),
        ((says(200, b"OK (rate limited)"),), 1, 'it answered "rate limited"'),
        ((closes,), 3, "the connection failed"),
        ((says(301, location="https://elsewhere.example/x"),), 1, "redirects are not followed"),
        ((says(204),), 1, None),
    ],
)
def test_tries_are_few_and_answers_are_understood(
    *,
    scripts: tuple[Script, ...],
    pings: int,
    word: str | None,
    switch: Switch,
    server: WireServer,
) -> None:
    """Two more where the answer may change, none where it will not; no redirect is followed."""
    switch.scripts = scripts
    trouble = send(server.url() + UUID, "{}", AT_ONCE)
    assert len(switch.told) == pings
    assert (trouble is None) == (word is None)
    if word is not None and trouble is not None:
        assert word in trouble
        assert "secret" not in trouble


def test_silence_costs_seconds_and_not_the_run(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that never answers, or is not there, is a warning that names its host alone."""
    monkeypatch.setattr("bulkaudio.ping.PATIENCE_S", 0.1)
    monkeypatch.setattr("bulkaudio.cli.sentries.Route", lambda **_: AT_ONCE)
    with in_thread(WireServer(hangs)) as server:
        inside.env("BULKAUDIO_PING_URL", server.url() + UUID)
        began = time.monotonic()
        done = download(inside, whole, "--quiet")
        assert time.monotonic() - began < 10.0
    assert done.code == 0
    assert done.summary["status"] == "complete"
    warnings = done.stderr.splitlines()
    assert [line for line in warnings if "did not reach 127.0.0.1:" in line] == warnings
    assert [word for word in ("start", "end") if f"the run's {word} did not" in done.stderr] == [
        "start",
        "end",
    ]
    check_secret(inside, done)


def test_certificates_are_verified_and_a_bundle_is_used(tmp_path: Path) -> None:
    """Nobody in between can silence the alarm."""
    certificates, switch = Certificates(), Switch()
    with in_thread(WireServer(switch, tls=certificates.context())) as server:
        assert "not trusted" in str(send(server.url() + UUID, "", AT_ONCE))
        bundle = certificates.write_bundle(tmp_path)
        assert send(server.url() + UUID, "", Route(ca_bundle=bundle)) is None
    with in_thread(WireServer(switch, tls=self_signed_context())) as server:
        assert "not trusted" in str(send(server.url() + UUID, "", Route(ca_bundle=bundle)))
    assert len(switch.told) == 1


def test_proxy_is_the_configured_one_and_no_other(
    switch: Switch, server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxy variables are ignored, as everywhere."""
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert send(server.url() + UUID, "", AT_ONCE) is None
    with in_thread(WireServer(switch)) as proxy:
        route = Route(proxy=f"http://me:pw@127.0.0.1:{proxy.port}")
        assert send(server.url() + UUID, "", route) is None
    assert switch.targets == [UUID, server.url() + UUID]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "hc-ping.com/secret",
            "ftp://hc-ping.com/secret",
            "https:///secret",
            "http://x/secret",
        ),
        *("https://me:pw@hc-ping.com/secret", "https://hc-ping.com:0/secret", "https://[x/secret"),
        *("https://hc-ping.com/secret#x", "https://hc-ping.com/sec\nret", "https://h c/secret"),
        *("https://hc-ping.com:port/secret", "javascript:alert(1)", "https://h\\c/secret"),
    ],
)
def test_other_addresses_are_refused_without_being_shown(text: str, inside: Inside) -> None:
    """Over the network only https; and the error does not repeat what it is about."""
    with pytest.raises(UsageError) as refused:
        PingUrl.parse(text)
    assert "secret" not in str(refused.value)
    if text:
        inside.env("BULKAUDIO_PING_URL", text)
        done = inside.download(*DAY)
        assert done.code == 2
        assert "BULKAUDIO_PING_URL: it " in done.stderr
        assert "secret" not in done.stderr + done.stdout
        assert not inside.archive.exists()


@given(st.from_regex(r"\A(/[a-z0-9-]{1,9}){0,3}/?\Z"), st.sampled_from(["", "?create=1&a=b"]))
def test_suffixes_stand_at_the_end_of_the_path(path: str, query: str) -> None:
    """Once, and before the query."""
    url = PingUrl.parse(f"https://hc-ping.com{path}{query}")
    assert url.for_end(0) == f"https://hc-ping.com{path}{query}"
    assert url.for_start() == f"https://hc-ping.com{path.rstrip('/')}/start{query}"
    assert url.for_end(143) == f"https://hc-ping.com{path.rstrip('/')}/143{query}"
    assert url.host == "hc-ping.com"
    assert f"{url!r}" == f"{url}" == "PingUrl(host='hc-ping.com', _address=Secret(***))"


def test_a_configuration_file_may_hold_it(
    inside: Inside, switch: Switch, server: WireServer
) -> None:
    """Where no process list shows it."""
    config = inside.folder / "bulkaudio.toml"
    config.write_text(f'ping-url = "{server.url()}{UUID}"\n')
    done = download(inside, whole, "--config", config)
    assert done.code == 0
    assert switch.targets == [f"{UUID}/start", UUID]


@pytest.mark.parametrize("scheduler", ["cron", "systemd", "kubernetes", "airflow"])
def test_no_printed_job_holds_it(scheduler: str, inside: Inside) -> None:
    """Others can read such a file; it is said where the address belongs instead."""
    inside.env("BULKAUDIO_PING_URL", f"https://hc-ping.com{UUID}")
    whose = ("--region", "uk", "--agent", "A", "--account", "w", "--out", "/data/calls")
    kind = ("--image", "example/bulkaudio:1") if scheduler == "kubernetes" else ()
    done = inside.run("schedule", scheduler, *whose, *kind)
    assert done.code == 0, done.stderr
    assert "/data/calls" in done.stdout
    assert "secret-uuid" not in done.stdout + done.stderr
    assert "--ping-url is a secret and is left out" in done.stderr
