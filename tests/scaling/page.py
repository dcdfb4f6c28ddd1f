"""
Figures as Markdown.

Rules of this module: pure; values in, text out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.table import grid, shown
from tests.scaling import model
from tests.scaling.asking import Answer
from tests.scaling.driving import Cost
from tests.scaling.filling import Filled
from tests.scaling.model import Fleet, Measured
from tests.scaling.simulation import Course, Setting

BEGIN, END = "<!-- scaling: begin -->", "<!-- scaling: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """
    Everything that was measured.

    Attributes:
        filled_on: Large ledgers that were made by SQL, after some thousand rows more.
        answers: By how many rows the ledger had.
        pages: Processor time by the bytes of a page of a thousand calls.
    """

    filled: Sequence[Filled]
    filled_on: Sequence[Filled]
    cost: Cost
    answers: Mapping[int, Mapping[str, Answer]]
    pages: Mapping[int, float]
    told_bytes: float
    take_up_us: float

    def measured(self) -> Measured:
        """Return what the model needs: of the largest ledger, and of a page without transcripts."""
        largest = self.answers[max(self.answers)]
        return Measured(
            row_bytes=self.filled[-1].bytes_per_row,
            told_bytes=self.told_bytes,
            driver_us=self.cost.total,
            waited_us=self.cost.waited,
            page_s=self.pages[min(self.pages)],
            answers_us={name: answer.cpu_us for name, answer in largest.items()},
            take_up_us=self.take_up_us,
        )


def measured_tables(found: Findings) -> str:
    """Write what was measured."""
    cost = found.cost
    rows = [
        [
            f"{each.rows:,}",
            f"{each.bytes / 1e6:,.0f} MB",
            f"{each.bytes_per_row:.0f}",
            f"{shown(each.cpu_us)} ({shown(each.wall_us)})",
            f"{each.written / 1e3:.1f} kB" if each.written else "not counted",
        ]
        for each in (*found.filled, *found.filled_on)
    ]
    costs = [
        ["compared with the ledger, put there as open", shown(cost.plan)],
        ["a worker's report of 256 unpacked", shown(cost.unpack)],
        ["committed, counted, logged, shown", shown(cost.commit)],
        ["**together**", f"**{shown(cost.total)}**"],
    ]
    costs += [
        [f"a listed call, on a page of {size / 1e6:.1f} MB", shown(1e6 * spent / model.PAGE)]
        for size, spent in sorted(found.pages.items())
    ]
    costs.append(["a file taken up by `rebuild`, besides reading it", shown(found.take_up_us)])
    sizes = sorted(found.answers)
    asked = [
        [name, *(_answer(found.answers[size][name]) for size in sizes)]
        for name in found.answers[sizes[-1]]
    ]
    return "\n\n".join(
        [
            grid(
                [
                    "recordings in the ledger",
                    "file and log",
                    "bytes each",
                    "µs to plan and settle one more",
                    "written for it",
                ],
                rows,
            ),
            grid(["the run's own work for each recording", "µs of a processor"], costs),
            _speed(cost),
            grid(
                ["question to the whole ledger", *(f"µs a row of {size:,}" for size in sizes)],
                asked,
            ),
        ]
    )


def _speed(cost: Cost) -> str:
    return (
        f"One core is good for **{cost.results_per_s:,.0f} results a second**; with this disk's "
        f"syncs, {1e6 / cost.waited:,.0f} a second came into the ledger."
    )


def _answer(answer: Answer) -> str:
    return f"{shown(answer.cpu_us)} ({shown(answer.wall_us)})"


def computed_table(fleets: Sequence[Fleet], measured: Measured) -> str:
    """Write what it comes to."""
    rows = [
        ["recordings", *(_amount(f.recordings * f.size) for f in fleets)],
        ["the ledger", *(_amount(f.recordings * measured.row_bytes) for f in fleets)],
        ["pages of the listing", *(f"{model.pages(f):,}" for f in fleets)],
        ["listing alone", *(span(model.listing_s(f, measured)) for f in fleets)],
        ["parts of the manifest", *(f"{model.parts(f):,}" for f in fleets)],
        ["their bytes", *(_amount(f.recordings * measured.told_bytes) for f in fleets)],
        ["ledger from the manifest", *(span(model.lost_disk_s(f, measured)) for f in fleets)],
        [
            "the run's processor, in all",
            *(span(f.recordings * model.driver_us(measured) / 1e6) for f in fleets),
        ],
    ]
    rows += [
        [name, *(span(f.recordings * each / 1e6) for f in fleets)]
        for name, each in measured.answers_us.items()
    ]
    return grid(["", *(f"{f.recordings:,}" for f in fleets)], rows)


def bounds_table(fleets: Sequence[Fleet], measured: Measured) -> str:
    """Write what stands in the way, by PolyAI's limit."""
    rows = []
    for fleet in fleets:
        first, second, *_ = model.bounds(fleet, measured)
        limit = "none" if fleet.rate is None else f"{fleet.rate:g}/s"
        store = "object store" if fleet.passes == 2 else "shared folder"
        rows.append(
            [
                f"{fleet.workers} workers, {store}, limit {limit}",
                f"{first.name}, {first.per_s:,.0f}/s",
                f"{second.name}, {second.per_s:,.0f}/s",
                span(model.duration_s(fleet, measured)),
                f"{100 * model.driver_share(fleet, measured):.0f} %",
            ]
        )
    heads = ["", "narrowest", "next", f"{fleets[0].recordings:,} take", "driver's core"]
    return grid(heads, rows)


def courses_table(courses: Sequence[tuple[Setting, Course]]) -> str:
    """Write how simulated runs went."""
    rows = [
        [
            "none" if setting.rate is None else f"{setting.rate:g}/s",
            "none" if setting.lives_s is None else f"each after {span(setting.lives_s)}",
            f"{setting.shard:,}",
            span(course.seconds),
            f"{100 * course.driver:.0f} %",
            f"{100 * course.busy:.0f} %",
            span(course.tail_s),
            f"{course.deaths:,}",
            f"{course.repeated:,}",
        ]
        for setting, course in courses
    ]
    heads = ["limit", "workers die", "shard", "all of it", "driver busy", "workers busy"]
    return grid([*heads, "tail", "deaths", "again at most"], rows)


def span(seconds: float) -> str:
    """Write a duration in the unit that fits."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{shown(seconds / length)} {unit}"
    return f"{shown(seconds)} s"


def _amount(size: float) -> str:
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= one:
            return f"{shown(size / one)} {unit}"
    return f"{size:.0f} bytes"


def placed(text: str, whole: str) -> str:
    """Put a text into the place that a document has for it."""
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, "the document has no place for it"  # noqa: PT018
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
