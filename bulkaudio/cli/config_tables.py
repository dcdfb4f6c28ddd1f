"""
The tables of a configuration file, and which of their keys count for a command.

Keys at the top are for every command that knows them, a table ``[download]`` for its command alone,
and a table ``[profile.NAME]`` for whoever chooses that profile: the later ones win.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bulkaudio.cli.config_file import ConfigFile
from bulkaudio.errors import UsageError
from bulkaudio.naming import printable

PROFILE = "profile"

CHOOSES_THE_FILE = ("config", PROFILE)
"""Options that say what to read, so that no file can."""

NOT_UNASKED = ("ca-bundle", "proxy", "store-endpoint")
"""Who may read the traffic, keys and all, is not for a file that was found and not named."""

SECRETS = ("key", "apikey", "token", "secret", "password", "passwd")
"""What the last word of a key is called that somebody wants to keep an API key under."""

Known = Callable[[], Mapping[str, list[str]]]
"""Names the options of every command; asked only when it must be, because it loads them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value, and the file and table that it stands in, for people."""

    source: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Attributes: name: As it is written, with its brackets; empty for the top."""

    path: Path
    name: str
    entries: Mapping[str, Any]

    @property
    def source(self) -> str:
        return f"{self.path} {printable(self.name)}" if self.name else str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """
    Whom the settings are for.

    Attributes:
        command: Its first word, or that of the command whose table it goes by.
        options: Its own.
        known: Every command's.
    """

    command: str
    profile: str | None
    options: frozenset[str]
    known: Known


def settings_of(file: ConfigFile, asker: Asker) -> dict[str, Setting]:
    """
    Pick what a file says to a command, by option.

    Raises:
        UsageError: For a key or table that nobody knows, wherever it stands, for an API key, and
            for a profile that is not there.
    """
    tables = {table.name: table for table in _tables(file)}
    for table in tables.values():
        _check(table, asker, is_unasked=file.is_archives_own)
    chosen = ["", f"[{asker.command}]"]
    if asker.profile is not None:
        chosen.append(_profile(asker.profile, file, tables))
    return {
        key: Setting(source=tables[name].source, value=value)
        for name in chosen
        if name in tables
        for key, value in tables[name].entries.items()
        if key in asker.options
    }


def no_file_for(profile: str) -> UsageError:
    """Make the error of a profile where there is no file to have one."""
    return UsageError(
        f"there is no configuration file that could have the profile {printable(profile)!r}",
        fix="name the file with --config, or leave --profile and BULKAUDIO_PROFILE out",
    )


def _tables(file: ConfigFile) -> Iterator[_Table]:
    path, document = file.path, file.document
    top = {key: value for key, value in document.items() if not isinstance(value, dict)}
    yield _Table(path=path, name="", entries=_kebab(path, top))
    for name, keys in document.items():
        if isinstance(keys, dict) and name != PROFILE:
            yield _Table(path=path, name=f"[{name}]", entries=_kebab(path, keys))
    profiles = document.get(PROFILE, {})
    for name, keys in profiles.items() if isinstance(profiles, dict) else ():
        if not isinstance(keys, dict):
            raise UsageError(
                f"{path} [{PROFILE}]: {printable(name)} stands in no profile",
                fix=f"give the profile a name: [{PROFILE}.NAME]",
            )
        yield _Table(path=path, name=f"[{PROFILE}.{name}]", entries=_kebab(path, keys))


def _kebab(path: Path, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Write keys as options are written; both spellings of one contradict each other."""
    found: dict[str, Any] = {}
    for key, value in keys.items():
        name = key.replace("_", "-")
        if name in found:
            raise UsageError(
                f"{path}: {printable(name)} is given twice, with - and with _",
                fix="leave one of them out",
            )
        found[name] = value
    return found


def _check(table: _Table, asker: Asker, *, is_unasked: bool) -> None:
    for key in table.entries:
        if key.lower().rpartition("-")[2] in SECRETS:
            raise _secret(table, key)
        if key in CHOOSES_THE_FILE:
            raise UsageError(
                f"{table.source}: {key} cannot be set in the file itself",
                fix=f"give --{key}, or set BULKAUDIO_{key.upper()}",
            )
        if is_unasked and key in NOT_UNASKED:
            raise UsageError(
                f"{table.source}: {key} is not taken from a file that was found in the archive",
                fix=f"give --{key}, or name the file with --config",
            )
    _check_names(table, asker)


def _check_names(table: _Table, asker: Asker) -> None:
    is_commands = table.name and not table.name.startswith(f"[{PROFILE}.")
    if is_commands and table.name != f"[{asker.command}]":
        command = table.name[1:-1]
        known = asker.known()
        _refuse(str(table.path), [command], [*known, PROFILE])
        _refuse(table.source, table.entries, known[command])
    elif not set(table.entries) <= asker.options:
        known = asker.known()
        # Its own and those of the command whose table it goes by.
        own = (*asker.options, *known.get(asker.command, ()))
        names = own if is_commands else {name for each in known.values() for name in each}
        _refuse(table.source, table.entries, names)


def _refuse(source: str, keys: Iterable[str], known: Iterable[str]) -> None:
    names = sorted(set(known))
    for key in keys:
        if key in names:
            continue
        near = get_close_matches(key, names, n=1)
        raise UsageError(
            f"{source}: {printable(key)} is unknown",
            fix=f"did you mean {near[0]}?"
            if near
            else "bulkaudio download --help lists the options",
        )


def _secret(table: _Table, key: str) -> UsageError:
    """Refuse a key's value, without telling it."""
    option = "conversations-key-file" if "conversation" in key.lower() else "api-key-file"
    return UsageError(
        f"{table.source}: {printable(key)} is unknown, and no API key belongs into this file",
        fix=f'write the key into a file that only you can read, and here {option} = "FILE"',
    )


def _profile(name: str, file: ConfigFile, tables: Mapping[str, _Table]) -> str:
    """Return the table of a profile."""
    wanted, prefix = f"[{PROFILE}.{name}]", f"[{PROFILE}."
    if wanted in tables:
        return wanted
    names = [table.removeprefix(prefix)[:-1] for table in tables if table.startswith(prefix)]
    near = get_close_matches(name, names, n=1)
    listed = ", ".join(printable(each) for each in names)
    raise UsageError(
        f"{file.path} has no profile {printable(name)!r}",
        fix=(f"did you mean {printable(near[0])}? " if near else "")
        + (f"it has {listed}" if names else f"write a table {prefix}{printable(name)}] into it"),
    )
