"""The whole benchmark, on next to nothing: that it runs and finds no fault, never how fast."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.benchmarks.corpus import Corpus
from tests.benchmarks.measure import PROJECT, Surroundings, measured
from tests.benchmarks.server import Mood
from tests.benchmarks.setting import Setting
from tests.benchmarks.tools import OTHERS, Tool
from tests.benchmarks.workloads import AUTO, WORKLOADS, Workload, errand_at, no_nginx

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_everybody_saves_everything(workload: Workload, tmp_path: Path) -> None:
    """Each workload at a hundredth, with whatever tools are here."""
    missing = no_nginx() or workload.missing()
    if missing:
        pytest.skip(missing)
    written, raw = tmp_path / "table.md", tmp_path / "raw.json"
    where = ("--dir", str(tmp_path), "--output", str(written), "--json", str(raw))
    small = ("--workloads", workload.name, "--scale", "0.01", "--runs", "1")
    command = [sys.executable, "-m", "tests.benchmarks", *small, *where]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    trials = json.loads(raw.read_text())["results"][0]["trials"]
    assert trials
    assert [trial["fault"] for trial in trials if trial["fault"]] == []
    table = written.read_text(encoding="utf-8")
    assert all(f"`{trial['contestant']}`" in table for trial in trials)
    # Nothing of what was downloaded is left behind.
    assert list(tmp_path.glob("bulkaudio-*")) == []


@pytest.mark.parametrize("tool", [AUTO, *OTHERS], ids=lambda tool: tool.name)
def test_everybody_verifies_the_server(tool: Tool, tmp_path: Path) -> None:
    """Nobody saves a byte from a server that the given authority does not vouch for."""
    missing = no_nginx() or (None if tool.version() else f"{tool.name}: {tool.source}")
    if missing:
        pytest.skip(missing)
    setting = Setting(folder=tmp_path, connections=2)
    corpus = Corpus(folder=tmp_path / "site", count=2, seconds=0.1)
    with errand_at(setting, corpus, Mood()) as errand:
        errand.server.ca.unlink()
        trustme.CA().cert_pem.write_to_path(str(errand.server.ca))
        around = Surroundings(folder=tmp_path, variables=errand.server.variables)
        target = tmp_path / "target"
        target.mkdir()
        usage = measured([*tool.command(errand, target)], around)
        assert usage.code != 0
        assert corpus.fault(tool.saved(errand, target), by_bytes=False) == "saved 0 of 2"
