"""
What an archive holds recordings of, as it is remembered, and whether a run may differ from that.

Rules of this file: nothing is read or written. What a run wants is compared before any request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bulkaudio.errors import UsageError
from bulkaudio.ledger.faults import damaged
from bulkaudio.naming import Layout, printable
from bulkaudio.polyai.request import segment
from bulkaudio.settings import DEFAULT_LAYOUT

UNASKED = "unasked"
"""Redaction was left to the API's default, which is the same as asking for none of it."""

REDACTION = {None: UNASKED, True: "true", False: "false"}

REDACTION_WORDS = {
    UNASKED: "without --redacted",
    "true": "with --redacted",
    "false": "with --no-redacted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """
    What an archive holds recordings of; None leaves it to what the archive remembers.

    Raises:
        UsageError: For an account or an agent that no address can hold: remembered, it would have
            to be contradicted by every later run.
    """

    region: str | None = None
    account: str | None = None
    agent: str | None = None
    redacted: bool | None = None

    def __post_init__(self) -> None:
        for text in (self.account, self.agent):
            if text is not None:
                segment(text)

    def asked(self) -> dict[str, str]:
        """Only what is known, as text."""
        redacted = None if self.redacted is None else REDACTION[self.redacted]
        all_ = {
            "region": self.region,
            "account": self.account,
            "agent": self.agent,
            "redacted": redacted,
        }
        return {name: value for name, value in all_.items() if value is not None}


def redacted_of(pins: Mapping[str, str], asked: bool | None) -> bool | None:  # noqa: FBT001  a choice of three, not a switch
    """Return what to ask the API for: this run's word, else the archive's."""
    kept = {text: choice for choice, text in REDACTION.items()}
    return asked if asked is not None else kept[pins.get("redacted", UNASKED)]


def check_pins(pins: Mapping[str, str], ledger: Path) -> None:
    """Hold what a ledger remembers to what can have been written; raises `LedgerError`."""
    redacted, layout = pins.get("redacted", UNASKED), pins.get("layout", DEFAULT_LAYOUT)
    if redacted not in REDACTION.values():
        raise damaged(ledger, f"it remembers {printable(redacted)!r} of redaction")
    try:
        Layout.parse(layout)
    except UsageError:
        raise damaged(ledger, f"it remembers the layout {printable(layout)!r}") from None


OPTIONS = {
    "region": "--region",
    "account": "--account",
    "agent": "--agent",
    "layout": "--layout",
    "redacted": "--redacted",
}


def begins_anew(
    pins: Mapping[str, str], identity: Identity, root: Path, *, has_saved: bool
) -> bool:
    """
    Whether a run wants what nothing remembered allows, and nothing is lost by forgetting that.

    A first run with a wrong agent must not bind the archive to it for ever.

    Raises:
        UsageError: Something is saved already; the message names the difference.
    """
    for name, value in identity.asked().items():
        if not _agree(value, pins.get(name)):
            if has_saved:
                raise _contradiction(name, value, pins[name], root)
            return True
    return False


def layout_of(
    pins: Mapping[str, str], chosen: str | None, root: Path, *, has_saved: bool
) -> Layout:
    """Return the layout of a run; raises `UsageError` where saved recordings have another."""
    kept = pins.get("layout")
    template = Layout.parse(chosen).template if chosen is not None else None
    if kept and template and template != kept:
        if has_saved:
            raise _contradiction("layout", template, kept, root)
        kept = None
    return Layout.parse(kept or template or DEFAULT_LAYOUT)


def _agree(asked: str, kept: str | None) -> bool:
    return kept in {None, asked} or (asked, kept) == (REDACTION[False], UNASKED)


def _contradiction(name: str, asked: str, kept: str, root: Path) -> UsageError:
    option = OPTIONS[name]
    kept, asked = (
        (REDACTION_WORDS[kept], REDACTION_WORDS[asked])
        if name == "redacted"
        else (f"with {option} {kept}", f"with {option} {asked}")
    )
    return UsageError(
        f"{root} holds recordings made {kept}, and takes none {asked}",
        fix=f"use another --out, or leave {option} out to go on as before",
    )
