"""Where the archive is that a person names: a folder, or the address of an object store."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, Token

from bulkaudio.errors import BulkAudioError, LedgerError, StorageError, UsageError

if TYPE_CHECKING:
    from bulkaudio.settings import Elsewhere

STATE_DIR = "BULKAUDIO_STATE_DIR"


def place_of(
    text: str, state_dir: str | None, environ: Mapping[str, str] = os.environ
) -> "tuple[Path, Elsewhere | None]":
    """
    Return an archive's folder and, for an address, what that folder is of.

    Raises:
        UsageError: It is neither a folder's name nor an address, or a folder has been given another.
    """
    from bulkaudio.place import archive_place
    from bulkaudio.settings import Elsewhere

    folder = Path(state_dir).expanduser() if state_dir else None
    root, url = archive_place(text, folder, environ)
    return root.expanduser(), None if url is None else Elsewhere(url=url)


def folder_of(
    out: str | None, state_dir: str | None, environ: Mapping[str, str] = os.environ
) -> Path:
    """Return an archive's folder, also where none is named: this one then. Raises `UsageError`."""
    return place_of(out, state_dir, environ)[0] if out else Path()


def likely_folder(
    out: str | None, state_dir: str | None, environ: Mapping[str, str] = os.environ
) -> Path:
    """Return the same for what is told of a run that is going to be refused."""
    return likely_place(out, state_dir, environ)[0]


def likely_place(
    out: str | None, state_dir: str | None, environ: Mapping[str, str] = os.environ
) -> "tuple[Path, Elsewhere | None]":
    """Return it with the address that was asked for."""
    try:
        return place_of(out, state_dir, environ) if out else (Path(), None)
    except UsageError:
        # Not repeated: people paste addresses with their keys in them.
        return Path(out or "") if _is_folder(out or "") else Path(), None


def state_folder(text: str, environ: Mapping[str, str] = os.environ) -> Path:
    """
    Return the folder of an archive that is there, for commands that are given nothing else.

    Raises:
        UsageError: It is an address, and there is no archive; or one that cannot be used.
        LedgerError: There is one, or nobody can tell, and this machine has no ledger of it.
    """
    if _is_folder(text):
        return Path(text)
    root, elsewhere = place_of(text, environ.get(STATE_DIR), environ)
    if elsewhere is not None and not (root / ".bulkaudio" / "ledger.db").exists():
        raise _unknown(root, elsewhere)
    return root


def _is_folder(text: str) -> bool:
    """Whether it is the name of a folder, and no attempt at an address."""
    from bulkaudio.object_url import ObjectUrl

    try:
        return ObjectUrl.parse(text) is None
    except UsageError:
        return False


def _unknown(root: Path, elsewhere: "Elsewhere") -> BulkAudioError:
    """Find out what an address without a ledger is; blocks."""
    import asyncio

    look_elsewhere = (
        f"if another folder was given as --state-dir, name that folder or set {STATE_DIR}"
    )
    anew = f"make it anew, without fetching anything: bulkaudio rebuild {elsewhere.url}"
    unknown = f"this machine has no ledger of {elsewhere.url}; looked in {root}"
    try:
        if not asyncio.run(_is_lost(root, elsewhere)):
            return UsageError(
                f"there is no archive of bulkaudio at {elsewhere.url}",
                fix="name the address that was given as --out",
            )
    except StorageError as error:
        return LedgerError(
            f"{unknown}; whether there is an archive, it did not say: {error.message}",
            fix=f"{error.fix}; then, if the ledger is lost, {anew}; {look_elsewhere}",
        )
    return LedgerError(unknown, fix=f"{look_elsewhere}; if the ledger is lost, {anew}")


async def _is_lost(root: Path, elsewhere: "Elsewhere") -> bool:
    """Whether there is an archive: by its state folder, or at its address."""
    from bulkaudio.stores.local import LocalStore
    from bulkaudio.stores.opening import find_elsewhere, is_unused

    # By the server and the certificates that the folder may still know.
    way = await find_elsewhere(root, elsewhere) or elsewhere
    return not await LocalStore.is_empty(root) or not await is_unused(way, is_patient=False)


def _archive(_type: object, tokens: Sequence[Token]) -> Path:
    return state_folder(tokens[0].value)


ArchiveArgument = Annotated[
    Path,
    Parameter(
        metavar="ARCHIVE",
        converter=_archive,
        help="The archive's folder, or the address of its object store.",
    ),
]
