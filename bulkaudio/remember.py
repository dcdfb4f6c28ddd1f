"""What the first listing of an archive chose, and later ones go on with where they say nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bulkaudio.ledger.rows import ListingRow
from bulkaudio.listings import Errand
from bulkaudio.model import Direction, Metadata
from bulkaudio.settings import Connection, DownloadRequest, ListingQuery

LISTING_PIN = "listing"
"""The choices of the first listing that brought a page, kept for good: what one run asks for once
must not change what every night takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a listing takes of which conversations."""

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
        return self.scope_of(connection.account, connection.agent)

    def scope_of(self, account: str | None, agent: str | None) -> str:
        """Do so for an account and an agent."""
        filters = json.loads(self.to_json())
        del filters["metadata"]
        filters["directions"].sort()
        return json.dumps(filters | {"account": account, "agent": agent}, sort_keys=True)

    def query(self, asked: ListingQuery) -> ListingQuery:
        """Ask for a window with these filters."""
        return replace(asked, env=self.env, channels=self.channels, variant=self.variant)


def choose(request: DownloadRequest, remembered: str | None) -> Choices:
    """
    Fill in what the request leaves open.

    A listing goes on with what the archive remembers, option by option: a window that is listed
    once more must not take half of what every night takes. A file of ids says all of it.
    """
    asked = request.listing
    usual = Choices(
        directions=(Direction.COMBINED,),
        metadata=Metadata.NONE,
        env=ListingQuery().env,
        channels=(),
        variant=None,
    )
    is_remembered = remembered is not None and not request.has_csv
    old = Choices.from_json(remembered or "") if is_remembered else usual
    return Choices(
        directions=request.directions or old.directions,
        metadata=request.metadata or old.metadata,
        env=asked.env if "env" in request.filters else old.env,
        channels=asked.channels if "channels" in request.filters else old.channels,
        variant=asked.variant if "variant" in request.filters else old.variant,
    )


def left_behind_words(row: ListingRow, archive: str) -> str:
    """Say that an earlier listing of an archive, as a shell names it, waits for somebody."""
    return (
        f"An earlier listing, of {span_words(row)}, was not finished, and this run does not go on "
        f"with it: bulkaudio download --out {archive} does, without --since."
    )


def span_words(row: ListingRow) -> str:
    """Name a listing by its window."""
    since = "the beginning" if row.since is None else f"{row.since:%Y-%m-%dT%H:%M:%SZ}"
    return f"{since} up to {row.until:%Y-%m-%dT%H:%M:%SZ}"


def goes_on_words(choices: Choices, windows: Sequence[Errand]) -> str:
    """Say what a listing without a start takes, in a sentence."""
    since, until = windows[0].since, windows[-1].until
    filters = [choices.env, *choices.channels, *([choices.variant] if choices.variant else [])]
    return (
        f"Goes on where the last listing ended: calls of {since:%Y-%m-%dT%H:%M:%SZ} up to "
        f"{until:%Y-%m-%dT%H:%M:%SZ} ({', '.join(filters)}), {' and '.join(choices.directions)}."
    )
