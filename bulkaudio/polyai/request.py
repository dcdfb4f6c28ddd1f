"""
What is asked, and the one way to spell it as a URL.

Rules of this file: whatever stands in an id, an agent, an account or a cursor, it stays inside its
own path segment or parameter; nothing normalises the URL afterwards. All segments but a
conversation's id are the same in every request, so the spelling of the last few is remembered.
"""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urlencode

from yarl import URL

from bulkaudio.errors import UsageError
from bulkaudio.naming import printable
from bulkaudio.polyai.hosts import Host

HALF = "half a character cannot be part of an address"
"""What a command line's bytes become that are no UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    A GET of one endpoint.

    Attributes:
        segments: Path below the base URL, each to be encoded by itself.
        query: Names may repeat; order is kept.
        first_bytes: Asks for so many bytes from the beginning instead of all; None: for all.
        is_anonymous: Goes out without a key, to learn whether the host answers at all.
    """

    host: Host
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...] = ()
    accept: str = "application/json"
    first_bytes: int | None = None
    is_anonymous: bool = False


def url_of(base: str, request: Request) -> URL:
    """
    Spell a request's URL.

    Raises:
        UsageError: For what `segment` refuses, and a query that no URL can carry.
    """
    path = "".join(f"/{segment(text)}" for text in request.segments)
    query = _query(request.query)
    return URL(f"{base}{path}{'?' if query else ''}{query}", encoded=True)


@lru_cache(maxsize=64)
def _query(pairs: tuple[tuple[str, str], ...]) -> str:
    try:
        return urlencode(pairs, quote_via=quote, safe="")
    except UnicodeEncodeError as error:
        raise UsageError(HALF) from error


@lru_cache(maxsize=64)
def segment(text: str) -> str:
    """
    Spell a text as one segment of a path.

    Raises:
        UsageError: For what would lead elsewhere, because servers and gateways resolve ``.`` and
            ``..`` even when they arrive encoded; and for text that no URL can carry.
    """
    fix = "check --account and --agent: both stand in the address of Agent Studio"
    if text in {"", ".", ".."}:
        raise UsageError(
            f"{printable(text)!r} cannot be an account, an agent or a conversation", fix=fix
        )
    try:
        return quote(text, safe="")
    except UnicodeEncodeError as error:
        raise UsageError(HALF, fix=fix) from error
