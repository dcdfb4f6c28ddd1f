"""
What an afternoon's script looks like: ``python -m tests.benchmarks.plain LIST FOLDER CA CONNECTIONS``.

aiohttp and aiofiles as their manuals show them: a semaphore, a gather, chunks of 64 KiB. It checks
the status and nothing else, and is fairly quick for what it is.
"""

import asyncio
import os
import ssl
import sys
from pathlib import Path

import aiofiles
import aiohttp

CHUNK_BYTES = 64 * 1024


async def fetch(
    session: aiohttp.ClientSession, slots: asyncio.Semaphore, url: str, path: Path
) -> None:
    """Save one recording."""
    async with slots, session.get(url) as response:
        response.raise_for_status()
        async with aiofiles.open(path, "wb") as file:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                await file.write(chunk)


async def main(listed: str, folder: str, ca: str, connections: str) -> None:
    """Save all of them."""
    context = ssl.create_default_context(cafile=ca)
    connector = aiohttp.TCPConnector(ssl=context, limit=int(connections))
    headers = {"x-api-key": os.environ["POLYAI_API_KEY"]}
    slots = asyncio.Semaphore(int(connections))
    lines = [line.split() for line in Path(listed).read_text().splitlines()]
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await asyncio.gather(
            *(fetch(session, slots, url, Path(folder) / name) for url, name in lines)
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
