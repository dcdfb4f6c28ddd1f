"""
What goes wrong in an object store, read from what obstore raises.

Rules of this file: obstore's texts hold whole addresses (Azure's with the signature), and answers
that repeat what was signed. Of all that only a status, the store's own code and words of ours go
on, and nothing is chained: a traceback would print the rest.
"""

import os
import re
from dataclasses import dataclass
from enum import Enum, auto

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PreconditionError,
)

from bulkaudio.errors import (
    AND_AGAIN,
    BucketAuthError,
    NoCredentialsError,
    StorageError,
    UntrustedStoreError,
)
from bulkaudio.naming import printable
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.origin import origin_of

OBSTORE_ERRORS = (BaseError, OSError, NotImplementedError, ValueError)
"""All that its calls raise; a missing object is a `FileNotFoundError`."""


class ObjectMissingError(StorageError):
    """An object that was to be read is not there."""


class Kind(Enum):
    """What follows from a fault."""

    EXISTS = auto()
    CHANGED = auto()
    MISSING = auto()
    NO_BUCKET = auto()
    KEYLESS = auto()
    REFUSED = auto()
    UNTRUSTED = auto()
    UNSUPPORTED = auto()
    ODD_NAME = auto()
    """An object of somebody else's, with an empty segment or a control character in its key."""
    OUT_OF_RANGE = auto()
    BUSY = auto()
    """The store asks for patience: a longer wait."""
    PASSING = auto()
    FINAL = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    One failed request.

    Attributes:
        status: Of the answer; None: there was none.
        code: The store's own word, such as ``SlowDown``.
        words: Ours, where there was no answer.
    """

    kind: Kind
    status: int | None = None
    code: str | None = None
    words: str = ""

    def __str__(self) -> str:
        return self.words or " ".join(str(part) for part in (self.status, self.code) if part)


_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
_INSTANCE = re.compile(
    r"https?://(169\.254\.|\S*(latest/api/token|latest/meta-data|computeMetadata/|metadata/identity))"
)

_ODD_NAME = re.compile(r'invalid path: .*?Path "(.+?)"( contained|: )', re.DOTALL)

_PASSING = frozenset({408, 500, 502, 504})
_BUSY = frozenset({429, 503, 509})
_BUSY_CODES = frozenset({"SlowDown", "TooManyRequests", "ServerBusy", "RequestLimitExceeded"})
_NO_BUCKETS = frozenset({"NoSuchBucket", "ContainerNotFound"})
# Also told with status 400; a clock that is wrong is told with 403.
_REFUSALS = frozenset(
    {"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired"}
)
# A store that computed another sum than the client: on the way, and perhaps not the next time.
_SUMS = frozenset({"XAmzContentSHA256Mismatch", "BadDigest", "Md5Mismatch", "RequestTimeout"})

_TYPES = {
    AlreadyExistsError: Kind.EXISTS,
    PreconditionError: Kind.CHANGED,
    NotSupportedError: Kind.UNSUPPORTED,
    NotImplementedError: Kind.UNSUPPORTED,
}

_WORDS = (
    ("Wanted range starting at", Kind.OUT_OF_RANGE, "it is shorter"),
    ("NotValidForName", Kind.UNTRUSTED, "its certificate is for another name"),
    ("Expired", Kind.UNTRUSTED, "its certificate has expired"),
    ("InvalidCertificate", Kind.UNTRUSTED, "its certificate is not trusted"),
    ("dns error", Kind.PASSING, "its name cannot be resolved"),
    ("ConnectionRefused", Kind.PASSING, "the connection was refused"),
    ("kind: Connect", Kind.PASSING, "it cannot be reached"),
    ("TimedOut", Kind.PASSING, "it did not answer in time"),
    ("kind: Timeout", Kind.PASSING, "it did not answer in time"),
    ("HttpError", Kind.PASSING, "the connection broke"),
    ("reqwest", Kind.PASSING, "the connection broke"),
    ("redirect without LOCATION", Kind.FINAL, "it is in another region"),
    ("redential", Kind.KEYLESS, "no usable credentials were found"),
)


def fault_of(error: Exception) -> Fault:
    """Read an exception of obstore's."""
    text = str(error)
    status = int(found[1]) if (found := _STATUS.search(text)) else None
    code = found[1] if (found := _CODE.search(text)) else None
    if _INSTANCE.search(text):
        if status in _PASSING | _BUSY:
            return Fault(kind=Kind.PASSING, words="the machine's own credentials are not told now")
        # Nothing was found in the environment or a file, and this is no machine of the cloud's.
        return Fault(kind=Kind.KEYLESS, words="no credentials were found")
    kind = _by_type(error) or _by_answer(status, code)
    if kind is not None:
        return Fault(kind=kind, status=status, code=code)
    if status is None and code is None:
        return _without_answer(text)
    return Fault(kind=Kind.FINAL, status=status, code=code)


def _by_type(error: Exception) -> Kind | None:
    # Some stores tell it with another status than 404.
    if _names_no_bucket(str(error)):
        return Kind.NO_BUCKET
    if isinstance(error, FileNotFoundError):
        return Kind.MISSING
    return next((kind for type_, kind in _TYPES.items() if isinstance(error, type_)), None)


def _names_no_bucket(text: str) -> bool:
    return any(f"<Code>{code}</Code>" in text for code in _NO_BUCKETS)


def _by_answer(status: int | None, code: str | None) -> Kind | None:
    if code in _SUMS or code == "InternalError":
        return Kind.PASSING
    if code in _BUSY_CODES or status in _BUSY:
        return Kind.BUSY
    if status in _PASSING:
        return Kind.PASSING
    if code in _REFUSALS or status in {401, 403}:
        return Kind.REFUSED
    if status == 416:
        return Kind.OUT_OF_RANGE
    # 501 and code NotImplemented: a header or a call that this store does not know.
    return Kind.UNSUPPORTED if status in {405, 501} or code == "NotImplemented" else None


def _without_answer(text: str) -> Fault:
    if odd := _ODD_NAME.search(text):
        return Fault(kind=Kind.ODD_NAME, words=f"the name {printable(odd[1])!r} cannot be read")
    for sign, kind, words in _WORDS:
        if sign in text:
            return Fault(kind=kind, words=words)
    return Fault(kind=Kind.FINAL, words="the client cannot make this request")


_LOOKED_AT = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile of "
    "~/.aws/credentials, or run where the machine or container has a role",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account, run `gcloud auth "
    "application-default login`, or run where the machine has a service account",
    "az": "set AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, set "
    "AZURE_USE_AZURE_CLI=true after `az login`, or run where the machine has an identity",
}

_REGION = "set AWS_REGION to the region of the bucket"
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_OF_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
)


_FIXES = {
    Kind.MISSING: "see what `verify` says of this archive",
    Kind.UNTRUSTED: "check the endpoint; the certificate of an authority of your own is given with "
    "--ca-bundle FILE",
    Kind.ODD_NAME: "remove that object, or keep recordings below a prefix of their own",
    Kind.CHANGED: f"see who else writes there, {AND_AGAIN}",
    Kind.BUSY: f"lower --concurrency, {AND_AGAIN}",
    Kind.PASSING: f"see whether the store can be reached, {AND_AGAIN}",
}
_UNSAID = (
    "check the address, the endpoint, the region and the credentials: doctor, with the same --out, "
    "tries them one by one"
)
_CLASSES = {
    Kind.KEYLESS: NoCredentialsError,
    Kind.REFUSED: BucketAuthError,
    Kind.MISSING: ObjectMissingError,
    Kind.UNTRUSTED: UntrustedStoreError,
}


def storage_error(fault: Fault, what: str, url: ObjectUrl) -> StorageError:
    """Say to a person that `what`, such as "storing an object", failed."""
    if fault.kind is Kind.NO_BUCKET:
        return StorageError(
            f"there is no {'container' if url.scheme == 'az' else 'bucket'} {url.bucket} ({fault})",
            fix="create it, or mend its name, the endpoint or the account",
        )
    error = _CLASSES.get(fault.kind, StorageError)
    place = f"{url.scheme}://{url.bucket}"
    words = f"{what} in {place} failed: {fault}"
    if fault.kind is Kind.REFUSED:
        words += f"; the credentials come from {origin_of(url, os.environ)}"
    return error(words, fix=_fix(fault, url))


def _fix(fault: Fault, url: ObjectUrl) -> str:
    if fault.kind is Kind.KEYLESS:
        return _LOOKED_AT[url.scheme]
    if fault.kind is Kind.REFUSED:
        return _fix_of_refusal(fault)
    if fault.code in _OF_REGION or "region" in fault.words:
        return _REGION
    if fault.code is None and fault.kind is Kind.FINAL:
        return _UNSAID
    return _FIXES.get(fault.kind, "see what the store's own log says of this request")


def _fix_of_refusal(fault: Fault) -> str:
    if fault.code in _CLOCK:
        return "set this machine's clock"
    if fault.code in {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthenticationFailed"}:
        return f"the credentials are not this store's: mend them {AND_AGAIN}"
    if fault.code in _REFUSALS:
        return f"the credentials have run out: renew them {AND_AGAIN}"
    if fault.code is None:
        # An answer to a look has no body that could say more.
        return (
            "see that they are right, are this bucket's, and may list it and get, put and delete "
            f"objects below the prefix; doctor, with the same --out, says more; {AND_AGAIN}"
        )
    return (
        "let these credentials list the bucket and get, put and delete objects below the prefix, "
        f"{AND_AGAIN}"
    )
