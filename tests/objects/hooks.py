"""What is done inside a forked program, so that its archive is in a bucket that is a folder."""

import json
import sys
from pathlib import Path
from typing import Any

from bulkaudio import archive, job, rebuild
from bulkaudio.object_url import ObjectUrl
from bulkaudio.settings import Elsewhere
from bulkaudio.stores.objects import manifest
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions, connect
from bulkaudio.stores.objects.patience import Patience
from tests.kills.hooks import break_step
from tests.objects.folder_bucket import FolderBucket, refusing

URL = ObjectUrl("s3", "bucket", "calls")


def keep_in_folder(
    folder: str, blow: dict[str, Any] | None = None, fault: list[Any] | None = None
) -> None:
    """
    Let every archive of this process be at `URL`, in that folder, and a step of it be struck.

    Args:
        fault: A call of the bucket, what its key holds, and from which number on it fails.
    """
    bucket = FolderBucket(URL, Path(folder))
    if fault is not None:
        bucket.hook = refusing(*fault)
    setattr(Bucket, "open", lambda *_, **__: bucket)  # noqa: B010  # a method
    elsewhere = Elsewhere(url=URL)

    def open_archive(root: Path, **options: Any) -> Any:
        return archive.open_archive(root, **{**options, "elsewhere": elsewhere})

    def make_anew(root: Path, *, made: Any = rebuild.rebuild, **options: Any) -> Any:
        return made(root, **{**options, "elsewhere": elsewhere})

    setattr(job, "open_archive", open_archive)  # noqa: B010  # a function
    setattr(rebuild, "rebuild", make_anew)  # noqa: B010
    vars(manifest)["ROWS_PER_PART"] = 3
    if blow is not None:
        break_step(blow)


def answer_from_folder(folder: str, *fault: Any) -> None:
    """
    Let clients be made as they are, and their requests be answered from a folder.

    Args:
        fault: A call of the bucket and what its key holds: that one fails.
    """

    def open_(url: ObjectUrl, options: BucketOptions, **_: Any) -> FolderBucket:
        connect(url, options, Patience())
        ca_bundle = options.ca_bundle and str(options.ca_bundle)
        with (Path(folder) / "clients").open("a") as log:
            log.write(json.dumps([options.endpoint, ca_bundle]) + "\n")
        bucket = FolderBucket(url, Path(folder))
        if fault:
            bucket.hook = refusing(*fault)
        return bucket

    setattr(Bucket, "open", open_)  # noqa: B010  # a method


def miss_the_client(folder: str) -> None:
    """Let obstore not be installed."""
    del folder
    for name in [
        name for name in sys.modules if name.startswith(("obstore", "bulkaudio.stores.objects"))
    ]:
        del sys.modules[name]
    sys.modules["obstore"] = None  # type: ignore[assignment]
