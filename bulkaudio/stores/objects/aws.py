"""
What Amazon's own tools read besides the variables that obstore knows: profiles.

Order as theirs: variables, then the profile, then containers and machines (obstore does those).
"""

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping
from configparser import ConfigParser, Error
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from bulkaudio.errors import BucketAuthError, StorageError

if TYPE_CHECKING:
    from obstore.store import S3Credential

PROCESS_TIMEOUT_S = 60.0
RENEWED_BEFORE = timedelta(minutes=6)
REREAD_AFTER = timedelta(minutes=20)
"""Files with session tokens are rewritten by what renews them. obstore asks five minutes before."""

_OTHER_SOURCES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_BY_OTHERS = ("sso_session", "sso_start_url", "role_arn", "source_profile")


class Renewed:
    """Credentials that several clients share, found anew shortly before they end."""

    def __init__(self, find: "Callable[[], S3Credential]") -> None:
        self._find = find
        self._found: S3Credential | None = None
        self._lock = Lock()

    def __call__(self) -> "S3Credential":
        """Return them; raises `BucketAuthError`, which obstore buries."""
        with self._lock:
            end = self._found["expires_at"] if self._found else None
            if self._found is None or (end and end - datetime.now(UTC) < RENEWED_BEFORE):
                self._found = self._find()
            return self._found


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """
    What the files say.

    Attributes:
        provider: Finds the credentials anew at each call; None: they come from elsewhere.
    """

    region: str | None = None
    endpoint: str | None = None
    provider: Renewed | None = field(default=None, repr=False)


def read_profile(environ: Mapping[str, str]) -> Profile:
    """Read the chosen profile; raises `StorageError` when a file of it cannot be read."""
    name = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    section = _section(name, environ)
    is_chosen = "AWS_PROFILE" in environ or "AWS_DEFAULT_PROFILE" in environ
    if is_chosen and not section:
        raise BucketAuthError(
            f"there is no profile {name} in ~/.aws/credentials or ~/.aws/config",
            fix="mend AWS_PROFILE",
        )
    provider = None
    if not environ.get("AWS_ACCESS_KEY_ID") and not (
        not is_chosen and any(environ.get(other) for other in _OTHER_SOURCES)
    ):
        provider = _provider(name, section, environ)
    return Profile(
        region=section.get("region"), endpoint=section.get("endpoint_url"), provider=provider
    )


def _provider(name: str, section: Mapping[str, str], environ: Mapping[str, str]) -> Renewed | None:
    if "aws_access_key_id" in section:
        return Renewed(lambda: _of_file(name, environ))
    if "credential_process" in section:
        command = section["credential_process"]
        return Renewed(lambda: _of_process(name, command))
    if any(word in section for word in _BY_OTHERS):
        raise BucketAuthError(
            f"the profile {name} gets its credentials by a login or by assuming a role, which is "
            "left to Amazon's own tool",
            fix=f'run: eval "$(aws configure export-credentials --profile {name} --format env)"; '
            "or give it a credential_process",
        )
    return None


def _of_file(name: str, environ: Mapping[str, str]) -> "S3Credential":
    section = _section(name, environ)
    token = section.get("aws_session_token")
    return {
        "access_key_id": section.get("aws_access_key_id", ""),
        "secret_access_key": section.get("aws_secret_access_key", ""),
        "token": token,
        "expires_at": datetime.now(UTC) + REREAD_AFTER if token else None,
    }


def _of_process(name: str, command: str) -> "S3Credential":
    # What it prints is the secret: nothing of it reaches a message.
    found: Mapping[str, str] = {}
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        done = subprocess.run(  # noqa: S603  the user's own configuration
            shlex.split(command), stdout=subprocess.PIPE, timeout=PROCESS_TIMEOUT_S, check=True
        )
        found = json.loads(done.stdout)
    try:
        expiry = found.get("Expiration")
        return {
            "access_key_id": found["AccessKeyId"],
            "secret_access_key": found["SecretAccessKey"],
            "token": found.get("SessionToken"),
            "expires_at": datetime.fromisoformat(expiry) if expiry else None,
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise BucketAuthError(
        f"the credential_process of the profile {name} failed or printed no credentials",
        fix="run it by hand: it must print JSON with AccessKeyId and SecretAccessKey",
    )


def _section(name: str, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Join what both files say of a profile; the file of credentials wins."""
    home = Path(environ.get("HOME") or "/nonexistent") / ".aws"
    config = Path(environ.get("AWS_CONFIG_FILE") or home / "config").expanduser()
    secret = Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials").expanduser()
    named = name if name == "default" else f"profile {name}"
    return {**_read(config, named), **_read(secret, name)}


def _read(path: Path, section: str) -> Mapping[str, str]:
    parser = ConfigParser(interpolation=None, strict=False, default_section="\0")
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise StorageError(f"{path} cannot be read ({why})", fix="mend it or its rights") from None
    except Error:
        # Its text repeats the line, which may be the one with the secret.
        raise StorageError(
            f"{path} cannot be read: it is not made of [sections] and lines with =", fix="mend it"
        ) from None
    return dict(parser[section]) if parser.has_section(section) else {}
