"""
All checks of one subject: what does not depend on another at once, everything bounded in time.

A check that fails is a value in the report; only a bug, or an interrupt, is raised.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bulkaudio.doctor.archive_checks import disk_checks, ledger_check, unlooked
from bulkaudio.doctor.check import (
    CONFIGURATION,
    Check,
    Report,
    Status,
    fail,
    fail_for,
    in_order,
    skip,
)
from bulkaudio.doctor.ground import LedgerLook, look_at_disk, look_at_ledger
from bulkaudio.doctor.keys import Keys
from bulkaudio.doctor.network import Network
from bulkaudio.doctor.patience import within
from bulkaudio.doctor.source import source_check
from bulkaudio.doctor.store import is_elsewhere, lost_ledger, store_checks
from bulkaudio.doctor.subject import CONFIGURATION_CHECK, Bound, Subject, bind
from bulkaudio.errors import BulkAudioError, KeyRefusedError, StorageError

LOOK_S, KEYS_S, DISK_S, WALK_S = 10.0, 60.0, 20.0, 20.0


async def examine(subject: Subject, *, probe_id: str | None = None) -> Report:
    """Make every check; with `probe_id` also fetch that recording twice."""
    ledger = await _ledger(subject, check_s=0.0)
    if not ledger.is_begun:
        ledger = await lost_ledger(subject)
    bound = await _bound(subject, ledger)
    network = Network(subject=subject, bound=bound, keys=await _keys(subject, bound))
    try:
        async with asyncio.TaskGroup() as group:
            archive = group.create_task(_archive(subject, ledger))
            hosts = group.create_task(network.checks())
            source = group.create_task(source_check(subject, ledger))
            store = group.create_task(store_checks(subject, ledger))
    except ExceptionGroup as several:
        raise several.exceptions[0] from several
    found, holder = archive.result()
    checks = in_order((bound.check, source.result(), *hosts.result(), *found, *store.result()))
    report = Report(checks=checks, holder=holder)
    return report if probe_id is None else await _probed(network, probe_id, report)


async def _probed(network: Network, probe_id: str, report: Report) -> Report:
    checks = report.checks
    by_name = {check.name: check for check in checks}
    is_open = by_name["recordings.key"].status in {Status.OK, Status.WARN}
    found = await network.probe(probe_id) if is_open else None
    if found is None:
        needs = skip("probe.original", "needs a key that the recordings' host accepts: see above")
        return replace(report, checks=(*checks, needs))
    return replace(report, checks=(*checks, *found.checks()), probe=found.document())


async def _ledger(subject: Subject, *, check_s: float) -> LedgerLook:
    if subject.archive is None:
        return LedgerLook()
    try:
        work = partial(look_at_ledger, subject.archive, check_s=check_s)
        return await within(LOOK_S + check_s, work)
    except TimeoutError:
        return LedgerLook(is_begun=True, error=_dead_disk(subject))


async def _archive(subject: Subject, ledger: LedgerLook) -> tuple[Sequence[Check], str | None]:
    """Look at the archive, and at its ledger once more; return also which run holds it."""
    root = subject.archive
    if root is None:
        return tuple(unlooked("no archive is named: --out DIR")), None
    try:
        disk = await within(DISK_S, partial(look_at_disk, root))
    except TimeoutError:
        first, *others = unlooked("needs the disk")
        return (fail_for(first.name, _dead_disk(subject)), *others), None
    if ledger.error is None and ledger.doubt is None:
        ledger = await _ledger(subject, check_s=WALK_S)
    least = subject.request.place.min_free_bytes
    passing = LedgerLook() if await is_elsewhere(subject) else ledger
    if disk.error is not None and isinstance(ledger.error, StorageError):
        # Who may not enter the folder has one fault, not two.
        needs = skip("archive.ledger", "needs the folder")
        return (*disk_checks(disk, passing, least), needs), None
    return (*disk_checks(disk, passing, least), ledger_check(ledger, root)), ledger.holder


def _dead_disk(subject: Subject) -> StorageError:
    return StorageError(
        f"the disk of {subject.archive} does not answer",
        fix="check it (dmesg), and the network where it is one of another machine",
    )


async def _bound(subject: Subject, ledger: LedgerLook) -> Bound:
    try:
        return await within(LOOK_S, lambda: bind(subject, ledger))
    except TimeoutError:
        words = "the file named by --ca-bundle cannot be read in time"
        return Bound(check=fail(CONFIGURATION_CHECK, words, "check its disk", CONFIGURATION))


async def _keys(subject: Subject, bound: Bound) -> Keys:
    region = bound.region
    if region is None:
        return Keys()
    try:
        return Keys(found=await within(KEYS_S, lambda: subject.find_keys(region)))
    except BulkAudioError as error:
        return Keys(error=error)
    except TimeoutError:
        words = f"no key came within {KEYS_S:.0f}s from the file or pipe that was named"
        return Keys(error=KeyRefusedError(words, fix="check --api-key-file"))
