"""
Clients of a bucket: which server, whose credentials, whom TLS trusts.

Rules of this file: nothing is requested; plain HTTP goes to this machine only, unless the cloud's
own variable allows it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from obstore.store import AzureStore, GCSStore, S3Store

from bulkaudio.errors import StorageError, UsageError
from bulkaudio.object_url import ObjectUrl
from bulkaudio.polyai.hosts import is_loopback
from bulkaudio.stores.objects import aws, azure
from bulkaudio.stores.objects.faults import OBSTORE_ERRORS, fault_of, storage_error
from bulkaudio.stores.objects.patience import Patience

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

CONNECT_TIMEOUT_S = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketOptions:
    """
    How to reach a bucket.

    Attributes:
        endpoint: Base address of another server than the cloud's own; None: what the cloud's own
            variable says, else the cloud.
        ca_bundle: PEM file of authorities to trust besides the system's.
        proxy: Used only when given here: proxy variables are ignored.
        timeout_s: Of one request, with its body; 16 MB must get through in that time.
    """

    endpoint: str | None = None
    ca_bundle: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    timeout_s: float = 180.0
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """
    Clients of one bucket.

    Attributes:
        once: Makes each request once.
        patient: Repeats by itself the requests inside one upload in parts or one listing.
        plain: Deletes by the request that every store knows; the others delete many by one.
    """

    once: "ObjectStore" = field(repr=False)
    patient: "ObjectStore" = field(repr=False)
    plain: "ObjectStore" = field(repr=False)


ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("STORAGE_EMULATOR_HOST", "GOOGLE_BASE_URL"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
ALLOW_HTTP = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}


def connect(url: ObjectUrl, options: BucketOptions, patience: Patience) -> Clients:
    """
    Look the credentials up and make the clients.

    Raises:
        StorageError, UsageError: With what is missing or cannot be.
    """
    settings = _SETTINGS[url.scheme](url, options)
    patient: RetryConfig = {
        "max_retries": patience.attempts,
        "retry_timeout": timedelta(seconds=patience.total_s),
        "backoff": {
            "init_backoff": timedelta(seconds=patience.base_s),
            "max_backoff": timedelta(seconds=patience.cap_s),
        },
    }
    plain = {"disable_bulk_delete": True} if url.scheme == "s3" else {}
    with _without_proxies():
        try:
            return Clients(
                once=_made(url, settings),
                patient=_made(url, settings | {"retry_config": patient}),
                plain=_made(url, settings | plain),
            )
        except OBSTORE_ERRORS as error:
            fault = fault_of(error)
    raise storage_error(fault, "preparing requests", url)


def _made(url: ObjectUrl, settings: dict[str, Any]) -> Any:
    make: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[url.scheme]
    return make(url.bucket, **({"retry_config": {"max_retries": 0}} | settings))


def _s3(url: ObjectUrl, options: BucketOptions) -> dict[str, Any]:
    environ = options.environ
    profile = aws.read_profile(environ)
    settings: dict[str, Any] = {}
    if profile.region and not (environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")):
        settings["region"] = profile.region
    endpoint = options.endpoint or _endpoint(url, options) or profile.endpoint
    if endpoint:
        settings["aws_endpoint_url_s3"] = endpoint
    if profile.provider:
        # Once here: what it raises later is said in obstore's words.
        profile.provider()
        settings["credential_provider"] = profile.provider
    return settings | {"client_options": _client(url, options, endpoint)}


def _google(url: ObjectUrl, options: BucketOptions) -> dict[str, Any]:
    endpoint = options.endpoint or _endpoint(url, options)
    settings: dict[str, Any] = {}
    if endpoint:
        if "://" not in endpoint:
            endpoint = f"http://{endpoint}"  # as STORAGE_EMULATOR_HOST is written
        settings["base_url"] = endpoint
    if options.environ.get("STORAGE_EMULATOR_HOST") and not options.endpoint:
        # Anything will do, and nothing of the real ones may be sent there.
        settings |= {"bearer_token": "emulator"}
    return settings | {"client_options": _client(url, options, endpoint)}


def _azure(url: ObjectUrl, options: BucketOptions) -> dict[str, Any]:
    settings: dict[str, Any] = dict(azure.read_settings(options.environ))
    endpoint = options.endpoint or _endpoint(url, options) or settings.get("endpoint")
    if endpoint:
        settings["endpoint"] = endpoint
    return settings | {"client_options": _client(url, options, endpoint)}


_SETTINGS = {"s3": _s3, "gs": _google, "az": _azure}


def endpoint_of(url: ObjectUrl, given: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the server that recordings go to; None: the cloud's own."""
    options = BucketOptions(endpoint=given, environ=environ)
    if url.scheme == "s3":
        return given or _endpoint(url, options) or aws.read_profile(environ).endpoint
    found = given or _endpoint(url, options)
    return found or (azure.read_settings(environ).get("endpoint") if url.scheme == "az" else None)


def _endpoint(url: ObjectUrl, options: BucketOptions) -> str | None:
    found = (options.environ.get(name) for name in ENDPOINTS[url.scheme])
    return next((text for text in found if text), None)


def _client(url: ObjectUrl, options: BucketOptions, endpoint: str | None) -> "ClientConfig":
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
        "timeout": timedelta(seconds=options.timeout_s),
        "allow_http": _is_http(url, options, endpoint),
    }
    authorities = _authorities(options)
    if authorities is not None:
        client["root_certificate"] = authorities
    if options.proxy:
        client["proxy_url"] = options.proxy
    return client


def _is_http(url: ObjectUrl, options: BucketOptions, endpoint: str | None) -> bool:
    if endpoint is None:
        return False
    parts = _checked(endpoint)
    is_http = parts.scheme == "http"
    variable = ALLOW_HTTP[url.scheme]
    is_allowed = options.environ.get(variable, "").lower() in {"1", "true"}
    if is_http and not is_loopback(parts.hostname or "") and not is_allowed:
        raise UsageError(
            "recordings would go to the object store over the network unencrypted",
            fix=f"use https; in a network where that is not needed, set {variable}=true",
        )
    return is_http


def _checked(endpoint: str) -> SplitResult:
    try:
        parts = urlsplit(endpoint)
        # Reading the port is what checks it.
        is_whole = bool(parts.hostname) and parts.port != 0 and parts.scheme in {"http", "https"}
    except ValueError:
        is_whole, parts = False, urlsplit("")
    if not is_whole or "@" in parts.netloc or parts.query:
        raise UsageError(
            "the endpoint of the object store is not a web address",
            fix="write https://HOST or https://HOST:PORT, without credentials",
        )
    return parts


def _authorities(options: BucketOptions) -> bytes | None:
    path = options.ca_bundle or options.environ.get("AWS_CA_BUNDLE")
    if not path:
        return None
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        text, why = b"", error.strerror
    else:
        why = "it holds none in PEM form"
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise StorageError(
            f"the certificates in {path} cannot be read ({why})",
            fix="mend --ca-bundle, or AWS_CA_BUNDLE",
        )
    return text


_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_PROXIES_LOCK = Lock()


@contextmanager
def _without_proxies() -> Iterator[None]:
    """
    Hide proxy variables while clients are made.

    They are read there, and obstore has no word to ignore them: recordings would go where nobody
    sent them.
    """
    with _PROXIES_LOCK:
        hidden = {
            name: os.environ.pop(name) for name in list(os.environ) if name.lower() in _PROXIES
        }
        try:
            yield
        finally:
            os.environ.update(hidden)
