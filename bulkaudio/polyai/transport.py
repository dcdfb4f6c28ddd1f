"""What lies below HTTP: whom TLS trusts, which addresses a name may lead to, which proxy is used."""

import socket
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.resolver import ThreadedResolver

from bulkaudio.errors import UsageError
from bulkaudio.polyai.redirects import Reach, Refused, literal_reach, may_go, reach_of


def trusting_context(ca_bundle: Path | None) -> ssl.SSLContext | Literal[True]:
    """
    Trust the system's authorities and those of `ca_bundle`. Reads files.

    Returns:
        True, which means verification with aiohttp's own context, when there is no bundle:
        reading the system's store a second time would take a tenth of a second.

    Raises:
        UsageError: When the bundle cannot be read or holds no certificate.
    """
    if ca_bundle is None:
        return True
    context = ssl.create_default_context()
    # Without it some gateways choose HTTP/2, which is not spoken here.
    context.set_alpn_protocols(["http/1.1"])
    fix = "give --ca-bundle a PEM file with the certificate of the authority"
    try:
        context.load_verify_locations(cafile=ca_bundle)
    except ssl.SSLError as error:
        raise UsageError(f"--ca-bundle {ca_bundle} holds no certificate", fix=fix) from error
    except OSError as error:
        raise UsageError(
            f"--ca-bundle {ca_bundle} cannot be read: {error.strerror}", fix=fix
        ) from error
    return context


def checked_proxy(proxy: str | None) -> str | None:
    """
    Check the address of a proxy, without ever showing it: it may hold a password.

    Raises:
        UsageError: When it is none that can be used.
    """
    if proxy is None:
        return None
    fix = "write --proxy http://HOST:PORT"
    try:
        parts = urlsplit(proxy)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise UsageError("the address given as --proxy is not a URL", fix=fix) from None
    if parts.scheme not in {"http", "https"} or not is_whole:
        raise UsageError("the address given as --proxy is not that of an HTTP proxy", fix=fix)
    return proxy


class WitnessedResponse(aiohttp.ClientResponse):
    """
    An answer that remembers whose certificate it came under.

    Attributes:
        certificate: As `ssl.SSLSocket.getpeercert` has it; empty without TLS.
    """

    certificate: Mapping[str, Any] = MappingProxyType({})

    async def start(self, connection: Connection) -> Self:
        """Look before the body is read: an answer that came whole lets go of its connection."""
        if connection.transport is not None:
            self.certificate = connection.transport.get_extra_info("peercert") or {}
        await super().start(connection)
        return self


class GuardedResolver(AbstractResolver):
    """
    Looks names up, and keeps redirects out of private networks.

    A name that only a redirect named may lead to the internet, or to where the configured hosts
    themselves are: a server must not send us to this machine's neighbours.

    Args:
        configured: Names that the user chose; they may lead anywhere.
    """

    def __init__(self, configured: Iterable[str], lookup: AbstractResolver | None = None) -> None:
        self._configured = frozenset(name.lower() for name in configured)
        self._lookup = lookup or ThreadedResolver()
        literal = map(literal_reach, self._configured)
        self._homes = {reach for reach in literal if reach is not None}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """
        Return the addresses of a name that may be used.

        Raises:
            Refused: When there are some, and none may.
        """
        found = await self._lookup.resolve(host, port, family)
        if host.lower() in self._configured:
            self._homes.update(reach_of(result["host"]) for result in found)
            return found
        homes = self._homes or {Reach.INTERNET}
        allowed = [
            result
            for result in found
            if any(may_go(reach_of(result["host"]), home) for home in homes)
        ]
        if found and not allowed:
            raise Refused("a name that leads into a private network")
        return allowed

    async def close(self) -> None:
        """Let go of the look-up."""
        await self._lookup.close()
