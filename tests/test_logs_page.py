"""The page about logs says what the program does."""

import io
import json
import logging
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkaudio.cli.signals import STOPPING
from bulkaudio.events import Event, GateMoved, Noted, Started
from bulkaudio.observe.log_events import LOGGER, NAMES, LogEvents
from bulkaudio.observe.logs import Format, LogOptions, logging_to
from bulkaudio.observe.status_file import StatusFile, read_status
from bulkaudio.observe.summary import SCOPE
from bulkaudio.observe.tally import Tally
from tests.test_logs import EVENTS

PAGE = (Path(__file__).parent.parent / "docs" / "logs.md").read_text(encoding="utf-8")
NOW = datetime(2026, 11, 27, tzinfo=UTC)

STARTED = Started(run_id="r", started_at=NOW, archive=Path("a"), scope=SCOPE)
ALL: list[Event] = [
    *(STARTED if isinstance(event, Started) else event for event in EVENTS),
    GateMoved(host="h", slots=4, closed_s=0.0, reason="feeling the way up"),
    Noted(text="So it is every night.", is_routine=True),
]


def rows(name: str) -> list[list[str]]:
    """Return the cells of one of the page's tables."""
    table = PAGE.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_event_is_documented_with_its_level_and_fields() -> None:
    """In the order of the code, each field in the order in which it is written."""
    stream = io.StringIO()
    with logging_to(LogOptions(format=Format.JSON, verbosity=2), stream):
        log = LogEvents()
        for each in ALL:
            log(each)
        LOGGER.warning("anything")
    fields: dict[str, list[str]] = {}
    levels: dict[str, set[str]] = {}
    for line in map(json.loads, stream.getvalue().splitlines()):
        fields[line["event"]] = list(line)[3:]
        levels.setdefault(line["event"], set()).add(line["level"])
    levels["message"] = {"any"}
    documented = rows("events")
    assert [row[0].strip("`") for row in documented] == list(NAMES)
    for name, level, keys, when in documented:
        event = name.strip("`")
        assert re.findall(r"`(\w+)`", keys) == fields[event], event
        assert set(level.split(", ")) == levels[event], event
        assert when.endswith(".")


def test_example_has_the_fields_of_its_event() -> None:
    """What is shown could have been written."""
    shown = json.loads(PAGE.partition("```json\n")[2].partition("\n```")[0])
    (fields,) = [keys for name, _, keys, _ in rows("events") if name == "`retry`"]
    assert list(shown) == ["ts", "level", "event", *re.findall(r"`(\w+)`", fields)]
    assert logging.getLevelNamesMapping()[shown["level"].upper()] == logging.INFO


def test_every_key_of_the_status_file_is_documented(tmp_path: Path) -> None:
    """In the file's order, and with its schema."""
    (tmp_path / ".bulkaudio").mkdir()
    file = StatusFile(tally=Tally())
    file(Started(run_id="r", started_at=NOW, archive=tmp_path))
    file.write()
    document = read_status(tmp_path) or {}
    assert [row[0].strip("`") for row in rows("status")] == list(document)
    assert f"`{document['schema']}`" in PAGE


@pytest.mark.parametrize("name", [*STOPPING, "SIGUSR1"])
def test_every_signal_is_documented(name: str) -> None:
    """Those that the program takes over."""
    assert f"`{name}`" in PAGE.partition("## Signals")[2]


def test_links_of_the_pages_lead_somewhere() -> None:
    """Between the two pages about watching."""
    folder = Path(__file__).parent.parent / "docs"
    for page in ("logs.md", "metrics.md"):
        for target in re.findall(r"\]\(([^)#\s]+)\)", (folder / page).read_text()):
            assert target.startswith("https://") or (folder / target).exists()
