"""One run of one program: how long, how much processor, how much memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
PROJECT = Path(__file__).parents[2]
KEY = "benchmark-key"
LONGEST_S = 1800.0
TOO_LONG = -signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """
    What a program and the children it waited for used.

    Attributes:
        started_at: By the clock that the server's log has.
        peak_bytes: Of the largest of its processes.
    """

    started_at: float
    wall_s: float
    cpu_s: float
    peak_bytes: int
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """
    Where programs run.

    Attributes:
        folder: For their output, and the home that keeps this user's own settings out.
        variables: Besides the path and the key.
    """

    folder: Path
    variables: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        """Return all that a program finds: the same for each."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        fixed = {"HOME": str(home), "PYTHONPATH": str(PROJECT), "POLYAI_API_KEY": KEY}
        return kept | fixed | dict(self.variables)

    @property
    def stdout(self) -> Path:
        """What the last program printed."""
        return self.folder / "stdout"

    @property
    def stderr(self) -> Path:
        """What the last program complained of."""
        return self.folder / "stderr"


def measured(command: Sequence[str], around: Surroundings) -> Usage:
    """Run a program to its end, or for as long as anybody would wait; an interruption ends it."""
    launcher = (sys.executable, "-I", "-S", str(LAUNCHER))
    process = subprocess.Popen(
        [*launcher, str(around.stdout), str(around.stderr), *command],
        stdout=subprocess.PIPE,
        env=around.environment(),
        cwd=around.folder,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        _kill(process)
        return Usage(started_at=0.0, wall_s=LONGEST_S, cpu_s=0.0, peak_bytes=0, code=TOO_LONG)
    except BaseException:
        _kill(process)
        raise
    return Usage(**json.loads(printed))


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
