"""The object store that keeps an archive's recordings: credentials, TLS, rights, and whose it is."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path

from bulkaudio.archive import check_unclaimed
from bulkaudio.doctor.check import MACHINE, Check, fail, fail_for, ok, skip, warn
from bulkaudio.doctor.ground import LedgerLook
from bulkaudio.doctor.patience import within
from bulkaudio.doctor.subject import Subject
from bulkaudio.errors import (
    BucketAuthError,
    BulkAudioError,
    LedgerError,
    LocalError,
    UntrustedStoreError,
)
from bulkaudio.settings import Elsewhere
from bulkaudio.stores.address import argument_of
from bulkaudio.stores.opening import find_elsewhere, try_elsewhere
from bulkaudio.told import faults_of

FIND_S, TRY_S = 10.0, 60.0

CREDENTIALS, TLS, BUCKET, ARCHIVE = (
    f"store.{what}" for what in ("credentials", "tls", "bucket", "archive")
)


async def elsewhere_of(subject: Subject) -> Elsewhere | None:
    """
    Say where the archive's recordings are; None: in its folder, or nobody knows.

    Raises:
        BulkAudioError: What is asked for contradicts what the state folder says.
    """
    if subject.archive is None:
        return None
    place = subject.request.place
    try:
        return await within(FIND_S, lambda: asyncio.run(find_elsewhere(place.out, place.elsewhere)))
    except TimeoutError:
        return None  # what is wrong with the disk, its own checks tell


async def is_elsewhere(subject: Subject) -> bool:
    """Whether recordings take no room on the archive's disk."""
    try:
        return await elsewhere_of(subject) is not None
    except BulkAudioError:
        return True


async def lost_ledger(subject: Subject) -> LedgerLook:
    """Ask the object store, if there is one, for an archive whose ledger is not here."""
    try:
        elsewhere = await elsewhere_of(subject)
        look = partial(check_unclaimed, subject.request.place.out, elsewhere, is_patient=False)
        await within(TRY_S, lambda: asyncio.run(look()))
    except LedgerError as error:
        return LedgerLook(is_begun=True, error=error)
    except LocalError as error:
        return LedgerLook(doubt=error)
    except (BulkAudioError, TimeoutError):
        pass  # what is wrong with address or store, their own checks tell
    return LedgerLook()


async def store_checks(subject: Subject, ledger: LedgerLook) -> Sequence[Check]:
    """Try the object store out, if there is one; it stays as it was."""
    try:
        elsewhere = await elsewhere_of(subject)
    except BulkAudioError as error:
        return (fail_for(ARCHIVE, error),)
    if elsewhere is None:
        return ()
    tried = [check async for check in _tried(elsewhere)]
    if any(check.exit_code for check in tried):
        return (*tried, skip(ARCHIVE, "needs the bucket"))
    if ledger.error is not None:
        return (*tried, skip(ARCHIVE, "needs the ledger: see archive.ledger"))
    return (*tried, await _archive(subject, elsewhere))


async def _tried(elsewhere: Elsewhere) -> AsyncIterator[Check]:
    place = str(elsewhere.url)
    try:
        trial = await within(TRY_S, partial(try_elsewhere, elsewhere))
    except BulkAudioError as error:
        for check in _failed(error):
            yield check
        return
    except TimeoutError:
        words = f"{place} did not answer within {TRY_S:.0f}s"
        yield fail(BUCKET, words, "check --store-endpoint, and the network on the way", MACHINE)
        return
    yield ok(CREDENTIALS, f"{trial.origin}: accepted")
    if trial.is_plain:
        yield skip(TLS, f"plain http, to {trial.server}")
    else:
        yield ok(TLS, f"{trial.server}: certificate verified")
    conditions = trial.conditions
    if conditions.notes:
        yield warn(
            BUCKET, "; ".join(conditions.notes), "give it these rights, or use another store"
        )
    else:
        yield ok(BUCKET, f"{place}: writes, reads, lists, deletes, and replaces nothing")


def _failed(error: BulkAudioError) -> Iterator[Check]:
    """Put an error where it belongs."""
    name = BUCKET
    if isinstance(error, BucketAuthError):
        name = CREDENTIALS
    elif isinstance(error, UntrustedStoreError):
        name = TLS
    for each in (CREDENTIALS, TLS, BUCKET):
        yield fail_for(each, error) if each == name else skip(each, f"see {name}")


async def _archive(subject: Subject, elsewhere: Elsewhere) -> Check:
    root = subject.request.place.out
    try:
        is_begun = await within(TRY_S, lambda: asyncio.run(check_unclaimed(root, elsewhere)))
    except BulkAudioError as error:
        return fail_for(ARCHIVE, error)
    except TimeoutError:
        return skip(ARCHIVE, f"{elsewhere.url} was not listed within {TRY_S:.0f}s")
    if is_begun:
        return await _told(root, elsewhere)
    return ok(ARCHIVE, f"nothing is at {elsewhere.url}: the first download begins there")


async def _told(root: Path, elsewhere: Elsewhere) -> Check:
    """Hold what the ledger remembers to what it has told at the address."""
    is_there = f"the ledger of {elsewhere.url} is in {root}"
    try:
        faults = await within(TRY_S, partial(faults_of, root, elsewhere))
    except BulkAudioError as error:
        return fail_for(ARCHIVE, error)
    except TimeoutError:
        return skip(ARCHIVE, f"{elsewhere.url} was not listed within {TRY_S:.0f}s")
    if faults is None:
        return skip(ARCHIVE, f"{is_there}, and a run holds it")
    if faults:
        return warn(
            ARCHIVE,
            f"{is_there}; what it has told there is not whole: {'; '.join(faults[:3])}",
            f"bulkaudio verify {argument_of(root)} --repair tells it anew",
        )
    return ok(ARCHIVE, f"{is_there}, and what it has told there is whole")
