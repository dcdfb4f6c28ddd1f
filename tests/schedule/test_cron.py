"""The crontab's line: when it runs, what it says, and to whom."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkaudio.cli.scheduled import is_machines
from bulkaudio.schedule.cron import cron_files
from bulkaudio.schedule.job import Clock
from bulkaudio.schedule.outcomes import FINE
from tests.inside import Inside
from tests.schedule.jobs import dumped, dumper, job
from tests.schedule.printed import BASE, schedule
from tests.schedule.readers import (
    cron_lines,
)


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 6, 8, 75, 143])
def test_cron_is_silent_unless_a_person_has_to_look(tmp_path: Path, code: int) -> None:
    """Also about an archive that another run holds; whatever is said is mailed with the code."""
    made = job(dumper(tmp_path), "a%b", DUMP=str(tmp_path / "dump"), CODE=str(code))
    ((_, command),) = cron_lines(cron_files(made)[0].text)
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    is_fine = code in {0, *FINE}
    assert done.returncode == (0 if is_fine else code)
    assert done.stdout == ("" if is_fine else f"bulkaudio ended with exit code {code}\n")
    assert dumped(tmp_path / "dump")[1] == "a%b"


def test_cron_mails_what_was_said(tmp_path: Path) -> None:
    """To the letter, both streams, backslashes and percent signs included."""
    program = tmp_path / "bulkaudio"
    program.write_text("#!/bin/sh\nprintf '%s\\n' '100% \\n out'\necho err >&2\nexit 4\n")
    program.chmod(0o755)
    ((_, command),) = cron_lines(cron_files(job(program))[0].text)
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    said = "100% \\n out\nerr\nbulkaudio ended with exit code 4\n"
    assert (done.returncode, done.stdout, done.stderr) == (4, said, "")


def test_cron_goes_by_another_zone_where_asked(tmp_path: Path) -> None:
    """Looked at four times an hour; only when clocks there show the time is anything started."""
    now = datetime.now(UTC)
    for shift, is_due in ((0, True), (60, False), (-60, False)):
        minute = (now.hour * 60 + now.minute + shift) % 1440
        made = job(
            dumper(tmp_path),
            minute=minute,
            zone="Etc/UTC",
            is_machines=False,
            DUMP=str(tmp_path / "dump"),
        )
        ((fields, command),) = cron_lines(cron_files(made)[0].text)
        quarters = sorted((minute + 15 * n) % 60 for n in range(4))
        assert fields == ",".join(map(str, quarters)) + " * * * *"
        # The minute may end between the look at the clock and the shell's.
        command = command.replace("date +%H%M", f"date -d @{int(now.timestamp())} +%H%M")
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert (tmp_path / "dump").exists() == is_due
        (tmp_path / "dump").unlink(missing_ok=True)


def test_the_machines_zone_is_known_by_its_rules(tmp_path: Path) -> None:
    """Not by its name, which has many spellings; a machine without one goes by UTC."""
    none = tmp_path / "none"
    assert is_machines("UTC", none)
    assert not is_machines("Europe/London", none)
    zones = Path("/usr/share/zoneinfo")
    if not (zones / "Europe/London").exists():
        pytest.skip("this system has no /usr/share/zoneinfo")
    own = tmp_path / "localtime"
    own.symlink_to(zones / "Europe/London")
    assert is_machines("Europe/London", own)
    assert not is_machines("Asia/Kolkata", own)


def test_delays_are_within_the_spread_and_always_the_same() -> None:
    """Also past midnight; jobs with other names start at other minutes."""
    clock = Clock(minute=1435, zone="UTC", spread_s=900.0, is_machines=True)
    minutes = {clock.shifted(f"archive {number}") for number in range(500)}
    assert minutes == {*range(1435, 1440), *range(11)}
    assert clock.shifted("a") == clock.shifted("a")
    exact = Clock(minute=150, zone="UTC", spread_s=0.0, is_machines=True)
    assert exact.shifted("a") == 150


def test_cron_names_a_user_only_for_the_system(inside: Inside) -> None:
    """A user's own crontab has no such field."""
    own = schedule(inside, "cron", *BASE, "--tz", "UTC", "--spread", "0")
    systems = schedule(inside, "cron", *BASE, "--tz", "UTC", "--spread", "0", "--run-as", "archive")
    assert "\no=$(" in re.sub(r"\n[0-9*, ]+", "\n", own.stdout).replace("\n[", "\no=$(")
    assert re.search(r"^[0-9*, ]+ archive ", systems.stdout, re.MULTILINE)
    assert "/etc/cron.d/bulkaudio-calls" in systems.stdout
