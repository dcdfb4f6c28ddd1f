"""
Asyncio bulk downloader for the call recordings of PolyAI voice agents.

`download` does a whole run and waits for it; `Archive` and `Client` stream outcomes as they become
durable. Names are loaded when they are first used: importing the package is free.
"""

from typing import TYPE_CHECKING

from bulkaudio.version import __version__

if TYPE_CHECKING:
    from bulkaudio.api import Archive, Client, Outcomes, download, from_csv, from_ids
    from bulkaudio.errors import (
        ArchiveBusyError,
        BulkAudioError,
        HostUnavailableError,
        KeyRefusedError,
        LedgerError,
        ListingError,
        LocalError,
        StorageError,
        UsageError,
        WrongHostError,
    )
    from bulkaudio.model import Audio, Direction, Evidence, Metadata, Outcome, Recording, Status
    from bulkaudio.observe.summary import Summary

__all__ = [
    "Archive",
    "ArchiveBusyError",
    "Audio",
    "BulkAudioError",
    "Client",
    "Direction",
    "Evidence",
    "HostUnavailableError",
    "KeyRefusedError",
    "LedgerError",
    "ListingError",
    "LocalError",
    "Metadata",
    "Outcome",
    "Outcomes",
    "Recording",
    "Status",
    "StorageError",
    "Summary",
    "UsageError",
    "WrongHostError",
    "__version__",
    "download",
    "from_csv",
    "from_ids",
]

_ROOMS = {
    "bulkaudio.api": {"Archive", "Client", "Outcomes", "download", "from_csv", "from_ids"},
    "bulkaudio.model": {
        *("Audio", "Direction", "Evidence", "Metadata", "Outcome", "Recording", "Status"),
    },
    "bulkaudio.observe.summary": {"Summary"},
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(room), name)
    if name in __all__:
        return getattr(import_module("bulkaudio.errors"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
