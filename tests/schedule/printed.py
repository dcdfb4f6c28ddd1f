"""What `schedule` prints, and what is to be started by it."""

from pathlib import Path
from typing import Any

import yaml as pyyaml

from tests.inside import Inside
from tests.program import Done
from tests.schedule.readers import (
    exec_start,
    pod_expanded,
    setting,
)

KINDS = ("cron", "systemd", "kubernetes", "airflow")
IMAGE = ("--image", "registry.example/bulkaudio:1")
BASE = ("--out", "calls", "--region", "uk", "--agent", "PROJECT-1", "--account", "ws-1")


def schedule(inside: Inside, kind: str, *arguments: str | Path) -> Done:
    """Print the files of one scheduler."""
    image = IMAGE if kind == "kubernetes" else ()
    return inside.run("schedule", kind, *image, *arguments)


def systemd_words(text: str, credentials: str = "/credentials") -> list[str]:
    """Return the service's command line."""
    (command,) = setting(text, "ExecStart")
    return exec_start(command, {"CREDENTIALS_DIRECTORY": credentials})


def cron_job(text: str) -> dict[str, Any]:
    """Return the CronJob of the manifest."""
    _, found = pyyaml.safe_load_all(text)
    assert isinstance(found, dict)
    return found


def pod_of(text: str) -> dict[str, Any]:
    """Return its pod."""
    pod: dict[str, Any] = cron_job(text)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def pod_command(text: str, **environ: str) -> list[str]:
    """Return what the kubelet starts."""
    (container,) = pod_of(text)["containers"]
    return [pod_expanded(word, environ) for word in (*container["command"], *container["args"])]
