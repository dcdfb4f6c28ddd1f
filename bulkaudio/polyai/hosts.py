"""
Which host answers what: two families of hosts behind one region setting.

Rules of this file: text in, text out; nothing is resolved or requested.
"""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from urllib.parse import SplitResult, urlsplit

from bulkaudio.errors import UsageError
from bulkaudio.naming import printable
from bulkaudio.settings import Connection


class Host(StrEnum):
    """What a host is asked for."""

    AUDIO = "recordings"
    LISTING = "conversations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """
    A region's hosts.

    Attributes:
        listing: None where listing is part of the recordings' API.
    """

    aliases: tuple[str, ...]
    audio: str
    listing: str | None

    def url(self, host: Host) -> str:
        """Return where this region answers for `host`."""
        return self.audio if host is Host.AUDIO else self.listing or self.audio


REGIONS = {
    "us": Region(
        aliases=("us-1",),
        audio="https://api.us.poly.ai",
        listing="https://api.us-1.platform.polyai.app",
    ),
    "uk": Region(
        aliases=("uk-1",),
        audio="https://api.uk.poly.ai",
        listing="https://api.uk-1.platform.polyai.app",
    ),
    "eu": Region(
        aliases=("euw", "euw-1"),
        audio="https://api.eu.poly.ai",
        listing="https://api.euw-1.platform.polyai.app",
    ),
    "studio": Region(aliases=(), audio="https://api.studio.poly.ai", listing=None),
}

VARIABLES = {Host.AUDIO: "BULKAUDIO_AUDIO_URL", Host.LISTING: "BULKAUDIO_CONVERSATIONS_URL"}
"""What replaces a base URL."""

_OTHER = {Host.AUDIO: Host.LISTING, Host.LISTING: Host.AUDIO}

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?")
_PLAIN = re.compile(r"[\x21-\x7e]+")
_PLACE = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(:[0-9]*)?")
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """
    The base URLs of one connection, checked, without a slash at their end.

    Attributes:
        region: By its one name.
    """

    region: str
    audio: str
    listing: str

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """
        Find the hosts of a connection.

        Raises:
            UsageError: When the region is unknown or a replaced URL cannot be used.
        """
        region = canonical_region(connection.region)
        audio = connection.audio_url and checked(connection.audio_url, Host.AUDIO)
        audio = audio or REGIONS[region].audio
        listing = connection.conversations_url and checked(
            connection.conversations_url, Host.LISTING
        )
        # In the studio region listing is an endpoint of the recordings' host.
        listing = listing or REGIONS[region].listing or audio
        return cls(region=region, audio=audio, listing=listing)

    def url(self, host: Host) -> str:
        """Return the base URL."""
        return self.audio if host is Host.AUDIO else self.listing

    def name(self, host: Host) -> str:
        """Return host, and port where it is not the scheme's own, for people."""
        return _authority(urlsplit(self.url(host)))

    def right_host_hint(self, host: Host) -> str:
        """
        Say where the endpoint lives, for an answer that only a wrong host gives.

        Names another region when the base URL is one of PolyAI's own, because the usual mistake
        is to ask one family of hosts for what the other has.
        """
        asked = self.url(host)
        for name, region in REGIONS.items():
            if asked == region.url(_OTHER[host]) != region.url(host):
                return (
                    f"{asked} does not serve {host}: region {name} has them at {region.url(host)}"
                )
        right = REGIONS[self.region].url(host)
        if asked != right:
            return (
                f"{VARIABLES[host]} sends requests to {asked}; region {self.region} has {host} "
                f"at {right}: check it, or leave it out"
            )
        return (
            f"check --region: {right} is where region {self.region} has {host}; the region stands "
            f"in the address of Agent Studio, https://studio.REGION.poly.ai/ACCOUNT/AGENT/"
        )


def canonical_region(text: str) -> str:
    """
    Return the one name of a region that `text` may spell differently.

    Raises:
        UsageError: Naming the regions there are.
    """
    wanted = text.strip().lower()
    for name, region in REGIONS.items():
        if wanted == name or wanted in region.aliases:
            return name
    known = ", ".join(
        f"{name} ({', '.join(region.aliases)})" if region.aliases else name
        for name, region in REGIONS.items()
    )
    raise UsageError(
        f"there is no region {printable(text)!r}",
        fix=f"use one of: {known}; it stands in the address of Agent Studio",
    )


def checked(url: str, host: Host) -> str:
    """
    Check a base URL that replaces a region's.

    Raises:
        UsageError: Unless it is https, or http to this machine; and names nothing but a place.
    """
    shown = f"{VARIABLES[host]} {printable(_without_userinfo(url))!r}"
    if not _PLAIN.fullmatch(url):
        # urlsplit drops line ends and tabs, so that another host would be asked than is written.
        raise UsageError(f"{shown} has characters that no URL has", fix="write https://HOST")
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        is_whole = _is_name(parts.hostname or "") and parts.port != 0
    except ValueError as error:
        raise UsageError(f"{shown} is not a URL", fix="write https://HOST") from error
    if parts.scheme not in {"http", "https"} or not is_whole:
        raise UsageError(f"{shown} is not a web address", fix="write https://HOST")
    if "@" in parts.netloc:
        raise UsageError(
            f"{shown} holds credentials", fix="leave them out: the key has its own setting"
        )
    if not _PLACE.fullmatch(parts.netloc):
        raise UsageError(f"{shown} has more than one host", fix="write https://HOST[:PORT]")
    if "?" in url or "#" in url:
        raise UsageError(f"{shown} has a query or a fragment", fix="write https://HOST[/PATH]")
    if not _PATH.fullmatch(parts.path) or not {".", ".."}.isdisjoint(parts.path.split("/")):
        raise UsageError(f"{shown} has a path that is not plain", fix="write https://HOST[/PATH]")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UsageError(
            f"{shown} would send the key unencrypted",
            fix="use https; http is for this machine only: 127.0.0.1, ::1 or localhost",
        )
    return f"{parts.scheme}://{_authority(parts)}{parts.path.rstrip('/')}"


def is_loopback(name: str) -> bool:
    """Whether a host's name can only mean this machine."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_name(name: str) -> bool:
    if ":" not in name:
        return _NAME.fullmatch(name) is not None
    return "%" not in name and ipaddress.ip_address(name).version == 6


def _authority(parts: SplitResult) -> str:
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return name if parts.port in {None, usual} else f"{name}:{parts.port}"


def _without_userinfo(url: str) -> str:
    """Cut credentials out of what is shown: a password must not reach a log by way of an error."""
    head, slashes, rest = url.rpartition("//")
    return f"{head}{slashes}{rest.rpartition('@')[2]}"
