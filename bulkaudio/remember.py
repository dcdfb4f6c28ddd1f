"""What a listing run chose, and the next one without choices of its own goes on with."""

import json
from dataclasses import dataclass
from typing import Any

from bulkaudio.model import Direction, Metadata
from bulkaudio.settings import Connection, DownloadRequest, ListingQuery

LISTING_PIN = "listing"
"""The choices of the last listing run, which a run without its own goes on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a listing run chose, and the next one without choices of its own goes on with."""

    directions: tuple[Direction, ...]
    metadata: Metadata
    env: str
    channels: tuple[str, ...]
    variant: str | None

    def to_json(self) -> str:
        """Write it for the ledger."""
        return json.dumps(
            {
                "directions": self.directions,
                "metadata": self.metadata,
                "env": self.env,
                "channels": self.channels,
                "variant": self.variant,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Choices":
        """Read what `to_json` wrote."""
        kept: dict[str, Any] = json.loads(text)
        return cls(
            directions=tuple(Direction(d) for d in kept["directions"]),
            metadata=Metadata(kept["metadata"]),
            env=kept["env"],
            channels=tuple(kept["channels"]),
            variant=kept["variant"],
        )

    def scope(self, connection: Connection) -> str:
        """Name what a listing covers: only a finished one of the same scope moves its end."""
        filters = json.loads(self.to_json())
        del filters["metadata"]
        filters["directions"].sort()
        return json.dumps(
            filters | {"account": connection.account, "agent": connection.agent}, sort_keys=True
        )


def choose(request: DownloadRequest, remembered: str | None) -> Choices:
    """
    Fill in what the request leaves open.

    Only a listing without a start goes on with what an earlier one chose: whoever names a window
    or a file says all of it.
    """
    asked, old = request.listing, None
    goes_on = not request.has_csv and asked.since is None
    if goes_on and remembered is not None:
        old = Choices.from_json(remembered)
    usual = ListingQuery()
    has_own = (asked.env, asked.channels, asked.variant) != (usual.env, (), None)
    filters = None if has_own else old
    return Choices(
        directions=request.directions or (old and old.directions) or (Direction.COMBINED,),
        metadata=request.metadata or (old.metadata if old else Metadata.NONE),
        env=filters.env if filters else asked.env,
        channels=filters.channels if filters else asked.channels,
        variant=filters.variant if filters else asked.variant,
    )
