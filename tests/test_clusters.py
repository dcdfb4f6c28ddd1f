"""The recipes for clusters: what Kubernetes, shells, Dask and our own command line make of them."""

import asyncio
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml

from bulkaudio.cli.app import make_app
from bulkaudio.cli.options import DownloadOptions
from bulkaudio.cli.request import make_request
from bulkaudio.schedule.outcomes import HOPELESS
from tests.schedule.readers import kubernetes_object

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
MANIFESTS = sorted(EXAMPLES.glob("*.yaml"))
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))
CLUSTERS = [path for path in SCRIPTS if path.stem in {"cluster-ssh", "cluster-slurm"}]
PAGE = ROOT / "docs" / "cluster-recipes.md"

KINDS = {
    "ConfigMap": "V1ConfigMap",
    "CronJob": "V1CronJob",
    "Deployment": "V1Deployment",
    "NetworkPolicy": "V1NetworkPolicy",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "Service": "V1Service",
}


def names(path: Path) -> str:
    """Name a file in the tests' names."""
    return path.stem


def documents(path: Path) -> list[dict[str, Any]]:
    """Read a manifest."""
    found = list(pyyaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert all(isinstance(each, dict) for each in found)
    return found


def pods(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the template of every pod, with the name of what makes it."""
    for each in documents(path):
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield each["metadata"]["name"], spec["template"]


def containers(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every container."""
    for _, template in pods(path):
        yield from template["spec"].get("initContainers", [])
        yield from template["spec"]["containers"]


def manifest_commands(path: Path) -> Iterator[list[str]]:
    """Yield what containers start, each as words; of a shell, the lines that start a program."""
    for each in containers(path):
        if each["command"][0] == "/bin/sh":
            for line in each["args"][0].splitlines():
                if line.startswith(("bulkaudio ", "dask ")):
                    yield shlex.split(line)
        else:
            yield [*each["command"], *each["args"]]


def script_commands(path: Path) -> Iterator[list[str]]:
    """Yield the programs that a script starts, as words, variables as they stand."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for found in re.finditer(r'"\$python" -m ((?:dask|bulkaudio) [^)&]+)', text):
        yield shlex.split(found[1])


def page_blocks() -> Iterator[tuple[bool, str]]:
    """Yield what the page shows, and whether it says why nobody runs it here."""
    text = PAGE.read_text(encoding="utf-8")
    for why, kind, body in re.findall(
        r"^(<!-- not run: [^\n]+ -->\n)?```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
    ):
        if kind == "sh":
            yield bool(why), body.replace("\\\n", " ")


def page_commands() -> Iterator[list[str]]:
    """Yield what the page has one type of ours and of Dask's."""
    for _, body in page_blocks():
        for line in body.splitlines():
            if line.startswith(("dask ", "bulkaudio ")):
                yield shlex.split(line)


def commands() -> list[tuple[str, list[str]]]:
    """Return every program that a recipe starts."""
    found = [(path.name, each) for path in MANIFESTS for each in manifest_commands(path)]
    found += [(path.name, each) for path in CLUSTERS for each in script_commands(path)]
    return found + [(PAGE.name, each) for each in page_commands()]


OURS = [(name, words[1:]) for name, words in commands() if words[0] == "bulkaudio"]
DASKS = [(name, words[1:]) for name, words in commands() if words[0] == "dask"]


@pytest.mark.parametrize(("recipe", "words"), OURS, ids=[f"{n} {w[0]}" for n, w in OURS])
def test_our_own_commands_are_understood(recipe: str, words: Sequence[str]) -> None:
    """Every option is one of the program's, and `download` takes them for no contradiction."""
    del recipe
    plain = [word.replace("$address:$port", "host:8786") for word in words if word != "$@"]
    if "$@" in words:
        plain += shlex.split(
            "--region uk --agent PROJECT-1 --csv ids.csv --out s3://acme-calls/polyai"
        )
    command, bound, _ = make_app().parse_args(plain, exit_on_error=False, print_error=False)
    if getattr(command, "__name__", "") == "download":
        options = bound.arguments["options"]
        assert isinstance(options, DownloadOptions)
        make_request(options, now=datetime.now(UTC), environ={})


@pytest.mark.parametrize(("recipe", "words"), DASKS, ids=[f"{n} {w[0]}" for n, w in DASKS])
def test_dasks_commands_are_understood(recipe: str, words: Sequence[str]) -> None:
    """By Dask's own parser, which starts nothing here."""
    del recipe
    kind = pytest.importorskip(f"distributed.cli.dask_{words[0]}").main
    given = [word.replace("$port", "8786") for word in words[1:]]
    context = kind.make_context(words[0], given)
    assert context.params["dashboard"] is False
    if words[0] == "worker":
        assert context.params["scheduler"].startswith("tls://")
        assert (context.params["nanny"], context.params["nthreads"]) == (False, 2)
    else:
        assert context.params["protocol"] == "tls"


def test_there_is_something_to_check() -> None:
    """A recipe whose commands are not found would pass for checked."""
    assert {name for name, _ in OURS} == {p.name for p in (*MANIFESTS, *CLUSTERS, PAGE)}
    assert [words[0] for _, words in DASKS].count("worker") == 4
    assert [words[0] for _, words in DASKS].count("scheduler") == 4


@pytest.mark.parametrize("manifest", MANIFESTS, ids=names)
def test_manifests_are_what_kubernetes_takes(manifest: Path) -> None:
    """Every field is one that its own client knows, with all that are required."""
    for each in documents(manifest):
        assert kubernetes_object(KINDS[each["kind"]], each).kind == each["kind"]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=names)
def test_pods_have_what_they_need_and_no_more(manifest: Path) -> None:
    """Volumes and mounts fit together; not root, nothing to write but what is meant for it."""
    for name, template in pods(manifest):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        each_has = spec.get("initContainers", []) + spec["containers"]
        mounted = {mount["name"] for each in each_has for mount in each["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}, name
        for each in each_has:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert each["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in each["resources"]["limits"]
            writable = {m["name"] for m in each["volumeMounts"] if not m.get("readOnly")}
            assert writable <= {"state", "tmp"}
        for volume in spec["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440


def selectors(document: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    """Yield the labels by which a part finds pods."""
    spec = document.get("spec", {})
    if document["kind"] == "Service":
        yield spec["selector"]
    elif document["kind"] == "NetworkPolicy":
        yield spec["podSelector"]["matchLabels"]
    elif document["kind"] == "Deployment":
        yield spec["selector"]["matchLabels"]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=names)
def test_names_lead_to_what_is_there(manifest: Path) -> None:
    """Labels, ports, claims and files that one part names, another has."""
    found = documents(manifest)
    by_kind: dict[str, dict[str, Any]] = {}
    for each in found:
        by_kind.setdefault(each["kind"], {})[each["metadata"]["name"]] = each
    labels = [template["metadata"]["labels"] for _, template in pods(manifest)]
    for each in found:
        for wanted in selectors(each):
            assert any(wanted.items() <= have.items() for have in labels), wanted
    for container in containers(manifest):
        for source in container.get("envFrom", []):
            assert source["configMapRef"]["name"] in by_kind["ConfigMap"]
        folders = [mount["mountPath"] for mount in container["volumeMounts"]]
        for variable in container.get("env", []):
            assert any(variable["value"].startswith(f"{folder}/") for folder in folders)
    text = manifest.read_text(encoding="utf-8")
    for claim in re.findall(r"claimName: ([\w-]+)", text):
        assert claim in by_kind["PersistentVolumeClaim"]
    for host in re.findall(r"tls://([\w-]+):8786", text):
        assert host in by_kind["Service"]
    for secret in re.findall(r"secretName: ([\w-]+)", text):
        assert f"kubectl create secret generic {secret} " in text


@pytest.mark.parametrize("manifest", MANIFESTS, ids=names)
def test_hopeless_ends_are_not_tried_again(manifest: Path) -> None:
    """The same codes as those of `schedule kubernetes`."""
    for each in documents(manifest):
        if each["kind"] == "CronJob":
            first, _ = each["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
            assert first["onExitCodes"]["values"] == list(HOPELESS)
            assert each["spec"]["concurrencyPolicy"] == "Forbid"


def test_settings_of_dask_mean_what_they_should() -> None:
    """Variables that Dask would not know say nothing: each is read by its own configuration."""
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    (config,) = [
        each
        for each in documents(EXAMPLES / "cluster-kubernetes.yaml")
        if each["kind"] == "ConfigMap"
    ]
    found = dask.config.merge(dask.config.config, dask.config.collect_env(config["data"]))
    with dask.config.set(found):
        security = distributed.Security()
        assert security.require_encryption is True
        for role in ("scheduler", "worker", "client"):
            paths = security.get_tls_config_for_role(role)
            assert {Path(paths[name]).name for name in ("ca_file", "cert", "key")} == {
                "ca.pem",
                "cert.pem",
                "key.pem",
            }
        assert dask.config.get("distributed.scheduler.allowed-failures") == 10
        assert dask.config.get("distributed.scheduler.worker-ttl") == "60s"
    for path in CLUSTERS:
        text = path.read_text(encoding="utf-8")
        for variable in ("REQUIRE_ENCRYPTION", "TLS__CA_FILE", "ALLOWED_FAILURES", "WORKER_TTL"):
            (name,) = [each for each in config["data"] if each.endswith(variable)]
            assert name in text


@pytest.mark.parametrize("script", SCRIPTS, ids=names)
def test_scripts_are_good_shell(script: Path) -> None:
    """As their own shell reads them, and as shellcheck does."""
    shell = script.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#!")
    subprocess.run([shell, "-n", script], check=True)
    assert os.access(script, os.X_OK)
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.defpath}")
    assert checker is not None, "it comes with bulkaudio[test]"
    done = subprocess.run([checker, script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def made_certificates(folder: Path) -> Path:
    """Make certificates as the recipes do."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    subprocess.run([EXAMPLES / "cluster-tls.sh", folder, "2"], check=True)
    return folder


def test_certificates_are_good_for_both_sides(tmp_path: Path) -> None:
    """Signed by the authority that is beside them; for their owner only; never replaced."""
    tls = made_certificates(tmp_path / "tls")
    assert sorted(path.name for path in tls.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    assert {path.stat().st_mode & 0o777 for path in tls.iterdir()} == {0o600}
    for purpose in (ssl.Purpose.SERVER_AUTH, ssl.Purpose.CLIENT_AUTH):
        context = ssl.create_default_context(purpose, cafile=str(tls / "ca.pem"))
        context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
    again = subprocess.run(
        [EXAMPLES / "cluster-tls.sh", tls], check=False, capture_output=True, text=True
    )
    assert again.returncode == 1
    assert "is there already" in again.stderr


STAND_IN = """#!{python}
import os, sys
words = sys.argv[1:]
if words[:2] != ["-m", "bulkaudio"]:
    os.execv("{python}", ["{python}", *words])
address = words[words.index("--scheduler") + 1]
from distributed import Client
with Client(address, timeout=30) as client:
    client.wait_for_workers({workers}, timeout=60)
    key = client.submit(lambda: sorted(each for each in __import__("os").environ if "KEY" in each))
    print("keys", *key.result())
    print("words", *words[2:3], *words[7:], flush=True)
    if "--wait" in words:
        import signal, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        print("ready", flush=True)
        time.sleep(60)
sys.exit(3)
"""
"""Python, but for the program itself: a client of the same cluster."""


def rigged(tmp_path: Path, workers: int) -> dict[str, str]:
    """Return an environment in which other machines are this one."""
    pytest.importorskip("distributed")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    programs = {
        "python": STAND_IN.format(python=sys.executable, workers=workers),
        # Options, then a host, then the line for its shell.
        "ssh": '#!/bin/sh\n[ "$1 $2 $3" = "-n -o BatchMode=yes" ] || exit 9\nexec /bin/sh -c "$5"\n',
        "srun": '#!/bin/sh\n[ "$1" = --kill-on-bad-exit=0 ] || exit 9\nshift\nexec "$@"\n',
        "hostname": "#!/bin/sh\necho 127.0.0.1\n",
    }
    for name, text in programs.items():
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    return {
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHON": str(bin_ / "python"),
        "TLS": str(made_certificates(tmp_path / "tls with a space")),
        "TMPDIR": str(tmp_path),
    }


def free_port() -> int:
    """Find one that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "cluster-ssh": ("node1", "node2", "--"),
    "cluster-slurm": (),
}
OPTIONS = ("--csv", "my ids.csv")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("script", CLUSTERS, ids=names)
async def test_a_script_brings_a_cluster_together_and_apart(script: Path, tmp_path: Path) -> None:
    """Over TLS; its exit code is the run's; nothing stays behind, and no key was sent."""
    environ = rigged(tmp_path, 2 if script.stem == "cluster-ssh" else 1)
    environ["PORT"] = str(free_port())
    process = await asyncio.create_subprocess_exec(
        script,
        *(*ARGUMENTS[script.stem], *OPTIONS),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    # The pipes end with the last worker.
    out, err = await process.communicate()
    assert process.returncode == 3, err.decode()
    keys, words = out.decode().splitlines()
    assert keys.split()[1:] == [
        f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY" for role in ("CLIENT", "SCHEDULER", "WORKER")
    ]
    assert words == "words download --csv my ids.csv"


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("script", CLUSTERS, ids=names)
async def test_a_script_that_is_told_to_stop_lets_the_run_drain(
    script: Path, tmp_path: Path
) -> None:
    """The signal goes to the run, and the script waits for its end."""
    environ = rigged(tmp_path, 1)
    environ["PORT"] = str(free_port())
    process = await asyncio.create_subprocess_exec(
        script,
        *(*ARGUMENTS[script.stem], "--wait"),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    while b"ready" not in (line := await process.stdout.readline()):
        assert line, "it ended before"
    process.terminate()
    _, err = await process.communicate()
    assert process.returncode == 143, err.decode()


def test_commands_of_the_page_name_what_is_there() -> None:
    """Files of the examples, secrets of the manifests, options of the program."""
    there = {
        (each["kind"].lower(), each["metadata"]["name"])
        for path in MANIFESTS
        for each in documents(path)
    }
    shown = list(page_blocks())
    assert len(shown) >= 4
    for says_why, body in shown:
        assert says_why, body
        for name in re.findall(r"examples/([\w.-]+)", body):
            assert (EXAMPLES / name).exists()
        for kind, name in re.findall(r"(cronjob|deployment)/([\w-]+)", body):
            assert (kind, name) in there
