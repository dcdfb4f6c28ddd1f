"""
Where a dead man's switch is pinged: a secret, because whoever knows the address can silence the alarm.

The convention is that of healthchecks.io: the address itself is success, ``/start`` the beginning and
``/<exit code>`` any other end. Rules of this file: text in, text out; the address is never shown.
"""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from bulkaudio.errors import UsageError
from bulkaudio.polyai.hosts import is_loopback
from bulkaudio.settings import Secret

_PLAIN = re.compile(r"[\x21-\x7e]+")
_NAME = re.compile(r"[A-Za-z0-9._:-]+")
FIX = "write https://HOST/PATH, as the monitoring service shows it"


@dataclass(frozen=True, slots=True, kw_only=True)
class PingUrl:
    """
    A checked address; made by `parse`.

    Attributes:
        host: What may be shown of it.
    """

    host: str
    _address: Secret

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check an address; raises `UsageError`, which does not repeat it."""
        try:
            parts = urlsplit(text if _PLAIN.fullmatch(text) else "")
            # Reading the port is what checks it.
            is_whole = _NAME.fullmatch(parts.hostname or "") is not None and parts.port != 0
        except ValueError:
            raise UsageError("it is not a web address", fix=FIX) from None
        if not is_whole or parts.scheme not in {"http", "https"}:
            raise UsageError("it is not a web address", fix=FIX)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise UsageError(
                "it would go over the network unencrypted",
                fix="use https; http is for this machine only: 127.0.0.1, ::1 or localhost",
            )
        if "@" in parts.netloc or parts.fragment:
            raise UsageError("it holds credentials or a fragment, which are not sent", fix=FIX)
        return cls(host=parts.netloc, _address=Secret(text))

    @property
    def shown(self) -> str:
        """The address without what makes it one's own."""
        return f"{urlsplit(self._address.reveal()).scheme}://{self.host}/***"

    def for_start(self) -> str:
        """Return where the beginning is told; keep it out of sight."""
        return self._with("/start")

    def for_end(self, exit_code: int) -> str:
        """Return where the end is told; keep it out of sight."""
        return self._with(f"/{exit_code}" if exit_code else "")

    def _with(self, suffix: str) -> str:
        parts = urlsplit(self._address.reveal())
        path = parts.path.rstrip("/") + suffix if suffix else parts.path
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
