"""
Where the credentials for a bucket come from, in words: never what they are.

The order is that in which `connect` and obstore look; what is only said here is not used there.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects import aws

GOOGLES_OWN = Path(".config", "gcloud", "application_default_credentials.json")


def origin_of(url: ObjectUrl, environ: Mapping[str, str]) -> str:
    """Name the place of the credentials; raises `StorageError` when a profile is spoilt."""
    return _ORIGINS[url.scheme](environ)


def _amazon(environ: Mapping[str, str]) -> str:
    if environ.get("AWS_ACCESS_KEY_ID"):
        return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if aws.read_profile(environ).provider is not None:
        name = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
        return f"the profile {name} of ~/.aws"
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return "the role of AWS_WEB_IDENTITY_TOKEN_FILE"
    if any(name.startswith("AWS_CONTAINER_CREDENTIALS_") for name in environ):
        return "the role of the container"
    return "the role of the machine"


def _google(environ: Mapping[str, str]) -> str:
    if environ.get("STORAGE_EMULATOR_HOST"):
        return "nowhere: STORAGE_EMULATOR_HOST names an emulator"
    named = (
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
    )
    found = next((name for name in named if environ.get(name)), None)
    if found is not None:
        return found
    if environ.get("HOME") and (Path(environ["HOME"]) / GOOGLES_OWN).exists():
        return "gcloud auth application-default login"
    return "the service account of the machine"


def _azure(environ: Mapping[str, str]) -> str:
    ways = (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
    )
    found = next((name for name in ways if environ.get(name)), None)
    if found is not None:
        return found
    if environ.get("AZURE_USE_AZURE_CLI", "").lower() in {"1", "true"}:
        return "az login (AZURE_USE_AZURE_CLI)"
    return "the identity of the machine"


_ORIGINS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "s3": _amazon,
    "gs": _google,
    "az": _azure,
}
