"""
A real Ceph gateway (S3) for tests: one for all the test sessions on this machine.

Its ports are fixed and it takes seventeen seconds to start, so it is shared: whoever needs it says
so in a folder, the first one starts it, and a keeper process stops it, and removes its data, when
none of those is alive any more, however they ended.
"""

import fcntl
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = Path(os.environ.get("RGW_SCRIPT") or ROOT.parent / "shared" / "tools" / "rgw.sh")
ENDPOINT = "http://127.0.0.1:9305"
BUCKET = "bulkaudio"
KEY_ID, SECRET = "AKTEST", "SKTEST12345678"
PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "curl")
PACKAGES = "radosgw ceph-mon ceph-osd ceph-common curl"

FOLDER = Path(tempfile.gettempdir()) / f"bulkaudio-gateway-{os.getuid()}"
USERS = FOLDER / "users"
DATA = FOLDER / "data"


def use_gateway() -> None:
    """Start the gateway unless it runs, for as long as this test session lives; skips without one."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no Ceph gateway: {', '.join(missing)} not here; apt install {PACKAGES}")
    if not SCRIPT.exists():
        pytest.skip(f"no Ceph gateway: {SCRIPT} is not here; name it in RGW_SCRIPT")
    USERS.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked():
        (USERS / str(_session())).touch()
        if not _answers():
            _start()


def _session() -> int:
    """Return the process that outlives all others of this test session."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


@contextmanager
def _locked() -> Iterator[None]:
    with (FOLDER / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _answers() -> bool:
    asked = http.client.HTTPConnection(ENDPOINT.partition("://")[2], timeout=5)
    try:
        asked.request("GET", "/")
        return b"ListAllMyBucketsResult" in asked.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def _start() -> None:
    _stop()
    with (FOLDER / "start.log").open("w") as log:
        _run("start", log=log)
    if not _answers():
        pytest.fail(f"the Ceph gateway did not start: {(FOLDER / 'start.log').read_text()[-2000:]}")
    # By a shell that ends at once: nobody here waits for it.
    subprocess.run(
        ["sh", "-c", '"$0" -m tests.objects.gateway </dev/null >/dev/null 2>&1 &', sys.executable],
        check=True,
        cwd=ROOT,
        start_new_session=True,
    )


def _run(word: str, log: IO[str] | int = subprocess.DEVNULL) -> None:
    subprocess.run(
        ["bash", str(SCRIPT), word],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | {"RGW_DIR": str(DATA)},
        start_new_session=True,
        timeout=150,
    )


def _stop() -> None:
    """Stop what was started here, and wait: the next one needs its ports."""
    pids = [int(path.read_text()) for path in DATA.glob("*.pid")]
    _run("stop")
    end = time.monotonic() + 15
    while time.monotonic() < end and any(_is_alive(pid) for pid in pids):
        time.sleep(0.1)
    for pid in filter(_is_alive, pids):
        os.kill(pid, signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _keep() -> None:
    """Wait until nobody uses the gateway, then stop it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        time.sleep(2)
        with _locked():
            for user in USERS.iterdir():
                if not _is_alive(int(user.name)):
                    user.unlink()
            if any(USERS.iterdir()):
                continue
            _stop()
            shutil.rmtree(DATA, ignore_errors=True)
            return


if __name__ == "__main__":
    _keep()
