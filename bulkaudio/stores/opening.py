"""
Which store an archive's recordings are in, and opening it.

An archive whose recordings are in an object store says so in its ledger; a small file in the state
folder says it as well, for the day on which that ledger is lost. Object stores take a library that
is an extra of its own, which is imported only here, and only for an archive that needs it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bulkaudio.errors import UsageError
from bulkaudio.naming import Layout, printable
from bulkaudio.settings import Elsewhere
from bulkaudio.stores.address import read_address
from bulkaudio.stores.local import LocalStore

if TYPE_CHECKING:
    from bulkaudio.stores.objects.reading import ObjectReader
    from bulkaudio.stores.objects.store import ObjectStore
    from bulkaudio.stores.objects.trial import Trial
    from bulkaudio.stores.objects.worker import WorkerObjects


async def find_elsewhere(root: Path, asked: Elsewhere | None) -> Elsewhere | None:
    """
    Say where an archive's recordings are; None: in its own folder.

    Args:
        asked: What this run was told, which an archive that is there can contradict. How it is
            reached is as the archive remembers unless that was told, too.

    Raises:
        UsageError: The archive is of another address, or of none.
    """
    kept = await asyncio.to_thread(read_address, root)
    if asked is None:
        return kept
    if kept is not None:
        check_address(str(kept.url), asked, root)
        if asked.endpoint and kept.distrust:
            return asked
        return replace(
            asked,
            endpoint=asked.endpoint or kept.endpoint,
            ca_bundle=asked.ca_bundle or kept.ca_bundle,
            distrust=kept.distrust,
        )
    if not await LocalStore.is_empty(root):
        check_address(None, asked, root)
    return asked


def check_address(kept: str | None, asked: Elsewhere, root: Path) -> None:
    """Hold a run to the address that its state folder is of; raises `UsageError`."""
    if kept == str(asked.url):
        return
    what = "recordings of its own" if kept is None else f"what is known of {printable(kept, 200)}"
    raise UsageError(
        f"{root} holds {what}, and this run asks for {asked.url}",
        fix="use a state folder (--state-dir) for one address only, or give the address it is of",
    )


def try_elsewhere(elsewhere: Elsewhere) -> "Trial":
    """
    Try an object store out, which is left as it was; blocks.

    Raises:
        BulkAudioError: With what is missing.
    """
    return cast("Trial", _objects("trial").try_bucket(elsewhere))


def look_over(elsewhere: Elsewhere, mark: str | None, root: Path) -> Sequence[str]:
    """
    Say what is missing of what a ledger has told at an address; blocks, and reads one part.

    Raises:
        ArchiveBusyError: Another ledger tells of that archive since.
    """
    return cast("Sequence[str]", _objects("trial").look_over_bucket(elsewhere, mark, root))


async def is_unused(elsewhere: Elsewhere, *, is_patient: bool = True) -> bool:
    """Whether no archive is at that address: only then may a ledger begin."""
    found: bool = await _objects().is_unused(elsewhere, is_patient=is_patient)
    return found


async def open_elsewhere(root: Path, elsewhere: Elsewhere, layout: Layout) -> "ObjectStore":
    """Open the store of an archive whose state folder is `root`."""
    store = await _objects().ObjectStore.open(root, elsewhere=elsewhere, layout=layout)
    return cast("ObjectStore", store)


async def read_elsewhere(root: Path, elsewhere: Elsewhere, layout: Layout) -> "ObjectReader":
    """Look into such an archive; nothing is requested before something is asked for."""
    store = await _objects().ObjectReader.reading(root, elsewhere=elsewhere, layout=layout)
    return cast("ObjectReader", store)


async def join_elsewhere(elsewhere: Elsewhere, layout: Layout) -> "WorkerObjects":
    """Join such an archive as a worker of whoever has opened it."""
    store = await _objects("worker").WorkerObjects.join(elsewhere, layout=layout)
    return cast("WorkerObjects", store)


def _objects(module: str = "store") -> Any:
    try:
        return import_module(f"bulkaudio.stores.objects.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "obstore":
            raise
        raise UsageError(
            "object stores need the package obstore, which is not installed",
            fix="pip install 'bulkaudio[objects]'",
        ) from error
