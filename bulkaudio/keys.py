"""
Where the API key is looked for. The first hit wins; no value ever reaches a message.

There is no option that takes a key's value: it would stand in the process list, in the shell's
history and in the scheduler's log.
"""

import codecs
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from bulkaudio.errors import KeyRefusedError, UsageError
from bulkaudio.settings import ApiKey, Secret

KIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "us": ("us", "us-1"),
    "uk": ("uk", "uk-1"),
    "eu": ("euw", "eu", "euw-1"),
    "studio": ("studio",),
}
"""What the vendor's command-line kit calls each region, in the environment and in its file."""

LIKE_A_KEY = 20
"""Characters of a name without a folder from which on it is more likely a key."""

MAX_KEY_BYTES = 16 * 1024
"""A longer file is not a key file; a mistyped path must not be read into memory whole."""

CREDENTIAL = "polyai-api-key"
"""Of systemd's ``LoadCredential=`` and ``SetCredential=``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKeys:
    """
    What the lookup found.

    Attributes:
        conversations_key: For listing; None: the same key as for recordings.
        notes: Whole sentences for a person, such as a file that others can read.
    """

    api_key: ApiKey
    conversations_key: ApiKey | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFinder:
    """
    Looks keys up. Blocking, and standard input can be read only once: call `find` once.

    Attributes:
        api_key_file, conversations_key_file: Paths as typed, or ``-``; None: not given.
    """

    api_key_file: str | None = None
    conversations_key_file: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    stdin: BinaryIO | None = field(default=None, repr=False)

    def find(self, region: str) -> FoundKeys:
        """
        Find the keys for `region`, one of the keys of `KIT_NAMES`.

        Raises:
            KeyRefusedError: When there is none, or the first hit is no usable key.
            UsageError: When standard input would have to be read twice.
        """
        if self.api_key_file == self.conversations_key_file == "-":
            raise UsageError(
                "both keys are to be read from standard input",
                fix="give one of --api-key-file and --conversations-key-file a file",
            )
        notes: list[str] = []
        api_key = next((key for key in self._api_keys(region, notes) if key), None)
        if api_key is None:
            raise KeyRefusedError(
                f"no PolyAI API key found; looked at: {', '.join(self.places(region))}",
                fix="write the key into a file that only you can read and pass --api-key-file "
                "FILE, or set POLYAI_API_KEY",
            )
        conversations_key = self._conversations_key(notes)
        return FoundKeys(
            api_key=api_key, conversations_key=conversations_key, notes=tuple(dict.fromkeys(notes))
        )

    def places(self, region: str) -> tuple[str, ...]:
        """Name every place that is looked at, in order."""
        return (
            "--api-key-file",
            "BULKAUDIO_API_KEY_FILE",
            f"$CREDENTIALS_DIRECTORY/{CREDENTIAL}",
            *_variables(region),
            "~/.poly/credentials.json" + ("" if self.environ.get("HOME") else " (HOME is not set)"),
        )

    def _api_keys(self, region: str, notes: list[str]) -> Iterator[ApiKey | None]:
        yield self._named_file(self.api_key_file, "api-key-file", notes)
        directory = self.environ.get("CREDENTIALS_DIRECTORY")
        if directory and _may_be(path := Path(directory) / CREDENTIAL):
            yield _file_key(path, f"$CREDENTIALS_DIRECTORY/{CREDENTIAL}", notes)
        for name in _variables(region):
            yield self._variable(name)
        yield self._kit_file(region)

    def _conversations_key(self, notes: list[str]) -> ApiKey | None:
        named = self._named_file(self.conversations_key_file, "conversations-key-file", notes)
        return named or self._variable("POLYAI_CONVERSATIONS_API_KEY")

    def _named_file(self, given: str | None, option: str, notes: list[str]) -> ApiKey | None:
        variable = "BULKAUDIO_" + option.upper().replace("-", "_")
        from_environment = self.environ.get(variable) or None
        name = given or from_environment
        if name is None:
            return None
        if name == "-":
            stdin = self.stdin or sys.stdin.buffer
            text = _decoded(stdin.read(MAX_KEY_BYTES + 1), "standard input")
            return ApiKey(value=text, source=f"--{option} - (standard input)")
        source = variable if name == from_environment else f"--{option}"
        return _file_key(Path(name).expanduser(), f"{source} {name}", notes)

    def _variable(self, name: str) -> ApiKey | None:
        # An empty variable is an error, not a miss: it is how a missing CI secret looks, and the
        # next place might hold the key of another account.
        if name not in self.environ:
            return None
        raw = self.environ[name].encode("utf-8", "surrogateescape")
        return ApiKey(value=_decoded(raw, name), source=name)

    def _kit_file(self, region: str) -> ApiKey | None:
        home = self.environ.get("HOME")
        if not home:
            return None
        path = Path(home) / ".poly" / "credentials.json"
        source = "~/.poly/credentials.json"
        try:
            mode = path.stat().st_mode
        except OSError:
            return None
        if mode & 0o077:
            raise KeyRefusedError(
                f"{source} can be read by others (mode {stat.S_IMODE(mode):04o}), so its key is "
                "not used",
                fix=f"chmod 600 {path}",
            )
        if _kit_entry(path, region) is None:
            return None

        def reread() -> Secret:
            entry = _kit_entry(path, region)
            if entry is None:
                raise KeyRefusedError(
                    f"{source} no longer holds a key for region {region}",
                    fix="log in with the command-line kit again",
                )
            return entry

        return ApiKey(value=reread(), source=f"{source} ({region})", reread=reread)


def _may_be(path: Path) -> bool:
    """Whether there is something; where this user may not look, reading it tells so."""
    try:
        return path.exists()
    except OSError:
        return True


def _variables(region: str) -> tuple[str, ...]:
    kit = (f"POLY_ADK_KEY_{name.upper()}" for name in KIT_NAMES.get(region, ()) if "-" not in name)
    return ("POLYAI_API_KEY", "POLY_API_KEY", *kit, "POLY_ADK_KEY")


def _file_key(path: Path, source: str, notes: list[str]) -> ApiKey:
    """
    Read a key file.

    A file that others can read is noted, not refused: secrets mounted by Docker and Kubernetes
    have mode 0444 or 0644, and refusing them would break the run for nothing. As ssh does, only
    the file's owner is told, who can change it; a read-only mount cannot be changed.
    """
    value = _file_secret(path, source)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        # A pipe (`<(pass show polyai)`) gives its key once: reading it again would hang.
        return ApiKey(value=value, source=source)
    is_changeable = not os.statvfs(path).f_flag & os.ST_RDONLY
    if status.st_mode & 0o077 and status.st_uid == os.geteuid() and is_changeable:
        mode = stat.S_IMODE(status.st_mode)
        notes.append(f"The key file can be read by others (mode {mode:04o}): chmod 600 {path}")
    return ApiKey(value=value, source=source, reread=lambda: _file_secret(path, source))


def _file_secret(path: Path, source: str) -> Secret:
    return _decoded(_content(path, source), source)


def _content(path: Path, source: str) -> bytes:
    try:
        with closing(path.open("rb")) as file:
            return file.read(MAX_KEY_BYTES + 1)
    except FileNotFoundError:
        # Not chained, and perhaps not shown: it may be the key itself, given by mistake.
        is_path = len(path.parts) > 1 or len(path.name) < LIKE_A_KEY
        shown = source if is_path else source.partition(" ")[0]
        raise KeyRefusedError(
            f"the key from {shown} cannot be read: there is no such file",
            fix="name a file that holds the key; no option takes the key itself",
        ) from None
    except OSError as error:
        raise KeyRefusedError(
            f"the key from {source} cannot be read: {error.strerror}",
            fix="check the path and that this user may read it",
        ) from error


def _decoded(raw: bytes, source: str) -> Secret:
    """Check that `raw` can stand in a header; surrounding white space is dropped."""
    raw = raw.removeprefix(codecs.BOM_UTF8).strip()
    flaw = None
    if not raw:
        flaw = "is empty"
    elif len(raw) > MAX_KEY_BYTES:
        flaw = f"is longer than {MAX_KEY_BYTES // 1024} KiB, so it is not a key"
    elif any(byte in b"\r\n" for byte in raw):
        flaw = "has more than one line"
    elif any(byte in b" \t" for byte in raw):
        flaw = "has a space inside"
    elif any(not 0x21 <= byte <= 0x7E for byte in raw):
        flaw = "has characters that no key has (not printable ASCII)"
    if flaw:
        again = "copy the key again: it is one line of letters, digits and signs"
        raise KeyRefusedError(
            f"the API key from {source} {flaw}",
            fix=again if raw else "put the key there, or remove it to have other places looked at",
        )
    return Secret(raw.decode("ascii"))


def _kit_entry(path: Path, region: str) -> Secret | None:
    source = "~/.poly/credentials.json"
    try:
        entries = json.loads(_content(path, source))
    except ValueError:
        # The parser's exception carries the document, key and all: not chained.
        raise KeyRefusedError(
            f"{source} is not valid JSON", fix="log in with the command-line kit again"
        ) from None
    if not isinstance(entries, dict):
        raise KeyRefusedError(
            f"{source} does not hold keys by region", fix="log in with the command-line kit again"
        )
    names = KIT_NAMES.get(region, ())
    entry = next((entries[name] for name in names if name in entries), None)
    if entry is None:
        return None
    return _decoded(str(entry).encode("utf-8", "surrogatepass"), f"{source} ({region})")
