"""Options as the words of a command line that gives exactly them."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from cyclopts.argument import Argument

from bulkaudio.errors import UsageError
from bulkaudio.naming import printable

ALSO_PATHS = ("--csv", "--out", "--state-dir")
"""Paths that may be something else, such as ``-``, and so are texts to the command line."""

ADDRESS = "://"
"""Marks an archive that is at an address and not in a folder."""


def words_of(options: Iterable[tuple[str, Argument]]) -> Iterator[str]:
    """Write options that were given; paths become absolute."""
    for name, argument in options:
        yield from _words(name, argument)


def path_of(text: str) -> PurePosixPath:
    """Make a path absolute and plain, as systemd wants it; links are for the job to follow."""
    return PurePosixPath(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100  resolve follows


def is_path(name: str, argument: Argument) -> bool:
    """Whether an option's value is a path."""
    return name in ALSO_PATHS or Path in {argument.hint, *get_args(argument.hint)}


def check_visible(name: str, value: str) -> None:
    """Refuse what not every file of a scheduler can hold; raises `UsageError`."""
    if not value.isprintable():
        raise UsageError(
            f"{name} {printable(value)} has a line break or another character that cannot be seen, "
            "which a scheduler's file cannot hold",
            fix="give a value without it",
        )


def _words(name: str, argument: Argument) -> Iterator[str]:
    value: Any = argument.value
    if isinstance(value, bool):
        switch = name if value else _negative(argument)
        yield from (switch,) if switch else ()
    elif argument.parameter.count:
        yield from (name for _ in range(value))
    else:
        texts = [token.value for token in argument.tokens]
        for text in texts if isinstance(value, list) else texts[-1:]:
            is_folder = is_path(name, argument) and not (name == "--out" and ADDRESS in text)
            shown = str(path_of(text)) if is_folder else text
            check_visible(name, shown)
            # Another word would be taken for an option of its own.
            yield from (f"{name}={shown}",) if shown.startswith("-") else (name, shown)


def _negative(argument: Argument) -> str | None:
    return next((each for each in argument.negatives if each.startswith("--")), None)
