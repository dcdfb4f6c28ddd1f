"""
Somebody at a terminal whose archives are at addresses, with a small PolyAI and buckets in a folder.

Everything is as on any machine, also the making of clients, but for the requests to the bucket.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bulkaudio.object_url import ObjectUrl
from bulkaudio.simulator.answers import Key
from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.server import Simulator
from tests.forked import Ended, Order, run_forked
from tests.objects.folder_bucket import FolderBucket
from tests.oracle import CANARY

ADDRESS = "s3://recordings/calls"
CLOUD_CANARY = "CANARYcloudSECRET/1f2e3d"
WHOLE = "tests.objects.hooks:answer_from_folder"


@dataclass(slots=True, kw_only=True)
class Desk:
    """
    A person, a PolyAI and a cloud.

    Attributes:
        env: Variables beside those that everybody has.
        fault: A call of buckets that fails, and what its key holds.
        seen: What every command has printed so far.
    """

    simulator: Simulator
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    fault: tuple[str, ...] = ()
    seen: list[str] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def at(cls, folder: Path, count: int = 4) -> AsyncIterator[Self]:
        """Open a desk where `count` calls are named in ``calls.csv``."""
        calls = Calls(count=count, speech_s=(0.05, 0.3), chat_share=0.0, opt_out_share=0.0)
        async with Simulator(calls=calls, keys=(Key(value=CANARY),)) as simulator:
            ids = "\n".join(["conversation_id", *calls.ids()])
            (folder / "calls.csv").write_text(f"{ids}\n")
            for name in ("home", "cloud"):
                (folder / name).mkdir(exist_ok=True)
            yield cls(simulator=simulator, folder=folder)

    @property
    def usual(self) -> Path:
        """The state folder of `ADDRESS` when nobody says otherwise."""
        url = ObjectUrl.parse(ADDRESS)
        assert url is not None
        return self.folder / "home" / ".local" / "state" / "bulkaudio" / url.state_name()

    @property
    def ids(self) -> tuple[str, ...]:
        """The calls."""
        return tuple(self.simulator.calls.ids())

    def bucket(self, address: str = ADDRESS) -> FolderBucket:
        """Return what is at an address."""
        url = ObjectUrl.parse(address)
        assert url is not None
        return FolderBucket(url, self.folder / "cloud")

    def environment(self) -> Mapping[str, str]:
        """Return all variables."""
        return {
            "HOME": str(self.folder / "home"),
            "PATH": "/usr/bin:/bin",
            "BULKAUDIO_AUDIO_URL": self.simulator.audio_url,
            "BULKAUDIO_CONVERSATIONS_URL": self.simulator.conversations_url,
            "POLYAI_API_KEY": CANARY,
            "AWS_ACCESS_KEY_ID": "AKIACANARYID",
            "AWS_SECRET_ACCESS_KEY": CLOUD_CANARY,
            "AWS_REGION": "eu-west-1",
            **self.env,
        }

    async def run(self, *words: str | Path, hook: str = WHOLE) -> Ended:
        """Type a command."""
        order = Order(
            arguments=tuple(map(str, words)),
            env=self.environment(),
            cwd=self.folder,
            hook=hook,
            hook_arguments=(str(self.folder / "cloud"), *self.fault),
        )
        ended = await run_forked(order)
        self.seen += [ended.stdout, ended.stderr]
        return ended

    async def well(self, *words: str | Path, hook: str = WHOLE) -> Ended:
        """Type a command that has to end well."""
        ended = await self.run(*words, hook=hook)
        assert ended.code == 0, ended.stderr
        return ended

    async def download(self, *words: str | Path, out: str = ADDRESS) -> Ended:
        """Download what the file names."""
        scope = ("--agent", "PROJECT-1", "--region", "uk", "--csv", self.folder / "calls.csv")
        return await self.run("download", "--out", out, *scope, *words)

    def asked(self) -> int:
        """How many recordings were asked for so far."""
        return sum(self.simulator.requests.recordings().values())

    def endpoints(self) -> list[list[str | None]]:
        """Which servers clients were made for so far, and with which certificates."""
        log = self.folder / "cloud" / "clients"
        lines = log.read_text().splitlines() if log.exists() else []
        return [json.loads(line) for line in lines]

    def check_secrets(self) -> None:
        """Find no key in anything that was said or kept."""
        kept = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]
        said = [text.encode() for text in self.seen]
        for secret in (CANARY, CLOUD_CANARY, "AKIACANARYID"):
            assert not [text for text in (*kept, *said) if secret.encode() in text]


def line_of(ended: Ended) -> dict[str, Any]:
    """Return the one line of ``--json``."""
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def has(text: str, words: str) -> bool:
    """Whether a text says something, wherever its lines are broken."""
    return "".join(words.split()) in "".join(text.split())
