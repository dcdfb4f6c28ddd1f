"""What a store may answer, and what becomes of it: no real store needed."""

import hashlib
import re
import ssl
import time
import traceback
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
import trustme

from bulkaudio.errors import BucketAuthError, StorageError, UsageError
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from bulkaudio.stores.objects.patience import Patience
from bulkaudio.stores.objects.things import Body, Put
from tests.objects.between import Answer, Asked, Between, Treatment, between, refused, slow_down
from tests.objects.conftest import CANARY, Open, hasty

BODY = Body.of(b"RIFF" + bytes(1000))
ETAG = f'"{hashlib.md5(BODY.source, usedforsecurity=False).hexdigest()}"'  # type: ignore[arg-type]
STORED = Answer(status=200, headers={"ETag": ETAG})


def key_of(url: ObjectUrl) -> str:
    """Name an object."""
    return url.key(PurePosixPath("combined/CA1.wav"))


def after(times: int, first: Treatment, then: Treatment) -> Callable[[Asked], Treatment]:
    """Treat the first requests one way and the others another."""
    return lambda asked: first if asked.number <= times else then


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(
    open_s3: Open, scripted: Between, url: ObjectUrl, status: int
) -> None:
    """Busy and broken stores; each time as often as needed and no more."""
    scripted.rule = after(3, Answer(status=status), STORED)
    assert open_s3(scripted.endpoint).put(key_of(url), BODY, facts={}) is Put.CREATED
    assert len(scripted.asked) == 4


def test_slow_down_is_respected(open_s3: Open, scripted: Between, url: ObjectUrl) -> None:
    """And is an error in the end, which says what to do."""
    scripted.rule = lambda _: slow_down()
    with pytest.raises(StorageError, match="503 SlowDown") as caught:
        open_s3(scripted.endpoint, attempts=4).put(key_of(url), BODY, facts={})
    assert "lower --concurrency" in str(caught.value)
    assert len(scripted.asked) == 4


def test_an_answer_of_success_that_holds_an_error_is_none(
    open_s3: Open, scripted: Between, url: ObjectUrl
) -> None:
    """S3 may say 200 to a copy and take it back in the text."""
    told = b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>"
    head = Answer(status=200, headers={"ETag": ETAG, "Last-Modified": MODIFIED})
    scripted.rule = lambda asked: (
        head if asked.method == "HEAD" and "CA1" in asked.target else
        Answer(status=404) if asked.method == "HEAD" else Answer(status=200, body=told)
    )  # fmt: skip
    with pytest.raises(StorageError, match="copying an object"):
        open_s3(scripted.endpoint, attempts=2).move(key_of(url), url.key(PurePosixPath("x")))
    assert scripted.count("DELETE") == 0


MODIFIED = "Sun, 22 Nov 2026 06:00:00 GMT"


@pytest.mark.parametrize(
    "case",
    [
        (refused(), "403 AccessDenied", "let these credentials"),
        (refused("InvalidAccessKeyId"), "403 InvalidAccessKeyId", "not this store's"),
        (refused("SignatureDoesNotMatch"), "403 SignatureDoesNotMatch", "not this store's"),
        (refused("ExpiredToken", 400), "400 ExpiredToken", "have run out"),
        (refused("RequestTimeTooSkewed"), "403 RequestTimeTooSkewed", "clock"),
        (Answer(status=401), "401", "see that they are right"),
    ],
)
def test_a_refusal_ends_at_once(
    open_s3: Open, scripted: Between, url: ObjectUrl, case: tuple[Answer, str, str]
) -> None:
    """It is not asked again, and what to mend is said."""
    answer, told, fix = case
    scripted.rule = lambda _: answer
    with pytest.raises(BucketAuthError, match=told) as caught:
        open_s3(scripted.endpoint).put(key_of(url), BODY, facts={})
    assert fix in (caught.value.fix or "")
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    "case",
    [
        (refused("NoSuchBucket", 404), "there is no bucket bulkaudio (404 NoSuchBucket)", "create"),
        (Answer(status=404, body=b"<html>"), "there is no bucket bulkaudio (404)", "endpoint"),
        (refused("AuthorizationHeaderMalformed", 400), "400 Authorization", "AWS_REGION"),
        (Answer(status=301), "it is in another region", "AWS_REGION"),
        (refused("EntityTooLarge", 400), "400 EntityTooLarge", "log"),
    ],
)
def test_a_wrong_place_is_said(
    open_s3: Open, scripted: Between, url: ObjectUrl, case: tuple[Answer, str, str]
) -> None:
    """With the way out."""
    answer, told, fix = case
    scripted.rule = lambda _: answer
    with pytest.raises(StorageError, match=re.escape(told)) as caught:
        open_s3(scripted.endpoint).put(key_of(url), BODY, facts={})
    assert fix in (caught.value.fix or "")
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    "case",
    [
        (404, "there is no bucket bulkaudio (404 NoSuchBucket)", "create it, or mend"),
        (400, "there is no bucket bulkaudio (400 NoSuchBucket)", "create it, or mend"),
    ],
)
def test_a_bucket_that_is_not_there(
    open_s3: Open, scripted: Between, url: ObjectUrl, case: tuple[int, str, str]
) -> None:
    """Whatever the status that a store tells it with, by every request whose answer has a body."""
    status, told, fix = case
    scripted.rule = lambda _: refused("NoSuchBucket", status)
    bucket = open_s3(scripted.endpoint)
    for ask in (lambda: list(bucket.names("calls")), lambda: bucket.delete([key_of(url)])):
        with pytest.raises(StorageError, match=re.escape(told)) as caught:
            ask()
        assert fix in (caught.value.fix or "")


@pytest.mark.parametrize("case", [(403, BucketAuthError), (400, StorageError)])
def test_a_look_that_is_refused(
    open_s3: Open, scripted: Between, url: ObjectUrl, case: tuple[int, type[StorageError]]
) -> None:
    """Its answer has no body: what to try is said, and where the credentials come from."""
    status, error = case
    scripted.rule = lambda _: Answer(status=status)
    with pytest.raises(error, match=str(status)) as caught:
        open_s3(scripted.endpoint).head(key_of(url))
    assert "doctor, with the same --out" in (caught.value.fix or "")
    if error is BucketAuthError:
        assert "the credentials come from AWS_ACCESS_KEY_ID" in caught.value.message


def test_nobody_there(open_s3: Open) -> None:
    """A refused connection and a name that leads nowhere: tried again, then said."""
    for endpoint, told in (
        ("http://127.0.0.1:9", "the connection was refused"),
        ("https://nobody.invalid", "its name cannot be resolved"),
    ):
        with pytest.raises(StorageError, match=told) as caught:
            open_s3(endpoint, attempts=2).probe()
        assert "reached" in (caught.value.fix or "")


def test_a_hanging_store_is_left(open_s3: Open, scripted: Between, url: ObjectUrl) -> None:
    """Each request has its time; a create is repeated all the same."""

    def rule(asked: Asked) -> Treatment:
        if asked.number == 1:
            time.sleep(1.5)
        return STORED

    scripted.rule = rule
    bucket = open_s3(scripted.endpoint, timeout_s=0.5)
    assert bucket.put(key_of(url), BODY, facts={}) is Put.CREATED
    assert len(scripted.asked) == 2


def test_a_halted_bucket_waits_no_more(
    scripted: Between, url: ObjectUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second signal ends a run at once."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    scripted.rule = lambda _: slow_down()
    patience = Patience(base_s=1000, busy_base_s=1000, cap_s=1000, total_s=10_000)
    bucket = Bucket.open(url, BucketOptions(endpoint=scripted.endpoint), patience=patience)
    bucket.halt()
    with pytest.raises(StorageError, match="SlowDown"):
        bucket.put(key_of(url), BODY, facts={})
    assert len(scripted.asked) == 1


def test_tls_is_never_left_off(open_s3: Open, url: ObjectUrl, tmp_path: Path) -> None:
    """An authority of one's own is given by file; without it nothing is sent."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    pem = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(pem)
    with between(None, tls=server) as running:
        running.rule = lambda _: STORED
        with pytest.raises(StorageError, match="certificate is not trusted") as caught:
            open_s3(running.endpoint).put(key_of(url), BODY, facts={})
        assert "--ca-bundle" in (caught.value.fix or "")
        assert running.asked == []
        bucket = open_s3(running.endpoint, ca_bundle=pem)
        assert bucket.put(key_of(url), BODY, facts={}) is Put.CREATED


def test_certificates_that_cannot_be_read_are_said(open_s3: Open, tmp_path: Path) -> None:
    """Missing, or no certificates."""
    path = tmp_path / "ca.pem"
    with pytest.raises(StorageError, match="No such file"):
        open_s3("https://127.0.0.1:9", ca_bundle=path)
    path.write_text("not a certificate")
    with pytest.raises(StorageError, match="it holds none"):
        open_s3("https://127.0.0.1:9", ca_bundle=path)


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("http://store.example", "unencrypted"),
        ("store.example", "not a web address"),
        ("ftp://store.example", "not a web address"),
        ("https://key:hunter2@store.example", "not a web address"),
        ("https://store.example:notaport", "not a web address"),
    ],
)
def test_endpoints_are_checked(open_s3: Open, endpoint: str, told: str) -> None:
    """Before anything is sent, without repeating them."""
    with pytest.raises(UsageError, match=told) as caught:
        open_s3(endpoint)
    assert "hunter2" not in str(caught.value)


def test_plain_http_can_be_allowed(open_s3: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable that the client library has for it."""
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    open_s3("http://store.example")


def test_proxy_variables_are_ignored(
    open_s3: Open, scripted: Between, url: ObjectUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent where nobody asked for it."""
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, scripted.endpoint)
    with between(None) as store:
        store.rule = lambda _: STORED
        assert open_s3(store.endpoint).put(key_of(url), BODY, facts={}) is Put.CREATED
        assert len(store.asked) == 1
    assert scripted.asked == []


def test_a_proxy_that_was_asked_for_is_used(
    open_s3: Open, scripted: Between, url: ObjectUrl
) -> None:
    """The request goes to it, for the store."""
    scripted.rule = lambda _: STORED
    bucket = open_s3("http://127.0.0.1:9", proxy=scripted.endpoint)
    assert bucket.put(key_of(url), BODY, facts={}) is Put.CREATED
    assert scripted.asked[0].headers["host"] == "127.0.0.1:9"


def test_no_secret_is_in_any_error(
    url: ObjectUrl, scripted: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in its text, not in what a traceback prints with the locals' reprs, not in the bucket's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKCANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
    echo = f"<Error><Code>Odd</Code><StringToSign>{CANARY}</StringToSign></Error>".encode()
    options = BucketOptions(endpoint=scripted.endpoint, proxy=None)
    bucket = Bucket.open(url, options, patience=hasty(1))
    key = key_of(url)
    calls: list[Callable[[], object]] = [
        bucket.probe,
        lambda: bucket.put(key, BODY, facts={}),
        lambda: bucket.replace(key, b"", facts={}),
        lambda: bucket.head(key),
        lambda: list(bucket.read(key)),
        lambda: bucket.read_range(key, 0, 1),
        lambda: list(bucket.names(url.prefix)),
        lambda: bucket.delete([key]),
        lambda: bucket.move(key, f"{key}2"),
    ]
    for status in (403, 400, 500):
        scripted.rule = lambda _, status=status: Answer(status=status, body=echo)  # type: ignore[misc]
        for call in calls:
            shown = all_that_can_be_shown(call)
            assert CANARY not in shown
            assert "AKCANARY" not in shown
    assert CANARY not in repr(bucket) + repr(options)


def all_that_can_be_shown(call: Callable[[], object]) -> str:
    """Return the error of a call, with every frame and its locals."""
    with pytest.raises(StorageError) as caught:
        call()
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    return "".join(report.format()) + str(caught.value) + repr(caught.value)
