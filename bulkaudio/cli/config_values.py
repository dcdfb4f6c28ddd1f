"""
The values of a configuration file, held to the type that their option has.

They become the texts that a command line would have had: one reader for all sources, and one
wording for what it refuses.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any, Literal, get_args, get_origin

from cyclopts.argument import Argument

from bulkaudio.cli.config_tables import Setting
from bulkaudio.errors import UsageError

TIME = "T"
"""What stands for a time in the help of an option; in TOML it may be a date without quotes."""

KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a table",
    date: "a date",
}


def texts_of(argument: Argument, key: str, setting: Setting) -> list[str]:
    """Return what the option would have been given; raises `UsageError` for another type."""
    types = set(_types(argument.hint))
    value = setting.value
    values = value if isinstance(value, list) else [value]
    if any(isinstance(each, (dict, list)) for each in values) or (
        isinstance(value, list) and list not in types
    ):
        several = " or a list of them" if list in types else ""
        raise UsageError(
            f"{setting.source}: {key} must be a single value{several}, not {_kind(value)}",
            fix=f"write {key} = {_example(argument, types)}",
        )
    for each in values:
        if not _fits(each, argument, types):
            raise UsageError(
                f"{setting.source}: {key} must be {_wanted(argument, types)}, not {_kind(each)}",
                fix=f"write {key} = {_example(argument, types)}",
            )
    return [_text(each) for each in values]


def _types(hint: Any) -> Iterator[type]:
    """Yield what an option's value may be made of; a list and its elements are both named."""
    if get_origin(hint) is Literal:
        yield from {type(each) for each in get_args(hint)}
    elif get_args(hint):
        if get_origin(hint) is list:
            yield list
        for each in get_args(hint):
            yield from _types(each)
    elif isinstance(hint, type) and hint is not type(None):
        # A path, an address or a timetable is written as a text.
        yield hint if hint in KINDS else str


def _fits(value: Any, argument: Argument, types: set[type]) -> bool:
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, (int, float)):
        return bool(types & {int, float})
    if isinstance(value, date):
        return argument.parameter.metavar == TIME
    # What has a reader of its own, such as 1GB, is written as a text; what only counts is not.
    has_reader = argument.parameter.converter is not None and argument.parameter.metavar != "N"
    return str in types or (bool(types & {int, float}) and has_reader)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)


def _wanted(argument: Argument, types: set[type]) -> str:
    if argument.parameter.metavar == TIME:
        return "a text or a date"
    for kind in (bool, str, int, float):
        if kind in types:
            return KINDS[kind]
    return "a text"


def _example(argument: Argument, types: set[type]) -> str:
    if bool in types:
        return "true"
    if types & {int, float} and argument.parameter.metavar in {"N", None}:
        return "5"
    word = argument.get_choices() or (argument.parameter.metavar or "VALUE",)
    return f'"{word[0].partition("|")[0]}"'


def _kind(value: Any) -> str:
    return next((KINDS[kind] for kind in KINDS if isinstance(value, kind)), "such a value")
