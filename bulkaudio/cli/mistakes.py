"""What the command line's library found wrong with a command line, in this program's words."""

from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Literal, get_args, get_origin

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    Token,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)
from cyclopts.argument import Argument

from bulkaudio.cli.values import needs_file, origin
from bulkaudio.errors import UsageError

TAKE_HYPHENS = ("--csv", "--api-key-file", "--conversations-key-file")
"""Options whose value may be ``-``, so that an option that follows at once is taken as theirs."""


def usage_error(
    error: CycloptsError, arguments: Sequence[str], commands: Sequence[str]
) -> UsageError:
    """Say what is wrong with `arguments`, and what to type instead."""
    command = next((name for name in commands if _begins(arguments, name)), None)
    listing = f"bulkaudio {command} --help" if command else "bulkaudio --help"
    match error:
        case UnknownCommandError():
            return _unknown_command(*_misnamed(error, arguments, commands))
        case UnknownOptionError():
            return _unknown_option(error, command or "bulkaudio", listing)
        case UnusedCliTokensError():
            return _surplus(error, arguments, listing)
        case MissingArgumentError() if error.argument is not None:
            return _missing(error, error.argument, f"bulkaudio {command}")
        case CoercionError() if error.token is not None:
            return _unreadable(error, error.token, error.argument)
        case _:
            return _other(error, listing)


def _begins(arguments: Sequence[str], command: str) -> bool:
    words = command.split()
    return list(arguments[: len(words)]) == words


def _misnamed(
    error: UnknownCommandError, arguments: Sequence[str], commands: Sequence[str]
) -> tuple[str, Sequence[str]]:
    """Return what was typed for a command, and what could have been: of a family, its own."""
    word = (error.unused_tokens or arguments)[0]
    family = [name for name in commands if name.startswith(f"{arguments[0]} ")]
    if family and word != arguments[0]:
        return f"{arguments[0]} {word}", family
    return word, list(dict.fromkeys(name.partition(" ")[0] for name in commands))


def _unknown_command(word: str, commands: Sequence[str]) -> UsageError:
    if word.startswith("-"):
        return UsageError(
            f"{word[:80]} is not an option of bulkaudio",
            fix="begin with a command, such as bulkaudio download; bulkaudio --help lists them",
        )
    return UsageError(
        f"{word[:80]!r} is not a command",
        fix=_meant(word, commands) + f"the commands are {', '.join(commands)}",
    )


def _unknown_option(error: UnknownOptionError, command: str, listing: str) -> UsageError:
    option = (error.token.keyword or error.token.value).partition("=")[0]
    names = [name for each in error.argument_collection for name in each.names]
    return UsageError(
        f"{option[:80]} is not an option of {command}",
        fix=_meant(option, names) + f"{listing} lists the options",
    )


def _surplus(error: UnusedCliTokensError, arguments: Sequence[str], listing: str) -> UsageError:
    for name, value in pairwise(arguments):
        if name in TAKE_HYPHENS and value.startswith("--"):
            return needs_file(name, value)
    surplus = " ".join(error.unused_tokens or ())
    hint = "give a file of ids as --csv FILE; " if arguments[:1] == ["download"] else ""
    return UsageError(
        f"{surplus[:80]!r} belongs to no option",
        fix=f"{hint}put quotes around a value that holds spaces; {listing} lists the options",
    )


def _other(error: CycloptsError, listing: str) -> UsageError:
    if isinstance(error, RepeatArgumentError):
        return UsageError(f"{error.token.keyword} is given more than once", fix="give it one value")
    text = str(error).strip().rstrip(".")
    return UsageError(text[:1].lower() + text[1:], fix=f"{listing} lists the options")


def _missing(error: MissingArgumentError, argument: Argument, program: str) -> UsageError:
    is_positional = not argument.name.startswith("-")
    choices = argument.get_choices(force=True)
    if argument.index:
        program += " ARCHIVE"
    if is_positional and choices:
        return UsageError(
            f"{argument.name} is missing", fix=f"write {program} and one of: {', '.join(choices)}"
        )
    if is_positional:
        return UsageError(
            f"{argument.name} is missing: the folder of an archive",
            fix=f"write {program} {argument.name}, with the folder that was given as --out",
        )
    name = error.keyword or argument.name
    return UsageError(
        f"{name} needs a value", fix=f"write {name} {argument.parameter.metavar or 'VALUE'}"
    )


def _unreadable(error: CoercionError, token: Token, argument: Argument | None) -> UsageError:
    is_positional = argument is not None and not argument.name.startswith("-")
    name = argument.name if argument is not None and is_positional else origin(token)
    given = token.value
    if error.target_type is bool:
        return UsageError(
            f"{name} is a switch, and {given[:40]!r} is not a setting of it",
            fix="leave the value out; in a variable or a file, write true or false",
        )
    return UsageError(f"{name} cannot be {given[:40]!r}", fix=_allowed(error, argument))


def _allowed(error: CoercionError, argument: Argument | None) -> str:
    if get_origin(error.target_type) is Literal:
        choices = ", ".join(str(choice) for choice in get_args(error.target_type))
        if argument is not None and argument.parameter.show_choices is False:
            choices = (str(argument.parameter.metavar or "")).replace("|", ", ") or choices
        return f"choose one of: {choices}"
    return "write a whole number" if error.target_type is int else "check its value"


def _meant(word: str, names: Sequence[str]) -> str:
    near = get_close_matches(word, names, n=1, cutoff=0.7)
    return f"did you mean {near[0]}? " if near else ""
