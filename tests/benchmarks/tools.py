"""
The tools that are compared, each told to do the same work over as many connections.

None of them proves, hashes, syncs or remembers anything, except bulkaudio, which does all of it, and
aria2c, which syncs each file. rclone makes a connection for each file, parfive asks for each twice;
nothing that they can be told changes that.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bulkaudio.version import __version__
from tests.benchmarks.corpus import Corpus
from tests.benchmarks.measure import KEY
from tests.benchmarks.server import ACCOUNT, AGENT, Server

HEADER = f"x-api-key: {KEY}"
BENCH = "pip install -e '.[bench]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """
    What is to be fetched; the lists are written before anything is measured.

    Attributes:
        folder: For the lists, one for each form that a tool reads.
    """

    server: Server
    corpus: Corpus
    connections: int
    folder: Path

    def write(self) -> None:
        """Write the lists."""
        self.folder.mkdir()
        urls = [(self.server.recording_url(id_), f"{id_}.wav") for id_ in self.corpus.ids]
        forms = {
            "ids.csv": ["conversation_id", *self.corpus.ids],
            "pairs": [f"{url} {name}" for url, name in urls],
            "curl": [f'url = "{url}"\noutput = "{name}"' for url, name in urls],
            "aria2": [f"{url}\n out={name}" for url, name in urls],
            "rclone": [f"{url},{name}" for url, name in urls],
            "flat": [self.server.flat_url(id_) for id_ in self.corpus.ids],
        }
        for name, lines in forms.items():
            (self.folder / name).write_text("\n".join(lines) + "\n")

    def listed(self, form: str) -> str:
        """Return the path of a list."""
        return str(self.folder / form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """
    One way to fetch many recordings.

    Attributes:
        version: None when it is not here.
        source: How to get it.
        command: What to run for an errand, into a folder that is there.
        subfolder: Of that folder, where the recordings end up.
    """

    name: str
    version: Callable[[], str | None]
    source: str
    command: Callable[[Errand, Path], Sequence[str]]
    subfolder: str = ""

    def saved(self, errand: Errand, target: Path) -> Sequence[Path]:
        """Return where the recordings should be, in the order of the ids."""
        return [target / self.subfolder / f"{id_}.wav" for id_ in errand.corpus.ids]


def program(name: str) -> str | None:
    """Find a program, that of this environment first."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def version_of(name: str) -> Callable[[], str | None]:
    """Return what asks a program for its version."""

    def ask() -> str | None:
        path = program(name)
        if path is None:
            return None
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        found = re.search(r"\d+\.\d+[\w.]*", done.stdout)
        return found[0] if found else "of unknown version"

    return ask


def distribution(name: str) -> Callable[[], str | None]:
    """Return what asks for the version of something from PyPI."""

    def ask() -> str | None:
        return metadata.version(name) if importlib.util.find_spec(name) else None

    return ask


def curl(errand: Errand, target: Path) -> Sequence[str]:
    """
    Give curl a list of addresses and names.

    Without waiting whether the first connection can be shared, and without an offer of HTTP/2: it
    has as many connections as the others, and as early.
    """
    options = ("--parallel", "--parallel-immediate", "--parallel-max", str(errand.connections))
    trust = ("--http1.1", "--cacert", str(errand.server.ca), "--header", HEADER)
    place = ("--output-dir", str(target), "--config", errand.listed("curl"))
    return [found("curl"), "-q", "--silent", "--show-error", "--fail", *options, *trust, *place]


def aria2(errand: Errand, target: Path) -> Sequence[str]:
    """Give aria2c the same; one connection a file, as files are plenty."""
    return [
        found("aria2c"),
        "--no-conf",
        "--quiet",
        "--summary-interval=0",
        "--download-result=hide",
        "--file-allocation=none",
        "--auto-save-interval=0",
        "--split=1",
        "--max-connection-per-server=1",
        f"--max-concurrent-downloads={errand.connections}",
        f"--ca-certificate={errand.server.ca}",
        f"--header={HEADER}",
        f"--dir={target}",
        f"--input-file={errand.listed('aria2')}",
    ]


def wget2(errand: Errand, target: Path) -> Sequence[str]:
    """Give wget2 addresses that end in names, because it cannot be told any."""
    return [
        found("wget2"),
        "--no-config",
        "--quiet",
        "--progress=none",
        "--no-http2",
        "--no-hsts",
        "--no-xattr",
        "--robots=off",
        f"--max-threads={errand.connections}",
        f"--ca-certificate={errand.server.ca}",
        f"--header={HEADER}",
        f"--directory-prefix={target}",
        f"--input-file={errand.listed('flat')}",
    ]


def rclone(errand: Errand, target: Path) -> Sequence[str]:
    """Give rclone a list of addresses and names."""
    options = ("--transfers", str(errand.connections), "--disable-http2", "--config", "")
    trust = ("--ca-cert", str(errand.server.ca), "--header", HEADER)
    return [
        found("rclone"),
        "copyurl",
        "--quiet",
        *options,
        *trust,
        "--urls",
        errand.listed("rclone"),
        str(target),
    ]


def script(name: str) -> Callable[[Errand, Path], Sequence[str]]:
    """Return what runs a module of this folder."""

    def command(errand: Errand, target: Path) -> Sequence[str]:
        work = (errand.listed("pairs"), str(target), str(errand.server.ca), str(errand.connections))
        return [sys.executable, "-m", f"tests.benchmarks.{name}", *work]

    return command


def bulkaudio(server: Server, target: Path, *options: str) -> Sequence[str]:
    """Run the whole program, as a user does."""
    whose = ("--region", "uk", "--account", ACCOUNT, "--agent", AGENT)
    place = ("--out", str(target), "--ca-bundle", str(server.ca), "--json")
    return [sys.executable, "-m", "bulkaudio", "download", *whose, *place, *options]


def bulkaudio_tool(name: str, *options: str) -> Tool:
    """Return bulkaudio with some options."""

    def command(errand: Errand, target: Path) -> Sequence[str]:
        return bulkaudio(errand.server, target, "--csv", errand.listed("ids.csv"), *options)

    return Tool(
        name=name,
        version=lambda: __version__,
        source="pip install -e .",
        command=command,
        subfolder="combined",
    )


def found(name: str) -> str:
    """Return the path of a program that is known to be there."""
    path = program(name)
    if path is None:
        raise FileNotFoundError(name)
    return path


OTHERS = (
    Tool(name="curl", version=version_of("curl"), source="apt install curl", command=curl),
    Tool(name="rclone", version=version_of("rclone"), source=BENCH, command=rclone),
    Tool(name="wget2", version=version_of("wget2"), source="apt install wget2", command=wget2),
    Tool(name="aria2c", version=version_of("aria2c"), source="apt install aria2", command=aria2),
    Tool(
        name="plain script",
        version=distribution("aiohttp"),
        source="pip install -e .",
        command=script("plain"),
    ),
    Tool(
        name="parfive",
        version=distribution("parfive"),
        source=BENCH,
        command=script("parfive_run"),
    ),
)
