"""Any key is refused before anything is asked, or sent byte for byte; and it shows itself nowhere."""

import asyncio
import copy
import dataclasses
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bulkaudio import api
from bulkaudio.cli.options import DownloadOptions, WhereOptions
from bulkaudio.cli.request import make_request
from bulkaudio.errors import KeyRefusedError
from bulkaudio.keys import KeyFinder
from bulkaudio.observe.logs import Format, LogOptions, logging_to
from bulkaudio.polyai.client import Session
from bulkaudio.settings import ApiKey, Secret
from tests.inside import Inside
from tests.plans import whole
from tests.program import write_csv
from tests.sessions import AUDIO, api_key, connection_to, read
from tests.wire import WireServer, in_thread, says

T = TypeVar("T")

CANARY = "cAn4ry"
KEYS = st.builds(
    lambda head, tail: head + CANARY + tail, st.text(max_size=12), st.text(max_size=12)
)
PLAIN = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)
ANY = st.one_of(KEYS, PLAIN.map(lambda tail: CANARY + tail))

HOSTILE = {
    "CRLF": f"{CANARY}\r\nX-Evil: 1",
    "LF at the end of a line": f"{CANARY}\nX-Evil: 1\n",
    "CR": f"{CANARY}\rX",
    "two lines": f"{CANARY}\n{CANARY}",
    "folded": f"{CANARY}\r\n folded",
    "blank inside": f"{CANARY} x",
    "tab inside": f"{CANARY}\tx",
    "NUL": f"{CANARY}\0x",
    "NUL at the end": f"{CANARY}\0",
    "escape": f"\x1b[31m{CANARY}",
    "delete": f"{CANARY}\x7f",
    "C1": f"{CANARY}\x85",
    "accent": f"{CANARY}\u00eb",
    "no-break": f"\u00a0{CANARY}",
    "fullwidth": f"{CANARY}\uff11",
    "bidi": f"\u202e{CANARY}",
    "zero width": f"{CANARY}\u200b",
    "emoji": f"{CANARY}\U0001f511",
    "line separator": f"{CANARY}\u2028x",
    "half a character": f"{CANARY}\udc80",
}
TOO_LONG = {"too long": CANARY * 4000}
"""For a key file; what a program hands over is its own affair."""


@pytest.fixture(scope="module")
def server() -> Iterator[WireServer]:
    """Return a host that says yes to everything."""
    with in_thread(WireServer(says(200, b"ok"))) as running:
        yield running


def sent(server: WireServer, key: ApiKey) -> str | None:
    """Send a request with a key; return the header as it arrived, and see that it was one."""

    async def send() -> None:
        async with (
            Session(connection_to(server.url(), key=key), slots=1) as session,
            session.get(AUDIO) as response,
        ):
            assert await read(response) == b"ok"

    before = len(server.heads)
    asyncio.run(send())
    (head,) = server.heads[before:]
    assert len(head.headers) == 6
    return head.header("x-api-key")


def told(error: BaseException) -> str:
    """Return everything that an error can say of itself."""
    return "".join((str(error), repr(error), *traceback.format_exception(error)))


def refused(call: Callable[[], T]) -> T | None:
    """Return what a call returns; None when it refuses the key, which it must not show then."""
    try:
        return call()
    except KeyRefusedError as error:
        if CANARY in told(error) or error.exit_code != 4:
            raise AssertionError("it shows the key") from None
        return None


def seen(value: object) -> str:
    """Return everything that a value shows of itself."""
    stream = io.StringIO()
    log = logging.getLogger("bulkaudio.test")
    for format_ in Format:
        with logging_to(LogOptions(verbosity=2, format=format_), stream):
            log.warning("%s %r %s", value, value, [value])
    as_json = json.dumps({"value": value}, default=str)
    return f"{value} {value!r} {value!s:>3} {[value]} {as_json} {stream.getvalue()}"


@given(ANY)
@example(CANARY)
@example(f" {CANARY}\n")
@example(f"\ufeff{CANARY}")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_key_of_any_text_is_refused_or_sent_to_the_letter(server: WireServer, text: str) -> None:
    """From a variable: blanks around it belong to whoever pasted it, all else is the key."""
    finder = KeyFinder(environ={"POLYAI_API_KEY": text})
    assert CANARY not in seen(finder)
    found = refused(lambda: finder.find("uk").api_key)
    if found is not None:
        assert sent(server, found) == text.removeprefix("\ufeff").strip()
        assert CANARY not in seen(found)


@given(ANY)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_key_from_a_program_is_refused_or_sent_to_the_letter(
    server: WireServer, text: str
) -> None:
    """Nothing of what Python code hands over is dropped."""
    before = server.connections
    arrived = refused(lambda: sent(server, api_key(text)))
    assert arrived in {text, None}
    assert (server.connections > before) == (arrived is not None)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_session_refuses_what_no_header_can_carry(name: str) -> None:
    """However the key came there."""
    with pytest.raises(KeyRefusedError) as caught:
        Session(connection_to("http://127.0.0.1:1", key=api_key(HOSTILE[name])), slots=1)
    assert CANARY not in told(caught.value)


@pytest.mark.parametrize("name", HOSTILE | TOO_LONG)
@pytest.mark.parametrize("place", ["variable", "file", "stdin", "kit", "listing"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(
    place: str, name: str, tmp_path: Path
) -> None:
    """From each of the places; a header of its own would be the least that it could do."""
    text = (HOSTILE | TOO_LONG)[name]
    raw = text.encode("utf-8", "surrogatepass")
    path = tmp_path / "key"
    path.write_bytes(raw)
    path.chmod(0o600)
    finder = KeyFinder(environ={"POLYAI_API_KEY": text})
    if place == "file":
        finder = KeyFinder(api_key_file=str(path), environ={})
    elif place == "stdin":
        finder = KeyFinder(api_key_file="-", environ={}, stdin=io.BytesIO(raw))
    elif place == "kit":
        kit = tmp_path / ".poly" / "credentials.json"
        kit.parent.mkdir()
        kit.write_text(json.dumps({"uk": text}))
        kit.chmod(0o600)
        finder = KeyFinder(environ={"HOME": str(tmp_path)})
    elif place == "listing":
        environ = {"POLYAI_API_KEY": "good", "POLYAI_CONVERSATIONS_API_KEY": text}
        finder = KeyFinder(environ=environ)
    with pytest.raises(KeyRefusedError) as caught:
        finder.find("uk")
    assert CANARY not in told(caught.value)


@pytest.mark.parametrize("name", ["CRLF", "blank inside", "accent", "bidi", "too long"])
@pytest.mark.parametrize("option", ["--api-key-file", "--conversations-key-file"])
def test_the_program_refuses_such_a_key_before_any_connection(
    option: str, name: str, inside: Inside
) -> None:
    """Exit 4, and neither the errors at -vv nor the summary repeat it."""
    path = inside.folder / "key.txt"
    path.write_text((HOSTILE | TOO_LONG)[name])
    path.chmod(0o600)
    csv = write_csv(inside.folder / "calls.csv", ["CA1"])
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = inside.download("--csv", csv, "-vv", option, path)
    assert (done.code, server.connections) == (4, 0)
    assert CANARY not in done.stdout + done.stderr


def test_no_object_shows_the_key_it_holds() -> None:
    """Nothing that carries one: printed, formatted, logged, copied into JSON or pickled."""
    key = ApiKey(value=Secret(CANARY), source="POLYAI_API_KEY", reread=lambda: Secret(CANARY))
    connection = dataclasses.replace(
        connection_to("http://127.0.0.1:1", key=key, proxy=f"http://me:{CANARY}@127.0.0.1:1"),
        conversations_key=key,
    )
    finder = KeyFinder(environ={"POLYAI_API_KEY": CANARY})
    options = DownloadOptions(where=WhereOptions(out="archive"))
    request = make_request(options, now=datetime.now(UTC), environ=finder.environ)
    carriers = (
        *(Secret(CANARY), key, connection, Session(connection, slots=1), finder, finder.find("uk")),
        *(request, request.find_keys, key.reread),
        api.Client(region="uk", agent="P", api_key=CANARY),
    )
    for carrier in carriers:
        assert CANARY not in seen(carrier), type(carrier)
    for carry in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError):
            carry(Secret(CANARY))
    with pytest.raises(TypeError):
        json.dumps(Secret(CANARY))
    assert not hasattr(Secret(CANARY), "__dict__")
