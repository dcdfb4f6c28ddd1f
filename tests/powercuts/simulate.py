"""
Records a disk and replays its power cuts; everything happens in a namespace of its own.

Mounts and processes belong to that namespace and loop devices to the mounts: whatever ends this
program, even ``kill -9``, leaves nothing behind but an empty folder.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.powercuts.log import DISK_FILE, Flush, read_log
from tests.powercuts.oracle import judge, read_reports
from tests.powercuts.recorder import PROCESSES
from tests.powercuts.replay import Arrived, Disk, Replay, State, choose, reported

ARCHIVE = "archive"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """
    How a file system is made and mounted.

    Attributes:
        workers: Copies that can be mounted side by side.
    """

    mebibytes: int
    make: tuple[str, ...]
    options: str
    workers: int | None = None


FILE_SYSTEMS = {
    # The smallest journal: it comes round, so that its checkpoints are part of what is cut. And no
    # commit because time has passed, which would hide what is missing.
    "ext4": FileSystem(
        mebibytes=64,
        make=("mkfs.ext4", "-q", "-b4096", "-Jsize=4", "-Enodiscard,lazy_itable_init=0"),
        options="loop,noatime,commit=600",
    ),
    # Copies of one image have one name: xfs refuses the second one unless told to, and btrfs takes
    # it for the first.
    "xfs": FileSystem(
        mebibytes=320,
        make=("mkfs.xfs", "-q", "-K"),
        options="loop,noatime,nouuid,nodiscard",
    ),
    "btrfs": FileSystem(
        mebibytes=320,
        make=("mkfs.btrfs", "-q", "-K"),
        options="loop,noatime,nodiscard,commit=600",
        workers=1,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What is asked for.

    Attributes:
        is_brief: One violation is enough.
    """

    file_system: str
    states: int
    seed: int = 1
    is_brief: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What was recorded, by the paths of its files."""

    base: Path
    log: Path
    reports: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The figures of a simulation; a violation is told with its state."""

    file_system: str
    writes: int
    flushes: int
    transactions: int
    reports: int
    states: dict[str, int]
    recording_s: float
    replay_s: float
    violations: list[str]

    @property
    def text(self) -> str:
        """For people."""
        count = sum(self.states.values())
        kinds = ", ".join(f"{self.states[kind]} {kind}" for kind in self.states)
        return (
            f"{self.file_system}: {count} crash states ({kinds}) of {self.writes} writes and "
            f"{self.flushes} flushes, {self.transactions} ledger transactions, {self.reports} "
            f"acknowledgements; recorded in {self.recording_s:.1f} s, replayed in "
            f"{self.replay_s:.1f} s; {len(self.violations)} violations of I1, I2, I4, I5, I6"
        )


@contextmanager
def mounted(image: Path, folder: Path, file_system: str) -> Iterator[Path]:
    """Mount an image; the loop device goes with the mount."""
    folder.mkdir(exist_ok=True)
    options = FILE_SYSTEMS[file_system].options
    run("mount", "-t", file_system, "-o", options, image, folder)
    try:
        yield folder
    finally:
        run("umount", folder)


def run(*command: str | Path) -> None:
    """Run a program of the system; what it says is said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


@contextmanager
def served(image: Path, folder: Path, log: Path) -> Iterator[Path]:
    """Serve an image by the disk that remembers; yields the file to make a loop device of."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.powercuts.disk", *map(str, (folder, image, log))]
    with subprocess.Popen(command) as process:
        try:
            for _ in range(1000):
                if (folder / DISK_FILE).exists():
                    break
                if process.poll() is not None:
                    raise OSError(f"the FUSE file system ended with {process.returncode}")
                time.sleep(0.02)
            yield folder / DISK_FILE
        finally:
            run("umount", folder)
            process.wait()


def record(work: Path, file_system: str) -> Recording:
    """Let the recorder's processes work on a disk that remembers, one after the other."""
    image, base = work / "image", work / "base"
    files = Recording(base=base, log=work / "log", reports=work / "reports")
    kind = FILE_SYSTEMS[file_system]
    with image.open("wb") as file:
        file.truncate(kind.mebibytes * MIB)
    run(*kind.make, image)
    run("cp", "--sparse=always", image, base)
    with (
        served(image, work / "fuse", files.log) as device,
        mounted(device, work / "recorded", file_system) as folder,
    ):
        for number, process in enumerate(PROCESSES):
            program = (sys.executable, "-m", "tests.powercuts.recorder")
            words = map(str, (number, folder / ARCHIVE, files.log, files.reports))
            done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
            expected = -signal.SIGKILL if process.is_killed else 0
            if done.returncode != expected:
                raise OSError(f"process {number} ended with {done.returncode}:\n{done.stderr}")
    return files


def replay(work: Path, recording: Recording, plan: Plan, states: Sequence[State]) -> list[str]:
    """Judge some crash states, in their order; return what is wrong with them."""
    work.mkdir()
    records = read_log(recording.log)
    reports = read_reports(recording.reports)
    positions = [report["at"] for report in reports]
    replay = Replay(Disk.read(recording.base), records)
    wrong: list[str] = []
    for number, state in enumerate(states):
        image = work / f"image{number}"
        replay.at(state).write(image)
        told = reports[: reported(positions, records, state)]
        try:
            with mounted(image, work / "mnt", plan.file_system) as folder:
                found = judge(folder / ARCHIVE, told)
        except OSError as error:
            found = [str(error)]
        wrong += [f"{state}: {each}" for each in found]
        image.unlink()
        if wrong and plan.is_brief:
            break
    return wrong


def simulate(work: Path, plan: Plan) -> Result:
    """Record once, then judge the chosen states with a process for each processor."""
    began = time.monotonic()
    recording = record(work, plan.file_system)
    recorded = time.monotonic()
    records, reports = read_log(recording.log), read_reports(recording.reports)
    states = choose(records, plan.states, plan.seed)
    workers = FILE_SYSTEMS[plan.file_system].workers or os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [
            pool.submit(replay, work / f"replay{n}", recording, plan, states[n::workers])
            for n in range(workers)
        ]
        violations = [each for future in futures for each in future.result()]
    flushes = sum(isinstance(each, Flush) for each in records)
    kinds = Counter(state.arrived for state in states)
    told = Counter(report["what"] for report in reports)
    return Result(
        file_system=plan.file_system,
        writes=len(records) - flushes,
        flushes=flushes,
        transactions=told["transaction"] + told["page"] + told["run"] + told["bound"],
        reports=len(reports) - told["transaction"],
        states={kind.value: kinds[kind] for kind in Arrived},
        recording_s=round(recorded - began, 1),
        replay_s=round(time.monotonic() - recorded, 1),
        violations=violations,
    )


def main(work: Path, plan: Plan) -> Result:
    """Simulate in memory: the namespace this runs in is the only one that sees the mount."""
    run("mount", "-t", "tmpfs", "-o", "mode=700", "powercuts", work)
    return simulate(work, plan)


if __name__ == "__main__":
    asked = Plan(**json.loads(sys.argv[2]))
    sys.stdout.write(json.dumps(asdict(main(Path(sys.argv[1]), asked))) + "\n")
