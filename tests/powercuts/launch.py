"""Starts a simulation in a namespace of its own, or says what this machine lacks for it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from ctypes.util import find_library
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.powercuts.simulate import FILE_SYSTEMS, Plan, Result

# The first word ends all of it with this process, however that ends: unshare only follows its own.
UNSHARE = (
    "setpriv",
    "--pdeathsig=KILL",
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)
ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 1700.0


def missing(file_system: str) -> str | None:
    """Name what power cuts on this file system cannot be simulated without; None: nothing."""
    return ", ".join(_missing(file_system)) or None


def _missing(file_system: str) -> Iterator[str]:
    programs = ("setpriv", "unshare", "mount", "umount", FILE_SYSTEMS[file_system].make[0])
    for program in programs:
        if shutil.which(program) is None:
            yield f"the program {program}"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not os.access(device, os.R_OK | os.W_OK):
            yield f"access to {device}"
    if importlib.util.find_spec("mfusepy") is None:
        yield "the Python package mfusepy"
    if find_library("fuse3") is None:
        yield "the library libfuse3"
    if os.geteuid() != 0:
        yield "root"
    elif shutil.which("setpriv") and shutil.which("unshare"):
        tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            yield f"namespaces ({tried.stderr.strip()})"


def launch(plan: Plan) -> Result:
    """Simulate with the bulkaudio of this checkout; raises `OSError` when it cannot."""
    with TemporaryDirectory(prefix="powercuts") as folder:
        program = (sys.executable, "-m", "tests.powercuts.simulate")
        done = subprocess.run(
            [*UNSHARE, *program, folder, json.dumps(asdict(plan))],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
            timeout=PATIENCE_S,
        )
    if done.returncode != 0:
        raise OSError(f"the simulation ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return Result(**json.loads(done.stdout))
