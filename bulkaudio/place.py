"""What a person names as an archive: a folder, or the address of an object store."""

import os
from collections.abc import Mapping
from pathlib import Path

from bulkaudio.errors import UsageError
from bulkaudio.object_url import ObjectUrl

STATE_HOME = "XDG_STATE_HOME"


def archive_place(
    text: str, state_dir: Path | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[Path, ObjectUrl | None]:
    """
    Return the folder of ledger and lock, and where the recordings are if that is not there.

    Args:
        state_dir: That folder, for an address; else one that is named after the address, below
            ``$XDG_STATE_HOME/bulkaudio`` or ``~/.local/state/bulkaudio``.

    Raises:
        UsageError: It cannot be either, or a folder has been given another.
    """
    url = ObjectUrl.parse(text)
    if url is None:
        if state_dir is not None:
            raise UsageError(
                "--state-dir is for recordings in an object store, and this archive is a folder",
                fix="leave --state-dir out, or give an address such as s3://BUCKET/PREFIX",
            )
        return Path(text), None
    return (state_dir or usual_folder(url, environ)), url


def usual_folder(url: ObjectUrl, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the ledger of an address is unless somebody says otherwise; raises `UsageError`."""
    return _state_home(environ) / "bulkaudio" / url.state_name()


def _state_home(environ: Mapping[str, str]) -> Path:
    # The specification calls a relative one invalid: it would be another in every folder.
    home = Path(environ.get(STATE_HOME, ""))
    if home.is_absolute():
        return home
    if environ.get("HOME"):
        return Path(environ["HOME"], ".local", "state")
    raise UsageError(
        "there is no home folder to keep the ledger in",
        fix="give the folder for it with --state-dir",
    )
