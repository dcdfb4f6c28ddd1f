"""
How fast, beside others: ``python -m tests.benchmarks``.

nginx serves recordings over TLS on this machine, and bulkaudio and other tools fetch them onto its
disk in turns. Progress goes to standard error; a table of Markdown to standard output.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from tests.benchmarks.figures import Result
from tests.benchmarks.machine import Machine
from tests.benchmarks.setting import Setting
from tests.benchmarks.stage import empty, say
from tests.benchmarks.table import BEGIN, END, document, placed
from tests.benchmarks.tools import OTHERS, Tool
from tests.benchmarks.workloads import WORKLOADS, Workload, no_nginx

Named = TypeVar("Named", Tool, Workload)

IN_MEMORY = {"tmpfs", "ramfs"}


def options() -> argparse.ArgumentParser:
    """Say what may be asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    for kind, known in (("workloads", WORKLOADS), ("tools", OTHERS)):
        names = ", ".join(each.name for each in known)
        parser.add_argument(
            f"--{kind}",
            type=among(known),
            default=known,
            metavar="NAME,...",
            help=f"only these of: {names}",
        )
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="rounds [5]")
    parser.add_argument(
        "--connections", type=int, default=32, metavar="N", help="of each tool [32]"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="X", help="so many of everything, to try [1]"
    )
    parser.add_argument("--dir", type=Path, metavar="DIR", help="the disk to measure [here]")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"write the table there; between '{BEGIN}' and '{END}', where these stand in it",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every trial there")
    parser.add_argument("--list", action="store_true", help="say what is here, and measure nothing")
    return parser


def among(known: Sequence[Named]) -> Callable[[str], Sequence[Named]]:
    """Return what reads a list of names."""

    def read(text: str) -> Sequence[Named]:
        names = [name.strip() for name in text.split(",")]
        unknown = set(names) - {each.name for each in known}
        if unknown:
            there = ", ".join(each.name for each in known)
            raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))} among {there}")
        return [each for each in known if each.name in names]

    return read


def inventory(workloads: Sequence[Workload], tools: Sequence[Tool]) -> Iterator[str]:
    """Say what could take part, and how to get what could not."""
    for workload in workloads:
        missing = no_nginx() or workload.missing()
        yield f"{workload.name:10} {workload.title}{f' - {missing}' if missing else ''}"
    for tool in tools:
        version = tool.version()
        yield f"{tool.name:12} {version or f'is not here: {tool.source}'}"


def shortcomings(setting: Setting, machine: Machine) -> Iterator[str]:
    """Say why the figures are not what they seem."""
    if setting.scale != 1.0:
        yield f"At {setting.scale:g} of what the titles say: only to try."
    if machine.file_system in IN_MEMORY:
        yield "Not on a disk, but in memory: choose another folder with --dir."
    load = os.getloadavg()[0]
    if load > 1.0:
        yield f"Not on a machine at rest: its load was {load:.1f} before the first round."


def absences(workloads: Sequence[Workload], tools: Sequence[Tool]) -> Iterator[str]:
    """Say what could not take part, and how to get it."""
    for tool in tools:
        if tool.version() is None:
            yield f"Without {tool.name}, which is not here: {tool.source}."
    for workload in workloads:
        missing = workload.missing()
        if missing:
            yield f"Without {workload.name}: {missing}."


def measure(workload: Workload, setting: Setting, runs: int) -> Result:
    """Set a workload up, let everybody run, and give the space back."""
    say(f"{workload.name}: {workload.title}")
    folder = setting.folder / workload.name
    folder.mkdir()
    with workload.stage(replace(setting, folder=folder)) as stage:
        trials = stage.play(min(runs, workload.most_rounds))
    empty(folder)
    return Result(
        workload=workload.name,
        title=workload.title,
        subjects=stage.subjects,
        contestants=[contestant.name for contestant in stage.contestants],
        volume_bytes=stage.volume_bytes,
        trials=trials,
    )


def as_json(machine: Machine, results: Sequence[Result]) -> str:
    """Write everything that was measured."""
    found = {"machine": asdict(machine), "results": [asdict(result) for result in results]}
    return json.dumps(found, indent=1) + "\n"


def keep(text: str, path: Path | None) -> None:
    """Write a text where it was asked for; into a file that has a place for it, only there."""
    if path is not None:
        whole = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(placed(text, whole), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write what was found; 1 when a tool failed, 2 when nothing can be measured."""
    given = options().parse_args(arguments)
    workloads: Sequence[Workload] = given.workloads
    tools: Sequence[Tool] = given.tools
    if given.list:
        sys.stdout.writelines(f"{line}\n" for line in inventory(workloads, tools))
        return 0
    missing = no_nginx()
    if missing:
        say(missing)
        return 2
    # So that whoever ends this ends server and tools with it, and leaves no gigabytes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with TemporaryDirectory(prefix="bulkaudio-benchmarks-", dir=given.dir or Path.cwd()) as folder:
        setting = Setting(
            folder=Path(folder),
            connections=given.connections,
            scale=given.scale,
            tools=frozenset(tool.name for tool in tools),
        )
        machine = Machine.here(setting.folder, tools)
        notes = [*shortcomings(setting, machine), *absences(workloads, tools)]
        for note in notes:
            say(note)
        results: list[Result] = []
        for workload in workloads:
            if not workload.missing():
                results.append(measure(workload, setting, given.runs))
                # After each, so that half an hour that is interrupted was not for nothing.
                keep(document(machine, results, notes), given.output)
                keep(as_json(machine, results), given.json)
    if given.output is None:
        sys.stdout.write(document(machine, results, notes))
    return 1 if any(trial.fault for result in results for trial in result.trials) else 0


if __name__ == "__main__":
    sys.exit(main())
