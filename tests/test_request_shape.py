"""What is asked of which host, and what a status makes of it; the network is a mock here."""

from datetime import UTC, datetime
from typing import Any

import pytest
from yarl import URL

from bulkaudio.errors import KeyRefusedError, ListingError, WrongHostError
from bulkaudio.gate import Gate
from bulkaudio.model import Direction, Recording
from bulkaudio.polyai.client import Request, Session
from bulkaudio.polyai.conversations import conversation_request
from bulkaudio.polyai.recordings import recording_request
from bulkaudio.settings import ApiKey, Connection, ListingQuery, Secret
from bulkaudio.sources.listing import ListingMeans, ListingPlan, ListingSource
from tests.aioresponses_shim import mocked
from tests.audio import wav_of
from tests.sessions import read

AGENT = "PROJECT-1"
WAV = wav_of("CA1", "user")


def connection(region: str) -> Connection:
    """Return a connection to PolyAI itself."""
    key = ApiKey(value=Secret("k"), source="POLYAI_API_KEY")
    return Connection(region=region, agent=AGENT, account="ws-1", api_key=key)


def recording(direction: Direction) -> Recording:
    """Return one side of a conversation."""
    return Recording(conversation_id="CA1", direction=direction)


@pytest.mark.parametrize("region", ["us", "uk", "eu", "studio"])
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(("redacted", "tail"), [(None, ""), (True, "&redacted=true"), (False, "&redacted=false")])  # fmt: skip
async def test_a_recording_is_asked_of_its_regions_host(
    region: str,
    direction: Direction,
    *,
    redacted: bool | None,
    tail: str,
) -> None:
    """Direction is always said; redaction only when it was chosen."""
    url = (
        f"https://api.{region}.poly.ai/v1/agents/{AGENT}/conversations/CA1/audio"
        f"?direction={direction.value}{tail}"
    )
    with mocked() as responses:
        responses.get(url, body=WAV, content_type="audio/wav")
        async with Session(connection(region), slots=1) as session:
            request = recording_request(AGENT, recording(direction), redacted=redacted)
            async with session.get(request) as response:
                assert await read(response) == WAV
        ((method, asked), (call,)) = next(iter(responses.requests.items()))
    assert (method, str(asked)) == ("GET", url)
    assert call.kwargs["allow_redirects"] is False
    assert call.kwargs["headers"]["Accept"] == "audio/wav"
    assert "Content-Type" not in call.kwargs["headers"]


async def test_one_conversation_is_asked_of_the_recordings_host() -> None:
    """With the recordings' key, as JSON."""
    url = f"https://api.uk.poly.ai/v1/agents/{AGENT}/conversations/CA1"
    with mocked() as responses:
        responses.get(url, payload={"id": "CA1"})
        async with (
            Session(connection("uk"), slots=1) as session,
            session.get(conversation_request(AGENT, "CA1")) as response,
        ):
            assert await read(response) == b'{"id": "CA1"}'
        (call,) = responses.requests["GET", URL(url)]
    assert call.kwargs["headers"]["Accept"] == "application/json"


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 408, 410, 429, 500, 502, 503, 504])
async def test_every_status_is_an_answer(status: int) -> None:
    """The client judges none of them: that is policy's."""
    request: Request = recording_request(AGENT, recording(Direction.USER), redacted=None)
    url = f"https://api.uk.poly.ai/v1/agents/{AGENT}/conversations/CA1/audio?direction=user"
    headers = {"Retry-After": "3", "X-PolyAI-Correlation-Id": "abc"}
    with mocked() as responses:
        responses.get(url, status=status, payload={"error_code": "SOME_CODE"}, headers=headers)
        async with Session(connection("uk"), slots=1) as session, session.get(request) as response:
            answer = response.answer
    assert answer.http_status == status
    assert answer.error_code == ("SOME_CODE" if status >= 400 and status != 408 else None)
    assert (answer.retry_after, answer.correlation_id) == ("3", "abc")


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("us", "https://api.us-1.platform.polyai.app/v3/ws-1/PROJECT-1/conversations"),
        ("uk", "https://api.uk-1.platform.polyai.app/v3/ws-1/PROJECT-1/conversations"),
        ("eu", "https://api.euw-1.platform.polyai.app/v3/ws-1/PROJECT-1/conversations"),
        ("studio", "https://api.studio.poly.ai/v1/agents/PROJECT-1/conversations"),
    ],
)
@pytest.mark.parametrize(
    ("status", "payload", "error"),
    [
        (200, {"conversations": []}, None),
        (400, {"error_code": "CONVERSATIONS_VALIDATION_FAILED"}, ListingError),
        (401, {"error_code": "AUTH_USER_INVALID_TOKEN"}, KeyRefusedError),
        (403, {"error_code": "USER_ACCESS_FORBIDDEN"}, KeyRefusedError),
        (404, {"error_code": "PROJECT_NOT_FOUND"}, WrongHostError),
    ],
)
async def test_the_listing_is_asked_of_its_regions_host(
    region: str, url: str, status: int, *, payload: dict[str, Any], error: type[Exception] | None
) -> None:
    """One family of hosts for recordings, another for listing, one for both in studio."""
    plan = ListingPlan(
        listing_id=1,
        since=datetime(2026, 11, 21, tzinfo=UTC),
        until=datetime(2026, 11, 22, tzinfo=UTC),
        query=ListingQuery(),
    )
    end: BaseException | None = None
    with mocked() as responses:
        tail = (
            "limit=1000&offset=0"
            if region == "studio"
            else "start_time=2026-11-21T00:00:00Z&end_time=2026-11-22T00:00:00Z"
            "&limit=1000&client_env=live"
        )
        responses.get(f"{url}?{tail}", status=status, payload=payload)
        async with Session(connection(region), slots=1) as session:
            means = ListingMeans(session=session, gate=Gate("listing"), emit=lambda _: None)
            try:
                async for _ in ListingSource(plan, means).batches():
                    pass
            except Exception as caught:  # noqa: BLE001  the test looks at it
                end = caught
        assert len(responses.requests) == 1
    assert (type(end) if end else None) is error
