"""What is done inside a forked program, so that its archive is in a bucket that is a folder."""

from pathlib import Path
from typing import Any

from bulkaudio import archive, job, rebuild
from bulkaudio.object_url import ObjectUrl
from bulkaudio.settings import Elsewhere
from bulkaudio.stores.objects import manifest
from bulkaudio.stores.objects.bucket import Bucket
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
