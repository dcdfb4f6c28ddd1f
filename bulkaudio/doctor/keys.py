"""Which keys there are and where they come from; of a key itself at most its last characters."""

from dataclasses import dataclass

from bulkaudio.errors import BulkAudioError
from bulkaudio.keys import FoundKeys
from bulkaudio.polyai.client import Host
from bulkaudio.settings import ApiKey, Secret

SHOWN = 4
LONG_ENOUGH = 16
"""A key of fewer characters would be given away by as many as are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """
    What looking for keys brought.

    Attributes:
        found: None with `error`, or when nobody was to look.
    """

    found: FoundKeys | None = None
    error: BulkAudioError | None = None

    def key(self, host: Host) -> ApiKey | None:
        """Return the key that is sent to a host."""
        if self.found is None:
            return None
        own = self.found.conversations_key if host is Host.LISTING else None
        return own or self.found.api_key

    def is_shared(self, host: Host) -> bool:
        """Whether a host gets the key of the other one, having none of its own."""
        has_own = self.found is not None and self.found.conversations_key is not None
        return host is Host.LISTING and not has_own

    def note(self, host: Host) -> str | None:
        """Return what a person should know about the file that a host's key is in."""
        key = self.key(host)
        if self.found is None or key is None or self.is_shared(host):
            return None
        path = key.source.partition(" ")[2]
        return next((note for note in self.found.notes if path and note.endswith(path)), None)


def masked(key: Secret) -> str:
    """Show as much of a key as tells it from another, and not more."""
    value = key.reveal()
    return f"…{value[-SHOWN:]}" if len(value) >= LONG_ENOUGH else "…"


def shown(key: ApiKey) -> str:
    """Name a key by its source and its end."""
    return f"{key.source} ({masked(key.value)})"
