"""
Every error that leaves bulkaudio.

One rooted tree; each class carries the exit code that the command line ends with::

    BulkAudioError                 1   unexpected: a bug
     ├── UsageError                2   usage, configuration or input
     │    └── WrongHostError       2   the base URL, region or agent leads nowhere
     ├── KeyRefusedError           4   key missing, refused or not allowed
     ├── HostUnavailableError      5   PolyAI unreachable, throttled or broken throughout
     │    └── ListingError         5   the listing cannot be read to its end
     ├── LocalError                6   this machine
     │    ├── StorageError         6   disk, permissions
     │    ├── ClusterError         6   scheduler or workers missing, or lost
     │    └── LedgerError          6   ledger damaged, missing, newer
     └── ArchiveBusyError         75   another run holds this archive

One recording's failure is not an error but a value, ``bulkaudio.model.Outcome``: only what must
stop the whole run is raised.
"""

import errno
from typing import ClassVar


class BulkAudioError(Exception):
    """
    Root of the tree.

    Args:
        message: What failed and the likely cause.
        fix: What the reader can do about it.
        correlation_id: PolyAI's support id of the answer that led here.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, fix: str | None = None, correlation_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.correlation_id = correlation_id

    def __str__(self) -> str:
        parts = [self.message]
        if self.fix:
            parts.append(f"Fix: {self.fix}")
        if self.correlation_id:
            parts.append(f"Support id: {self.correlation_id}")
        return "\n".join(parts)


class UsageError(BulkAudioError):
    """Wrong usage, configuration or input: nothing was requested."""

    exit_code = 2


class WrongHostError(UsageError):
    """The host answers, but does not know the endpoint or the agent."""


class KeyRefusedError(BulkAudioError):
    """The API key is missing, refused or not allowed."""

    exit_code = 4


class HostUnavailableError(BulkAudioError):
    """PolyAI is unreachable, throttling or broken for longer than the run may wait."""

    exit_code = 5


class ListingError(HostUnavailableError):
    """The listing cannot be read to its documented end."""


class LocalError(BulkAudioError):
    """This machine cannot keep recordings."""

    exit_code = 6


class StorageError(LocalError):
    """Disk or permissions."""


class ClusterError(LocalError):
    """The scheduler or its workers are missing, were lost, or are of another version."""


class BucketAuthError(StorageError):
    """The credentials of an object store are missing, refused, or not allowed to do what was tried."""


class NoCredentialsError(BucketAuthError):
    """None were found, so that nothing was asked of the object store."""


class UntrustedStoreError(StorageError):
    """The certificate of an object store is not one to send recordings to."""


class LedgerError(LocalError):
    """The ledger is damaged, missing beside saved recordings, or newer than this program."""


class ArchiveBusyError(BulkAudioError):
    """Another run holds this archive."""

    exit_code = 75


AND_AGAIN = "and run again: it goes on where it stopped"


def exhaustion(error: BaseException) -> LocalError | None:
    """Say what this machine, or a limit set for this process, ran out of; None if it was not that."""
    match error:
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return LocalError(
                f"this process or machine has too many files open ({error.strerror})",
                fix=f"raise the limit (ulimit -n), or lower --concurrency, {AND_AGAIN}",
            )
        case MemoryError() | OSError(errno=errno.ENOMEM):
            return LocalError(
                "this machine, or a limit set for this process, leaves no more memory",
                fix="raise the limit (ulimit -v, or that of the container), or lower "
                f"--concurrency, {AND_AGAIN}",
            )
        case RuntimeError() if "start new thread" in str(error):
            return LocalError(
                "this machine, or a limit set for this process, allows no more threads",
                fix="raise the limits of memory and processes (ulimit -v, ulimit -u, or those of "
                f"the container), or lower --concurrency, {AND_AGAIN}",
            )
    return None


def first_cause(several: BaseExceptionGroup) -> BaseException:
    """Pick what ended the run; what else failed in the same instant stays chained."""
    causes = list(_leaves(several))
    for cause in causes:
        if isinstance(cause, BulkAudioError):
            return cause
    return causes[0]


def _leaves(several: BaseExceptionGroup) -> list[BaseException]:
    found: list[BaseException] = []
    for each in several.exceptions:
        found.extend(_leaves(each) if isinstance(each, BaseExceptionGroup) else [each])
    return found
