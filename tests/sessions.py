"""Sessions towards a test's own server, with a key that must turn up nowhere else."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bulkaudio.polyai.client import Host, Request, Response, Session, TransferLimits
from bulkaudio.settings import ApiKey, Connection, Secret

CANARY = "canary-4f1d9c-key"
LISTING_CANARY = "canary-77ab02-listing"

QUICK = TransferLimits(
    connect_s=0.5, head_s=1.0, read_s=0.4, min_bytes_per_s=1000.0, over_s=0.3, max_body_bytes=10**6
)
"""The usual limits, for tests that reach them."""

PATIENT = TransferLimits(connect_s=5.0, head_s=10.0, read_s=5.0)
"""For tests that must not."""

AUDIO = Request(host=Host.AUDIO, segments=("v1", "x"), accept="audio/wav")
LISTING = Request(host=Host.LISTING, segments=("v3", "x"))


def api_key(value: str = CANARY, reread: Callable[[], Secret] | None = None) -> ApiKey:
    """Return a key as `bulkaudio.keys` finds it."""
    return ApiKey(value=Secret(value), source="POLYAI_API_KEY", reread=reread)


def connection_to(
    url: str,
    *,
    listing_url: str | None = None,
    key: ApiKey | None = None,
    ca_bundle: Path | None = None,
    proxy: str | None = None,
) -> Connection:
    """Return a connection whose two hosts are a test's servers."""
    return Connection(
        region="uk",
        agent="PROJECT-1",
        account="ws-1",
        api_key=key or api_key(),
        conversations_key=ApiKey(value=Secret(LISTING_CANARY), source="--conversations-key-file k"),
        audio_url=url,
        conversations_url=listing_url or url,
        ca_bundle=ca_bundle,
        proxy=proxy,
    )


async def read(response: Response) -> bytes:
    """Read a body to its end."""
    return b"".join([chunk async for chunk in response.chunks()])


@asynccontextmanager
async def session_to(url: str, limits: TransferLimits = PATIENT) -> AsyncIterator[Session]:
    """Open a session for which `url` is everything."""
    async with Session(connection_to(url), slots=4, limits=limits) as session:
        yield session


async def fetch(url: str, limits: TransferLimits = PATIENT, request: Request = AUDIO) -> bytes:
    """Open a session, get one body, close the session."""
    async with session_to(url, limits) as session, session.get(request) as response:
        return await read(response)
