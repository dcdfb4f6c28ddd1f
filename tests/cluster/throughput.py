"""
How many results a second the run's own process settles, and whether workers are worth it.

    python -m tests.cluster.throughput driver [RECORDINGS]
    python -m tests.cluster.throughput workers [RECORDINGS]

The first lets workers answer at once: what is left is reading a file of ids, planning, sending,
settling and committing, all of it real, on one core. The second fetches recordings of 2.88 MB from nginx
over TLS on this machine, in turns: by one process, and by ``--engine dask --workers 2``.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bulkaudio.archive import open_archive
from bulkaudio.cluster.crew import ClusterCrew
from bulkaudio.cluster.muster import orders_of
from bulkaudio.cluster.parcels import Counts, Orders, Parcel, Report, packed, unpacked
from bulkaudio.cluster.shards import Shard
from bulkaudio.conduct import Hired, Hiring, Watch, Work, conduct
from bulkaudio.gate import Gate
from bulkaudio.identity import Identity
from bulkaudio.model import Audio, Evidence, Outcome, Status, Task
from bulkaudio.observe.tally import Tally
from bulkaudio.polyai.client import Session
from bulkaudio.settings import ClusterWish, RunOptions
from bulkaudio.sources.csv_file import CsvSource
from bulkaudio.stopper import Stopper
from tests.benchmarks.corpus import Corpus
from tests.benchmarks.server import AGENT, Mood, serving
from tests.program import environment, write_csv
from tests.sessions import connection_to

AUDIO = Audio(codec="pcm", sample_rate_hz=8000, channels=1, data_bytes=2_880_000, seconds=180.0)
ROUNDS = 5
SECONDS = 180.0


@dataclass
class InstantDesk:
    """Workers that have everything at once; what travels is packed and unpacked all the same."""

    orders: Orders
    workers: int = 50
    packed_bytes: int = 0
    shards: int = 0
    made: list[float] = field(default_factory=list)

    async def send(self, shard: Shard) -> Report:
        """Answer; what the worker would do of this is not counted."""
        packet = packed(Parcel(orders=self.orders, shard=shard))
        before = time.process_time()
        answer = packed(report_of(unpacked(packet, Parcel).shard))
        self.made.append(time.process_time() - before)
        self.packed_bytes += len(packet) + len(answer)
        self.shards += 1
        await asyncio.sleep(0)
        return unpacked(answer, Report)

    async def struck_out(self, report: Report, shard: Shard) -> None:
        """Have no list."""


def report_of(shard: Shard) -> Report:
    """Make the report of a worker that has saved all of it."""
    evidence = Evidence(
        http_status=200, correlation_id="0123456789abcdef0123456789abcdef", attempts=1
    )
    outcomes = tuple(
        Outcome(
            recording=item.recording,
            status=Status.SAVED,
            path=Path("combined", f"{item.recording.conversation_id}.wav"),
            bytes=2_880_044,
            sha256=f"{number:064x}",
            audio=AUDIO,
            evidence=evidence,
        )
        for number, item in enumerate(shard.items)
        if isinstance(item, Task)
    )
    counts = Counts(http={200: len(outcomes)}, received_bytes=2_880_044 * len(outcomes))
    return Report(
        attempt=shard.name, worker="tls://w:1", bench=None, outcomes=outcomes, counts=counts
    )


async def driver(count: int) -> None:
    """Measure the run's own process."""
    with TemporaryDirectory() as folder:
        csv = write_csv(Path(folder) / "ids.csv", [f"CA{n:032x}" for n in range(count)])
        desks: list[InstantDesk] = []

        @asynccontextmanager
        async def muster(hiring: Hiring) -> AsyncIterator[Hired]:
            desk = InstantDesk(orders_of(ClusterWish(), hiring))
            desks.append(desk)
            crew = ClusterCrew(
                desk,
                hiring.committer,
                budget=hiring.budget,
                stopper=hiring.stopper,
                emit=hiring.emit,
                run_id=hiring.run_id,
            )
            yield Hired(crew=crew)

        source = CsvSource(csv)
        await source.open()
        async with open_archive(Path(folder) / "archive") as archive:
            await archive.bind(Identity(region="uk", agent="PROJECT-1"))
            work = Work(
                archive=archive,
                session=Session(connection_to("http://127.0.0.1:9"), slots=1),
                gate=Gate("host"),
                source=source,
                options=RunOptions(),
                scope={"source": "csv"},
                backlog=None,
                asks_for_details=True,
                min_free_bytes=0,
                muster=muster,
            )
            watch = Watch(tally=Tally(), observers=[], stopper=Stopper())
            wall, cpu = time.perf_counter(), time.process_time()
            result = await conduct(work, watch)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        await source.aclose()
    desk = desks[0]
    own = cpu - sum(desk.made)
    saved = watch.tally.snapshot().counts.saved
    if (result.status, saved) != ("complete", count):
        raise AssertionError(result)
    print(
        f"{count} recordings in {desk.shards} shards, {desk.packed_bytes / count:.0f} B each sent"
    )
    print(f"{wall:.1f} s, {cpu:.1f} s of CPU, {own:.1f} s of it the run's own")
    print(f"{count / wall:.0f} a second as it went, {count / own:.0f} a second of CPU")
    print(f"{1e6 * own / count:.0f} µs of CPU a recording")


def workers(count: int) -> None:
    """Measure whether two workers are faster than one process on this machine."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        corpus = Corpus(folder=folder / "site", count=count, seconds=SECONDS, is_distinct=False)
        corpus.write()
        csv = write_csv(folder / "ids.csv", list(corpus.ids))
        with serving(corpus.folder, folder / "nginx", Mood(is_one_file=True)) as server:
            took: dict[str, list[float]] = {"local": [], "dask": []}
            for number in range(ROUNDS):
                for engine in ("local", "dask") if number % 2 else ("dask", "local"):
                    archive = folder / f"{engine}-{number}"
                    words = [sys.executable, "-m", "bulkaudio", "download", "--csv", str(csv)]
                    words += ["--region", "uk", "--agent", AGENT, "--out", str(archive), "--quiet"]
                    words += ["--ca-bundle", str(server.ca), "--engine", engine]
                    words += ["--workers", "2"] if engine == "dask" else []
                    env = environment(POLYAI_API_KEY="k")
                    began = time.perf_counter()
                    subprocess.run(words, env=env | server.variables, check=True)
                    took[engine].append(time.perf_counter() - began)
                    subprocess.run(["rm", "-r", str(archive)], check=True)
        say(took, corpus.total_bytes)


def say(took: dict[str, list[float]], total_bytes: int) -> None:
    """Print the medians, and how much faster the workers were."""
    for engine, seconds in took.items():
        middle = statistics.median(seconds)
        all_ = " ".join(f"{each:.1f}" for each in seconds)
        print(f"{engine:6} {middle:5.1f} s, {total_bytes / middle / 1e6:5.0f} MB/s   ({all_})")
    ratio = statistics.median(took["local"]) / statistics.median(took["dask"])
    print(
        f"workers: {ratio:.2f} x; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    )


def main(arguments: Sequence[str]) -> None:
    """Do what was asked for."""
    kind, count = arguments[0], int(arguments[1]) if len(arguments) > 1 else 0
    if kind == "driver":
        asyncio.run(driver(count or 100_000))
    else:
        workers(count or 500)


if __name__ == "__main__":
    main(sys.argv[1:])
