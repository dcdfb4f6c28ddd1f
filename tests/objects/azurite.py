"""Microsoft's own emulator of Azure's blobs, from npm."""

import base64
import hashlib
import hmac
import http.client
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.azure import EMULATOR

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
INSTALLED = CACHE / "bulkaudio-tests" / "azurite"
"""Where `npm install --prefix` puts it; looked up before tests hide the home folder."""


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """Run it on a free port; yields the endpoint, with the account. Skips when it is not here."""
    program = shutil.which("azurite-blob") or INSTALLED / "node_modules" / ".bin" / "azurite-blob"
    if not Path(program).exists() or shutil.which("node") is None:
        pytest.skip(f"no azurite here: npm install --prefix {INSTALLED} azurite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(program), "--silent", "--skipApiVersionCheck", "--location", str(folder)]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--disableTelemetry"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        try:
            _await(port, running)
            yield f"http://127.0.0.1:{port}/devstoreaccount1"
        finally:
            running.terminate()


def new_container(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectUrl:
    """Make a container of a name of its own, with the emulator's credentials in the environment."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", EMULATOR["account_name"])
    monkeypatch.setenv("AZURE_STORAGE_KEY", EMULATOR["account_key"])
    name = f"c{secrets.token_hex(6)}"
    make_container(endpoint, name)
    return ObjectUrl("az", name, "calls")


def make_container(endpoint: str, name: str) -> None:
    """Create a container, which obstore cannot; signed with the emulator's one key."""
    parts = urlsplit(f"{endpoint}/{name}?restype=container")
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": now, "x-ms-version": "2021-08-06"}
    told = "".join(f"{key}:{text}\n" for key, text in headers.items())
    account = EMULATOR["account_name"]
    text = "PUT" + "\n" * 12 + f"{told}/{account}{parts.path}\nrestype:container"
    secret = base64.b64decode(EMULATOR["account_key"])
    signature = base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()
    headers |= {"Authorization": f"SharedKey {account}:{signature}", "Content-Length": "0"}
    # On a busy machine it listens before it can do anything.
    status = 0
    for _ in range(20):
        asked = http.client.HTTPConnection(parts.netloc, timeout=30)
        asked.request("PUT", f"{parts.path}?{parts.query}", headers=headers)
        status = asked.getresponse().status
        asked.close()
        if status == 201:
            return
        time.sleep(0.5)
    pytest.fail(f"azurite makes no container: {status}")


def _await(port: int, running: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        if running.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("azurite did not start")
