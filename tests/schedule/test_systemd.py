"""The units: what systemd takes, and what the service may do."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bulkaudio.schedule.outcomes import FINE, HOPELESS
from tests.inside import Inside
from tests.schedule.printed import (
    BASE,
    schedule,
)
from tests.schedule.readers import (
    setting,
)


def test_units_are_what_systemd_takes(inside: Inside, tmp_path: Path) -> None:
    """Not one warning of systemd-analyze, for the plainest job and for one with everything."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here: apt-get install systemd")
    everything = (
        *(
            "--tz",
            "America/New_York",
            "--log-file",
            "a b%/x.log",
            "--layout",
            "{id}$ '{direction}'.wav",
        ),
        *("--conversations-key-file", "listing 100%.key", "--grace", "90.5s", "--spread", "0"),
    )
    for number, more in enumerate(((), everything)):
        folder = tmp_path / str(number)
        done = schedule(inside, "systemd", *BASE, *more, "--output-dir", folder)
        assert done.code == 0, done.stderr
        checked = subprocess.run(
            [analyze, "verify", *done.stdout.split()], capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
        service = next(folder.glob("*.service"))
        broken = folder / "broken.service"
        broken.write_text(service.read_text().replace("RestartSec=", "RestartSek="))
        checked = subprocess.run(
            [analyze, "verify", broken], capture_output=True, text=True, check=False
        )
        assert "RestartSek" in checked.stderr, "the check would find no mistake"


def test_exit_codes_are_mapped_for_systemd(inside: Inside) -> None:
    """What is fine, what is never tried again, and how often the rest is."""
    text = schedule(inside, "systemd", *BASE, "--grace", "90s").stdout
    assert setting(text, "SuccessExitStatus") == ["8 75 143"]
    assert setting(text, "RestartPreventExitStatus") == [" ".join(map(str, HOPELESS))]
    assert setting(text, "Restart") == ["on-failure"]
    assert not {3, 5} & {*HOPELESS, *FINE}
    assert setting(text, "TimeoutStopSec") == ["120s"]
    assert setting(text, "StartLimitBurst") == ["4"]


def test_the_service_is_shut_in(inside: Inside) -> None:
    """It may write to the archive and nowhere else, as its owner."""
    (inside.folder / "calls").mkdir()
    text = schedule(inside, "systemd", *BASE).stdout
    assert setting(text, "User") == [pwd.getpwuid(os.getuid()).pw_name]
    assert setting(text, "ReadWritePaths") == [f"{inside.folder}/calls"]
    expected = {
        *("NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=read-only", "UMask=0077"),
        *("CapabilityBoundingSet=", "PrivateDevices=yes"),
    }
    assert expected <= set(text.splitlines())
    # What lies in /tmp would be out of the job's sight.
    is_passing = any(f"{path}/".startswith("/tmp/") for path in (inside.folder, sys.executable))
    assert setting(text, "PrivateTmp") == ["no" if is_passing else "yes"]
    other = schedule(inside, "systemd", *BASE, "--run-as", "archive").stdout
    assert setting(other, "User") == ["archive"]


def test_the_timer_follows_zone_and_spread(inside: Inside) -> None:
    """In the zone's own time, made up for when the machine was off."""
    arguments = ("--at", "4:05", "--tz", "Europe/London", "--spread", "10m")
    text = schedule(inside, "systemd", *BASE, *arguments).stdout
    assert setting(text, "OnCalendar") == ["*-*-* 04:05:00 Europe/London"]
    assert setting(text, "RandomizedDelaySec") == ["600s"]
    assert setting(text, "Persistent") == ["true"]
