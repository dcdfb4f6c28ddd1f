"""
How much each TLS connection may hold that nobody has read yet.

asyncio reads up to 256 KiB into a buffer that every connection has to itself, and from there into
OpenSSL's, which grows to as much: with 64 connections a fifth of a run's memory. Half of it took no
more time. asyncio has no setting for that; where it stops looking here, only memory is lost. A loop
that somebody else runs keeps what it has: this is for the program alone.
"""

from asyncio import sslproto

BUFFER_BYTES = 128 * 1024


def keep_small() -> None:
    """Call it before the first connection."""
    vars(sslproto)["SSLProtocol"].max_size = BUFFER_BYTES
