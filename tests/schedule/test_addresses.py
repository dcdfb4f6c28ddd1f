"""Jobs whose recordings go to an object store: the address stays one, the ledger has a folder."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml

from bulkaudio.object_url import ObjectUrl
from tests.inside import Inside
from tests.schedule.airflow_stand_in import install
from tests.schedule.printed import KINDS, pod_command, pod_of, schedule, systemd_words
from tests.schedule.readers import cron_lines, kubernetes_object, setting

ADDRESS = "s3://recordings/calls"
BASE = ("--out", ADDRESS, "--region", "uk", "--agent", "PROJECT-1", "--account", "ws-1")
URL = ObjectUrl("s3", "recordings", "calls")


def words_of(kind: str, text: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the command line that a scheduler would start."""
    match kind:
        case "systemd":
            return systemd_words(text)
        case "cron":
            ((_, command),) = cron_lines(text)
            return shlex.split(command.partition("$(")[2].partition(" 2>&1)")[0])
        case "kubernetes":
            return pod_command(text)
        case _:
            space: dict[str, Any] = {}
            install(monkeypatch, major=3)
            exec(compile(text, "dag.py", "exec"), space)  # noqa: S102  what Airflow does
            return list(space["COMMAND"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_address_stays_one(
    kind: str, inside: Inside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And the folder of the ledger is said, since it would go by the home of whoever runs the job."""
    inside.env("HOME", str(tmp_path / "home"))
    inside.env("AWS_SECRET_ACCESS_KEY", "CANARY")
    done = schedule(inside, kind, *BASE, "--store-endpoint", "https://ceph.example:8080")
    assert done.code == 0, done.stderr
    words = words_of(kind, done.stdout, monkeypatch)
    assert words[words.index("--out") + 1] == ADDRESS
    assert words[words.index("--store-endpoint") + 1] == "https://ceph.example:8080"
    usual = f"{tmp_path}/home/.local/state/bulkaudio/{URL.state_name()}"
    folder = f"/var/lib/bulkaudio/{URL.state_name()}" if kind == "kubernetes" else usual
    assert words[words.index("--state-dir") + 1] == folder
    if kind != "cron":
        assert "bulkaudio-calls" in done.stdout
    assert "CANARY" not in done.stdout
    if kind != "kubernetes":
        assert f"{usual} has no ledger of {ADDRESS} yet: make the first run by hand" in done.stderr
    given = schedule(inside, kind, *BASE, "--state-dir", "a state").stdout
    words = words_of(kind, given, monkeypatch)
    assert words.count("--state-dir") == 1
    assert words[words.index("--state-dir") + 1] == f"{inside.folder}/a state"


@pytest.mark.parametrize("kind", KINDS)
def test_credentials_have_their_place(kind: str, inside: Inside) -> None:
    """Said in words, where a folder needs none."""
    assert "object store's credentials" in schedule(inside, kind, *BASE).stdout
    local = schedule(inside, kind, "--out", "calls", *BASE[2:]).stdout
    assert "object store" not in local
    assert "cloud" not in local


def test_units_are_what_systemd_takes(inside: Inside, tmp_path: Path) -> None:
    """Only the folder of the ledger is written to."""
    done = schedule(inside, "systemd", *BASE, "--state-dir", "a state")
    assert setting(done.stdout, "ReadWritePaths") == [f'"{inside.folder}/a state"']
    assert setting(done.stdout, "EnvironmentFile") == ["-/etc/bulkaudio/cloud.env"]
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here: apt-get install systemd")
    done = schedule(inside, "systemd", *BASE, "--output-dir", tmp_path / "units")
    checked = subprocess.run(
        [analyze, "verify", *done.stdout.split()], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_manifests_are_what_kubernetes_takes(inside: Inside) -> None:
    """A small volume for the ledger, and a secret that need not be there."""
    text = schedule(inside, "kubernetes", *BASE).stdout
    claim, found = pyyaml.safe_load_all(text)
    kubernetes_object("V1PersistentVolumeClaim", claim)
    kubernetes_object("V1CronJob", found)
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    (container,) = pod_of(text)["containers"]
    assert container["envFrom"] == [
        {"secretRef": {"name": "bulkaudio-calls-cloud", "optional": True}}
    ]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    words = pod_command(text)
    assert mounts["archive"] == words[words.index("--state-dir") + 1]
    local = schedule(inside, "kubernetes", "--out", "calls", *BASE[2:]).stdout
    assert next(pyyaml.safe_load_all(local))["spec"]["resources"]["requests"]["storage"] == "100Gi"
    assert "envFrom" not in pod_of(local)["containers"][0]
    sized = schedule(inside, "kubernetes", *BASE, "--volume-size", "1Ti").stdout
    assert next(pyyaml.safe_load_all(sized))["spec"]["resources"]["requests"]["storage"] == "1Ti"
    assert schedule(inside, "kubernetes", *BASE, "--log-file", "/elsewhere/log").code == 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_contradicts_itself_is_refused(kind: str, inside: Inside) -> None:
    """As a download would."""
    for words in (
        ("--out", "calls", "--state-dir", "state"),
        ("--out", "s3:/recordings/calls"),
        ("--out", "calls", "--store-endpoint", "https://ceph.example"),
    ):
        done = schedule(inside, kind, *words, *BASE[2:])
        assert done.code == 2
        assert "Fix: " in done.stderr
