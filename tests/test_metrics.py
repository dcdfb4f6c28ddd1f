"""The metrics file: readable by Prometheus, true, and there after every end of a run."""

import os
import re
import shutil
import signal
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Direction, Status
from bulkaudio.observe.exposition import (
    HELP,
    RUN_STATUSES,
    STATUSES,
    Ended,
    Facts,
    Holdings,
    RunFigures,
    exposition,
)
from bulkaudio.observe.tally import Counts
from bulkaudio.stores.lock import ArchiveLock
from tests.forked import Order, forked
from tests.inside import Inside
from tests.plans import Held, Plans, whole
from tests.program import environment, until, write_csv
from tests.wire import WireServer, in_thread, says

NOW = datetime(2026, 11, 27, 3, 15, tzinfo=UTC)
PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Series:
    """Read the file as Prometheus does, and hold it to what the collector takes."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation == HELP[family.name]
        for sample in family.samples:
            assert sample.timestamp is None, "the collector refuses files with times"
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, "twice the same series"
            found[key] = sample.value
    assert text.endswith("\n")
    return found


def series(path: Path) -> dict[str, float]:
    """Return the samples as ``name{label=value}``, without the archive."""
    found = {}
    for (name, labels), value in parsed(path.read_text(encoding="utf-8")).items():
        rest = ",".join(f"{k}={v}" for k, v in sorted(labels) if k != "archive")
        found[f"{name}{{{rest}}}" if rest else name] = value
    return {name.removeprefix("bulkaudio_"): value for name, value in found.items()}


def facts(**changes: Any) -> Facts:
    """Return what is told of a first run that did nothing."""
    run = RunFigures(
        started_at=NOW,
        counts=Counts(),
        saved_bytes=0,
        received_bytes=0,
        audio_seconds=0.0,
        http={},
    )
    plain: dict[str, Any] = {
        "archive": "/data/calls",
        "now": NOW,
        "in_progress": True,
        "ended": None,
        "run": run,
        "holdings": None,
    }
    return Facts(**(plain | changes))


def test_names_follow_the_conventions() -> None:
    """One prefix, base units last, no counter's name on a gauge; everything has a sentence."""
    for name, text in HELP.items():
        assert re.fullmatch(r"bulkaudio_[a-z]+(_[a-z]+)*", name)
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_ms", "_mb"))
        assert text.endswith(".")
        assert "\n" not in text


@given(st.text(st.characters(codec=None, categories=None), min_size=1))
def test_any_path_is_a_label(path: str) -> None:
    """Whatever an archive is called, the file stays one that can be read."""
    found = parsed(exposition(facts(archive=path)))
    ((_, labels),) = [key for key in found if key[0] == "bulkaudio_run_in_progress"]
    assert dict(labels)["archive"] == path.encode("utf-8", "backslashreplace").decode()


def test_every_name_is_written_when_there_is_something_to_tell() -> None:
    """And the page documents each with its labels, and no other."""
    held = Holdings(oldest_open=NOW, successes={"listing": NOW})
    ended = Ended(started_at=NOW, finished_at=NOW, exit_code=0)
    run = RunFigures(
        started_at=NOW,
        counts=Counts(),
        saved_bytes=0,
        received_bytes=0,
        audio_seconds=0.0,
        http={200: 1},
    )
    found = parsed(exposition(facts(holdings=held, ended=ended, run=run)))
    labels: dict[str, set[str]] = {}
    for name, pairs in found:
        labels.setdefault(name, set()).update(key for key, _ in pairs if key != "archive")
    assert labels.keys() == HELP.keys()
    page = PAGE.read_text(encoding="utf-8")
    table = page.partition("<!-- metrics: begin -->")[2].partition("<!-- metrics: end -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", table, re.MULTILINE)
    assert [(name, set(re.findall(r"`(\w+)`", of)), text) for name, of, text in rows] == [
        (name, labels[name], text) for name, text in HELP.items()
    ]


def test_alerts_of_the_page_use_names_that_exist() -> None:
    """An alert on a name that is never written never fires."""
    rules = PAGE.read_text(encoding="utf-8").partition("```yaml")[2].partition("```")[0]
    used = set(re.findall(r"\bbulkaudio_\w+", rules))
    assert len(used) >= 6
    assert used <= HELP.keys()
    assert set(re.findall(r'status="(\w+)"', rules)) <= set(RUN_STATUSES)
    assert {status.value for status in STATUSES} <= {*RUN_STATUSES, "purged"}


@pytest.fixture
def promtool() -> str:
    """Return Prometheus's own tool for looking at what it is to read."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here: apt-get install --no-install-recommends prometheus")
    return found


class Bench:
    """Downloads into one archive, with a metrics file beside it."""

    def __init__(self, inside: Inside) -> None:
        self.inside = inside
        self.path = inside.folder / "calls.prom"
        self.csv = write_csv(inside.folder / "calls.csv", ["CA0", "CA1", "CA2", "CA3"])

    def run(self, script: Any = whole, *arguments: str | Path, code: int) -> dict[str, Any]:
        """Run to the end; return the summary."""
        with in_thread(WireServer(script)) as server:
            self.inside.reach(server)
            named = ("--csv", self.csv, "--metrics-file", self.path)
            done = self.inside.download(*named, *arguments)
        assert done.code == code, done.stderr
        return done.summary

    @property
    def series(self) -> dict[str, float]:
        """What the file says."""
        return series(self.path)


@pytest.fixture
def bench(inside: Inside) -> Bench:
    """Return a bench in an empty folder."""
    return Bench(inside)


def test_figures_are_those_of_summary_and_status(bench: Bench) -> None:
    """One truth, told three times: of a run with every kind of answer."""
    gone = says(410, b'{"error_code":"GONE"}', content_type="application/json")
    plans = Plans({"CA1": [says(503), whole], "CA2": [gone], "CA3": [gone]})
    summary = bench.run(plans, "--direction", "all", code=3)
    found = bench.series
    counts = summary["counts"]
    for status in RUN_STATUSES:
        assert found[f"run_recordings{{status={status}}}"] == counts[status]
    assert sum(counts[status] for status in RUN_STATUSES) == counts["recordings"] == 12
    assert found["run_conversations"] == 4
    assert found["run_retries"] == counts["retries"]
    assert found["run_saved_bytes"] == summary["bytes"]
    assert found["run_saved_audio_seconds"] == pytest.approx(summary["audio_seconds"])
    for http_status, number in summary["http"].items():
        assert found[f"run_http_responses{{code={http_status}}}"] == number
    assert (found["run_in_progress"], found["last_run_exit_code"]) == (0, 3)
    assert found["last_run_duration_seconds"] == pytest.approx(summary["duration_s"], abs=0.01)
    began = datetime.fromisoformat(summary["started_at"]).timestamp()
    assert found["last_run_start_timestamp_seconds"] == pytest.approx(began, abs=0.01)
    assert "last_success_timestamp_seconds{source=csv}" not in found
    check_totals(bench, found)


@pytest.mark.slow
def test_prometheus_finds_no_fault_with_the_file(bench: Bench, promtool: str) -> None:
    """Neither in its form nor in its names: of every kind of answer, and of a run that failed."""
    gone = says(410, b'{"error_code":"GONE"}', content_type="application/json")
    for script, code in ((Plans({"CA1": [gone], "CA2": [says(503), whole]}), 3), (says(401), 4)):
        write_csv(bench.csv, ["CA0", "CA1", "CA2", f"CA-{code}"])
        bench.run(script, "--direction", "all", code=code)
        with bench.path.open("rb") as file:
            looked = subprocess.run(
                [promtool, "check", "metrics"],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        assert (looked.returncode, looked.stdout) == (0, b"")


@pytest.mark.slow
def test_prometheus_takes_the_alerts_of_the_page(tmp_path: Path, promtool: str) -> None:
    """What is copied from there is loaded as it stands."""
    rules = PAGE.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    path = tmp_path / "rules.yml"
    path.write_text(rules)
    looked = subprocess.run(
        [promtool, "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert looked.returncode == 0, looked.stdout + looked.stderr


def check_totals(bench: Bench, found: dict[str, float]) -> None:
    """Hold the archive's figures to those of ``status``."""
    standing = bench.inside.run("status", bench.inside.archive, "--json").summary
    totals = {(each["direction"], each["status"]): each for each in standing["totals"]}
    for direction in Direction:
        for status in STATUSES:
            expected = totals.get((direction, status), {"recordings": 0})["recordings"]
            name = f"archive_recordings{{direction={direction},status={status}}}"
            assert found[name] == expected
        saved = totals.get((direction, Status.SAVED), {"bytes": 0})
        assert found[f"archive_bytes{{direction={direction}}}"] == saved["bytes"]
    oldest = standing["oldest_open"]
    told = found.get("archive_oldest_open_timestamp_seconds")
    assert (told is None) == (oldest is None)
    if told is not None:
        assert told == pytest.approx(datetime.fromisoformat(oldest["since"]).timestamp(), abs=0.01)


def test_last_success_survives_whatever_fails_later(bench: Bench) -> None:
    """From the ledger, also when the old file is gone; a damaged ledger tells nothing."""
    bench.run(code=0)
    success = bench.series["last_success_timestamp_seconds{source=csv}"]
    assert success == bench.series["last_run_end_timestamp_seconds"]
    bench.path.unlink()
    write_csv(bench.csv, ["CA9"])
    for script, arguments, code in (
        (says(401), (), 4),
        (whole, ("--layout", "{id}/{direction}.wav"), 2),
        (whole, ("--min-free", "900TB"), 6),
        (whole, ("--api-key-file", "missing.key"), 4),
        (whole, ("--max-recordings", "1", "--id-column", "no such"), 2),
    ):
        bench.run(script, *arguments, code=code)
        found = bench.series
        assert found["last_run_exit_code"] == code
        assert found["run_in_progress"] == 0
        assert found["last_success_timestamp_seconds{source=csv}"] == success
        assert found["archive_recordings{direction=combined,status=saved}"] == 4
        assert found["last_run_end_timestamp_seconds"] > success
    (bench.inside.archive / ".bulkaudio" / "ledger.db").write_bytes(b"not a ledger" * 1000)
    bench.run(code=6)
    assert bench.series["last_run_exit_code"] == 6
    assert not [name for name in bench.series if name.startswith(("last_success", "archive_"))]


def test_a_budget_that_was_reached_is_no_success(bench: Bench) -> None:
    """The next run, which ends with 0, is."""
    bench.run(whole, "--max-recordings", "1", code=8)
    assert bench.series["last_run_exit_code"] == 8
    assert bench.series["run_recordings{status=open}"] == 3
    assert "last_success_timestamp_seconds{source=csv}" not in bench.series
    bench.run(code=0)
    assert "last_success_timestamp_seconds{source=csv}" in bench.series


def test_a_refused_second_run_leaves_the_file_to_the_first(bench: Bench) -> None:
    """Exit code 75 changes nothing."""
    bench.run(code=0)
    before = bench.path.read_bytes()
    lock = ArchiveLock(bench.inside.archive / ".bulkaudio" / "lock")
    lock.acquire()
    try:
        bench.run(code=75)
    finally:
        lock.release()
    assert bench.path.read_bytes() == before


async def test_file_is_fresh_while_a_run_goes_on_and_right_after_a_signal(tmp_path: Path) -> None:
    """It says that a run is in progress, is rewritten, and then says with what it ended."""
    path = tmp_path / "calls.prom"
    csv = write_csv(tmp_path / "calls.csv", ["CA1", "CA2"])
    async with WireServer(Held("CA1")) as server:
        env = environment() | {"BULKAUDIO_AUDIO_URL": server.url(), "POLYAI_API_KEY": "k"}
        words = ("--csv", str(csv), "--agent", "A", "--region", "uk", "--out", "archive")
        order = Order(
            arguments=("download", *words, "--metrics-file", str(path), "--grace", "1s"),
            env=env,
            cwd=tmp_path,
            speed=20.0,
            umask=0o077,
        )
        async with forked(order) as fork:
            await until(path.exists)
            first = series(path)
            assert first["run_in_progress"] == 1
            assert "last_run_exit_code" not in first
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
            # At twenty times its speed the look into the ledger is dear, and so a rarer one.
            saved = "archive_recordings{direction=combined,status=saved}"
            await until(lambda: series(path).get(saved) == 1)
            fresh = series(path)
            assert fresh["run_recordings{status=saved}"] == 1
            assert fresh["updated_timestamp_seconds"] > first["updated_timestamp_seconds"]
            assert fresh["archive_recordings{direction=combined,status=open}"] == 1
            fork.send(signal.SIGTERM)
            ended = await fork.wait()
    assert ended.code == 143, ended.stderr
    last = series(path)
    assert (last["run_in_progress"], last["last_run_exit_code"]) == (0, 143)
    assert last["run_recordings{status=open}"] == 1
    assert [each.name for each in tmp_path.glob("*.prom*")] == ["calls.prom"]
    assert not list(tmp_path.glob(".calls*"))


@pytest.mark.parametrize(
    "name",
    ["archive/.bulkaudio/ledger.db", "archive/metadata/CA0.json", "archive/combined/CA0.wav"],
)
def test_what_the_archive_keeps_is_not_overwritten(name: str, bench: Bench) -> None:
    """Refused before anything is asked, and not written then either."""
    bench.run(whole, "--metadata", "none", code=0)
    victim = bench.inside.folder / name
    victim.parent.mkdir(exist_ok=True)
    if not victim.exists():
        victim.write_text("{}")
    before = victim.read_bytes()
    bench.path = victim
    bench.run(code=2)
    assert victim.read_bytes() == before


def test_it_is_no_other_file_of_the_run(bench: Bench) -> None:
    """Neither the log nor the summary, by whatever path."""
    for option in ("--log-file", "--summary-file"):
        bench.run(whole, option, bench.path.parent / "." / bench.path.name, code=2)


def test_a_file_that_cannot_be_written_is_told(bench: Bench) -> None:
    """The run is done, its result shown, and the exit code says that something is wrong."""
    bench.path = bench.inside.folder / "nowhere" / "calls.prom"
    with in_thread(WireServer(whole)) as server:
        bench.inside.reach(server)
        done = bench.inside.download("--csv", bench.csv, "--metrics-file", bench.path)
    assert done.code == 6
    assert "nowhere/calls.prom cannot be written: No such file" in done.stderr
    assert done.summary["counts"]["saved"] == 4
    bench.run(whole, "--layout", "{id}/{direction}.wav", code=2)
    target = bench.inside.folder / "target"
    target.write_text("kept")
    bench.path = bench.inside.folder / "link.prom"
    bench.path.symlink_to(target)
    bench.run(code=6)
    assert target.read_text() == "kept"


async def test_a_repair_or_a_spoilt_row_is_no_success(tmp_path: Path) -> None:
    """What is not a download's own success does not put off an alarm."""
    ledger = await Ledger.open(tmp_path / "ledger.db", is_new_allowed=True)
    try:
        for number, (scope, summary) in enumerate(
            [
                ('{"source":"listing"}', '{"exit_code":0}'),
                ('{"source":"csv"}', '{"exit_code":3}'),
                ('{"source":"ledger"}', '{"exit_code":0}'),
                ('{"source":"ids"', '{"exit_code":0}'),
                ('{"source":"csv"}', '{"exit_code":0'),
            ]
        ):
            moment = NOW.replace(hour=number)
            await ledger.start_run(f"run-{number}", moment, scope)
            await ledger.finish_run(f"run-{number}", moment, summary)
        await ledger.start_run("killed", NOW, '{"source":"listing"}')
        assert await ledger.last_successes() == {"listing": NOW.replace(hour=0)}
    finally:
        await ledger.aclose()


def test_home_is_understood_and_paths_are_absolute(bench: Bench) -> None:
    """As everywhere; the label does not change with the folder that a job was started in."""
    bench.path = Path("~/calls.prom")
    bench.run(code=0)
    text = (Path(os.environ["HOME"]) / "calls.prom").read_text()
    assert f'archive="{bench.inside.archive}"' in text
