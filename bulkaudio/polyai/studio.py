"""
The address of an agent in Agent Studio, as a browser shows it: region, account and agent.

Text in, value out. What is no such address is not repeated: it may be a key that was pasted by
mistake, and what follows a question mark may be a token.
"""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from bulkaudio.errors import UsageError
from bulkaudio.naming import printable
from bulkaudio.polyai.hosts import REGIONS, canonical_region

EXAMPLE = "https://studio.REGION.poly.ai/ACCOUNT/AGENT"

_HOST = re.compile(
    r"studio(?:\.([a-z0-9-]+))?\.poly\.ai|studio\.([a-z0-9-]+)\.platform\.polyai\.app"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

WHOLE_ADDRESS = f"open the agent in Agent Studio and paste its whole address, such as {EXAMPLE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioAddress:
    """
    Where an agent is.

    Attributes:
        region: By its one name.
    """

    region: str
    account: str
    agent: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read an address; what follows the agent in it does not matter.

        Raises:
            UsageError: It is none, or its region is unknown.
        """
        parts = _split(text.strip().strip("<>\"'`").strip())
        region = _region(parts)
        names = [unquote(each) for each in parts.path.split("/") if each]
        if len(names) < 2:
            lacks = "agent" if names else "account and no agent"
            raise UsageError(f"this address of Agent Studio names no {lacks}", fix=WHOLE_ADDRESS)
        for kind, name in zip(("account", "agent"), names, strict=False):
            if not _NAME.fullmatch(name):
                raise UsageError(
                    f"{printable(name)!r}, where this address has its {kind}, cannot be one",
                    fix=WHOLE_ADDRESS,
                )
        return cls(region=region, account=names[0], agent=names[1])

    @property
    def url(self) -> str:
        """The address without what follows the agent."""
        place = "" if self.region == "studio" else f".{self.region}"
        return f"https://studio{place}.poly.ai/{self.account}/{self.agent}"


def _split(text: str) -> SplitResult:
    is_address = text.lower().startswith(("https://", "http://"))
    try:
        # A browser's address bar may leave the scheme out.
        parts = urlsplit(text if is_address else f"https://{text}")
        host = parts.hostname or ""
    except ValueError:
        # Not chained, for it repeats the text.
        raise UsageError("this is no address of Agent Studio", fix=WHOLE_ADDRESS) from None
    if _HOST.fullmatch(host.rstrip(".")):
        return parts
    if not is_address or not host:
        raise UsageError("this is no address of Agent Studio", fix=WHOLE_ADDRESS)
    raise UsageError(
        f"this is no address of Agent Studio: its host is {printable(host)}",
        fix=f"{WHOLE_ADDRESS}; in a deployment with another host, write the file by hand",
    )


def _region(parts: SplitResult) -> str:
    """Read the region out of the host; the studio region's has none in it."""
    host = (parts.hostname or "").rstrip(".")
    found = _HOST.fullmatch(host)
    name = (found and (found[1] or found[2])) or "studio"
    try:
        return canonical_region(name)
    except UsageError as error:
        raise UsageError(
            f"{printable(host)} is in a region that is not known, {printable(name)!r}",
            fix=f"write the file by hand, with one of: {', '.join(REGIONS)}",
        ) from error
