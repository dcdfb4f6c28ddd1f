"""A look at an object store for whoever only asks whether it would do; leaves nothing there."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bulkaudio.settings import Elsewhere
from bulkaudio.stores.objects.audit import look_over
from bulkaudio.stores.objects.connect import endpoint_of
from bulkaudio.stores.objects.marks import Mark
from bulkaudio.stores.objects.origin import origin_of
from bulkaudio.stores.objects.patience import HASTY
from bulkaudio.stores.objects.reading import open_bucket
from bulkaudio.stores.objects.things import Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """
    What an object store was found to do.

    Attributes:
        origin: Where its credentials came from.
        server: Its host, in words.
        is_plain: Without TLS, to this machine or because somebody allowed it.
    """

    origin: str
    server: str
    is_plain: bool
    conditions: Conditions


def try_bucket(elsewhere: Elsewhere) -> Trial:
    """Write, read, list and delete one small object; blocks. Raises `StorageError`, `UsageError`."""
    bucket = open_bucket(elsewhere, patience=HASTY)
    endpoint = endpoint_of(elsewhere.url, elsewhere.endpoint, os.environ)
    parts = urlsplit(endpoint or "")
    origin = origin_of(elsewhere.url, os.environ)
    conditions = bucket.probe()
    return Trial(
        origin=origin,
        server=parts.netloc or f"the cloud's own ({elsewhere.url.scheme})",
        is_plain=parts.scheme == "http",
        conditions=conditions,
    )


def look_over_bucket(elsewhere: Elsewhere, mark: str | None, root: Path) -> tuple[str, ...]:
    """Say what is missing of what a ledger has told there; see `bulkaudio.stores.objects.audit`."""
    return look_over(open_bucket(elsewhere, patience=HASTY), Mark.from_json(mark), root)
