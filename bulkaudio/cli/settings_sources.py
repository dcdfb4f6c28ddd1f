"""
Where options come from besides the command line: variables, then a TOML file.

Both are read here rather than by the library's own readers, because an empty variable has to count
as unset, an unknown key has to be refused by name, and keys of one command must not trouble
another.
"""

import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, Token
from cyclopts.argument import Argument

from bulkaudio.errors import UsageError

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
        for option, argument in _options(arguments):
            name = PREFIX + option.upper().replace("-", "_")
            value = self.environ.get(name)
            if value and not argument.tokens:
                _give(argument, argument.env_var_split(value), keyword=name, source="environment")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """
    Fills options from the configuration file, found by ``--config`` or at the usual places.

    Keys at the top are for every command that knows them; a table ``[download]`` is for its
    command alone. Never found in from the current folder unasked: a job must not change with where it
    was started.
    """

    known: Callable[[], Mapping[str, list[str]]]
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Add to `arguments` what neither the command line nor a variable gave."""
        del app
        options = dict(_options(arguments))
        if "config" not in options:
            return
        path = self._path(options["config"])
        if path is None:
            return
        document = _read(path)
        top = {_kebab(key): v for key, v in document.items() if not isinstance(v, dict)}
        tables = {key: v for key, v in document.items() if isinstance(v, dict)}
        asked = commands[0] if commands else ""
        command = TABLES.get(asked, asked)
        own = {_kebab(key): v for key, v in tables.get(command, {}).items()}
        if not tables.keys() <= {command} or not top.keys() <= options.keys():
            # The other commands are loaded only when something may be theirs.
            known = self.known()
            _refuse(path, "", top, (name for names in known.values() for name in names))
            _refuse(path, "", tables, known)
        if not own.keys() <= options.keys():
            others = self.known()[command] if command != asked else ()
            _refuse(path, f"[{command}] ", own, (*options, *others))
        for key, value in (top | own).items():
            argument = options.get(key)
            if argument is not None and not argument.tokens:
                _give(argument, _texts(path, key, value), keyword=key, source=str(path))

    def _path(self, argument: Argument) -> Path | None:
        if argument.tokens:
            path = Path(argument.tokens[-1].value).expanduser()
            if not _is_file(path, unless=True):
                raise UsageError(
                    f"the configuration file {path} does not exist",
                    fix="check --config and BULKAUDIO_CONFIG",
                )
            return path
        return configuration_file(None, self.environ)


def configuration_file(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file that options are read from: the one that was named, else the usual one."""
    if named is not None:
        return named.expanduser()
    return next((path for path in _usual(environ) if _is_file(path)), None)


def _usual(environ: Mapping[str, str]) -> Iterator[Path]:
    home = environ.get("HOME")
    base = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    if base and Path(base).is_absolute():
        yield Path(base) / "bulkaudio" / "bulkaudio.toml"
    yield Path("/etc/bulkaudio/bulkaudio.toml")


def _is_file(path: Path, *, unless: bool = False) -> bool:
    """
    Whether there is a file.

    Args:
        unless: What to say where this user may not look. A usual place, such as the home of whom
            the job was started by, is none then; a file that was named is told to be unreadable.
    """
    try:
        return path.is_file()
    except OSError:
        return unless


def options_of(app: App) -> dict[str, list[str]]:
    """Name the options of every command; loads them all, so ask only when a key is unknown."""
    names = [name for name in app if not name.startswith("-")]
    return {
        name: [option for option, _ in _options(app[name].assemble_argument_collection())]
        for name in names
    }


def _refuse(path: Path, where: str, keys: Iterable[str], known: Iterable[str]) -> None:
    names = list(dict.fromkeys(known))
    for key in keys:
        if key in names:
            continue
        near = get_close_matches(key, names, n=1)
        raise UsageError(
            f"{path}: {where}{key} is unknown",
            fix=f"did you mean {near[0]}?"
            if near
            else "bulkaudio download --help lists the options",
        )


def _options(arguments: ArgumentCollection) -> Iterator[tuple[str, Argument]]:
    """
    Yield each option's name without its dashes; positional arguments have none.

    An option that is not to show a variable has none: ``--csv`` of one command is a file to read, and
    of another a file to write.
    """
    for argument in arguments:
        is_own = argument.parameter.show_env_var is False
        if argument.name.startswith("--") and not (argument.children or is_own):
            yield argument.name.removeprefix("--"), argument


def _kebab(key: str) -> str:
    return key.replace("_", "-")


def _give(argument: Argument, values: list[str], *, keyword: str, source: str) -> None:
    for index, value in enumerate(values):
        token = Token(keyword=keyword, value=value, source=source, index=index)
        if argument.parameter.count and value.isdecimal():
            # Counting flags carry no value: `-vv` is two tokens that stand for one each.
            token = token.evolve(implicit_value=int(value))
        argument.append(token)


def _texts(path: Path, key: str, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if any(isinstance(each, (dict, list)) for each in values):
        raise UsageError(
            f"{path}: {key} must be a single value or a list of them",
            fix=f'write {key} = "VALUE"',
        )
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in values]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", fix="make it readable for this user"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is not valid TOML: {error}", fix='write lines like region = "uk"'
        ) from error
