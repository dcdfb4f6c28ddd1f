"""
Where options come from besides the command line: variables, then a TOML file.

Both are read here rather than by the library's own readers, because an empty variable has to count
as unset, an unknown key has to be refused by name, and keys of one command must not trouble
another.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cyclopts import App, ArgumentCollection, Token
from cyclopts.argument import Argument

from bulkaudio.cli.config_file import find_file
from bulkaudio.cli.config_tables import Asker, Known, no_file_for, settings_of
from bulkaudio.cli.config_values import texts_of

PREFIX = "BULKAUDIO_"

TABLES = {"schedule": "download", "doctor": "download"}
"""Commands that go by the table of another: what ``schedule`` writes is a download, and what
``doctor`` looks at is what one needs."""


@dataclass(frozen=True, slots=True)
class Variables:
    """Fills options from ``BULKAUDIO_<UPPER_SNAKE>``; an empty variable is none."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Add to `arguments` what neither the command line nor an earlier source gave."""
        del app, commands
        for option, argument in options_in(arguments):
            name = variable_of(option)
            value = self.environ.get(name)
            if value and not argument.tokens:
                _give(argument, argument.env_var_split(value), keyword=name, source="environment")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """
    Fills options from the configuration file; `config_file` says which it is.

    Never from the current folder unasked: a job must not change with where it was started.
    """

    known: Known
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Add to `arguments` what neither the command line nor a variable gave."""
        del app
        options = dict(options_in(arguments))
        if "config" not in options:
            return
        asked = commands[0] if commands else ""
        profile = _given(options.get("profile"))
        archive, state_dir = _archive(arguments, options), _given(options.get("state-dir"))
        file = find_file(_given(options["config"]), archive, self.environ, state_dir)
        if file is None:
            if profile is not None:
                raise no_file_for(profile)
            return
        asker = Asker(
            command=TABLES.get(asked, asked),
            profile=profile,
            options=frozenset(options),
            known=self.known,
        )
        for key, setting in settings_of(file, asker).items():
            texts = texts_of(options[key], key, setting)
            if not options[key].tokens:
                _give(options[key], texts, keyword=key, source=setting.source)


def _archive(arguments: ArgumentCollection, options: Mapping[str, Argument]) -> str | None:
    """Return the folder of the archive as far as it is known before any file is read."""
    positional = next((each for each in arguments if each.name == "ARCHIVE"), None)
    return _given(options.get("out")) or _given(positional)


def _given(argument: Argument | None) -> str | None:
    return argument.tokens[-1].value if argument is not None and argument.tokens else None


def variable_of(option: str) -> str:
    """Return the variable that sets an option."""
    return PREFIX + option.upper().replace("-", "_")


def options_of(app: App) -> dict[str, list[str]]:
    """Name the options of every command; loads them all, so ask only when a key is unknown."""
    return {name: list(_options_below(app[name])) for name in commands_of(app)}


def commands_of(app: App) -> list[str]:
    """Name the commands of a program, or those of a group of commands."""
    return [name for name in app if not name.startswith("-")]


def _options_below(app: App) -> Iterator[str]:
    names = commands_of(app)
    if not names:
        yield from (option for option, _ in options_in(app.assemble_argument_collection()))
    for name in names:
        yield from _options_below(app[name])


def options_in(arguments: ArgumentCollection) -> Iterator[tuple[str, Argument]]:
    """
    Yield each option's name without its dashes; positional arguments have none.

    An option that is not to show a variable has none: ``--csv`` of one command is a file to read, and
    of another a file to write.
    """
    for argument in arguments:
        is_own = argument.parameter.show_env_var is False
        if argument.name.startswith("--") and not (argument.children or is_own):
            yield argument.name.removeprefix("--"), argument


def _give(argument: Argument, values: list[str], *, keyword: str, source: str) -> None:
    for index, value in enumerate(values):
        token = Token(keyword=keyword, value=value, source=source, index=index)
        if argument.parameter.count and value.isdecimal():
            # Counting flags carry no value: `-vv` is two tokens that stand for one each.
            token = token.evolve(implicit_value=int(value))
        argument.append(token)
