"""nginx does what its moods say: a limit that it did not keep would flatter whoever is measured."""

import http.client
import ssl
from pathlib import Path

import pytest

from tests.benchmarks.corpus import Corpus
from tests.benchmarks.server import AGENT, NAME, Mood, Server, lua_modules, nginx, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(nginx() is None, reason="nginx is not here: apt install nginx"),
]


def answers(server: Server, count: int) -> list[http.client.HTTPResponse]:
    """Ask for the first recording, again and again."""
    context = ssl.create_default_context(cafile=server.ca)
    port = int(server.url.rpartition(":")[2])
    found = []
    for _ in range(count):
        connection = http.client.HTTPSConnection(NAME, port, context=context)
        connection.request("GET", f"/v1/agents/{AGENT}/conversations/CA1/audio?direction=combined")
        answer = connection.getresponse()
        answer.read()
        found.append(answer)
        connection.close()
    return found


def one(tmp_path: Path) -> Path:
    """Make a site of one file."""
    corpus = Corpus(folder=tmp_path / "site", count=1, seconds=0.05, is_distinct=False)
    corpus.write()
    return corpus.folder


def test_a_limit_is_kept(tmp_path: Path) -> None:
    """What is above it is answered 429, with a second to wait; the log has all of it."""
    mood = Mood(rate=1, is_one_file=True, is_logged=True)
    with serving(one(tmp_path), tmp_path / "server", mood) as server:
        found = answers(server, 20)
        refused = [answer for answer in found if answer.status == 429]
        assert found[0].status == 200
        assert found[0].headers["Retry-After"] is None
        assert len(refused) >= 10
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        assert [seen.status for seen in server.requests()] == [answer.status for answer in found]
        server.mark()
        assert server.requests() == []


@pytest.mark.skipif(not lua_modules(), reason="apt install libnginx-mod-http-lua")
def test_an_answer_is_late(tmp_path: Path) -> None:
    """Good ones and others."""
    for share, status in ((0.0, 200), (1.0, 503)):
        mood = Mood(latency_s=0.1, unavailable_share=share, is_one_file=True, is_logged=True)
        folder = tmp_path / str(status)
        folder.mkdir()
        with serving(one(folder), folder / "server", mood) as server:
            assert [answer.status for answer in answers(server, 2)] == [status, status]
            assert all(seen.ended_at - seen.began_at >= 0.09 for seen in server.requests())
