"""The command ``hold``: conversations that ``purge`` must leave alone."""

import json as json_text
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

from cyclopts import Parameter

from bulkaudio.cli.places import ArchiveArgument

if TYPE_CHECKING:
    from bulkaudio.holding import Change
    from bulkaudio.ledger.holds import Hold
    from bulkaudio.ledger.ledger import Ledger

SCHEMA = "bulkaudio.hold/1"
PAGE = 500
MAX_LISTED = 100
SHOWN = 5
LEFT_EXIT_CODE = 3


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOptions:
    """Which conversations, why, and how it is told."""

    id: Annotated[
        list[str] | None,
        Parameter(
            metavar="ID",
            negative="",
            help="A conversation, as for purge; may be repeated, beside those that are named without it.",
        ),
    ] = None
    ids: Annotated[
        str | None,
        Parameter(
            metavar="FILE|-",
            allow_leading_hyphen=True,
            help="Take conversations from a CSV, standard input or a receipt of purge as well.",
        ),
    ] = None
    reason: Annotated[
        str | None,
        Parameter(metavar="TEXT", help="Why, such as a case number; not the caller's name."),
    ] = None
    json: Annotated[bool, Parameter(negative="", help="Print one line of JSON.")] = False
    quiet: Annotated[
        bool, Parameter(alias="-q", negative="", help="Print nothing unless something was left.")
    ] = False


DEFAULTS = HoldOptions()


@dataclass(slots=True, kw_only=True)
class Changes:
    """What became of all of them."""

    done: int = 0
    left: int = 0
    left_first: list[str] = field(default_factory=list)
    unknown: int = 0
    unknown_first: list[str] = field(default_factory=list)
    half_erased: int = 0
    half_erased_first: list[str] = field(default_factory=list)

    def add(self, change: "Change") -> None:
        """Sum up."""
        self.done += len(change.done)
        self.left += len(change.left)
        self.left_first += change.left[: MAX_LISTED - len(self.left_first)]
        self.unknown += len(change.unknown)
        self.unknown_first += change.unknown[: MAX_LISTED - len(self.unknown_first)]
        self.half_erased += len(change.half_erased)
        room = MAX_LISTED - len(self.half_erased_first)
        self.half_erased_first += change.half_erased[:room]


def hold(
    archive: ArchiveArgument,
    action: Annotated[Literal["add", "remove", "list"], Parameter(help="What to do.")],
    conversation: Annotated[
        list[str] | None, Parameter(metavar="ID", negative="", help="Conversations, by id.")
    ] = None,
    /,
    options: HoldOptions = DEFAULTS,
) -> int:
    """Forbid to erase conversations, allow it again, or list what is held."""
    import asyncio

    from bulkaudio.cli.chosen import check_file, check_ids, check_reason
    from bulkaudio.cli.endings import told
    from bulkaudio.cli.existing import require_archive
    from bulkaudio.cli.spool import spooled
    from bulkaudio.errors import UsageError

    ids = [*(conversation or ()), *(options.id or ())]
    check_ids(ids)
    check_file("--ids", options.ids)
    check_reason(options.reason)
    is_named = bool(ids or options.ids)
    if is_named == (action == "list"):
        raise UsageError(
            "hold list takes no conversations"
            if is_named
            else f"hold {action} needs conversations",
            fix="give ids, --id ID or --ids FILE, to add and remove only",
        )
    require_archive(archive)
    if action == "list":
        with spooled() as file:
            asyncio.run(_list(archive, file, is_json=options.json))
        return 0
    changes = asyncio.run(_change(archive, action, ids, options))
    told()
    is_short = changes.left or changes.half_erased
    code = LEFT_EXIT_CODE if is_short and action == "add" else 0
    if options.json:
        document = _document(action, changes) | {"archive": str(archive), "exit_code": code}
        print(_compact(document), flush=True)
    elif not options.quiet or code:
        print("\n".join(_lines(action, changes)), flush=True)
    return code


async def _change(archive: Path, action: str, ids: Sequence[str], options: HoldOptions) -> Changes:
    from bulkaudio.archive import open_archive
    from bulkaudio.cli.chosen import chosen
    from bulkaudio.cli.warning import warn_of
    from bulkaudio.holding import hold as hold_page
    from bulkaudio.holding import release
    from bulkaudio.tombstones import Order

    order, changes, position = Order.mine(options.reason), Changes(), 0
    async with open_archive(archive) as held:
        erasures = held.ledger.erasures
        async for some in chosen(ids, options.ids):
            await erasures.want(some)
        work = hold_page if action == "add" else release
        while page := await erasures.dossiers(position, PAGE):
            position = page[-1].number
            changes.add(await work(held.ledger, held.store, page, order))
        warn_of(await erasures.interruption(), archive)
    return changes


def _document(action: str, changes: Changes) -> dict[str, Any]:
    """Return what ``hold --json`` prints of a change."""
    head = {"schema": SCHEMA, "action": action}
    if action == "add":
        return head | {
            "held": changes.done,
            "erased": changes.left_first,
            "erased_count": changes.left,
            "unknown": changes.unknown_first,
            "unknown_count": changes.unknown,
            "half_erased": changes.half_erased_first,
            "half_erased_count": changes.half_erased,
        }
    return head | {
        "released": changes.done,
        "not_held": changes.left_first,
        "not_held_count": changes.left,
    }


def _lines(action: str, changes: Changes) -> Sequence[str]:
    from bulkaudio.quantities import plural

    is_adding = action == "add"
    word = "held" if is_adding else "held no longer"
    lines = [f"{plural(changes.done, 'conversation')} {word}."] if changes.done else []
    if changes.left:
        why = "erased already, nothing is left to hold" if is_adding else "not held anyway"
        lines.append(f"{plural(changes.left, 'conversation')} {why}: {_some(changes.left_first)}")
    if changes.half_erased:
        lines.append(
            f"{plural(changes.half_erased, 'conversation')} of them half erased, by an erasure that was "
            "interrupted. Files that are left stay while it is held; what is gone is not fetched again: "
            f"{_some(changes.half_erased_first)}"
        )
    if changes.unknown:
        lines.append(
            f"{plural(changes.unknown, 'conversation')} of them not in this archive yet: "
            f"{_some(changes.unknown_first)}"
        )
    return lines


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (" …" if len(ids) > SHOWN else "")


async def _list(archive: Path, file: BinaryIO, *, is_json: bool) -> None:
    from bulkaudio.archive import look_into
    from bulkaudio.cli.warning import warn_of

    async with look_into(archive) as held:
        warn_of(await held.ledger.erasures.interruption(), archive)
        write = _write_document if is_json else _write_lines
        await write(held.ledger, file, archive)


async def _write_lines(ledger: "Ledger", file: BinaryIO, _archive: Path) -> None:
    count = 0
    async for hold in _holds(ledger):
        count += 1
        file.write(_line(hold).encode())
    if not count:
        file.write(b"Nothing is held.\n")


async def _write_document(ledger: "Ledger", file: BinaryIO, archive: Path) -> None:
    """Write one line, piece by piece: it may be long."""
    opening = {"schema": SCHEMA, "action": "list", "archive": str(archive), "exit_code": 0}
    file.write(_compact(opening).removesuffix("}").encode() + b',"holds":[')
    count = 0
    async for hold in _holds(ledger):
        file.write((b"," if count else b"") + _compact(_entry(hold)).encode())
        count += 1
    file.write(b'],"held":%d}\n' % count)


async def _holds(ledger: "Ledger") -> AsyncIterator["Hold"]:
    """Yield every hold, a page at a time."""
    last = ""
    while page := await ledger.holds.after(last, PAGE):
        last = page[-1].conversation_id
        for hold in page:
            yield hold


def _line(hold: "Hold") -> str:
    from bulkaudio.naming import printable
    from bulkaudio.observe.summary import utc_text

    why = f"  {printable(hold.reason, 500)}" if hold.reason else ""
    return f"{hold.conversation_id}  {utc_text(hold.held_at)}  {printable(hold.who)}{why}\n"


def _entry(hold: "Hold") -> dict[str, Any]:
    from bulkaudio.observe.summary import utc_text

    return {
        "id": hold.conversation_id,
        "held_at": utc_text(hold.held_at),
        "who": hold.who,
        "reason": hold.reason,
    }


def _compact(value: object) -> str:
    return json_text.dumps(value, separators=(",", ":"))
