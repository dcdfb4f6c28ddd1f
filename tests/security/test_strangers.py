"""What nobody asked for is neither read nor followed; and the program keeps to itself."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.forked import ROOT, Order, run_forked
from tests.oracle import CANARY, trial_on
from tests.plans import whole
from tests.wire import Exchange, WireServer, says, says_json

TRAP_TOML = 'agent = "EVIL"\nregion = "us"\nlimit = 1\nout = "/nowhere"\nproxy = "http://{trap}"\n'
TRAPS = {
    ".env": "POLYAI_API_KEY=evil\nBULKAUDIO_LIMIT=1\nBULKAUDIO_PROXY=http://{trap}\n",
    "bulkaudio.toml": TRAP_TOML,
    ".bulkaudio.toml": TRAP_TOML,
    "bulkaudio.ini": "[download]\nlimit = 1\n",
    "bulkaudio/bulkaudio.toml": TRAP_TOML,
    "pyproject.toml": '[tool.bulkaudio]\nlimit = 1\nproxy = "http://{trap}"\n',
    "setup.cfg": "[bulkaudio]\nlimit = 1\n",
    ".netrc": "machine 127.0.0.1 login me password evil\ndefault login me password evil\n",
    "_netrc": "machine 127.0.0.1 login me password evil\n",
    ".curlrc": 'proxy = "http://{trap}"\n',
    ".wgetrc": "http_proxy = http://{trap}\n",
    ".poly/credentials.json": '{{"uk": "evil", "us": "evil"}}',
    ".config/polyai/credentials.json": '{{"uk": "evil"}}',
    "polyai-api-key": "evil",
    "credentials.json": '{{"uk": "evil"}}',
    "ca.pem": "evil",
}
"""Files that some program or other would read, in the current folder and at home."""

VARIABLES = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"), "http://{trap}"),
    **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "socks_proxy"), "http://{trap}"),
    "NETRC": "{cwd}/.netrc",
    "XDG_CONFIG_HOME": ".",
    "XDG_CONFIG_DIRS": "{cwd}",
    "REQUESTS_CA_BUNDLE": "{cwd}/ca.pem",
    "CURL_CA_BUNDLE": "{cwd}/ca.pem",
    "AIOHTTP_NO_EXTENSIONS": "1",
    "PAGER": "{cwd}/evil",
    "BROWSER": "{cwd}/evil",
    "EDITOR": "{cwd}/evil",
    "MANPAGER": "{cwd}/evil",
    "POLYAI_BASE_URL": "http://{trap}",
    "POLY_API_URL": "http://{trap}",
}

SYSTEM = (
    *(sys.prefix, sys.base_prefix, str(ROOT / "bulkaudio"), str(ROOT / "tests")),
    *("/usr/lib", "/usr/share", "/usr/local/lib", "/lib", "/proc", "/sys/fs/cgroup", "/dev"),
    *("/etc/mime.types", "/etc/apache2", "/etc/httpd", "/etc/nginx", "/etc/ssl", "/etc/localtime"),
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/bulkaudio", "/etc/ld.so"),
    *("/usr/local/etc", "/etc/host.conf", "/etc/gai.conf"),
)
"""Where an interpreter and its libraries have their own."""

PROCESSES = frozenset(
    {
        *("subprocess.Popen", "os.system", "os.posix_spawn", "os.spawn", "os.exec", "os.fork"),
        *("os.forkpty", "pty.spawn", "os.startfile", "webbrowser.open", "os.putenv"),
    }
)

OPENING = frozenset({"open", "os.listdir", "os.scandir", "sqlite3.connect"})


def plant(folder: Path, trap: str) -> None:
    """Put a trap under each name."""
    for name, content in TRAPS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.format(trap=trap))
        path.chmod(0o600)


def touched(events: Iterable[list[object]]) -> set[str]:
    """Return which files outside the system's own were opened or listed, as they were named."""
    opened = (words[0] for event, *words in events if event in OPENING)
    found = {
        each.removeprefix("file:").partition("?")[0] for each in opened if isinstance(each, str)
    }
    return {path for path in found if not path.startswith(SYSTEM)}


async def _polyai(exchange: Exchange) -> None:
    if exchange.head.target.startswith("/v3/"):
        record = {"id": "CA1", "started_at": "2026-11-20T10:00:00Z", "channel": "VOICE-SIP"}
        await says_json(200, {"conversations": [record], "cursor": None})(exchange)
    else:
        await whole(exchange)


@pytest.mark.parametrize("source", ["csv", "listing"])
async def test_nothing_planted_is_read_or_followed(source: str, tmp_path: Path) -> None:
    """Every file that is opened, every address and every process, as the interpreter reports them."""
    async with WireServer(says(418)) as trap, WireServer(_polyai) as server:
        trial = trial_on(server, tmp_path / "work", "CA1")
        address, report = f"127.0.0.1:{trap.port}", tmp_path / "report"
        plant(trial.cwd, address)
        given: tuple[str, ...] = trial.csv("CA1")
        if source == "listing":
            when = ("--since", "2026-11-20", "--until", "2026-11-21", "--account", "ws-1")
            given = (*when, "--metadata", "full")
        outputs = ("--log-file", tmp_path / "log", "--summary-file", tmp_path / "summary")
        planted = {
            name: value.format(trap=address, cwd=trial.cwd) for name, value in VARIABLES.items()
        }
        order = trial.order(*trial.words(*given, *outputs, "-vv"), **planted)
        watched = Order(
            arguments=order.arguments,
            env=order.env,
            cwd=order.cwd,
            hook="tests.security.hooks:watch",
            hook_arguments=(str(report),),
        )
        ended = await run_forked(watched)
        assert ended.code == 0, ended.stderr
        assert trap.connections == 0
        heads = {head.header("x-api-key") for head in server.heads}
        assert heads == {CANARY}
    events = [json.loads(line) for line in report.read_text().splitlines()]
    heard = {event[0] for event in events}
    assert {"open", "socket.connect", "sqlite3.connect"} <= heard
    assert not PROCESSES & heard
    assert {tuple(event[2]) for event in events if event[0] == "socket.connect"} == {
        ("127.0.0.1", server.port)
    }
    assert {event[1] for event in events if event[0] == "socket.getaddrinfo"} <= {"127.0.0.1"}
    outside = (str(trial.archive), str(tmp_path / "log"), str(tmp_path / ".summary"))
    names = touched(events)
    assert names & {str(trial.archive / ".bulkaudio" / "ledger.db")}
    absolute = {name for name in names if name.startswith("/") and not name.startswith(outside)}
    # The folders are those that new names are made durable in.
    folders, files = (trial.cwd, tmp_path), (trial.cwd / "calls.csv", tmp_path / "summary")
    assert absolute <= set(map(str, (*folders, *files)))
    # Names without a folder are told without the descriptor of the folder that they are in.
    inside = {".bulkaudio", "combined", "metadata", "tmp", ".", "CA1.json", "status.json", "store"}
    inside |= {"tombstones.jsonl"}
    relative = {name for name in names if not name.startswith("/") and not name.endswith(".part")}
    assert relative <= inside
