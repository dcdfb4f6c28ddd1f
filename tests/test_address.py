"""The file that says where an archive's recordings are."""

import os
from pathlib import Path

import pytest

from bulkaudio.object_url import ObjectUrl
from bulkaudio.settings import Elsewhere
from bulkaudio.stores.address import read_address, title_of, write_address
from bulkaudio.stores.disk import Folders
from bulkaudio.stores.opening import find_elsewhere

URL = ObjectUrl("s3", "bucket", "calls")
KEPT = Elsewhere(url=URL, endpoint="https://store.example", ca_bundle=Path("/etc/ca.pem"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a state folder that remembers a server."""
    (tmp_path / ".bulkaudio").mkdir(mode=0o700)
    folders = Folders(tmp_path)
    try:
        write_address(folders, KEPT)
    finally:
        folders.close()
    return tmp_path


def test_what_is_written_is_read(root: Path) -> None:
    """With the server and its certificates."""
    assert read_address(root) == KEPT
    assert title_of(root) == f"s3://bucket/calls (ledger in {root})"


async def test_what_others_may_have_written_is_not_believed(root: Path) -> None:
    """Nor is it handed on beside a server that was named."""
    file = root / ".bulkaudio" / "store"
    file.chmod(0o622)
    found = read_address(root)
    assert found is not None
    assert found.distrust is not None
    assert "others can write" in found.distrust
    named = Elsewhere(url=URL, endpoint="https://mine.example")
    assert await find_elsewhere(root, named) == named
    handed_on = await find_elsewhere(root, Elsewhere(url=URL))
    assert handed_on is not None
    assert handed_on.distrust == found.distrust


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_file_of_another_user_is_not_believed(root: Path) -> None:
    """Unless it names nothing but the address."""
    file = root / ".bulkaudio" / "store"
    os.chown(file, 12345, 12345)
    found = read_address(root)
    assert found is not None
    assert found.distrust is not None
    file.write_text(f"{URL}\n")
    assert read_address(root) == Elsewhere(url=URL)


def test_nonsense_is_no_name(root: Path) -> None:
    """A page that is about something else does not fail over it."""
    (root / ".bulkaudio" / "store").write_text("nonsense\n")
    assert title_of(root) == str(root)
