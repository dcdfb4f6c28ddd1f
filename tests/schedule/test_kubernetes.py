"""The manifest: what Kubernetes takes, and how a pod ends."""

import shutil
import subprocess

import pytest
import yaml as pyyaml

from bulkaudio.schedule.outcomes import FINE, HOPELESS
from tests.inside import Inside
from tests.schedule.jobs import dumped, dumper
from tests.schedule.printed import BASE, cron_job, pod_command, pod_of, schedule
from tests.schedule.readers import (
    kubernetes_object,
)


def test_manifests_are_what_kubernetes_takes(inside: Inside) -> None:
    """Every field is one that its own client knows, with all that are required."""
    (inside.folder / "ca.pem").touch()
    keys = ("--conversations-key-file", "listing.key", "--ca-bundle", "ca.pem")
    kept = ("--log-file", "calls/b.log", "--csv", "calls/ids.csv")
    base = [each for each in BASE if each not in {"--account", "ws-1"}]
    for arguments in (BASE, (*base, *keys, *kept)):
        done = schedule(inside, "kubernetes", *arguments)
        assert done.code == 0, done.stderr
        claim, found = pyyaml.safe_load_all(done.stdout)
        assert kubernetes_object("V1PersistentVolumeClaim", claim).kind == "PersistentVolumeClaim"
        assert kubernetes_object("V1CronJob", found).api_version == "batch/v1"
        found["spec"]["jobTemplate"]["spec"]["backOffLimit"] = 3
        with pytest.raises(AssertionError, match="backOffLimit"):
            kubernetes_object("V1CronJob", found)


def test_the_pod_has_what_it_needs_and_no_more(inside: Inside) -> None:
    """Volumes and mounts fit together; not root, nothing writable but the archive and /tmp."""
    arguments = (
        "--tz",
        "Europe/London",
        "--spread",
        "0",
        "--ca-bundle",
        "/x/ca.pem",
        "--grace",
        "45s",
    )
    text = schedule(inside, "kubernetes", *BASE, *arguments).stdout
    spec = cron_job(text)["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("30 2 * * *", "Europe/London")
    assert spec["concurrencyPolicy"] == "Forbid"
    pod = pod_of(text)
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {each["name"]: each for each in container["volumeMounts"]}
    assert (
        set(mounts) == {each["name"] for each in pod["volumes"]} == {"archive", "keys", "tmp", "ca"}
    )
    assert {name for name, each in mounts.items() if not each.get("readOnly")} == {"archive", "tmp"}
    out = container["args"][container["args"].index("--out") + 1]
    assert mounts["archive"]["mountPath"] == out == f"{inside.folder}/calls"
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert variables["BULKAUDIO_API_KEY_FILE"] == mounts["keys"]["mountPath"] + "/polyai-api-key"
    assert (
        container["args"][container["args"].index("--ca-bundle") + 1] == "/etc/bulkaudio/ca/ca.pem"
    )
    assert pod["terminationGracePeriodSeconds"] == 75


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 6, 8, 75])
def test_exit_codes_are_mapped_for_kubernetes(inside: Inside, code: int) -> None:
    """A busy archive is a success; the codes that fail the job at once are the hopeless ones."""
    text = schedule(inside, "kubernetes", *BASE).stdout
    dumper(inside.folder)
    done = subprocess.run(
        pod_command(text),
        env={"PATH": f"{inside.folder}:/usr/bin:/bin", "DUMP": "dump", "CODE": str(code)},
        check=False,
    )
    assert done.returncode == (0 if code in FINE else code)
    assert dumped(inside.folder / "dump")[0] == "download"
    fails, ignores = cron_job(text)["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert (code in fails["onExitCodes"]["values"]) == (code in HOPELESS)
    assert (fails["action"], ignores["action"]) == ("FailJob", "Ignore")


FORKS = "clone,clone3,fork,vfork"
SLOW_FORK = (
    *("strace", "-D", "-qq", "-o", "/dev/null"),
    *("-e", f"trace={FORKS}", "-e", f"inject={FORKS}:delay_exit=500000"),
)
"""The shell learns half a second late whom it has started; ``-D`` leaves it our own child."""


@pytest.mark.parametrize(
    "before",
    [
        pytest.param((), id="later"),
        pytest.param(
            SLOW_FORK,
            id="at once",
            marks=pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing"),
        ),
    ],
)
def test_a_pod_that_is_told_to_stop_drains(inside: Inside, before: tuple[str, ...]) -> None:
    """The shell hands the signal on, and waits for the end of what it started."""
    program = inside.folder / "bulkaudio"
    program.write_text(
        "#!/bin/sh\ntrap 'sleep 0.3; echo drained; exit 143' TERM\necho ready\n"
        'while [ -e "$0" ]; do sleep 0.05; done\n'
    )
    program.chmod(0o755)
    command = (*before, *pod_command(schedule(inside, "kubernetes", *BASE).stdout))
    environ = {"PATH": f"{inside.folder}:/usr/bin:/bin"}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        try:
            assert process.communicate(timeout=20)[0] == "drained\n"
        finally:
            program.unlink()
        assert process.wait() == 143
