"""Whatever a value is, the job gets it to the letter: shell, cron, systemd, Kubernetes, Python."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml as pyyaml
from hypothesis import HealthCheck, given, settings, strategies

from bulkaudio.errors import UsageError
from bulkaudio.schedule import quoting
from bulkaudio.schedule.airflow import airflow_files
from bulkaudio.schedule.cron import cron_files
from bulkaudio.schedule.job import Job
from bulkaudio.schedule.kubernetes import Cluster, kubernetes_files
from bulkaudio.schedule.systemd import systemd_files
from bulkaudio.schedule.templates import filled
from tests.schedule.jobs import HOSTILE, TEXTS, dumped, dumper, job
from tests.schedule.readers import cron_lines, exec_start, pod_expanded, setting, unit_words

VALUES = strategies.lists(TEXTS, max_size=6)
PROCESSES = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
KEY = ["--api-key-file", "/etc/bulkaudio/polyai.key"]
CLUSTER = Cluster(image="registry.example/bulkaudio:1", volume_size="100Gi")


def sh(command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a line as cron does."""
    return subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def cron_argv(values: Sequence[str], x: str = "") -> list[str]:
    """Return what the program gets when cron runs the line that is printed."""
    with TemporaryDirectory() as folder:
        dump = Path(folder) / "dump"
        made = job(dumper(Path(folder)), *values, DUMP=str(dump), X=x)
        ((_, command),) = cron_lines(cron_files(made)[0].text)
        done = sh(command)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return dumped(dump)


@given(VALUES)
@PROCESSES
def test_cron_hands_values_over_to_the_letter(values: list[str]) -> None:
    """A real shell, with cron's own escaping undone."""
    assert cron_argv(values) == ["download", *values, *KEY, "--quiet"]


def test_cron_hands_every_hostile_value_over() -> None:
    """Each of the list once, a handful to a line."""
    for start in range(0, len(HOSTILE), 8):
        values = list(HOSTILE[start : start + 8])
        assert cron_argv(values, values[0])[1:-3] == values


@given(VALUES)
def test_systemd_hands_values_over_to_the_letter(values: list[str]) -> None:
    """ExecStart= and Environment=, read as the manual says."""
    service, _ = systemd_files(job("/opt/my %x/bulkaudio", *values, X="".join(values)))
    (command,) = setting(service.text, "ExecStart")
    credentials = "/run/credentials/x"
    assert exec_start(command, {"CREDENTIALS_DIRECTORY": credentials}) == [
        *("/opt/my %x/bulkaudio", "download", *values),
        *("--api-key-file", f"{credentials}/polyai-api-key"),
    ]
    (environment,) = setting(service.text, "Environment")
    assert unit_words(environment) == ["X=" + "".join(values)]


@given(VALUES)
def test_kubernetes_hands_values_over_to_the_letter(values: list[str]) -> None:
    """PyYAML reads the file, then the kubelet's expansion."""
    _, cron_job = pyyaml.safe_load_all(text_of(job("/x", *values, X="".join(values))))
    container = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    environ = {"HOME": "wrong", "X": "wrong", "id": "wrong"}
    assert [pod_expanded(each, environ) for each in container["args"][3:]] == values
    assert pod_expanded(container["env"][0]["value"], environ) == "".join(values)


def text_of(made: Job) -> str:
    """Return the manifest of a job."""
    (file,) = kubernetes_files(made, CLUSTER)
    return file.text


@given(VALUES)
def test_airflow_hands_values_over_to_the_letter(values: list[str]) -> None:
    """The assignments of the file, run by Python itself."""
    (file,) = airflow_files(job("/x", *values, X="".join(values)))
    start, end = file.text.index("COMMAND ="), file.text.index("BUSY =")
    found: dict[str, object] = {}
    exec(file.text[start:end], found)  # noqa: S102  it is what is tested
    assert found["COMMAND"] == ["/x", "download", *values, *KEY]
    assert found["ENVIRONMENT"] == {"X": "".join(values)}


DOCUMENTS = strategies.recursive(
    strategies.one_of(TEXTS, strategies.booleans(), strategies.integers()),
    lambda inner: (
        strategies.lists(inner, max_size=3) | strategies.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_documents_come_back_from_yaml(document: object) -> None:
    """Whatever is nested in whatever."""
    assert pyyaml.safe_load(quoting.yaml(document)) == document


def test_scripts_come_back_from_yaml() -> None:
    """Texts of several lines, wherever they stand."""
    script = "a 'b' \"$c\"\n  d: # e\ncase $x in 1|2) ;; esac\n"
    for document in ([script], {"x": script}, {"x": [script, "y"]}, [["x", script]]):
        assert pyyaml.safe_load(quoting.yaml(document)) == document
    with pytest.raises(TypeError):
        quoting.yaml({"x": 1.5})


def test_a_value_that_looks_like_a_place_stays_a_value() -> None:
    """Places are filled all at once."""
    assert filled("@A@ @B@ @x", {"A": "@B@", "B": "b"}) == "@B@ b @x"


def test_a_line_that_is_too_long_for_cron_is_refused() -> None:
    """Debian's cron would drop the whole file."""
    with pytest.raises(UsageError, match="less than a thousand"):
        cron_files(job("/x", "y" * 900))
