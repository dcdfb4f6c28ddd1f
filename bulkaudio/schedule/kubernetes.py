"""A CronJob for Kubernetes, with the volume that it keeps its archive on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bulkaudio.errors import UsageError
from bulkaudio.schedule.job import Job, JobFile
from bulkaudio.schedule.outcomes import FINE, HOPELESS, TRIES_AGAIN
from bulkaudio.schedule.quoting import pod_argument, shell, yaml

KEYS = PurePosixPath("/var/run/secrets/bulkaudio")
KEY, CONVERSATIONS_KEY = "polyai-api-key", "polyai-conversations-api-key"
CERTIFICATES = PurePosixPath("/etc/bulkaudio/ca")
CERTIFICATE = "ca.pem"
CA_OPTION = "--ca-bundle"

USER = 10001
STOP_MARGIN_S = 30
LATEST_START_S = 12 * 3600

_RUN = """\
trap 'stop=1' TERM INT
"$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM INT
[ -z "$stop" ] || kill -TERM "$child" 2>/dev/null
wait "$child"
code=$?
while kill -0 "$child" 2>/dev/null; do
  wait "$child"
  code=$?
done
case $code in @FINE@) exit 0 ;; esac
exit $code
"""
"""
A signal interrupts ``wait``, so that it is waited once more for the end of the drain. One that comes
before the shell knows whom it has started is handed on then, and once: a second ends without a drain.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """
    What a cluster has to be told.

    Attributes:
        volume_size: As Kubernetes writes it, such as ``100Gi``.
    """

    image: str
    volume_size: str


def kubernetes_files(job: Job, cluster: Cluster) -> tuple[JobFile, ...]:
    """
    Write a volume claim and the CronJob, and the commands that make what they need.

    Raises:
        UsageError: When the job names files that a pod does not have.
    """
    _check(job)
    documents = [_claim(job, cluster), _cron_job(job, cluster)]
    text = _head(job) + "---\n".join(yaml(each) for each in documents)
    name = f"{job.name}.yaml"
    return (JobFile(name=name, place=f"kubectl apply -f {name}", text=text),)


def _check(job: Job) -> None:
    if ":" in str(job.archive):
        raise UsageError(
            f"a volume cannot be mounted at {job.archive}: it holds a colon",
            fix="choose another --out",
        )
    inside = {**job.writes, **{n: path for n, path in job.reads.items() if n != CA_OPTION}}
    for option, path in inside.items():
        if not job.is_kept(path):
            raise UsageError(
                f"{option} {path} is not in {job.archive}, the only folder that a pod keeps",
                fix=f"name a file in it, such as {option} {job.archive / path.name}",
            )


def _head(job: Job) -> str:
    files = [f"--from-file={KEY}={shell([str(job.keys.api_key)])}"]
    if job.keys.conversations_key is not None:
        files.append(f"--from-file={CONVERSATIONS_KEY}={shell([str(job.keys.conversations_key)])}")
    lines = [
        "Once, before kubectl apply; the keys are read from your files:",
        f"  kubectl create secret generic {job.name}-keys {' '.join(files)}",
    ]
    if CA_OPTION in job.reads:
        file = f"--from-file={CERTIFICATE}={shell([str(job.reads[CA_OPTION])])}"
        lines.append(f"  kubectl create configmap {job.name}-ca {file}")
    if job.url is not None:
        lines += _cloud_words(job)
    lines.append("The volume has to be a disk with locks, not NFS: the ledger is a database.")
    return "".join(f"# {line}\n" for line in lines)


def _cloud_words(job: Job) -> list[str]:
    return [
        "And the object store's credentials, from a file of lines such as AWS_ACCESS_KEY_ID=...:",
        f"  kubectl create secret generic {job.name}-cloud --from-env-file=cloud.env",
        "With workload identity there is no such secret: give the pod's spec a serviceAccountName",
        "that may list the bucket and get, put and delete objects below the prefix.",
        "The recordings are in the object store; the volume keeps the ledger, and what is on its way.",
        "If it is lost, run a pod once with: bulkaudio rebuild, the address, and --state-dir as below.",
    ]


def _labels(job: Job) -> dict[str, str]:
    return {"app.kubernetes.io/name": "bulkaudio", "app.kubernetes.io/instance": job.name}


def _claim(job: Job, cluster: Cluster) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": f"{job.name}-archive", "labels": _labels(job)},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": cluster.volume_size}},
        },
    }


def _cron_job(job: Job, cluster: Cluster) -> dict[str, Any]:
    hour, minute = divmod(job.shifted(), 60)
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": job.name, "labels": _labels(job)},
        "spec": {
            "schedule": f"{minute} {hour} * * *",
            "timeZone": job.clock.zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": LATEST_START_S,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": _job(job, cluster)},
        },
    }


def _job(job: Job, cluster: Cluster) -> dict[str, Any]:
    hopeless = {"containerName": "bulkaudio", "operator": "In", "values": list(HOPELESS)}
    moved = {"type": "DisruptionTarget", "status": "True"}
    return {
        "backoffLimit": TRIES_AGAIN,
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": hopeless},
                {"action": "Ignore", "onPodConditions": [moved]},
            ]
        },
        "template": {"metadata": {"labels": _labels(job)}, "spec": _pod(job, cluster)},
    }


def _pod(job: Job, cluster: Cluster) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": math.ceil(job.grace_s) + STOP_MARGIN_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, cluster)],
        "volumes": _volumes(job),
    }


def _container(job: Job, cluster: Cluster) -> dict[str, Any]:
    variables = {**job.environment, "BULKAUDIO_API_KEY_FILE": str(KEYS / KEY)}
    if job.keys.conversations_key is not None:
        variables["BULKAUDIO_CONVERSATIONS_KEY_FILE"] = str(KEYS / CONVERSATIONS_KEY)
    script = _RUN.replace("@FINE@", "|".join(map(str, FINE)))
    return {
        "name": "bulkaudio",
        "image": cluster.image,
        "command": ["/bin/sh", "-c", pod_argument(script)],
        "args": [pod_argument(word) for word in ("bulkaudio", "bulkaudio", *_options(job))],
        **_cloud(job),
        "env": [{"name": n, "value": pod_argument(v)} for n, v in variables.items()],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": name, "mountPath": path, **({} if name in _WRITABLE else {"readOnly": True})}
            for name, path in _mounts(job).items()
        ],
    }


def _cloud(job: Job) -> dict[str, Any]:
    """Return where the object store's credentials come from, when it is not the pod's own identity."""
    if job.url is None:
        return {}
    return {"envFrom": [{"secretRef": {"name": f"{job.name}-cloud", "optional": True}}]}


_WRITABLE = ("archive", "tmp")


def _options(job: Job) -> tuple[str, ...]:
    """Return the words of ``download``, with the certificates where the pod has them."""
    words = list(job.options)
    if CA_OPTION in job.reads:
        words[words.index(CA_OPTION) + 1] = str(CERTIFICATES / CERTIFICATE)
    return tuple(words)


def _mounts(job: Job) -> Mapping[str, str]:
    mounts = {"archive": str(job.archive), "keys": str(KEYS), "tmp": "/tmp"}  # noqa: S108  of a pod
    return mounts | ({"ca": str(CERTIFICATES)} if CA_OPTION in job.reads else {})


def _volumes(job: Job) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "archive", "persistentVolumeClaim": {"claimName": f"{job.name}-archive"}},
        {"name": "keys", "secret": {"secretName": f"{job.name}-keys", "defaultMode": 0o440}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    if CA_OPTION in job.reads:
        volumes.append({"name": "ca", "configMap": {"name": f"{job.name}-ca"}})
    return volumes
