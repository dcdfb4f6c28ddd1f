"""The command ``config show``: every option's value in effect, and where it comes from."""

import json as json_text
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, ArgumentCollection, CycloptsError, Parameter
from cyclopts.argument import Argument

from bulkaudio.cli.options import DEFAULTS, DownloadOptions, WhereOptions
from bulkaudio.cli.places import folder_of

if TYPE_CHECKING:
    from bulkaudio.cli.effective import Memory, Row
    from bulkaudio.cli.shown import Shown


def show(
    *options: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    json: Annotated[bool, Parameter(negative="", help="Print one line of JSON.")] = False,
) -> int:
    """Tell what `download` would do with these options, and why."""
    from bulkaudio.observe.terminal import console

    shown = look(options)
    if json:
        print(json_text.dumps(shown.document(), separators=(",", ":")), flush=True)
    else:
        console(sys.stdout).print(shown.page(), soft_wrap=True)
    return 0


def look(words: Sequence[str]) -> "Shown":
    """
    Read options as `download` would, from all of their sources; nothing is requested.

    Raises:
        BulkAudioError: As `download` would end with it: wrong options, a spoilt ledger.
    """
    import asyncio

    from bulkaudio.cli.config_file import find_file
    from bulkaudio.cli.effective import Origin, rows_of
    from bulkaudio.cli.shown import Shown, keys_of
    from bulkaudio.settings import CONFIG_FILE

    arguments, options = _parsed(words)
    root = _root(options.where)
    memory = None if root is None else asyncio.run(_memory(root, options))
    rows = [_placed(row, options.where) for row in rows_of(arguments, options, memory)]
    by_name: dict[str, Row] = {row.name: row for row in rows}
    out, config = by_name["out"], options.output.config
    # A file that names the archive was found without knowing it.
    archive = None if out.origin is Origin.FILE else options.where.out
    named = None if config is None else str(config)
    file = find_file(named, archive, os.environ, options.where.state_dir)
    return Shown(
        rows=rows,
        file=None if file is None else file.path,
        profile=options.output.profile,
        memory=memory,
        keys=keys_of(options.keys, by_name["region"].value, os.environ),
        passed_over=CONFIG_FILE if file is None and Path(CONFIG_FILE).is_file() else None,
    )


def _parsed(words: Sequence[str]) -> tuple[dict[str, Argument], DownloadOptions]:
    from bulkaudio.cli.app import COMMANDS, make_app
    from bulkaudio.cli.mistakes import usage_error
    from bulkaudio.cli.settings_sources import options_in

    found: dict[str, Argument] = {}

    def keep(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        found.update(options_in(arguments))

    app = make_app()
    app.config = (*app.config, keep)
    line = ["download", *words]
    try:
        _, bound, _ = app.parse_args(line, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise usage_error(error, line, [name for name, *_ in COMMANDS]) from error
    options = bound.arguments.get("options", DEFAULTS)
    return found, options if isinstance(options, DownloadOptions) else DEFAULTS


def _root(where: WhereOptions) -> Path | None:
    """Return the folder of an archive that is there already; nothing is made."""
    from bulkaudio.archive import is_archive

    if not where.out or "\0" in where.out:
        return None
    root = folder_of(where.out, where.state_dir)
    return root if is_archive(root) else None


def _placed(row: "Row", where: WhereOptions) -> "Row":
    """Name the folder that goes with an address, instead of saying how it is named."""
    from bulkaudio.cli.effective import Origin

    if (
        row.name != "state-dir"
        or row.origin is not Origin.DEFAULT
        or "://" not in (where.out or "")
    ):
        return row
    folder = str(folder_of(where.out, None))
    return replace(row, value=folder, shown=folder)


async def _memory(root: Path, options: DownloadOptions) -> "Memory":
    from bulkaudio.archive import look_into
    from bulkaudio.cli.effective import Memory, memory_of, reached_by
    from bulkaudio.errors import ArchiveBusyError
    from bulkaudio.remember import LISTING_PIN

    try:
        async with look_into(root) as held:
            pins, has_saved = await held.remembered(), await held.ledger.has_saved()
    except ArchiveBusyError:
        return Memory(root=root, values=reached_by(root), is_held=True)
    listing = None if options.source.csv else pins.get(LISTING_PIN)
    memory = memory_of(root, pins, listing, has_saved=has_saved)
    return replace(memory, values={**memory.values, **reached_by(root)})
