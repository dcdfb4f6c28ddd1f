"""The page that a download leaves, however it ended."""

from tests.inside import Inside
from tests.plans import whole
from tests.program import write_csv
from tests.report.test_report import data_of
from tests.wire import WireServer, in_thread, says


def test_a_download_leaves_a_page_and_names_it(inside: Inside) -> None:
    """With this run among the runs; its summary, and the ledger's, name the page."""
    csv = write_csv(inside.folder / "calls.csv", ["CA1", "CA2"])
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = inside.download("--csv", csv, "--report", "page.html")
    assert (done.code, done.summary["report"]) == (0, "page.html")
    page = (inside.folder / "page.html").read_text()
    assert "Complete: every recording that was asked for and exists is archived." in page
    assert "saved 2 recordings" in page
    status = inside.run("status", inside.archive, "--json").summary
    assert status["last_run"]["report"] == "page.html"
    assert data_of(page)["prefix"] == "archive/"


def test_a_failed_download_leaves_one_too(inside: Inside) -> None:
    """The run ends as it would have, and the page says what is not here."""
    csv = write_csv(inside.folder / "calls.csv", ["CA1"])
    with in_thread(WireServer(says(500))) as server:
        inside.reach(server)
        options = ("--attempts", "1", "--give-up-after", "1s", "--report", "page.html")
        done = inside.download("--csv", csv, *options)
    assert done.code in {3, 5}
    assert done.summary["report"] == "page.html"
    assert "Not complete: 1 recording of 1" in (inside.folder / "page.html").read_text()


def test_a_page_that_is_refused_after_a_download_is_told(inside: Inside) -> None:
    """Nothing saved is lost by it; the exit code says so only where the run's own is 0."""
    csv = write_csv(inside.folder / "calls.csv", ["CA1"])
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = inside.download("--csv", csv, "--report", "nowhere/page.html")
    assert (done.code, done.summary["report"]) == (6, None)
    assert (done.summary["exit_code"], done.summary["counts"]["saved"]) == (0, 1)
    assert "the report nowhere/page.html cannot be written" in done.stderr


def test_a_download_refuses_a_page_in_place_of_what_it_keeps(inside: Inside) -> None:
    """Before any request."""
    csv = write_csv(inside.folder / "calls.csv", ["CA1"])
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = inside.download("--csv", csv, "--report", "archive/combined/CA1.wav")
        assert server.targets == []
    assert done.code == 2
    assert "--report" in done.stderr
