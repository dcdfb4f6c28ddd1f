"""Google's variables, and its answers, as far as no real store is needed."""

import pytest

from bulkaudio.errors import BucketAuthError
from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.bucket import Bucket
from bulkaudio.stores.objects.connect import BucketOptions
from bulkaudio.stores.objects.things import Body, Put
from tests.objects.between import Answer, Between
from tests.objects.conftest import hasty

URL = ObjectUrl("gs", "bulkaudio", "calls")
BODY = Body.of(b"x")
STORED = Answer(status=200, headers={"ETag": '"9dd4e461268c8034f5c8564e155c67a6"'})


def test_googles_emulator_variable(scripted: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written without a scheme; no real token is sent to it; absence is asked for."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", scripted.endpoint.removeprefix("http://"))
    scripted.rule = lambda _: STORED
    bucket = Bucket.open(URL, BucketOptions(), patience=hasty())
    assert bucket.put("calls/a.wav", BODY, facts={"sha256": BODY.sha256}) is Put.CREATED
    headers = scripted.asked[0].headers
    assert headers["x-goog-if-generation-match"] == "0"
    assert headers["x-goog-meta-sha256"] == BODY.sha256
    assert headers["authorization"] == "Bearer emulator"


def test_a_static_token_is_sent(scripted: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    """And refused in our words."""
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "tok")
    scripted.rule = lambda _: Answer(status=401)
    bucket = Bucket.open(URL, BucketOptions(endpoint=scripted.endpoint), patience=hasty())
    with pytest.raises(BucketAuthError, match="401"):
        bucket.probe()
    assert scripted.asked[0].headers["authorization"] == "Bearer tok"
