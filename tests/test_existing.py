"""Folders that are named for an archive."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.machine import become_nobody, hook, need_root
from tests.forked import Order, run_forked
from tests.inside import Inside
from tests.program import environment


@pytest.mark.parametrize("command", ["status", "gaps", "verify", "report", "export"])
def test_recordings_without_anything_else_name_rebuild(command: str, inside: Inside) -> None:
    """Somebody has removed what knew of them: that is no mistyped folder."""
    folder = inside.folder / "archive" / "combined"
    folder.mkdir(parents=True)
    (folder / "CA1.wav").write_bytes(b"RIFF")
    ended = inside.run(command, inside.folder / "archive")
    assert ended.code == 6
    assert "bulkaudio rebuild" in ended.stderr
    assert [path.name for path in folder.parent.iterdir()] == ["combined"]


LOOKS = (
    ("status",),
    ("gaps",),
    ("verify",),
    ("export",),
    ("report",),
    ("hold", "list"),
    ("purge", "--older-than", "1d"),
)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look[0])
async def test_one_that_this_user_may_not_read_is_no_other_folder(look: tuple[str, ...]) -> None:
    """Nothing is known of it, least of all that it is none: exit code 6."""
    need_root("give rights up")
    # Not below pytest's folder, which is root's alone.
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        archive = Path(name) / "archive"
        (archive / ".bulkaudio").mkdir(parents=True)
        archive.chmod(0o500)
        words = (look[0], str(archive), *look[1:])
        order = Order(arguments=words, env=environment(), cwd=Path(name), **hook(become_nobody))
        ended = await run_forked(order)
    assert ended.code == 6, ended.stderr
    assert f"this user may not read {archive}" in " ".join(ended.stderr.split())
