"""What workers are told of a connection: everything but what nobody else may know."""

import stat
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from bulkaudio.cluster.parcels import Whose
from bulkaudio.errors import UsageError
from bulkaudio.settings import ClusterWish, Connection, Elsewhere


def whose_of(connection: Connection, wish: ClusterWish) -> Whose:
    """Write a connection down without its key, and without a password."""
    proxy = connection.proxy
    has_password = proxy is not None and "@" in urlsplit(proxy).netloc
    return Whose(
        region=connection.region,
        agent=connection.agent,
        account=connection.account,
        audio_url=connection.audio_url,
        conversations_url=connection.conversations_url,
        ca_bundle=None if connection.ca_bundle is None else connection.ca_bundle.absolute(),
        proxy=None if has_password else proxy,
        needs_own_proxy=has_password,
        api_key_file=wish.api_key_file,
        conversations_key_file=wish.conversations_key_file,
    )


def elsewhere_of(elsewhere: Elsewhere | None) -> Elsewhere | None:
    """Write down where recordings go, as workers of other machines may read it."""
    if elsewhere is None:
        return None
    bundle = elsewhere.ca_bundle
    return replace(elsewhere, proxy=None, ca_bundle=None if bundle is None else bundle.absolute())


def checked_key_file(option: str, given: str | None) -> str | None:
    """
    Return a key file's path as workers may read it.

    Raises:
        UsageError: It can be read only once, by one process.
    """
    if given is None:
        return None
    path = Path(given).expanduser()
    try:
        is_file = given != "-" and stat.S_ISREG(path.stat().st_mode)
    except OSError:
        # Whoever reads it says better what is amiss.
        is_file = True
    if not is_file:
        raise UsageError(
            f"{option} {given} can be read only once, and every worker looks the key up by itself",
            fix=f"name a file with {option}, or set POLYAI_API_KEY, here and on every worker",
        )
    return str(path.absolute())
