"""Asyncio bulk downloader for the call recordings of PolyAI voice agents."""

from bulkaudio.version import __version__

__all__ = ["__version__"]
