"""
Checks as values: what was looked at, how it stands, what to do, and what all of them come to.

Rules of this file: pure. Names, statuses and the schema are what scripts rely on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from bulkaudio.errors import (
    ArchiveBusyError,
    BulkAudioError,
    HostUnavailableError,
    KeyRefusedError,
    LocalError,
    UsageError,
)
from bulkaudio.version import __version__

SCHEMA = "bulkaudio.doctor/1"


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    """It does not apply, or what it depends on has failed."""


CONFIGURATION = UsageError.exit_code
KEY = KeyRefusedError.exit_code
MACHINE = LocalError.exit_code
HOST = HostUnavailableError.exit_code
BUSY = ArchiveBusyError.exit_code

WORST_FIRST = (BulkAudioError.exit_code, CONFIGURATION, KEY, MACHINE, HOST, BUSY)
"""The order in which `download` would stumble: what stops it first is what is to be mended first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    One check.

    Attributes:
        name: ``group.what``, or ``what`` alone; see `NAMES`.
        fix: What the reader can do about it, where it is not fine.
        support_id: PolyAI's, of the answer that led here.
        exit_code: 0 unless it failed.
    """

    name: str
    status: Status
    detail: str
    fix: str | None = None
    support_id: str | None = None
    exit_code: int = 0

    def entry(self) -> dict[str, Any]:
        """Write it for ``--json``."""
        return {
            "name": self.name,
            "status": self.status.value,
            "detail": self.detail,
            "fix": self.fix,
            "support_id": self.support_id,
            "exit_code": self.exit_code,
        }


GROUPS: Mapping[str, tuple[str, ...]] = {
    "": ("configuration", "source", "agent"),
    "recordings": ("dns", "tls", "answer", "clock", "key"),
    "conversations": ("dns", "tls", "answer", "clock", "key"),
    "archive": ("folder", "permissions", "disk", "space", "ledger"),
    "store": ("credentials", "tls", "bucket", "archive"),
}
"""Every check, in the order in which it is shown; those of a store only where there is one."""

NAMES = tuple(f"{group}.{what}".strip(".") for group, each in GROUPS.items() for what in each)


def ok(name: str, detail: str) -> Check:
    """Say that something is as it has to be."""
    return Check(name=name, status=Status.OK, detail=detail)


def skip(name: str, why: str) -> Check:
    """Say why something was not looked at."""
    return Check(name=name, status=Status.SKIP, detail=why)


def warn(name: str, detail: str, fix: str) -> Check:
    """Say that something is not as it should be, and does not stop a download."""
    return Check(name=name, status=Status.WARN, detail=detail, fix=fix)


def fail(name: str, detail: str, fix: str | None, exit_code: int) -> Check:
    """Say that something would stop a download."""
    return Check(name=name, status=Status.FAIL, detail=detail, fix=fix, exit_code=exit_code)


def fail_for(name: str, error: BulkAudioError) -> Check:
    """Say that something would stop a download, in the words that it would end with."""
    check = fail(name, error.message, error.fix, error.exit_code)
    return replace(check, support_id=error.correlation_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    All checks, in their order.

    Attributes:
        probe: What ``--probe`` found, as it is written for ``--json``.
        holder: The run that holds the archive, in words: no fault, but another one is refused.
    """

    checks: Sequence[Check]
    probe: Mapping[str, Any] | None = None
    holder: str | None = None

    @property
    def exit_code(self) -> int:
        """The worst of the failures' codes, by `WORST_FIRST`."""
        codes = {check.exit_code for check in self.checks}
        return next((code for code in WORST_FIRST if code in codes), 0)

    def count(self, status: Status) -> int:
        """Count the checks that ended so."""
        return sum(check.status is status for check in self.checks)

    @property
    def status(self) -> Status:
        """The worst of the checks' statuses; what was skipped is not one of them."""
        found = {check.status for check in self.checks}
        return next((s for s in (Status.FAIL, Status.WARN) if s in found), Status.OK)

    def document(self) -> dict[str, Any]:
        """Return what ``doctor --json`` prints."""
        return {
            "schema": SCHEMA,
            "version": __version__,
            "status": self.status.value,
            "exit_code": self.exit_code,
            "checks": [check.entry() for check in self.checks],
            "probe": self.probe,
            "running": self.holder,
        }


def in_order(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Put checks into the order of `NAMES`; others follow as they are."""
    places = {name: place for place, name in enumerate(NAMES)}
    return tuple(sorted(checks, key=lambda check: places.get(check.name, len(places))))
