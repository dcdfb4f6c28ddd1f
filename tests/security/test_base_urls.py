"""Where the key may be sent: https, or http to this machine and to nothing that looks like it."""

import pytest
from yarl import URL

from bulkaudio import api
from bulkaudio.errors import UsageError
from bulkaudio.polyai.hosts import Host, checked
from tests.inside import Inside
from tests.plans import whole
from tests.program import write_csv
from tests.wire import WireServer, in_thread

KEY = "canary-b4se.key"

LOOKALIKES = (
    *("127.0.0.1.evil.com", "localhost.evil.com", "localhost.", "LOCALHOST.", "127.0.0.1."),
    *("evil-localhost", "localhost-evil", "xlocalhost", "localhost.localdomain", "localhost6"),
    *("127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001"),
    *("0", "0.0.0", "[::]", "[::127.0.0.1]", "[fe80::1%25lo]", "[::1%25lo]", "[::ffff:10.0.0.1]"),
    *("10.0.0.1", "192.168.0.1", "169.254.169.254", "128.0.0.1", "126.255.255.255", "224.0.0.1"),
    *("\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.0.0.1", "127\u30020\u30020\u30021"),
    *("loc\u00adalhost", "l\u043ecalhost", "localho\u017ft", "xn--lcalhost-mlg"),
    *("127.0.0.1\u200b", "localhost@evil.com", "localhost:80@evil.com", "127.0.0.1:1@evil.com"),
    *("localhost%40evil.com", "localhost\\@evil.com", "evil.com\\@localhost", "evil\\localhost"),
    *("localhost%2eevil.com", "localhost#@evil.com", "localhost?@evil.com", "evil.com#localhost"),
    *("evil.com?localhost", "localhost evil.com", "localhost\tevil.com", "localhost\nevil.com"),
    *("localhost\r\nevil.com", "127.0.0.1 ", "127.0.0.1,evil.com", "127.0.0.1;evil.com"),
    *("127.0.0.1'evil", "127.0.0.1|x", "[::1]evil.com", "[::1].evil.com", "evil.com[::1]"),
    *("[127.0.0.1]", "[localhost]", "::1", "127.0.0.1:", "127.0.0.1:80:80", "127.0.0.1:0"),
    *("127.0.0.1:65536", "127.0.0.1:8a", ":80", "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1: 80"),
    *("127.0.0.1:\u0661", "me@127.0.0.1", "@localhost", "[::1]]", "[[::1]]", "[::1", "::1]"),
)
"""Hosts that are not this machine's, or not plainly so."""

TOLERATED = {"127.0.0.1:": "http://127.0.0.1"}
"""A port that is left out after all."""

MORE = (
    *("http:///127.0.0.1", "http:/127.0.0.1", "http:127.0.0.1", "http:\\\\127.0.0.1"),
    *(
        "//127.0.0.1",
        "127.0.0.1",
        "127.0.0.1:8080",
        "localhost",
        "https:evil.com",
        "https:/evil.com",
    ),
    *("https:///e", "ws://127.0.0.1", "wss://h", "ftp://127.0.0.1", "file://localhost/etc"),
    *("unix:/run/x.sock", "http+unix://%2Frun", "javascript:alert(1)", "data:,x", "about:blank"),
    *("gopher://127.0.0.1", "https://h/a?b", "https://h/a#b", "https://h?", "https://h#"),
    *("https://h/../x", "https://h/./x", "https://h/a/..", "https://h/a\\b", "https://h/a b"),
    *("https://h/\u00e9", "https://h/a\x00b", "https://h/a\x7f", "https://h\x00", "\x00https://h"),
    *(
        "https://h\n",
        "https://h/a\nb",
        "\thttps://h",
        " https://h",
        "https://h ",
        "https://h/\r\nX:1",
    ),
    *("https://me:pw@h", "https://:pw@h", "https://me@h", "https://@h", "https://me:pw@x@h"),
    *("https://h:443:443", "https://h:x", "https://h:65536", "https://h:0", "https://h:-1"),
    *("https://.h", "https://-h", "https://h-", "https://_h", "https://h_", "https:// h"),
    *("https://", "https:", "https", "", " ", "https://h h", "https://[", "https://]"),
)
"""Addresses that are no plain place."""


def refusal(url: str) -> UsageError | None:
    """Return why an address is refused; None when it is used."""
    try:
        checked(url, Host.AUDIO)
    except UsageError as error:
        return error
    return None


@pytest.mark.parametrize("host", LOOKALIKES)
def test_plain_http_goes_to_this_machine_only(host: str) -> None:
    """No spelling of another host passes for loopback."""
    for url in (f"http://{host}", f"http://{host}/", f"HTTP://{host}/polyai", f"http:{host}"):
        error = refusal(url)
        if error is None:
            assert checked(url, Host.AUDIO).removesuffix("/polyai") == TOLERATED.get(host)
        else:
            assert "BULKAUDIO_AUDIO_URL" in error.message


@pytest.mark.parametrize("host", LOOKALIKES)
def test_https_goes_to_the_host_that_is_written(host: str) -> None:
    """Never to one that the text only hides: behind an @, a backslash or a line end."""
    url = f"https://{host}"
    if refusal(url) is None:
        used = URL(checked(url, Host.AUDIO), encoded=True)
        name = host if host.startswith("[") else host.partition(":")[0]
        assert (used.scheme, used.raw_host) == ("https", name.lower().strip("[]"))


@pytest.mark.parametrize("url", MORE)
def test_an_address_that_is_more_than_a_place_is_refused(url: str) -> None:
    """For either host, in one sentence, without its password."""
    error = refusal(url)
    assert error is not None
    assert "pw" not in error.message
    for chosen in ({"audio_url": url or "?"}, {"conversations_url": url or "?"}):
        with pytest.raises(UsageError):
            api.Client(region="uk", agent="P", api_key="k", **chosen)


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example",
        "http://127.0.0.1@evil.example",
        "https://me:pw@h",
        "http://127.1",
        "h",
    ],
)
@pytest.mark.parametrize("name", ["BULKAUDIO_AUDIO_URL", "BULKAUDIO_CONVERSATIONS_URL"])
def test_the_program_refuses_such_an_address_before_any_connection(
    name: str, url: str, inside: Inside
) -> None:
    """Exit 2, with the variable named and neither password nor key shown."""
    csv = write_csv(inside.folder / "calls.csv", ["CA1"])
    with in_thread(WireServer(whole)) as server:
        inside.reach(server, KEY)
        inside.env(name, url)
        done = inside.download("--csv", csv, "-vv")
    assert (done.code, server.connections) == (2, 0), done.stderr
    assert name in done.stderr
    assert "Fix:" in done.stderr
    assert "pw" not in done.stderr
    assert KEY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("host", "path"),
    [("127.0.0.1", ""), ("localhost", "/"), ("LocalHost", "/polyai"), ("127.0.0.1", "/a/b/")],
)
def test_this_machine_is_reached_under_the_path_that_was_given(
    host: str, path: str, inside: Inside
) -> None:
    """A gateway of one's own, for those that have one."""
    csv = write_csv(inside.folder / "calls.csv", ["CA1"])
    with in_thread(WireServer(whole)) as server:
        inside.reach(server, KEY)
        inside.env("BULKAUDIO_AUDIO_URL", f"http://{host}:{server.port}{path}")
        assert inside.download("--csv", csv).code == 0
    (head,) = server.heads
    end = "/v1/agents/PROJECT-1/conversations/CA1/audio?direction=combined"
    assert head.target == path.rstrip("/") + end
    assert head.header("Host") == f"{host.lower()}:{server.port}"
