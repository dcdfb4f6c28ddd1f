"""Redirects: where they may lead, and that the key never goes along."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from bulkaudio.policy import Reason
from bulkaudio.polyai.client import RedirectRefused, Session
from bulkaudio.polyai.redirects import Reach, Refused, next_hop, reach_of
from bulkaudio.polyai.transport import GuardedResolver
from tests.sessions import AUDIO, CANARY, connection_to, fetch, read
from tests.wire import Certificates, Script, WireServer, http_head, says, says_raw

HOME = URL("https://api.uk.poly.ai/v1/x")


def sends_to(location: str, status: int = 302) -> Script:
    """Answer with a redirect."""
    return says(status, b"moved", location=location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_another_origin_never_gets_the_key(status: int) -> None:
    """A port of its own is another origin: it is asked, without a word about who asks."""
    async with WireServer(says(200, b"ok")) as elsewhere:
        script = sends_to(f"{elsewhere.url()}/signed?token=1", status)
        async with WireServer(script) as server:
            assert await fetch(server.url()) == b"ok"
    (head,) = elsewhere.heads
    assert head.request_line == "GET /signed?token=1 HTTP/1.1"
    assert CANARY.encode() not in head.raw
    assert {name for name, _ in head.headers} == {"Host", "Accept", "Accept-Encoding", "User-Agent"}


async def test_the_way_back_carries_the_key_again() -> None:
    """Headers are built for every hop: home, elsewhere, home."""
    async with WireServer(says(200)) as elsewhere, WireServer(says(200, b"ok")) as server:
        server.scripts = (sends_to(f"{elsewhere.url()}/a"), says(200, b"ok"))
        elsewhere.scripts = (sends_to(f"{server.url()}/b"),)
        assert await fetch(server.url()) == b"ok"
    assert [head.header("x-api-key") for head in server.heads] == [CANARY, CANARY]
    assert [head.header("x-api-key") for head in elsewhere.heads] == [None]


@pytest.mark.parametrize("location", ["/b?c=%2F", "b?c=%2F", "?c=1", "//{authority}/b"])
async def test_a_relative_redirect_stays_home(location: str) -> None:
    """It is followed with the key, and its encoding is left alone."""
    async with WireServer(says(200)) as server:
        server.scripts = (
            sends_to(location.replace("{authority}", f"127.0.0.1:{server.port}")),
            says(200, b"ok"),
        )
        assert await fetch(server.url()) == b"ok"
    assert server.heads[1].header("x-api-key") == CANARY
    assert "%2F" in server.targets[1] or "%2F" not in location


async def test_a_name_of_the_same_machine_is_another_origin() -> None:
    """Origins are compared by name, as browsers do."""
    async with WireServer(says(200, b"ok")) as server:
        server.scripts = (sends_to(f"http://localhost:{server.port}/b"), says(200, b"ok"))
        assert await fetch(server.url()) == b"ok"
    assert server.heads[1].header("x-api-key") is None


async def test_three_hops_are_followed_and_four_are_not() -> None:
    """The bound is documented."""
    hops = [sends_to(f"/{n}") for n in range(1, 5)]
    async with WireServer(*hops[:3], says(200, b"ok")) as server:
        assert await fetch(server.url()) == b"ok"
    async with WireServer(*hops, says(200, b"ok")) as server:
        with pytest.raises(RedirectRefused):
            await fetch(server.url())
    assert len(server.heads) == 4


@pytest.mark.parametrize("circle", [["/v1/x"], ["/a", "/v1/x"], ["/a", "/a"], ["#here"]])
async def test_a_circle_ends_at_once(circle: list[str]) -> None:
    """It is refused where it closes, for good, with the status in evidence."""
    async with WireServer(*map(sends_to, circle)) as server:
        with pytest.raises(RedirectRefused, match="circles") as caught:
            await fetch(server.url())
    assert len(server.heads) == len(circle)
    assert caught.value.reason == Reason.REDIRECT
    assert caught.value.evidence.http_status == 302
    assert caught.value.evidence.correlation_id == server.heads[0].header("x-polyai-correlation-id")


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "https://[fe80::1]/",
        "https://10.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://example.com/",
        "https://me:pw@127.0.0.1/",
        "http://[::1",
        "http://h:x/",
        "/a b",
        "/a\tb",
        "/ü",
    ],
)
async def test_a_redirect_that_leads_astray_is_refused(location: str) -> None:
    """Not one request goes there."""
    script = says_raw(
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location.encode() + b"\r\n\r\n"
    )
    async with WireServer(script) as server:
        with pytest.raises(RedirectRefused):
            await fetch(server.url())
    assert len(server.heads) == 1


async def test_a_redirect_without_a_location_is_refused() -> None:
    """There is nowhere to go."""
    async with WireServer(says_raw(http_head(302, [("Content-Length", "0")]))) as server:
        with pytest.raises(RedirectRefused):
            await fetch(server.url())


async def test_https_never_becomes_http(tmp_path: Path) -> None:
    """Not even to this machine."""
    authority = Certificates()
    async with (
        WireServer(says(200)) as plain,
        WireServer(sends_to(plain.url()), tls=authority.context()) as server,
    ):
        connection = connection_to(server.url(), ca_bundle=authority.write_bundle(tmp_path))
        async with Session(connection, slots=1) as session:
            with pytest.raises(RedirectRefused):
                async with session.get(AUDIO):
                    pass
    assert plain.heads == []


async def test_a_bad_certificate_elsewhere_fails_only_this_recording(tmp_path: Path) -> None:
    """A redirect's target is not the host that the run depends on."""
    authority = Certificates()
    async with (
        WireServer(says(200), tls=Certificates().context()) as elsewhere,
        WireServer(sends_to(elsewhere.url()), tls=authority.context()) as server,
    ):
        connection = connection_to(server.url(), ca_bundle=authority.write_bundle(tmp_path))
        async with Session(connection, slots=1) as session:
            with pytest.raises(RedirectRefused, match="certificate"):
                async with session.get(AUDIO) as response:
                    await read(response)


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("93.184.216.34", Reach.INTERNET),
        ("2606:4700::1111", Reach.INTERNET),
        ("10.1.2.3", Reach.PRIVATE),
        ("192.168.0.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd00:ec2::254", Reach.PRIVATE),
        ("127.0.0.1", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("169.254.169.254", Reach.NEVER),
        ("::ffff:169.254.169.254", Reach.NEVER),
        ("fe80::1%eth0", Reach.NEVER),
        ("0.0.0.0", Reach.NEVER),  # noqa: S104  an address to refuse
        ("224.0.0.1", Reach.NEVER),
    ],
)
def test_addresses_are_told_apart(address: str, reach: Reach) -> None:
    """Mapped and scoped spellings count as what they mean."""
    assert reach_of(address) is reach


@pytest.mark.parametrize(
    ("origin", "location", "is_followed"),
    [
        ("https://api.uk.poly.ai", "https://storage.example/x", True),
        ("https://api.uk.poly.ai", "https://93.184.216.34/x", True),
        ("https://api.uk.poly.ai", "https://10.0.0.1/x", False),
        ("https://api.uk.poly.ai", "https://127.0.0.1/x", False),
        ("https://api.uk.poly.ai", "https://localhost/x", False),
        ("https://api.uk.poly.ai", "https://169.254.169.254/x", False),
        ("https://10.0.0.1", "https://10.0.0.2/x", True),
        ("https://10.0.0.1", "https://127.0.0.1/x", False),
        ("https://169.254.1.1", "https://169.254.169.254/x", False),
        ("http://127.0.0.1:1", "http://127.0.0.1:2/x", True),
        ("http://127.0.0.1:1", "http://[::1]:2/x", True),
        ("http://127.0.0.1:1", "https://storage.example/x", True),
        ("http://127.0.0.1:1", "http://storage.example/x", False),
    ],
)
def test_a_private_address_is_followed_only_from_one(
    origin: str, location: str, *, is_followed: bool
) -> None:
    """What the configured origin itself is, a redirect may reach; link-local never."""
    home = URL(origin)
    if is_followed:
        assert str(next_hop([home / "a"], location, home)) == location
    else:
        with pytest.raises(Refused):
            next_hop([home / "a"], location, home)


@given(st.text(max_size=60), st.sampled_from(["", "https://", "//", "/", "http://127.0.0.1"]))
def test_any_location_is_followed_safely_or_refused(text: str, prefix: str) -> None:
    """Whatever a server sends, the next request has one line and stays encrypted."""
    try:
        target = next_hop([HOME], prefix + text, HOME)
    except Refused:
        return
    assert target.scheme == "https"
    assert target.raw_host
    assert target.raw_user is None
    assert all("!" <= letter <= "~" for letter in target.raw_path_qs)


class Names(AbstractResolver):
    """A look-up that knows these names."""

    def __init__(self, addresses: dict[str, Sequence[str]]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses."""
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses[host]
        ]

    async def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("home", "target", "usable"),
    [
        ("93.184.216.34", ["93.184.216.35"], ["93.184.216.35"]),
        ("93.184.216.34", ["10.0.0.1"], None),
        ("93.184.216.34", ["127.0.0.1"], None),
        ("93.184.216.34", ["10.0.0.1", "93.184.216.35"], ["93.184.216.35"]),
        ("10.0.0.1", ["10.0.0.2"], ["10.0.0.2"]),
        ("10.0.0.1", ["127.0.0.1"], None),
        ("10.0.0.1", ["169.254.169.254"], None),
    ],
)
async def test_a_name_cannot_smuggle_a_private_address(
    home: str, target: list[str], usable: list[str] | None
) -> None:
    """A name that a redirect brought is judged by where it leads."""
    names = Names({"api.example": [home], "target.example": target})
    resolver = GuardedResolver(["API.example"], names)
    assert [found["host"] for found in await resolver.resolve("api.example")] == [home]
    if usable is None:
        with pytest.raises(Refused):
            await resolver.resolve("target.example")
    else:
        assert [found["host"] for found in await resolver.resolve("target.example")] == usable


async def test_a_configured_name_may_lead_anywhere() -> None:
    """A gateway inside a private network is the user's own choice."""
    resolver = GuardedResolver(["gateway.example"], Names({"gateway.example": ["10.0.0.1"]}))
    assert len(await resolver.resolve("gateway.example")) == 1


async def test_a_smuggled_name_is_refused_on_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal comes out of aiohttp as what it is."""
    names: Callable[[], AbstractResolver] = lambda: Names({"metadata.example": ["169.254.169.254"]})  # noqa: E731
    monkeypatch.setattr("bulkaudio.polyai.transport.ThreadedResolver", names)
    async with WireServer(sends_to("https://metadata.example/")) as server:
        with pytest.raises(RedirectRefused):
            await fetch(server.url())
