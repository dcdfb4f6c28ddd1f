"""What every look at an archive says of an erasure that was begun and not brought to its end."""

from collections.abc import Mapping
from pathlib import Path

from bulkaudio.ledger.tombs import Interruption
from bulkaudio.quantities import plural
from bulkaudio.stores.address import argument_of


def words(found: Interruption, archive: Path) -> str:
    """Say what may still be there, and which command finishes it."""
    text = state(found)
    return f"{text[0].upper()}{text[1:]}. {fix(found, archive)}"


def state(found: Interruption) -> str:
    """Say what may still be there, and why."""
    opening = (
        "files of erased recordings came back" if found.is_return else "an erasure was interrupted"
    )
    return f"{opening}: {_what(found)}"


def _what(found: Interruption) -> str:
    if not found.conversations:
        return "its files are gone, and the ledger's own file may still tell of them"
    text = (
        f"{plural(found.recordings, 'recording')} of "
        f"{plural(found.conversations, 'conversation')} that count as erased may still have files here"
    )
    return f"{text} ({found.held:,} of these held, and left so)" if found.held else text


def fix(found: Interruption, archive: Path) -> str:
    """Say what finishes it."""
    command = finishing(archive)
    does = "erases them" if found.is_return else "finishes it"
    if found.held and found.held == found.conversations:
        return f"When nobody holds them any more (hold remove), this {does}: {command}"
    return f"The next download {does}, or: {command}"


def finishing(archive: Path) -> str:
    """Return the command that finishes an erasure; blocks."""
    return f"bulkaudio purge {argument_of(archive)} --resume --yes"


def document(found: Interruption | None) -> Mapping[str, int] | None:
    """Write it for JSON."""
    if found is None:
        return None
    return {
        "conversations": found.conversations,
        "recordings": found.recordings,
        "held": found.held,
    }
