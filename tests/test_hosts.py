"""Regions, base URLs and the hint that names the right host."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.errors import UsageError
from bulkaudio.polyai.hosts import Host, Hosts, canonical_region, checked
from bulkaudio.settings import ApiKey, Connection, Secret

BARE = Connection(
    region="uk", agent="PROJECT-1", api_key=ApiKey(value=Secret("k"), source="POLYAI_API_KEY")
)


@pytest.mark.parametrize(
    ("spelled", "region", "audio", "listing"),
    [
        ("us", "us", "https://api.us.poly.ai", "https://api.us-1.platform.polyai.app"),
        ("US-1", "us", "https://api.us.poly.ai", "https://api.us-1.platform.polyai.app"),
        ("uk", "uk", "https://api.uk.poly.ai", "https://api.uk-1.platform.polyai.app"),
        ("uk-1", "uk", "https://api.uk.poly.ai", "https://api.uk-1.platform.polyai.app"),
        ("eu", "eu", "https://api.eu.poly.ai", "https://api.euw-1.platform.polyai.app"),
        ("euw", "eu", "https://api.eu.poly.ai", "https://api.euw-1.platform.polyai.app"),
        (" euw-1 ", "eu", "https://api.eu.poly.ai", "https://api.euw-1.platform.polyai.app"),
        ("studio", "studio", "https://api.studio.poly.ai", "https://api.studio.poly.ai"),
    ],
)
def test_a_region_names_two_hosts(spelled: str, region: str, audio: str, listing: str) -> None:
    """Every documented spelling leads to the documented hosts."""
    hosts = Hosts.of(replace(BARE, region=spelled))
    assert (hosts.region, hosts.url(Host.AUDIO), hosts.url(Host.LISTING)) == (
        region,
        audio,
        listing,
    )


def test_an_unknown_region_lists_the_known() -> None:
    """The fix names every region and alias."""
    with pytest.raises(UsageError) as caught:
        canonical_region("uk\x1b[31m-2")
    for word in ("us", "us-1", "uk", "uk-1", "eu", "euw", "euw-1", "studio"):
        assert word in (caught.value.fix or "")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_url", "used"),
    [
        ("https://gateway.example", "https://gateway.example"),
        ("HTTPS://Gateway.Example:443/", "https://gateway.example"),
        ("https://gateway.example:8443/polyai/", "https://gateway.example:8443/polyai"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9:8080", "http://127.9.9.9:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_base_url_may_be_replaced(given_url: str, used: str) -> None:
    """By https, or http to this machine; each host by its own."""
    hosts = Hosts.of(replace(BARE, audio_url=given_url))
    assert hosts.url(Host.AUDIO) == used
    assert hosts.url(Host.LISTING) == "https://api.uk-1.platform.polyai.app"
    assert Hosts.of(replace(BARE, conversations_url=given_url)).url(Host.LISTING) == used


def test_in_the_studio_region_listing_follows_the_recordings_host() -> None:
    """Both are endpoints of one host there, also behind a gateway."""
    hosts = Hosts.of(replace(BARE, region="studio", audio_url="https://gateway.example"))
    assert hosts.url(Host.LISTING) == "https://gateway.example"


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.example",
        "http://10.0.0.1",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://0.0.0.0",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "gateway.example",
        "https://",
        "https://:443",
        "https://h:0",
        "https://h:99999",
        "https://h:x",
        "https://[::1",
        "https://me:password@h",
        "https://me@h",
        "https://h?x=1",
        "https://h?",
        "https://h#x",
        "https://h/a/../b",
        "https://h/a b",
        "https://h/\r\nX: 1",
        "https://ü.example",
        "",
    ],
)
def test_a_base_url_that_could_mislead_is_refused(url: str) -> None:
    """Nothing unencrypted leaves this machine, and no part of the URL means more than a place."""
    with pytest.raises(UsageError) as caught:
        checked(url, Host.AUDIO)
    assert "BULKAUDIO_AUDIO_URL" in str(caught.value)
    assert "password" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_a_usage_error(text: str) -> None:
    """Whatever is typed, there is no other end."""
    for url in (text, f"https://{text}", f"http://127.0.0.1{text}"):
        try:
            used = checked(url, Host.LISTING)
        except UsageError:
            continue
        assert used.startswith(("https://", "http://127.0.0.1", "http://localhost", "http://[::1]"))
        assert not set(used) & set(" ?#@\r\n") - set("@")


def test_the_hint_names_the_right_host_of_that_region() -> None:
    """Asking one family of hosts for the other's endpoint is the most common mistake."""
    swapped = replace(
        BARE,
        audio_url="https://api.euw-1.platform.polyai.app",
        conversations_url="https://api.us.poly.ai",
    )
    hosts = Hosts.of(swapped)
    assert "https://api.eu.poly.ai" in hosts.right_host_hint(Host.AUDIO)
    assert "https://api.us-1.platform.polyai.app" in hosts.right_host_hint(Host.LISTING)


def test_the_hint_for_a_gateway_names_its_variable() -> None:
    """A replaced base URL is the first suspect."""
    hosts = Hosts.of(replace(BARE, audio_url="https://gateway.example"))
    hint = hosts.right_host_hint(Host.AUDIO)
    assert "BULKAUDIO_AUDIO_URL" in hint
    assert "https://api.uk.poly.ai" in hint


def test_the_hint_for_a_regular_host_doubts_the_region() -> None:
    """Where the host is PolyAI's own, the region is wrong."""
    assert "--region" in Hosts.of(BARE).right_host_hint(Host.LISTING)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://gateway.example", "gateway.example"),
        ("https://gateway.example:8443/x", "gateway.example:8443"),
        ("http://[::1]:80", "[::1]"),
    ],
)
def test_a_host_has_a_name_for_people(url: str, name: str) -> None:
    """With the port where it is not the usual one."""
    assert Hosts.of(replace(BARE, audio_url=url)).name(Host.AUDIO) == name
