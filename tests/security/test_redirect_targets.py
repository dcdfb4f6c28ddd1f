"""Redirects that spell an address so that only the operating system recognises it."""

import pytest
from yarl import URL

from bulkaudio.polyai.client import RedirectRefused
from bulkaudio.polyai.redirects import Refused, next_hop
from tests.sessions import CANARY, fetch
from tests.wire import WireServer, says, says_raw

ODD = (
    *("2852039166", "169.254.43518", "169.16689662", "0xA9FEA9FE", "0xa9.0xfe.0xa9.0xfe"),
    *("0251.0376.0251.0376", "025177524776", "169.254.169.254.", "0251.254.169.254"),
    *("127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "017700000001", "127.0.0.1."),
    *("10.1", "0177.0.0.1", "1", "0", "00", "0x", "0x.0x", "1.2.3", "1.2.3.4.5", "256.1.1.1"),
    *("metadata.1", "metadata.0x1", "example.com.127", "99999999999999999999"),
)
"""No name ends in a number; what does is an address to ``inet_aton``, or nothing."""


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("home", ["https://api.uk.poly.ai", "https://10.0.0.1", "http://127.0.0.1"])
def test_an_address_in_an_odd_spelling_is_refused(home: str, name: str) -> None:
    """aiohttp takes what is made of digits and dots for an address, and asks no resolver about it."""
    origin = URL(home)
    with pytest.raises(Refused):
        next_hop([origin / "v1"], f"https://{name}/latest/meta-data/", origin)
    with pytest.raises(Refused):
        next_hop([origin / "v1"], f"//{name}:8443/latest/", origin)


@pytest.mark.parametrize("name", ["a1.example", "1a.example", "1.example", "7.7.x7", "0x.example"])
def test_a_name_with_figures_is_a_name(name: str) -> None:
    """Only the end of a name tells."""
    home = URL("https://api.uk.poly.ai")
    assert next_hop([home / "v1"], f"https://{name}/x", home).raw_host == name


@pytest.mark.parametrize(
    "location",
    [
        "http://2130706433:{port}/",
        "http://127.1:{port}/",
        "http://0x7f000001:{port}/",
        "http://127.0.0.1.:{port}/",
        "http://me@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}@169.254.169.254/",
        "http://127.0.0.1:{port}\\@169.254.169.254/",
        "\\\\127.0.0.1:{port}/",
        "http:\\\\127.0.0.1:{port}/",
        "http:///127.0.0.1:{port}/",
        "http://[::ffff:169.254.169.254]:{port}/",
        "http://[fe80::1%25lo]:{port}/",
        "http://127.0.0.1:{port}:{port}/",
        "http://127.0.0.1:0{port}0/",
        "http://127.0.0.1:-{port}/",
        "javascript:alert(1)",
        "data:audio/wav,RIFF",
        "//[",
        "http://%31%32%37.1:{port}/",
    ],
)
async def test_no_other_port_is_reached_by_a_trick(location: str) -> None:
    """Whatever it is spelled like, nothing connects to the trap, and home is asked at most again."""
    async with WireServer(says(200, b"trapped")) as trap:
        raw = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n"
        script = says_raw(raw % location.format(port=trap.port).encode())
        async with WireServer(script) as server:
            with pytest.raises(RedirectRefused):
                await fetch(server.url())
    assert trap.connections == 0
    assert all(head.header("x-api-key") == CANARY for head in server.heads)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_signed_address_arrives_as_it_was_signed(status: int) -> None:
    """Not a byte of it is decoded, encoded or put in order; nothing of the first request goes along."""
    target = "/b%2Fu%cket/%E2%82%AC/CA1.wav?X-Sig=a%2Bb%2f%3D&Z=1&A=2&X-Sig=&+=~!*'()"
    async with WireServer(says(200, b"ok")) as storage:
        raw = (
            f"HTTP/1.1 {status} Found\r\nContent-Length: 3\r\nSet-Cookie: s=1\r\n"
            f"X-Api-Key: {CANARY}\r\nLocation: {storage.url()}{target}#part\r\n\r\nbye"
        )
        async with WireServer(says_raw(raw.encode())) as server:
            assert await fetch(server.url()) == b"ok"
    (head,) = storage.heads
    first, *rest = head.raw.decode("ascii").removesuffix("\r\n").split("\r\n")
    assert first == f"GET {target} HTTP/1.1"
    assert [line.partition(": ")[0] for line in rest] == [
        *("Host", "Accept", "Accept-Encoding", "User-Agent"),
    ]
    assert rest[0] == f"Host: 127.0.0.1:{storage.port}"
