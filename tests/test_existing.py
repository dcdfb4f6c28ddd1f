"""Folders that are named for an archive."""

import pytest

from tests.inside import Inside


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
