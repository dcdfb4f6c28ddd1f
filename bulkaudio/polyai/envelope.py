"""
What an error's body says: PolyAI's envelope in its documented forms, or something that is none.

Rules of this file: total functions of untrusted bytes.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from bulkaudio.naming import printable

MAX_ENVELOPE_BYTES = 64 * 1024

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CORRELATION_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

_WORDS = (
    (re.compile(r"\brecordings?\b", re.IGNORECASE), "CONVERSATIONS_RECORDING_NOT_FOUND"),
    (re.compile(r"\bconversations?\b", re.IGNORECASE), "CONVERSATIONS_NOT_FOUND"),
    (re.compile(r"\b(?:project|agent)s?\b", re.IGNORECASE), "PROJECT_NOT_FOUND"),
)
"""How the recordings' own document has it: a message alone. The narrower word decides."""

_NOT_FOUND = re.compile(
    r"\bnot? (?:\w+ )*(?:found|exist|available)|\bno (?:audio )?recording", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """
    The parts of an error that somebody reads.

    Attributes:
        code: ``UPPER_SNAKE``, or digits; None without one.
        message: For people: printable and cut.
    """

    code: str | None = None
    message: str | None = None
    correlation_id: str | None = None


def read_envelope(http_status: int, body: bytes) -> Envelope:
    """Find the envelope in an answer's body, cut or broken as it may be."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return Envelope()
    if not isinstance(value, dict):
        return Envelope()
    nested = value.get("error")
    fields: dict[str, Any] = {**(nested if isinstance(nested, dict) else {}), **value}
    message = _text(fields.get("error_message")) or _text(nested) or _text(fields.get("message"))
    code = _code(fields.get("error_code"))
    if code is None and http_status == 404:
        code = _code_in_words(_text(fields.get("error_message")))
    return Envelope(
        code=code,
        message=printable(message, 200) if message else None,
        correlation_id=correlation_id(fields.get("error_id")),
    )


def correlation_id(value: object) -> str | None:
    """Accept a support id only if it is safe to show and to store."""
    is_safe = isinstance(value, str) and _CORRELATION_ID.fullmatch(value)
    return str(value) if is_safe else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _code(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _code_in_words(message: str | None) -> str | None:
    """Name the code of a 404 that only describes itself, so that it is not taken for a gateway's."""
    if message is None or not _NOT_FOUND.search(message):
        return None
    return next((code for word, code in _WORDS if word.search(message)), None)
