"""
Where a redirect may lead.

Rules of this file: pure decisions. The key goes to one origin only, the configured one; everything
else may be followed within narrow bounds, or is refused. aiohttp is not trusted with it: it takes
``x-api-key`` along to other hosts.
"""

import ipaddress
import re
from collections.abc import Sequence
from enum import Enum, auto

from yarl import URL

MAX_HOPS = 3
STATUSES = frozenset({301, 302, 303, 307, 308})

_PLAIN = re.compile(r"[\x21-\x7e]{1,8192}")

_ENDS_IN_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE)
"""``127.1``, ``2852039166``, ``0x7f.1``: no name ends so, and what does means an address."""


class Reach(Enum):
    """From where an address can be reached."""

    INTERNET = auto()
    PRIVATE = auto()
    LOOPBACK = auto()
    NEVER = auto()
    """Link-local (cloud metadata services live there), multicast, unspecified, reserved."""


class Refused(ValueError):  # noqa: N818  the word for it
    """A redirect that is not followed; the text says why."""


def reach_of(address: str) -> Reach:
    """
    Classify a literal IP address.

    Raises:
        ValueError: When it is none.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return Reach.LOOPBACK
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return Reach.NEVER
    return Reach.INTERNET if ip.is_global else Reach.PRIVATE


def literal_reach(name: str) -> Reach | None:
    """Classify a host that is a literal address; None for a name, which only look-up can judge."""
    if name.lower().rstrip(".") == "localhost":
        return Reach.LOOPBACK
    try:
        return reach_of(name)
    except ValueError:
        return None


def may_go(target: Reach, home: Reach | None) -> bool:
    """Whether a redirect may lead to `target` from a configured origin that is reached by `home`."""
    return target is Reach.INTERNET or (target is home and target is not Reach.NEVER)


def next_hop(visited: Sequence[URL], location: str | None, origin: URL) -> URL:
    """
    Return the absolute URL that a redirect leads to.

    Args:
        visited: Every URL that was asked so far, the redirecting one last.
        location: The header as received.
        origin: The configured one.

    Raises:
        Refused: When it is not followed.
    """
    if len(visited) > MAX_HOPS:
        raise Refused(f"more than {MAX_HOPS} in a row")
    current, target = visited[-1], _target(visited[-1], location)
    home, reach = literal_reach(origin.raw_host or ""), literal_reach(target.raw_host or "")
    if target in visited:
        raise Refused("in circles")
    if target.scheme == "http" and not _stays_here(current, reach):
        raise Refused("from https to http")
    if reach is not None and not may_go(reach, home):
        raise Refused("to an address inside a private network")
    return target


def _target(current: URL, location: str | None) -> URL:
    """Read the header; a URL that could not be sent as it stands is refused."""
    if not location:
        raise Refused("without a Location")
    if not _PLAIN.fullmatch(location):
        # Kept as it is, a space or a control character would end the request line early.
        raise Refused("to something with characters that no URL has")
    try:
        target = current.join(URL(location, encoded=True)).with_fragment(None)
        name, _ = target.raw_host, target.port
    except ValueError as error:
        raise Refused("to something that is no URL") from error
    if target.scheme not in {"http", "https"} or not name:
        raise Refused("to something that is no web address")
    if target.raw_user is not None or target.raw_password is not None:
        raise Refused("to a URL with credentials in it")
    if literal_reach(name) is None and _ENDS_IN_NUMBER.fullmatch(name):
        # aiohttp connects to what is digits and dots without asking the resolver that guards us,
        # and the operating system finds link-local and private addresses in it.
        raise Refused("to an address in a spelling of its own")
    return target


def is_home(url: URL, origin: URL) -> bool:
    """Whether `url` has the scheme, host and port of the one origin that gets the key."""
    return url.origin() == origin.origin()


def _stays_here(current: URL, target: Reach | None) -> bool:
    is_here = literal_reach(current.raw_host or "") is Reach.LOOPBACK
    return current.scheme == "http" and is_here and target is Reach.LOOPBACK
