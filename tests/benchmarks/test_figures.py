"""What trials come to, and what is made of it."""

from collections.abc import Mapping, Sequence

import pytest

from tests.benchmarks.figures import Result, Trial, more, peak, wall
from tests.benchmarks.machine import Machine
from tests.benchmarks.table import BEGIN, END, document, grid, placed, section, shown, verdicts
from tests.benchmarks.targets import TARGETS

ON_DISK_TEXT = "until on disk ÷ aria2c with its bytes on disk"

MACHINE = Machine(
    date="2026-11-27",
    hardware="a machine",
    system="Linux",
    file_system="ext4",
    versions=("bulkaudio 0.1.0",),
)


def result(
    walls: Mapping[str, Sequence[float]],
    *,
    workload: str = "small",
    subjects: Sequence[str] = ("bulkaudio",),
    faults: Mapping[tuple[str, int], str] | None = None,
) -> Result:
    """Return a result of these wall times, a round each."""
    trials = [
        Trial(
            contestant=name,
            round=number,
            wall_s=wall_s,
            cpu_s=2.0,
            peak_bytes=50_000_000,
            fault=(faults or {}).get((name, number)),
        )
        for name, times in walls.items()
        for number, wall_s in enumerate(times)
    ]
    return Result(
        workload=workload,
        title="Some recordings",
        subjects=subjects,
        contestants=list(walls),
        volume_bytes=10**9,
        trials=trials,
    )


def test_a_ratio_is_that_of_the_same_round() -> None:
    """A slow hour that both met does not count, however the medians lie."""
    found = result({"bulkaudio": [1.0, 10.0, 3.0], "curl": [2.0, 20.0, 1.0]})
    assert found.ratio("bulkaudio", "curl", wall) == 0.5


def test_a_trial_with_a_fault_does_not_count() -> None:
    """What saved less is not fast, and its round has no ratio."""
    faults = {("curl", 0): "saved 1 of 2"}
    found = result({"bulkaudio": [1.0, 3.0], "curl": [0.1, 2.0]}, faults=faults)
    assert found.median("curl", wall) == 2.0
    assert found.ratio("bulkaudio", "curl", wall) == 1.5
    assert found.fault("curl") == "saved 1 of 2"
    assert found.fault("bulkaudio") is None


def test_the_best_has_the_lowest_median() -> None:
    """One lucky round makes nobody the best; who has no trial is not asked."""
    found = result({"curl": [0.1, 4.0, 4.0], "aria2c": [3.0, 3.0, 3.0]})
    assert found.best(["curl", "aria2c", "wget2"], wall) == "aria2c"
    assert found.best(["wget2"], wall) is None


def test_nothing_measured_is_no_figure() -> None:
    """Neither a median nor a ratio comes of nothing."""
    found = result({"bulkaudio": [1.0]}, faults={("bulkaudio", 0): "exit 1"})
    assert found.median("bulkaudio", peak) is None
    assert found.ratio("bulkaudio", "curl", wall) is None


@pytest.mark.parametrize(
    ("figure", "text"),
    [(None, "-"), (0.123, "0.12"), (9.876, "9.88"), (12.34, "12.3"), (123.4, "123")],
)
def test_figures_have_the_digits_that_mean_something(figure: float | None, text: str) -> None:
    """Three of them."""
    assert shown(figure) == text


def test_a_table_has_a_row_for_each_contestant() -> None:
    """Median, span, processor, memory and ratio; a fault stands in the row and its times do not."""
    faults = {("curl", 0): "saved 1 | of 2", ("curl", 1): "exit 1"}
    found = result(
        {"bulkaudio": [1.0, 3.0], "aria2c": [2.0, 2.0], "curl": [1.0, 1.0]}, faults=faults
    )
    lines = section(found).splitlines()
    assert lines[0] == "**Some recordings**, medians of 2 rounds"
    assert lines[4:] == [
        "| `bulkaudio` | 2.00 (1.00 to 3.00) | 2.00 | 50.0 | - |",
        "| `aria2c` | 2.00 (2.00 to 2.00) | 2.00 | 50.0 | 1.00 |",
        "| `curl` **failed**: saved 1 / of 2 | - | - | - | - |",
    ]


def test_targets_are_judged_for_each_subject() -> None:
    """Met, missed, or not measured."""
    subjects = ("bulkaudio", "bulkaudio --concurrency 32")
    walls = {subjects[0]: [1.0], subjects[1]: [3.0], "aria2c": [2.0], "curl": [1.0]}
    lines = verdicts([result(walls, subjects=subjects)]).splitlines()[2:]
    assert lines == [
        "| Some recordings | wall ÷ aria2c | ≤ 1 | 0.50 met | 1.50 **missed** |",
        f"| Some recordings | {ON_DISK_TEXT} | ≤ 1 | 0.50 met | 1.50 **missed** |",
        "| Some recordings | wall ÷ curl | ≤ 2 | 1.00 met | 3.00 **missed** |",
        "| Some recordings | wall ÷ the plain script | ≤ 0.4 | not measured | not measured |",
    ]


def test_every_target_can_do_without_its_figures() -> None:
    """A workload of which nothing succeeded is written all the same."""
    for workload in TARGETS:
        names = ["10,000", "100,000"] if workload == "growth" else ["bulkaudio"]
        faults = {(name, 0): "exit 5" for name in names}
        found = result(
            {name: [1.0] for name in names}, workload=workload, subjects=(), faults=faults
        )
        text = document(MACHINE, [found], [])
        assert text.count("not measured") == len(TARGETS[workload])


def test_other_observations_get_columns() -> None:
    """Who has none of them has an empty cell."""
    seen = Trial(
        contestant="a", round=0, wall_s=1.0, cpu_s=1.0, peak_bytes=1, more={"first request s": 0.25}
    )
    unseen = Trial(contestant="b", round=0, wall_s=1.0, cpu_s=1.0, peak_bytes=1)
    found = Result(
        workload="saved",
        title="Ids",
        subjects=(),
        contestants=("a", "b"),
        volume_bytes=0,
        trials=(seen, unseen),
    )
    assert found.median("a", more("first request s")) == 0.25
    lines = section(found).splitlines()
    assert lines[0] == "**Ids**, one round"
    assert lines[2] == "|  | wall s | CPU s | peak MB | first request s |"
    assert [line.split("|")[-2].strip() for line in lines[4:]] == ["0.25", "-"]


def test_a_document_names_date_and_machine() -> None:
    """And says what it lacks."""
    text = document(MACHINE, [result({"bulkaudio": [1.0]})], ["Without curl."])
    assert text.startswith(
        "2026-11-27, a machine, ext4, Linux.\n\nbulkaudio 0.1.0.\n\nWithout curl.\n"
    )


def test_a_document_with_a_place_for_it_keeps_the_rest() -> None:
    """The README is written to between two comments; any other file is the table alone."""
    assert placed("new\n", f"a\n{BEGIN}\nold\n{END}\nb\n") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb\n"
    assert placed("new\n", "something else") == "new\n"


def test_tables_are_markdown() -> None:
    """The first column to the left, figures to the right."""
    assert grid(["", "s"], [["a", "1"]]) == "|  | s |\n| --- | ---: |\n| a | 1 |"
