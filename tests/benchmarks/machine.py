"""Where the figures come from."""

import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bulkaudio.version import __version__
from tests.benchmarks.measure import PROJECT
from tests.benchmarks.server import nginx
from tests.benchmarks.tools import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """
    What a table has to name.

    Attributes:
        versions: Of everything that takes part, as ``name version``.
    """

    date: str
    hardware: str
    system: str
    file_system: str
    versions: Sequence[str]

    @classmethod
    def here(cls, folder: Path, tools: Sequence[Tool]) -> "Machine":
        """Look at this one."""
        memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        release = platform.release().partition("-")[0]
        return cls(
            date=datetime.now(UTC).date().isoformat(),
            hardware=f"{_processor()}, {os.cpu_count()} cores, {memory_gb:.0f} GB",
            system=f"{platform.system()} {release}, Python {platform.python_version()}",
            file_system=file_system(folder),
            versions=[
                f"bulkaudio {_own_version()}",
                f"nginx {_nginx_version()}",
                *_versions(tools),
            ],
        )


def file_system(folder: Path) -> str:
    """Name the kind of file system that holds a folder."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return "unknown"
    found = ("", "")
    for line in mounts.read_text().splitlines():
        _, place, kind, *_ = line.split()
        if folder.resolve().is_relative_to(place) and len(place) >= len(found[0]):
            found = (place, kind)
    return found[1]


def _versions(tools: Sequence[Tool]) -> Iterator[str]:
    for tool in tools:
        version = tool.version()
        if version is not None:
            name = "aiohttp" if tool.name == "plain script" else tool.name
            yield f"{name} {version}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor() or platform.machine()
    lines = information.read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _own_version() -> str:
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return __version__
    return f"{__version__} ({done.stdout.strip()})" if done.returncode == 0 else __version__


def _nginx_version() -> str:
    program = nginx()
    if program is None:
        return "missing"
    done = subprocess.run([program, "-v"], capture_output=True, text=True, check=True)
    return done.stderr.strip().rpartition("/")[2]
