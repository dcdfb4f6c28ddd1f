"""The request for one recording."""

from bulkaudio.model import Recording
from bulkaudio.polyai.hosts import Host
from bulkaudio.polyai.request import Request


def recording_request(agent: str, recording: Recording, *, redacted: bool | None) -> Request:
    """Ask for one direction of one conversation; `redacted` None leaves it to the API's default."""
    query = [("direction", recording.direction.value)]
    if redacted is not None:
        query.append(("redacted", "true" if redacted else "false"))
    return Request(
        host=Host.AUDIO,
        segments=("v1", "agents", agent, "conversations", recording.conversation_id, "audio"),
        query=tuple(query),
        accept="audio/wav",
    )
