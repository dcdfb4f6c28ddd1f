"""How a typed program uses the package: checked by mypy, never run."""

from collections.abc import Sequence
from pathlib import Path
from typing import assert_type

import bulkaudio


def blocking() -> int:
    """Make a whole run."""
    summary = bulkaudio.download(csv="calls.csv", region="uk", agent="PROJECT-1", out="archive")
    assert_type(summary, bulkaudio.Summary)
    assert_type(summary.counts.saved, int)
    bulkaudio.download(since="yesterday", until="today", tz="Europe/London", out=Path("archive"))
    bulkaudio.download(out="archive", region=3)  # type: ignore[arg-type]
    bulkaudio.download(out="archive", regoin="uk")  # type: ignore[call-arg]
    return summary.exit_code


async def streaming(ids: Sequence[str]) -> bulkaudio.Summary:
    """Act on each outcome."""
    async with (
        bulkaudio.Archive.open("archive") as archive,
        bulkaudio.Client(region="uk", agent="PROJECT-1", api_key_file="polyai.key") as client,
    ):
        assert_type(archive, bulkaudio.Archive)
        outcomes = archive.download(
            client,
            bulkaudio.from_ids(ids),
            directions=[bulkaudio.Direction.USER, "agent"],
            metadata="basic",
            max_recordings=100,
        )
        assert_type(outcomes, bulkaudio.Outcomes)
        async for outcome in outcomes:
            assert_type(outcome, bulkaudio.Outcome)
            assert_type(outcome.path, Path | None)
            assert_type(outcome.status, bulkaudio.Status)
            if outcome.audio is not None:
                assert_type(outcome.audio.seconds, float)
        return outcomes.summary


def errors() -> int:
    """Tell errors apart."""
    try:
        return blocking()
    except bulkaudio.ArchiveBusyError as error:
        return error.exit_code
    except bulkaudio.BulkAudioError as error:
        assert_type(error.fix, str | None)
        return error.exit_code
