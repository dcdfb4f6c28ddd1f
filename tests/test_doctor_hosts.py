"""What `doctor` says of names, certificates, answers, clocks, keys and the agent."""

import asyncio
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.simulator import Simulator
from bulkaudio.simulator.answers import Key
from tests.doctored import (
    KEY,
    LISTING_KEY,
    NO_CONVERSATION,
    WHOSE,
    Doctored,
    dated,
    polyai,
    refusal,
    statuses,
)
from tests.forked import Order, forked, run_forked
from tests.inside import Inside
from tests.program import environment, run
from tests.wire import (
    Certificates,
    Script,
    WireServer,
    closes,
    hangs,
    in_thread,
    says,
    says_json,
    says_raw,
    self_signed_context,
)

HOSTS = ("recordings", "conversations")


@pytest.fixture
def doctored(inside: Inside) -> Doctored:
    """Return the program with both keys."""
    return Doctored(inside)


def closed_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def trusted(
    doctored: Doctored, server: WireServer, names: tuple[str, str] = ("localhost", "127.0.0.1")
) -> None:
    """Reach a server with TLS by two names: as two hosts."""
    doctored.reach(*map(server.url, names))


# Names and connections.


def test_a_name_that_does_not_exist_is_one_fault(doctored: Doctored) -> None:
    """Exit code 5 with the name and a fix; what depends on it is not a second fault."""
    with in_thread(WireServer(polyai())) as server:
        doctored.reach("https://bulkaudio.invalid", server.url())
        checks = doctored.checks(code=5)
    assert statuses(checks, "recordings") == ["fail", "skip", "skip", "skip", "skip"]
    assert statuses(checks, "conversations") == ["skip", "skip", "ok", "skip", "ok"]
    assert "bulkaudio.invalid" in checks["recordings.dns"]["detail"]
    assert "getent hosts bulkaudio.invalid" in checks["recordings.dns"]["fix"]
    assert KEY[-4:] in checks["recordings.key"]["detail"]


def test_a_dead_name_server_is_not_waited_for(tmp_path: Path) -> None:
    """The program is over long before the look-up is, threads and all."""
    script = """
import socket, sys, time
socket.getaddrinfo = lambda *a, **k: time.sleep(60)
from bulkaudio.doctor import ask
ask.NAME_S = 0.3
from bulkaudio.cli.app import main
sys.exit(main(sys.argv[1:]))
"""
    env = environment(POLYAI_API_KEY=KEY)
    words = ["doctor", "--region", "uk", "--agent", "A", "--account", "B", "--json"]
    begun = time.monotonic()
    done = asyncio.run(_run_script(script, words, env, tmp_path))
    assert time.monotonic() - begun < 20
    document = json.loads(done)
    assert document["exit_code"] == 5
    assert "no answer within" in document["checks"][3]["detail"]


async def _run_script(script: str, words: list[str], env: Mapping[str, str], cwd: Path) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *words, env=env, cwd=cwd, stdout=asyncio.subprocess.PIPE
    )
    stdout, _ = await process.communicate()
    return stdout


def test_a_host_that_refuses_connections(doctored: Doctored) -> None:
    """It says so, and what to ask the firewall's keeper for."""
    doctored.reach(f"http://127.0.0.1:{closed_port()}")
    checks = doctored.checks(code=5)
    assert statuses(checks, "recordings") == ["skip", "fail", "skip", "skip", "skip"]
    assert "connection refused" in checks["recordings.tls"]["detail"]
    assert "firewall" in checks["recordings.tls"]["fix"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (hangs, "no answer within 10s"),
        (closes, "ends the connection"),
        (says_raw(b"\0\1\2"), "HTTP"),
    ],
    ids=["silent", "closing", "garbage"],
)
async def test_a_host_that_does_not_answer(script: Script, words: str, tmp_path: Path) -> None:
    """Each check has its time, both hosts share it, and the answer is what failed."""
    async with WireServer(script) as server:
        env = environment(
            POLYAI_API_KEY=KEY,
            BULKAUDIO_AUDIO_URL=server.url(),
            BULKAUDIO_CONVERSATIONS_URL=server.url("localhost"),
        )
        arguments = ("doctor", "--region", "uk", "--agent", "A", "--account", "B", "--json")
        order = Order(arguments=arguments, env=env, cwd=tmp_path, speed=20.0)
        ended = await run_forked(order)
    assert ended.code == 5, ended.stderr
    checks = {check["name"]: check for check in ended.summary["checks"]}
    for host in HOSTS:
        assert checks[f"{host}.answer"]["status"] == "fail"
        assert words in checks[f"{host}.answer"]["detail"]
        assert checks[f"{host}.key"]["status"] == "skip"
    assert (ended.tasks, ended.threads, ended.descriptors) == ((), (), ())


async def test_a_pipe_that_nobody_writes_to(tmp_path: Path) -> None:
    """The key never comes; the program says so, and ends."""
    os.mkfifo(tmp_path / "pipe")
    async with WireServer(polyai()) as server:
        env = environment(
            BULKAUDIO_AUDIO_URL=server.url(), BULKAUDIO_CONVERSATIONS_URL=server.url()
        )
        arguments = ("doctor", *WHOSE, "--api-key-file", "pipe", "--json")
        async with forked(Order(arguments=arguments, env=env, cwd=tmp_path, speed=60.0)) as fork:
            await asyncio.sleep(1.5)
            # What waits for the pipe is not waited for by the program; the test would wait for it.
            os.close(os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK))
            ended = await fork.wait()
    assert ended.code == 4, ended.stderr
    failed = {check["name"]: check for check in ended.summary["checks"] if check["exit_code"]}
    assert "within 60s" in failed["recordings.key"]["detail"]
    assert "--api-key-file" in failed["recordings.key"]["fix"]


def test_certificates_from_a_pipe(doctored: Doctored) -> None:
    """They come only once, so nothing is read, and nothing hangs."""
    os.mkfifo(doctored.inside.folder / "pipe")
    checks = doctored.checks("--ca-bundle", "pipe", code=2)
    assert "pipe" in checks["configuration"]["detail"]


async def test_a_host_that_never_shows_a_certificate(tmp_path: Path) -> None:
    """It takes the connection and says nothing: that is told as no connection, in time."""
    async with WireServer(greet=hangs) as server:
        url = server.url("localhost").replace("http://", "https://")
        env = environment(
            POLYAI_API_KEY=KEY, BULKAUDIO_AUDIO_URL=url, BULKAUDIO_CONVERSATIONS_URL=url
        )
        arguments = ("doctor", *WHOSE, "--json")
        order = Order(arguments=arguments, env=env, cwd=tmp_path, speed=10.0)
        ended = await run_forked(order)
    assert ended.code == 5, ended.stderr
    checks = {check["name"]: check for check in ended.summary["checks"]}
    assert "nothing within 5s" in checks["recordings.tls"]["detail"]


# Certificates.


@pytest.mark.parametrize(("days", "status"), [(90.5, "ok"), (5.5, "warn")], ids=["long", "soon"])
def test_a_certificate_and_how_long_it_holds(
    days: float, status: str, doctored: Doctored, tmp_path: Path
) -> None:
    """Verified with the downloads' own trust; two weeks before its end it is a warning."""
    certificates = Certificates()
    context = certificates.context("localhost", "127.0.0.1", days=days)
    with in_thread(WireServer(polyai(), tls=context)) as server:
        trusted(doctored, server)
        checks = doctored.checks("--ca-bundle", certificates.write_bundle(tmp_path), code=0)
    for host in HOSTS:
        assert checks[f"{host}.key"]["status"] == "ok"
        assert checks[f"{host}.tls"]["status"] == status
        assert f"{int(days)} days left" in checks[f"{host}.tls"]["detail"]
    assert checks["recordings.dns"]["status"] == "ok"
    assert "127.0.0.1" in checks["recordings.dns"]["detail"]


def _contexts(certificates: Certificates) -> Mapping[str, tuple[ssl.SSLContext, str]]:
    return {
        "expired": (certificates.context("localhost", "127.0.0.1", expired=True), "has expired"),
        "wrong name": (certificates.context("example.org"), "is for another host"),
        "self-signed": (self_signed_context(), "self-signed"),
    }


@pytest.mark.parametrize("flaw", ["expired", "wrong name", "self-signed"])
def test_a_certificate_that_is_not_trusted(flaw: str, doctored: Doctored, tmp_path: Path) -> None:
    """One failure for each host, naming the flaw; no request, and so no key, is sent."""
    certificates = Certificates()
    context, words = _contexts(certificates)[flaw]
    with in_thread(WireServer(polyai(), tls=context)) as server:
        trusted(doctored, server)
        checks = doctored.checks("--ca-bundle", certificates.write_bundle(tmp_path), code=5)
        assert server.heads == []
    assert statuses(checks, "recordings") == ["ok", "fail", "skip", "skip", "skip"]
    assert statuses(checks, "conversations") == ["skip", "fail", "skip", "skip", "skip"]
    assert words in checks["recordings.tls"]["detail"]
    assert "--ca-bundle" in checks["recordings.tls"]["fix"]


def test_an_authority_that_was_not_named(doctored: Doctored) -> None:
    """Without --ca-bundle a private gateway is not trusted."""
    with in_thread(WireServer(polyai(), tls=Certificates().context("localhost"))) as server:
        trusted(doctored, server)
        checks = doctored.checks(code=5)
    assert "does not know" in checks["recordings.tls"]["detail"]


def test_a_host_that_does_not_speak_tls(doctored: Doctored) -> None:
    """It is told from one whose certificate is bad."""
    with in_thread(WireServer(says_raw(b"HTTP/1.1 400 x\r\n\r\n"), greet=_plain)) as server:
        doctored.reach(server.url("localhost").replace("http://", "https://"))
        checks = doctored.checks(code=5)
    assert checks["recordings.tls"]["status"] == "fail"
    assert "cannot be talked to in TLS" in checks["recordings.tls"]["detail"]


async def _plain(exchange: Any) -> None:
    await exchange.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_a_bundle_that_is_none_is_a_fault_of_the_configuration(
    doctored: Doctored, tmp_path: Path
) -> None:
    """Exit code 2, and no host is asked with less trust instead."""
    with in_thread(WireServer(polyai())) as server:
        doctored.reach(server.url())
        checks = doctored.checks("--ca-bundle", tmp_path / "none.pem", code=2)
        assert server.heads == []
    assert "--ca-bundle" in checks["configuration"]["detail"]
    assert set(statuses(checks, "recordings")) == {"skip"}


def test_a_proxy_is_gone_through(doctored: Doctored, tmp_path: Path) -> None:
    """Names are the proxy's business then, and the certificate is still the host's own."""
    certificates, names = Certificates(), ("polyai.example", "calls.example")
    server = WireServer(polyai(), tls=certificates.context(*names))
    with in_thread(server), in_thread(WireServer(_tunnel_to(server))) as proxy:
        trusted(doctored, server, names)
        bundle = certificates.write_bundle(tmp_path)
        through = proxy.url("localhost")
        checks = doctored.checks("--ca-bundle", bundle, "--proxy", through, code=0)
        assert {head.raw.split(b" ")[0] for head in proxy.heads} == {b"CONNECT"}
    assert "proxy looks polyai.example" in checks["recordings.dns"]["detail"]
    assert checks["conversations.tls"]["status"] == "ok"
    assert checks["conversations.key"]["status"] == "ok"


def _tunnel_to(server: WireServer) -> Script:
    async def script(exchange: Any) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await exchange.tunnel("127.0.0.1", server.port)

    return script


@pytest.mark.parametrize(
    ("status", "code", "words"), [(407, 2, "user name"), (502, 5, "it answers 502")]
)
def test_a_proxy_that_refuses(status: int, code: int, words: str, doctored: Doctored) -> None:
    """The proxy is named as what is in the way."""
    with in_thread(WireServer(says(status))) as proxy:
        doctored.reach("https://polyai.example")
        checks = doctored.checks("--proxy", proxy.url(), code=code)
    assert words in checks["recordings.tls"]["detail"]


# Answers.


ANSWERS: Mapping[str, tuple[Script, str, int, str]] = {
    "wrong host": (says_json(404, {"message": "no Route matched"}), "fail", 2, "does not know"),
    "html": (says(404, b"<html>", content_type="text/html"), "fail", 2, "does not know"),
    "login page": (says(200, b"<html>", content_type="text/html"), "fail", 5, "text/html"),
    "throttled": (says(429, b"", retry_after="30"), "warn", 0, "429"),
    "broken": (refusal(503, "OVERLOADED"), "fail", 5, "503 OVERLOADED"),
    "malformed": (refusal(400, "GET_CONVERSATIONS_FILTER_PARSE_ERROR"), "fail", 2, "400"),
    "no such account": (refusal(404, "ACCOUNT_NOT_FOUND"), "fail", 2, "404 ACCOUNT_NOT_FOUND"),
    "elsewhere": (
        says(302, b"", location="https://bulkaudio.invalid/x"),
        "fail",
        5,
        "a redirect to bulkaudio.invalid",
    ),
}


CASES = [
    (host, case)
    for case in ANSWERS
    for host in HOSTS
    # Of a recording, a 404 with a code is what is hoped for.
    if (host, case) != ("recordings", "no such account")
]


@pytest.mark.parametrize(("host", "case"), CASES)
def test_an_answer_that_is_not_polyais(host: str, case: str, doctored: Doctored) -> None:
    """It is told apart from a key that is refused: the key is not judged by it."""
    script, status, code, words = ANSWERS[case]
    with in_thread(WireServer(polyai(**{host: script}))) as server:
        doctored.reach(server.url())
        checks = doctored.checks(code=code)
    assert checks[f"{host}.answer"]["status"] == status
    assert words in checks[f"{host}.answer"]["detail"]
    assert checks[f"{host}.answer"]["fix"]
    assert checks[f"{host}.key"]["status"] == "skip"
    (other,) = set(HOSTS) - {host}
    assert checks[f"{other}.key"]["status"] == "ok"


def test_what_a_host_says_is_shown_as_text_that_nothing_acts_upon(doctored: Doctored) -> None:
    """A message with control characters, and one that quotes the key, do no harm."""
    evil = says_json(400, {"error_code": "X", "error_message": f"\x1b[2J {KEY} \u202e"})
    with in_thread(WireServer(polyai(evil, evil))) as server:
        doctored.reach(server.url())
        done = doctored.run()
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


# Clocks.


def _at(hours: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True)


@pytest.mark.parametrize(
    ("times", "expected", "code"),
    [
        ((0, 0), ("ok", "ok"), 0),
        ((2, 2), ("fail", "fail"), 6),
        ((0, -3), ("ok", "warn"), 0),
        ((None, 5), ("skip", "fail"), 6),
    ],
    ids=["right", "ours", "theirs", "one silent"],
)
def test_clocks(
    times: tuple[float | None, float],
    expected: tuple[str, str],
    code: int,
    doctored: Doctored,
) -> None:
    """Both hosts differ: this machine is wrong, exit code 6. One does: it is."""
    here, there = times
    body = json.dumps({"error_code": "CONVERSATIONS_NOT_FOUND"}).encode()
    audio = NO_CONVERSATION if here is None else dated(_at(here), 404, body)
    listing = dated(_at(there), 200, b'{"conversations": []}')
    with (
        in_thread(WireServer(polyai(audio, listing))) as server,
        in_thread(WireServer(polyai(audio, listing))) as other,
    ):
        doctored.reach(server.url(), other.url())
        checks = doctored.checks(code=code)
    assert (checks["recordings.clock"]["status"], checks["conversations.clock"]["status"]) == (
        expected
    )
    if "fail" in expected:
        assert "behind" in checks["conversations.clock"]["detail"]
        assert "timedatectl" in checks["conversations.clock"]["fix"]


# Keys and agent.


def test_both_keys_are_named_by_their_source_and_their_end(doctored: Doctored) -> None:
    """Each host gets its own key; four characters of each are shown, and no more."""
    with in_thread(WireServer(polyai())) as server:
        doctored.reach(server.url())
        checks = doctored.checks(code=0)
        sent = {head.target.split("/")[1]: head.header("x-api-key") for head in server.heads}
    assert sent == {"v1": KEY, "v3": LISTING_KEY}
    assert checks["recordings.key"]["detail"] == f"POLYAI_API_KEY (…{KEY[-4:]}) is accepted"
    listing = checks["conversations.key"]["detail"]
    assert listing == f"POLYAI_CONVERSATIONS_API_KEY (…{LISTING_KEY[-4:]}) is accepted"


def test_of_a_short_key_nothing_is_shown(doctored: Doctored) -> None:
    """Its end would give too much of it away."""
    with in_thread(WireServer(polyai())) as server:
        doctored.reach(server.url())
        doctored.inside.env("POLYAI_API_KEY", "short-key-1234")
        checks = doctored.checks(code=0)
    assert checks["recordings.key"]["detail"] == "POLYAI_API_KEY (…) is accepted"


@pytest.mark.parametrize(("status", "word"), [(401, "refused"), (403, "may not")])
@pytest.mark.parametrize("host", HOSTS)
def test_a_key_that_opens_nothing(host: str, status: int, word: str, doctored: Doctored) -> None:
    """Refused and not allowed are told apart, for each host; exit code 4 with the support id."""
    no = refusal(status, "AUTH_USER_INVALID_TOKEN")
    with in_thread(WireServer(polyai(**{host: no}))) as server:
        doctored.reach(server.url())
        checks = doctored.checks(code=4)
    check = checks[f"{host}.key"]
    assert (check["status"], check["support_id"]) == ("fail", "support-1")
    assert word in check["detail"]
    assert str(status) in check["detail"]
    assert checks[f"{host}.answer"]["status"] == "ok"
    (other,) = set(HOSTS) - {host}
    assert checks[f"{other}.key"]["status"] == "ok"


def test_without_a_key_the_hosts_are_asked_without_one(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fault, exit code 4, and still it is known whether everything else is ready."""
    doctored = Doctored(inside)
    for name in ("POLYAI_API_KEY", "POLYAI_CONVERSATIONS_API_KEY"):
        monkeypatch.delenv(name)
    no = refusal(401, "AUTH_USER_INVALID_TOKEN")
    with in_thread(WireServer(polyai(no, no))) as server:
        doctored.reach(server.url())
        checks = doctored.checks(code=4)
        assert {head.header("x-api-key") for head in server.heads} == {None}
    assert [name for name, check in checks.items() if check["status"] == "fail"] == [
        "recordings.key"
    ]
    assert "POLYAI_API_KEY" in checks["recordings.key"]["detail"]
    assert checks["recordings.answer"]["status"] == "ok"


def test_a_key_file_that_others_can_read_is_a_warning(doctored: Doctored) -> None:
    """The key works, so nothing fails; the command that mends it is named."""
    path = doctored.inside.folder / "polyai.key"
    path.write_text(KEY)
    path.chmod(0o644)
    with in_thread(WireServer(polyai())) as server:
        doctored.reach(server.url())
        checks = doctored.checks("--api-key-file", path, code=0)
    assert checks["recordings.key"]["status"] == "warn"
    assert checks["recordings.key"]["fix"] == f"chmod 600 {path}"


@pytest.mark.parametrize("host", HOSTS)
def test_an_agent_that_polyai_does_not_know(host: str, doctored: Doctored) -> None:
    """Told from a wrong host: exit code 2, and only the agent is at fault."""
    with in_thread(WireServer(polyai(**{host: refusal(404, "PROJECT_NOT_FOUND")}))) as server:
        doctored.reach(server.url())
        checks = doctored.checks(code=2)
    assert [name for name, check in checks.items() if check["status"] == "fail"] == ["agent"]
    assert "PROJECT-1" in checks["agent"]["detail"]


def test_the_worst_comes_by_its_order(doctored: Doctored) -> None:
    """Configuration before key before host: what a download would stumble over first."""
    key_refused = refusal(401, "AUTH_USER_INVALID_TOKEN")
    with in_thread(WireServer(polyai(key_refused, refusal(503, "X")))) as server:
        doctored.reach(server.url())
        doctored.checks(code=4)
        doctored.checks("--csv", "none.csv", code=2)


# Against the simulator.


async def test_a_healthy_polyai(tmp_path: Path) -> None:
    """All is well, in a real process, with TLS; two requests are all that is asked."""
    certificates = Certificates()
    context = certificates.context("127.0.0.1")
    async with Simulator(ssl_context=context) as simulator:
        words = (*WHOSE, "--out", "new")
        bundle = certificates.write_bundle(tmp_path)
        env = environment(simulator)
        done = await run("doctor", *words, "--ca-bundle", bundle, env=env, cwd=tmp_path)
        assert done.code == 0, done.stdout
        assert done.stderr == ""
        assert simulator.requests.total == 2
        assert simulator.key not in done.stdout
    assert "✗" not in done.stdout
    assert "\x1b" not in done.stdout
    assert not (tmp_path / "new").exists()


async def test_a_key_for_one_host_only(tmp_path: Path) -> None:
    """The simulator refuses it at the other, and that is the one fault."""
    keys = (Key(hosts=frozenset({"audio"})), Key(has_pii_access=False))
    async with Simulator(keys=keys) as simulator:
        words = (*WHOSE, "--json")
        done = await run("doctor", *words, env=environment(simulator), cwd=tmp_path)
    assert done.code == 4
    failed = [check for check in done.summary["checks"] if check["status"] == "fail"]
    assert [check["name"] for check in failed] == ["conversations.key"]
    assert "POLYAI_CONVERSATIONS_API_KEY" in failed[0]["fix"]


async def test_the_studio_region_has_one_host(tmp_path: Path) -> None:
    """Listing is an endpoint of the recordings' host, and needs no account."""
    async with Simulator() as simulator:
        env = environment(simulator)
        env["BULKAUDIO_CONVERSATIONS_URL"] = ""
        words = ("--region", "studio", "--agent", "PROJECT-1", "--json")
        done = await run("doctor", *words, env=env, cwd=tmp_path)
    assert done.code == 0, done.stdout
    checks = {check["name"]: check["status"] for check in done.summary["checks"]}
    listing = [checks[f"conversations.{what}"] for what in ("dns", "tls", "clock", "answer", "key")]
    assert listing == ["skip", "skip", "skip", "ok", "ok"]
    assert os.environ.get("BULKAUDIO_CONVERSATIONS_URL") is None


def test_with_a_csv_the_listing_is_not_asked(doctored: Doctored) -> None:
    """What a download would not need is no reason to call it ill."""
    (doctored.inside.folder / "calls.csv").write_text("conversation_id\nCA1\n")
    with in_thread(WireServer(polyai(conversations=refusal(503, "X")))) as server:
        doctored.reach(server.url())
        checks = doctored.checks("--csv", "calls.csv", code=0)
        assert len(server.heads) == 1
    assert set(statuses(checks, "conversations")) == {"skip"}
    assert checks["source"]["status"] == "ok"
