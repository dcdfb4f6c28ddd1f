"""A PolyAI for the doctor to ask, and what it says about it."""

from collections.abc import Mapping
from typing import Any

from tests.inside import Inside
from tests.program import Done
from tests.wire import Exchange, Script, http_head, says_json

KEY = "canary-doctor-key-with-tail-3f9a"
LISTING_KEY = "canary-listing-key-with-tail-77ab"

WHOSE = ("--region", "uk", "--account", "ws-1", "--agent", "PROJECT-1")

NO_CONVERSATION = says_json(404, {"error_code": "CONVERSATIONS_NOT_FOUND"})
ONE_PAGE = says_json(200, {"conversations": [], "cursor": None})


def refusal(status: int, code: str) -> Script:
    """Refuse as PolyAI does."""
    return says_json(status, {"error_code": code, "error_id": "support-1"})


def polyai(recordings: Script = NO_CONVERSATION, conversations: Script = ONE_PAGE) -> Script:
    """Answer for both hosts, each in its own way."""

    async def script(exchange: Exchange) -> None:
        is_audio = "/audio" in exchange.head.target
        await (recordings if is_audio else conversations)(exchange)

    return script


def dated(date: str, status: int, body: bytes) -> Script:
    """Answer with a time."""

    async def script(exchange: Exchange) -> None:
        headers = [("Date", date), ("Content-Length", str(len(body)))]
        await exchange.send(http_head(status, headers) + body)

    return script


class Doctored:
    """
    The program within the test, asked for a diagnosis.

    No key, in whole or in large part, may ever be in what it prints.
    """

    def __init__(self, inside: Inside) -> None:
        self.inside = inside
        inside.env("POLYAI_API_KEY", KEY)
        inside.env("POLYAI_CONVERSATIONS_API_KEY", LISTING_KEY)

    def reach(self, audio: str, conversations: str | None = None) -> None:
        """Say where the hosts are."""
        self.inside.env("BULKAUDIO_AUDIO_URL", audio)
        self.inside.env("BULKAUDIO_CONVERSATIONS_URL", conversations or audio)

    def run(self, *arguments: Any) -> Done:
        """Run ``doctor``."""
        done = self.inside.run("doctor", *WHOSE, *arguments)
        for key in (KEY, LISTING_KEY):
            assert key[:-4] not in done.stdout + done.stderr
            assert key[-5:] not in done.stdout + done.stderr
        return done

    def checks(self, *arguments: Any, code: int | None = None) -> Mapping[str, Mapping[str, Any]]:
        """Run it and return its checks by name."""
        done = self.run("--json", *arguments)
        assert len(done.stdout.splitlines()) == 1, done
        document = done.summary
        assert document["schema"] == "bulkaudio.doctor/1"
        assert document["exit_code"] == done.code
        if code is not None:
            assert done.code == code, document
        return {check["name"]: check for check in document["checks"]}


def statuses(checks: Mapping[str, Mapping[str, Any]], group: str) -> list[str]:
    """Return how the checks of a host, or of the archive, ended, in order."""
    return [each["status"] for name, each in checks.items() if name.startswith(group)]
