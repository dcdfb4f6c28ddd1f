"""A download that is to run every night, and when; whatever runs it, the job is the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath

DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """
    When a job starts.

    Attributes:
        minute: Of the day, in `zone`.
        spread_s: It may start up to so much later, so that not everybody asks PolyAI at once.
        is_machines: Whether `zone` is what this machine's clock shows.
    """

    minute: int
    zone: str
    spread_s: float
    is_machines: bool

    def shifted(self, seed: str) -> int:
        """
        Return a minute of the day within the spread, always the same one for the same `seed`.

        For what has no random delay of its own; a job that starts at another time every night would
        also have to sleep until then.
        """
        span = int(self.spread_s // 60) + 1
        number = int.from_bytes(sha256(seed.encode()).digest()[:8])
        return (self.minute + number % span) % DAY_MINUTES


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFiles:
    """Files that hold the keys; the second one only where listing needs another key."""

    api_key: PurePosixPath
    conversations_key: PurePosixPath | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    What is to be run. All paths are absolute, and no text has a character that cannot be seen.

    Attributes:
        program: The words that start bulkaudio on this machine.
        options: Words of ``download``, without the keys' files.
        environment: Variables that `options` cannot say.
        archive: The folder that has to be there every night: with `url` that of the ledger alone.
        url: The object store that the recordings go to.
        reads, writes: Files by the option that named them, in the archive or not.
        grace_s: How long it may take to stop.
        user: Who runs it; None: whoever installs it.
    """

    name: str
    program: tuple[str, ...]
    options: tuple[str, ...]
    environment: Mapping[str, str]
    archive: PurePosixPath
    url: str | None = None
    keys: KeyFiles
    reads: Mapping[str, PurePosixPath]
    writes: Mapping[str, PurePosixPath]
    clock: Clock
    grace_s: float
    user: str | None = None

    def words(self) -> tuple[str, ...]:
        """Return the command line, with the keys read from where they lie on this machine."""
        keys = ["--api-key-file", str(self.keys.api_key)]
        if self.keys.conversations_key is not None:
            keys += ["--conversations-key-file", str(self.keys.conversations_key)]
        return (*self.program, *self.options, *keys)

    def shifted(self) -> int:
        """Return the minute of the day at which it starts where nothing delays it by chance."""
        return self.clock.shifted("\0".join((self.name, *self.options)))

    def is_kept(self, path: PurePosixPath) -> bool:
        """Whether a path lies in the archive's folder."""
        return path.is_relative_to(self.archive)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """
    A file to install.

    Attributes:
        place: Where it usually goes, for people.
    """

    name: str
    place: str
    text: str
