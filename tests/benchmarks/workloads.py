"""What is measured: the served recordings, the server's mood, and who takes part."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.benchmarks import observations, saved
from tests.benchmarks.corpus import Corpus
from tests.benchmarks.page import PAGE_BYTES, ids_with_recordings, write_page
from tests.benchmarks.server import PAGE, Mood, Server, lua_modules, nginx, serving
from tests.benchmarks.setting import Setting
from tests.benchmarks.stage import Contestant, Stage
from tests.benchmarks.tools import OTHERS, Errand, Tool, bulkaudio, bulkaudio_tool

AUTO = bulkaudio_tool("bulkaudio")
SWEEP = (4, 8, 16, 32, 64, 128)
RATE = 100
TINY_S = 0.05
HALF_HOUR_S, THREE_MINUTES_S, TWO_SECONDS_S = 1800.0, 180.0, 2.0
IN_FLIGHT = 64
SLOW_BYTES_PER_S = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """
    Something to measure.

    Attributes:
        title: With the numbers of scale 1.
        most_rounds: Where more would only take time: memory hardly differs between runs.
        missing: Says what this machine lacks for it.
    """

    name: str
    title: str
    stage: Callable[[Setting], AbstractContextManager[Stage]]
    most_rounds: int = 1000
    missing: Callable[[], str | None] = lambda: None


def no_lua() -> str | None:
    """Say so when nginx cannot answer late."""
    return None if lua_modules() else "nginx has no Lua module: apt install libnginx-mod-http-lua"


def no_nginx() -> str | None:
    """Say so when there is no server at all."""
    return None if nginx() else "nginx is not here: apt install nginx"


def fixed(concurrency: int) -> Tool:
    """Return bulkaudio with a fixed number of requests at once."""
    return bulkaudio_tool(
        f"bulkaudio --concurrency {concurrency}", "--concurrency", str(concurrency)
    )


def contestant(errand: Errand, tool: Tool) -> Contestant:
    """Let a tool take part; bulkaudio's files are compared byte by byte once."""

    def check(target: Path, is_first: bool) -> str | None:  # noqa: FBT001  as `Contestant.check` is called
        by_bytes = is_first and tool.name.startswith("bulkaudio")
        return errand.corpus.fault(tool.saved(errand, target), by_bytes=by_bytes)

    return Contestant(name=tool.name, command=partial(tool.command, errand), check=check)


@contextmanager
def errand_at(setting: Setting, corpus: Corpus, mood: Mood) -> Iterator[Errand]:
    """Serve recordings and write the lists of them."""
    corpus.write()
    with serving(corpus.folder, setting.folder / "server", mood) as server:
        lists = setting.folder / "lists"
        errand = Errand(server=server, corpus=corpus, connections=setting.connections, folder=lists)
        errand.write()
        yield errand


def corpus_at(setting: Setting, count: int, seconds: float, *, is_distinct: bool = True) -> Corpus:
    """Return recordings, fewer of them at a smaller scale."""
    return Corpus(
        folder=setting.folder / "site",
        count=setting.scaled(count),
        seconds=seconds,
        is_distinct=is_distinct,
    )


@contextmanager
def compared(setting: Setting, count: int, seconds: float) -> Iterator[Stage]:
    """Let every tool fetch the same."""
    corpus = corpus_at(setting, count, seconds)
    same = fixed(setting.connections)
    tools = [AUTO, same, *(tool for tool in OTHERS if setting.takes(tool.name) and tool.version())]
    with errand_at(setting, corpus, Mood()) as errand:
        yield Stage(
            folder=setting.folder,
            server=errand.server,
            contestants=[contestant(errand, tool) for tool in tools],
            subjects=[AUTO.name, same.name],
            volume_bytes=corpus.total_bytes,
        )


@contextmanager
def latency(setting: Setting) -> Iterator[Stage]:
    """Let bulkaudio find a concurrency, against every one that it could have been told."""
    corpus = corpus_at(setting, 3000, TWO_SECONDS_S)
    mood = Mood(latency_s=0.05, unavailable_share=0.01)
    tools = [AUTO, *map(fixed, SWEEP)]
    with errand_at(setting, corpus, mood) as errand:
        yield Stage(
            folder=setting.folder,
            server=errand.server,
            contestants=[contestant(errand, tool) for tool in tools],
            subjects=[AUTO.name],
            volume_bytes=corpus.total_bytes,
        )


@contextmanager
def throttled(setting: Setting) -> Iterator[Stage]:
    """Let bulkaudio find a limit."""
    corpus = corpus_at(setting, 2000, TWO_SECONDS_S)
    with errand_at(setting, corpus, Mood(rate=RATE, is_logged=True)) as errand:
        observe = observations.of_limit(errand.server, RATE, corpus.count)
        watched = replace(contestant(errand, AUTO), observe=observe)
        yield Stage(folder=setting.folder, server=errand.server, contestants=[watched])


@contextmanager
def inflight(setting: Setting) -> Iterator[Stage]:
    """Have as many long recordings under way as there can be; the first of them are a run-up."""
    corpus = corpus_at(setting, 2 * IN_FLIGHT, HALF_HOUR_S, is_distinct=False)
    mood = Mood(bytes_per_s=SLOW_BYTES_PER_S, is_one_file=True, is_logged=True)
    with errand_at(setting, corpus, mood) as errand:
        tool = contestant(errand, fixed(IN_FLIGHT))
        yield Stage(
            folder=setting.folder,
            server=errand.server,
            contestants=[replace(tool, observe=observations.of_overlap(errand.server))],
            volume_bytes=corpus.total_bytes,
        )


@contextmanager
def growth(setting: Setting) -> Iterator[Stage]:
    """Fetch many, and ten times as many."""
    many = corpus_at(setting, 100_000, TINY_S, is_distinct=False)
    few = corpus_at(setting, 10_000, TINY_S, is_distinct=False)
    with errand_at(setting, many, Mood(is_one_file=True)) as errand:
        fewer = Errand(
            server=errand.server,
            corpus=few,
            connections=errand.connections,
            folder=setting.folder / "fewer",
        )
        fewer.write()
        tools = [(fewer, bulkaudio_tool("10,000")), (errand, bulkaudio_tool("100,000"))]
        yield Stage(
            folder=setting.folder,
            server=errand.server,
            contestants=[contestant(each, tool) for each, tool in tools],
        )


@contextmanager
def page(setting: Setting) -> Iterator[Stage]:
    """List one page that is larger than memory should be."""
    corpus = corpus_at(setting, 1, TINY_S, is_distinct=False)
    corpus.write()
    write_page(corpus.folder / PAGE, round(PAGE_BYTES * setting.scale))
    ids = ids_with_recordings()
    with serving(corpus.folder, setting.folder / "server", Mood(is_one_file=True)) as server:
        yield Stage(
            folder=setting.folder, server=server, contestants=[_lister(server, corpus, ids)]
        )


def _lister(server: Server, corpus: Corpus, ids: Sequence[str]) -> Contestant:
    options = ("--since", "2026-11-01", "--until", "2026-11-02")

    def check(target: Path, is_first: bool) -> str | None:  # noqa: ARG001, FBT001  as `Contestant.check` is called
        paths = [target / "combined" / f"{id_}.wav" for id_ in ids]
        good = sum(path.exists() and path.stat().st_size == corpus.file_bytes for path in paths)
        return None if good == len(ids) else f"saved {good:,} of {len(ids):,}"

    return Contestant(
        name="bulkaudio",
        command=lambda target: bulkaudio(server, target, *options),
        check=check,
    )


WORKLOADS = (
    Workload(
        name="large",
        title="300 recordings of 2.88 MB",
        stage=lambda setting: compared(setting, 300, THREE_MINUTES_S),
    ),
    Workload(
        name="small",
        title="5,000 recordings of 32 KB",
        stage=lambda setting: compared(setting, 5000, TWO_SECONDS_S),
    ),
    Workload(
        name="long",
        title="40 recordings of 29 MB",
        stage=lambda setting: compared(setting, 40, HALF_HOUR_S),
    ),
    Workload(
        name="latency",
        title="3,000 recordings of 32 KB, 50 ms away, 1 % answered 503",
        stage=latency,
        missing=no_lua,
    ),
    Workload(
        name="throttled",
        title=f"2,000 recordings of 32 KB behind a limit of {RATE} requests a second",
        stage=throttled,
    ),
    Workload(
        name="saved",
        title="A CSV of 1,000,000 ids",
        stage=saved.stage,
    ),
    Workload(name="page", title="A listing page of 200 MB", stage=page, most_rounds=3),
    Workload(
        name="inflight",
        title=f"{2 * IN_FLIGHT} recordings of 29 MB, {IN_FLIGHT} in flight at once",
        stage=inflight,
        most_rounds=3,
    ),
    Workload(
        name="growth",
        title="10,000 and 100,000 recordings of 0.8 KB",
        stage=growth,
        most_rounds=2,
    ),
)
