"""nginx as PolyAI: recordings and one listing page over TLS on loopback, in moods of its own."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tests.benchmarks.corpus import ONE

NAME = "127.0.0.1"
AGENT, ACCOUNT = "PROJECT-1", "ws-1"
PAGE = "page.json"
PATIENCE_S = 10.0
LOG_DELAY_S = 0.1
SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))

CONFIG = """\
{user}
{modules}
daemon off;
worker_processes auto;
pid nginx.pid;
error_log error.log error;
events {{ worker_connections 1024; }}
http {{
    log_format brief '$msec $request_time $status';
    access_log {log};
    client_body_temp_path tmp;
    proxy_temp_path tmp;
    fastcgi_temp_path tmp;
    uwsgi_temp_path tmp;
    scgi_temp_path tmp;
    keepalive_requests 1000000;
    keepalive_timeout 600s;
    open_file_cache max=200000 inactive=1h;
    open_file_cache_valid 1h;
    sendfile on;
    default_type audio/wav;
    {zone}
    server {{
        listen {name}:{port} ssl reuseport;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate server.pem;
        ssl_certificate_key server.key;
        location ~ ^/v1/agents/{agent}/conversations/(?<id>[^/]+)/audio$ {{
            {mood}
            alias {site}/{file}.wav;
        }}
        location /flat/ {{
            alias {site}/;
        }}
        location = /v3/{account}/{agent}/conversations {{
            default_type application/json;
            alias {site}/{page};
        }}
        location @throttled {{
            add_header Retry-After 1 always;
            return 429;
        }}
    }}
}}
"""

LATENCY = """\
access_by_lua_block {{
                ngx.sleep({latency_s})
                if math.random() < {unavailable_share} then return ngx.exit(503) end
            }}"""

LIMIT = """\
limit_req zone=all burst={rate} nodelay;
            limit_req_status 429;
            error_page 429 @throttled;"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """
    How the server answers.

    Attributes:
        latency_s: Before the first byte of each recording.
        unavailable_share: Answered 503, after the same time.
        rate: At most so many requests a second, and as many again at once after a pause; the others
            are answered 429 with a Retry-After of one second.
        bytes_per_s: Of each recording.
        is_one_file: For every conversation.
        is_logged: So that `Server.requests` has something to read.
    """

    latency_s: float = 0.0
    unavailable_share: float = 0.0
    rate: int | None = None
    bytes_per_s: int | None = None
    is_one_file: bool = False
    is_logged: bool = False

    @property
    def lines(self) -> str:
        """What nginx is told about the location of recordings."""
        lines = []
        if self.latency_s:
            lines.append(
                LATENCY.format(latency_s=self.latency_s, unavailable_share=self.unavailable_share)
            )
        if self.rate:
            lines.append(LIMIT.format(rate=self.rate))
        if self.bytes_per_s:
            lines.append(f"limit_rate {self.bytes_per_s};")
        return "\n            ".join(lines)

    @property
    def zone(self) -> str:
        """Where nginx counts."""
        return f"limit_req_zone $server_port zone=all:1m rate={self.rate}r/s;" if self.rate else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request, as the server saw it."""

    began_at: float
    ended_at: float
    status: int


@dataclass(frozen=True, slots=True)
class Server:
    """
    An nginx that is running.

    Attributes:
        ca: The authority that every tool has to verify it with.
    """

    url: str
    ca: Path
    _log: Path
    _marks: list[int] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        """What sends bulkaudio here."""
        return {"BULKAUDIO_AUDIO_URL": self.url, "BULKAUDIO_CONVERSATIONS_URL": self.url}

    def recording_url(self, id_: str) -> str:
        """Return the address of a conversation's recording."""
        return f"{self.url}/v1/agents/{AGENT}/conversations/{id_}/audio?direction=combined"

    def flat_url(self, id_: str) -> str:
        """Return an address that ends like a file, for a tool that cannot be told names."""
        return f"{self.url}/flat/{id_}.wav"

    def mark(self) -> None:
        """Forget the requests so far."""
        self._marks[:] = [self._log.stat().st_size] if self._log.exists() else []

    def requests(self) -> Sequence[Seen]:
        """Return the requests since then."""
        # The last line is written a moment after the last byte has arrived.
        time.sleep(LOG_DELAY_S)
        with self._log.open() as lines:
            lines.seek(sum(self._marks))
            return [_seen(line) for line in lines]


def _seen(line: str) -> Seen:
    ended_at, took_s, status = line.split()
    return Seen(
        began_at=float(ended_at) - float(took_s), ended_at=float(ended_at), status=int(status)
    )


def nginx() -> str | None:
    """Find the program, which Debian keeps where users do not look."""
    return shutil.which("nginx", path=SYSTEM_PATH)


def lua_modules() -> Sequence[Path]:
    """Return the modules that answer late; empty when they are not all there."""
    program = nginx()
    if program is None:
        return ()
    built = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"--modules-path=(\S+)", built)
    folder = Path(found[1]) if found else Path("/usr/lib/nginx/modules")
    # In this order: the second needs the first.
    modules = [folder / "ndk_http_module.so", folder / "ngx_http_lua_module.so"]
    return modules if all(module.exists() for module in modules) else ()


@contextmanager
def serving(site: Path, folder: Path, mood: Mood) -> Iterator[Server]:
    """Serve the files of `site` while the block runs; `folder` becomes the server's own."""
    program = nginx()
    if program is None:
        raise FileNotFoundError("nginx")
    (folder / "tmp").mkdir(parents=True)
    ca = _write_certificates(folder)
    port = _free_port()
    (folder / "nginx.conf").write_text(_config(site, port, mood))
    command = [program, "-p", f"{folder}/", "-c", "nginx.conf", "-e", "error.log"]
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL)
    try:
        _wait(process, port, folder / "error.log")
        yield Server(f"https://{NAME}:{port}", ca, folder / "access.log")
    finally:
        process.terminate()
        process.wait()


def _config(site: Path, port: int, mood: Mood) -> str:
    # Started by root, its workers would be somebody who may not read these files.
    user = f"user {pwd.getpwuid(0).pw_name} root;" if os.geteuid() == 0 else ""
    modules = lua_modules() if mood.latency_s else ()
    return CONFIG.format(
        user=user,
        modules="\n".join(f"load_module {module};" for module in modules),
        log="access.log brief" if mood.is_logged else "off",
        zone=mood.zone,
        name=NAME,
        port=port,
        agent=AGENT,
        account=ACCOUNT,
        mood=mood.lines,
        site=site,
        file=ONE if mood.is_one_file else "$id",
        page=PAGE,
    )


def _write_certificates(folder: Path) -> Path:
    authority = trustme.CA()
    leaf = authority.issue_cert(NAME)
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    (folder / "server.pem").write_bytes(chain)
    leaf.private_key_pem.write_to_path(str(folder / "server.key"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return folder / "ca.pem"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((NAME, 0))
        port: int = found.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when it answers."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection((NAME, port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"nginx did not start: {log.read_text() if log.exists() else ''}")
