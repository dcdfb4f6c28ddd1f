"""Every command in `docs/` is typed into a shell, page by page, and ends as the page says."""

import asyncio
import re
import shlex
import socket
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkaudio.simulator import Calls, Simulator
from tests.objects.between import between
from tests.objects.toy import Toy
from tests.program import environment, write_csv

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))
ELSEWHERE = {"nightly", "configuration"}
"""Pages whose commands tests of their own run, because they need more than a folder."""

HERE = {"/data/calls": "calls", "/var/lib/node_exporter/": ""}
"""What stands on the page, and where it lies in the test."""

BLOCK = re.compile(r"^ *```console\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
ENDS = re.compile(r"\s+# exit (\d+)$")
SERVER = "python -m bulkaudio simulate "


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that somebody types, and how it ends."""

    text: str
    code: int

    @property
    def as_script(self) -> str:
        """
        The line, held to its exit code.

        A server goes on in the background, and its variables are pasted, as the page tells one to.
        """
        if self.text.startswith("export "):
            return "eval \"$(grep '^export ' served)\""
        if self.text.startswith(SERVER):
            until = "until grep -q '^export POLYAI' served; do sleep 0.1; done"
            return f"{self.text} > served &\n{until}"
        wrong = f"echo {shlex.quote('not exit ' + str(self.code) + ': ' + self.text)} >&2; exit 99;"
        return f"{self.text}\n[ $? = {self.code} ] || {{ {wrong} }}"


def lines_of(page: str) -> Iterator[Line]:
    """Yield what a page has one type."""
    for body in BLOCK.findall(page):
        for text in textwrap.dedent(body).replace("\\\n", " ").splitlines():
            ends = ENDS.search(text)
            yield Line(text=ENDS.sub("", text), code=int(ends[1]) if ends else 0)


def free_ports() -> tuple[int, int]:
    """Find two ports in a row that nobody has."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    return port, port + 1
            except OSError:
                continue


def script_of(page: str) -> str:
    """Return the page as a script, on ports of its own, that leaves no server behind."""
    lines = list(lines_of(page))
    assert lines, "a page without commands has nothing to try"
    script = "\n".join(line.as_script for line in lines)
    for number, port in zip(("8080", "8081"), free_ports(), strict=True):
        script = script.replace(number, str(port))
    for there, here in HERE.items():
        script = script.replace(there, here)
    return f"trap 'kill $(jobs -p) 2> /dev/null' EXIT\n{script}\n"


async def shell(script: str, cwd: Path, env: dict[str, str]) -> tuple[int, str]:
    """Run a script as a user's shell would; return its code and all that it printed."""
    bin_ = str(Path(sys.executable).parent)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        cwd=cwd,
        env=env | {"PATH": f"{bin_}:{env['PATH']}"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


@asynccontextmanager
async def cloud() -> AsyncIterator[dict[str, str]]:
    """Stand in for a cloud: yield the variables by which its bucket is found."""
    with between(None) as running:
        running.rule = Toy()
        yield {
            "AWS_ENDPOINT_URL": running.endpoint,
            "AWS_ACCESS_KEY_ID": "page",
            "AWS_SECRET_ACCESS_KEY": "page",
            "AWS_REGION": "us-east-1",
        }


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "page", [each for each in PAGES if each.stem not in ELSEWHERE], ids=lambda path: path.stem
)
async def test_every_command_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """In a folder that holds what the pages take for granted: some files of ids and an archive."""
    text = page.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        pytest.skip(f"{page.name} has nothing to type")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    calls = Calls(count=20, since=today - timedelta(days=2), until=today, speech_s=(0.1, 0.3))
    async with Simulator(calls=calls) as simulator, cloud() as variables:
        env = environment(None if SERVER in text else simulator) | variables
        env["HOME"] = str(tmp_path / "home")
        here = tmp_path / "here"
        here.mkdir()
        ids = simulator.calls.recorded_ids()
        write_csv(here / "ids.csv", ids)
        write_csv(here / "erase.csv", ids[:2])
        write_csv(here / "dispute.csv", ids[2:4])
        (here / "polyai.key").touch(mode=0o600)
        (here / "polyai.key").write_text(simulator.key)
        if "--region" not in text and SERVER not in text:
            words = "--region us --account ws-1 --agent PROJECT-1 --direction all --out calls"
            made = f"python -m bulkaudio download --since '2 days ago' {words} --quiet"
            assert await shell(made, here, env) == (0, "")
        code, printed = await shell(script_of(text), here, env)
    assert code == 0, printed


def test_links_of_the_pages_lead_somewhere() -> None:
    """Also those to headings of other pages' files."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            name, _, _ = target.partition("#")
            assert name.startswith("https://") or not name or (DOCS / name).exists(), (page, target)
