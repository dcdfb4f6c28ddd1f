"""
One message to a dead man's switch: a few seconds, two more tries, and no harm when it is lost.

A room of its own, because it speaks to somebody who is not PolyAI: no key is within its reach, no
redirect is followed, no cookie is kept, and the environment is not asked for a proxy.
"""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from bulkaudio.errors import BulkAudioError
from bulkaudio.naming import printable
from bulkaudio.polyai.transport import checked_proxy, trusting_context
from bulkaudio.version import __version__

PATIENCE_S = 5.0
PAUSES_S = (1.0, 2.0)
"""Before each further try."""

PASSING = {408, 425, 429, *range(500, 600)}
"""Answers that another try may not get."""

SEEN_BYTES = 64
REFUSALS = ("not found", "rate limited")
"""What healthchecks.io says in the body of a 200 that did nothing."""


class _Lost(Exception):  # noqa: N818  a value in an exception's place
    """This try did not arrive; the text says why."""

    def __init__(self, why: str, *, is_final: bool = False) -> None:
        super().__init__(why)
        self.is_final = is_final


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How it is reached: additional certificates, and a proxy where one was given."""

    ca_bundle: Path | None = None
    proxy: str | None = None
    pauses_s: tuple[float, ...] = PAUSES_S


def send(url: str, body: str, route: Route) -> str | None:
    """
    Send a message, on a loop of its own; blocks.

    Returns:
        Why it did not arrive, without the address; None when it did.
    """
    try:
        return asyncio.run(_send(url, body, route, trusting_context(route.ca_bundle)))
    except BulkAudioError as error:
        return error.message
    except (OSError, RuntimeError) as error:
        # Of this machine: no descriptors, no threads.
        return type(error).__name__


async def _send(
    url: str, body: str, route: Route, trust: ssl.SSLContext | Literal[True]
) -> str | None:
    connector = aiohttp.TCPConnector(ssl=trust, resolver=ThreadedResolver())
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"bulkaudio/{__version__}"},
        trust_env=False,
    ) as http:
        for pause_s in (*route.pauses_s, None):
            try:
                await _try(http, url, body, checked_proxy(route.proxy))
            except _Lost as lost:
                if pause_s is None or lost.is_final:
                    return str(lost)
                await asyncio.sleep(pause_s)
            else:
                return None
    return None


async def _try(http: aiohttp.ClientSession, url: str, body: str, proxy: str | None) -> None:
    try:
        async with http.post(
            URL(url, encoded=True),
            data=body.encode(),
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
            proxy=proxy,
        ) as answer:
            status, said = answer.status, await answer.content.read(SEEN_BYTES)
    except aiohttp.ClientSSLError:
        raise _Lost("its certificate is not trusted", is_final=True) from None
    except TimeoutError:
        raise _Lost(f"no answer within {PATIENCE_S:g} seconds") from None
    except (aiohttp.ClientError, OSError) as error:
        # The kind and not the text, which may hold the address.
        raise _Lost(f"the connection failed ({type(error).__name__})") from None
    if 300 <= status < 400:
        raise _Lost(f"it answered {status}, and redirects are not followed", is_final=True)
    if not 200 <= status < 300:
        raise _Lost(f"it answered {status}", is_final=status not in PASSING)
    text = printable(said.decode("utf-8", "replace").strip().lower())
    for refusal in REFUSALS:
        if refusal in text:
            raise _Lost(f'it answered "{refusal}"', is_final=True)
