"""A source without one conversation: nothing to do, unless somebody minds."""

from pathlib import Path

import pytest

import bulkaudio
from tests.inside import Inside
from tests.listed import DAY, Book, chapters, page, record
from tests.plans import Plans, whole
from tests.program import Done, write_csv
from tests.wire import WireServer, in_thread, says

EMPTY = page()


def listed(inside: Inside, book: Book, *arguments: str) -> Done:
    """List the day to the end."""
    with in_thread(WireServer(book)) as server:
        inside.reach(server)
        return inside.download(*DAY, *arguments)


def test_an_empty_window_ends_with_three_and_says_so(inside: Inside) -> None:
    """In the summary, on stderr and on the page; without the option it is complete."""
    done = listed(inside, Book({"": EMPTY}), "--fail-on-empty")
    assert done.code == 3
    assert done.summary["status"] == "partial"
    assert done.summary["exit_code"] == 3
    (note,) = done.summary["notes"]
    assert note.startswith("No call was listed from 2026-11-10T00:00:00Z up to 2026-11-11T")
    assert "No call was listed" in done.stderr
    done = listed(inside, Book({"": EMPTY}))
    assert (done.code, done.summary["status"]) == (0, "complete")


def test_page_is_shown_even_when_quiet(inside: Inside) -> None:
    """Cron's mail tells which window it was."""
    with in_thread(WireServer(Book({"": EMPTY}))) as server:
        inside.reach(server)
        fixed = ("--agent", "PROJECT-1", "--region", "uk", "--out", inside.archive)
        done = inside.run("download", *fixed, *DAY, "--fail-on-empty", "--quiet")
    assert done.code == 3
    assert done.stdout.startswith("Finished, but there was no conversation: nothing saved in ")
    assert "No call was listed from 2026-11-10" in done.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    "records",
    [
        [record("CA1")],
        [record("CA1", channel="WEBCHAT")],
        [record("CA1", in_progress=True)],
    ],
)
def test_any_conversation_is_enough(inside: Inside, records: list[object]) -> None:
    """Also a chat, which has no recording, and a call that is still going on."""
    assert listed(inside, Book({"": page(*records)}), "--fail-on-empty").code == 0


def test_calls_that_are_known_are_calls(inside: Inside) -> None:
    """A second look at the same window finds nothing new, and that is no failure."""
    assert listed(inside, Book(chapters(["CA1"], ["CA2"])), "--fail-on-empty").code == 0
    done = listed(inside, Book(chapters(["CA1"], ["CA2"])), "--fail-on-empty")
    assert (done.code, done.summary["counts"]["already"]) == (0, 2)


def test_what_earlier_nights_left_is_not_listed(inside: Inside) -> None:
    """A backlog is worked off, and an empty window is told all the same."""
    gone = Plans({"CA1": [says(500), says(500), says(500), says(500), says(500), whole]})
    assert listed(inside, Book(chapters(["CA1"]), gone), "--attempts", "1").code == 3
    done = listed(inside, Book({"": EMPTY}), "--fail-on-empty")
    assert (done.code, done.summary["counts"]["saved"]) == (3, 1)


def test_a_channel_that_nobody_uses_is_empty(inside: Inside) -> None:
    """What the filters leave is what counts."""
    book = Book({"": page(record("CA1"))})
    assert listed(inside, book, "--fail-on-empty", "--channel", "SMS").code == 3


def test_a_csv_without_a_row_is_refused_in_any_case(inside: Inside) -> None:
    """It is no input, whatever was said about empty windows."""
    inside.env("BULKAUDIO_AUDIO_URL", "http://127.0.0.1:9")
    inside.env("POLYAI_API_KEY", "k")
    csv = write_csv(inside.folder / "calls.csv", [])
    for arguments in ((), ("--fail-on-empty",)):
        assert inside.download("--csv", csv, *arguments).code == 2


def test_a_variable_says_it_too(inside: Inside) -> None:
    """As every option's does."""
    inside.env("BULKAUDIO_FAIL_ON_EMPTY", "true")
    assert listed(inside, Book({"": EMPTY})).code == 3


def test_a_run_that_was_stopped_or_failed_is_not_judged(inside: Inside) -> None:
    """What it did not get to see may have been there."""
    done = listed(inside, Book({"": says(401)}), "--fail-on-empty")
    assert done.code == 4
    assert done.summary["notes"] == []


async def test_from_python(tmp_path: Path) -> None:
    """A program that hands over no id gets the same, and a text is no switch."""
    async with (
        bulkaudio.Archive.open(tmp_path / "archive") as archive,
        bulkaudio.Client(region="uk", agent="A", api_key="k") as client,
    ):
        for minds, code in ((True, 3), (False, 0)):
            outcomes = archive.download(client, bulkaudio.from_ids([]), fail_on_empty=minds)
            assert [each async for each in outcomes] == []
            assert outcomes.summary.exit_code == code
        with pytest.raises(bulkaudio.UsageError, match="fail_on_empty"):
            archive.download(client, bulkaudio.from_ids([]), fail_on_empty="yes")  # type: ignore[arg-type]
