"""An archive remembers what must not change under it, and is held by one run."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkaudio.archive import OpenArchive, open_archive
from bulkaudio.errors import ArchiveBusyError, LedgerError, StorageError, UsageError
from bulkaudio.identity import Identity, redacted_of
from bulkaudio.model import Batch, Conversation, Direction, Outcome, Recording, Status
from bulkaudio.run import dated

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FIRST = Identity(region="uk", account="ws-1", agent="PROJECT-1")


async def bound(
    root: Path, identity: Identity, *, layout: str | None = None, saves: bool = False
) -> Mapping[str, str]:
    """Open an archive, bind it, and perhaps save a recording into its ledger."""
    async with open_archive(root, layout=layout) as archive:
        pins = await archive.bind(identity)
        if saves:
            await save(archive)
        return pins


async def save(archive: OpenArchive) -> None:
    """Put one saved recording into the ledger."""
    call = Conversation(id="CA1")
    await archive.ledger.plan(Batch(conversations=(call,)), [Direction.USER], NOW)
    recording = Recording(conversation_id="CA1", direction=Direction.USER)
    outcome = Outcome(
        recording=recording,
        status=Status.SAVED,
        path=Path("user/CA1.wav"),
        bytes=44,
        sha256="0" * 64,
    )
    await archive.ledger.settle([outcome], None, NOW)


async def test_a_later_run_need_not_repeat_what_the_archive_remembers(tmp_path: Path) -> None:
    """Region, account and agent of the first run are there for the second."""
    await bound(tmp_path, FIRST)
    pins = await bound(tmp_path, Identity())

    assert (pins["region"], pins["account"], pins["agent"]) == ("uk", "ws-1", "PROJECT-1")


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        (Identity(region="us"), "--region uk, and takes none with --region us"),
        (
            Identity(agent="PROJECT-2"),
            "--agent PROJECT-1, and takes none with --agent PROJECT-2",
        ),
        (Identity(account="ws-2"), "--account ws-1"),
        (Identity(redacted=True), "without --redacted, and takes none with --redacted"),
    ],
)
async def test_a_contradiction_is_refused_by_name(
    tmp_path: Path, identity: Identity, words: str
) -> None:
    """Recordings of two agents, or redacted and not, never mix in one archive."""
    await bound(tmp_path, FIRST, saves=True)
    with pytest.raises(UsageError, match=words):
        await bound(tmp_path, identity)


async def test_a_mistake_in_the_first_run_does_not_bind_for_ever(tmp_path: Path) -> None:
    """While nothing is saved, another agent begins anew, with nothing left of the first."""
    await bound(tmp_path, Identity(region="uk", agent="PROJEKT-1"))
    async with open_archive(tmp_path) as archive:
        await archive.ledger.plan(
            Batch(conversations=(Conversation(id="CA1"),)), [Direction.USER], NOW
        )
    pins = await bound(tmp_path, Identity(region="uk", agent="PROJECT-1"))

    assert pins["agent"] == "PROJECT-1"
    async with open_archive(tmp_path) as archive:
        assert await archive.ledger.totals() == {}


async def test_not_asking_for_redaction_is_asking_for_none(tmp_path: Path) -> None:
    """--no-redacted fits an archive that left it to the API, and is sent from then on."""
    await bound(tmp_path, FIRST, saves=True)
    pins = await bound(tmp_path, Identity(redacted=False))

    assert redacted_of(pins, asked=False) is False
    assert redacted_of(pins, asked=None) is None


async def test_redaction_once_asked_for_is_asked_for_again(tmp_path: Path) -> None:
    """Without the option repeated."""
    await bound(tmp_path, Identity(region="uk", agent="a", redacted=True), saves=True)
    pins = await bound(tmp_path, Identity())

    assert redacted_of(pins, asked=None) is True


async def test_the_layout_is_the_first_runs(tmp_path: Path) -> None:
    """Another one is refused; none takes it over."""
    layout = "{date}/{direction}/{id}.wav"
    await bound(tmp_path, FIRST, layout=layout, saves=True)
    async with open_archive(tmp_path) as archive:
        assert archive.layout.template == layout
    with pytest.raises(UsageError, match="--layout"):
        await bound(tmp_path, FIRST, layout="{direction}/{id}.wav")


async def test_a_layout_of_an_archive_without_recordings_can_change(tmp_path: Path) -> None:
    """Nothing is kept under the old one."""
    await bound(tmp_path, FIRST, layout="{date}/{direction}/{id}.wav")
    pins = await bound(tmp_path, FIRST, layout="{direction}/{id}.wav")

    assert pins["layout"] == "{direction}/{id}.wav"


async def test_two_runs_never_meet(tmp_path: Path) -> None:
    """The second is told, and the first goes on."""
    async with open_archive(tmp_path) as first:
        with pytest.raises(ArchiveBusyError, match=str(os.getpid())):
            await bound(tmp_path, FIRST)
        await first.bind(FIRST)


async def test_a_ledger_missing_beside_recordings_is_no_new_beginning(tmp_path: Path) -> None:
    """The error names the command that makes it anew."""
    (tmp_path / "combined").mkdir()
    (tmp_path / "combined" / "CA1.wav").write_bytes(b"RIFF")
    with pytest.raises(LedgerError, match="rebuild"):
        await bound(tmp_path, FIRST)


async def test_a_file_where_the_archive_should_be_is_refused(tmp_path: Path) -> None:
    """Before anything else happens."""
    (tmp_path / "archive").write_text("mine")
    with pytest.raises(StorageError):
        await bound(tmp_path / "archive", FIRST)
    assert (tmp_path / "archive").read_text() == "mine"


def test_what_has_no_start_is_rejected_where_paths_need_one() -> None:
    """One undated row of a CSV costs that row, not the run."""
    with_start, without = Conversation(id="CA1", started_at=NOW), Conversation(id="CA2")
    batch = dated(Batch(conversations=(with_start, without)))

    assert batch.conversations == (with_start,)
    assert [rejected.where for rejected in batch.rejected] == ["CA2"]
