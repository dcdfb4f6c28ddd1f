"""A second door to the Ceph gateway's data, which a test may slam and open again."""

import http.client
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.objects import gateway


@dataclass(slots=True, kw_only=True)
class Door:
    """A `radosgw` of the test's own: killing it disturbs nobody else who uses the gateway."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Start it, and wait until it answers."""
        command = ["radosgw", "-c", str(gateway.DATA / "ceph.conf"), "-n", "client.rgw.a", "-f"]
        command += ["--rgw_frontends", f"beast endpoint=127.0.0.1:{self.port}"]
        command += ["--log_file", str(self.folder / "log"), "--admin_socket", ""]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 60.0
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the second gateway did not start ({self.process.poll()})")
            time.sleep(0.1)

    def slam(self) -> None:
        """Kill it, with everything that is on its way through it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            asked.request("GET", "/")
            return asked.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asked.close()


@contextmanager
def door(folder: Path) -> Iterator[Door]:
    """Have one for the block, opened."""
    gateway.use_gateway()
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Door(port=port, folder=folder)
    try:
        made.open()
        yield made
    finally:
        made.slam()
        shutil.rmtree(folder, ignore_errors=True)


def gateway_env(endpoint: str) -> dict[str, str]:
    """Return what the program finds around it of the gateway."""
    return {
        "AWS_ACCESS_KEY_ID": gateway.KEY_ID,
        "AWS_SECRET_ACCESS_KEY": gateway.SECRET,
        "AWS_ENDPOINT_URL": endpoint,
    }
