"""The address of an object store: what is one, what is refused, and how keys and paths correspond."""

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.errors import UsageError
from bulkaudio.object_url import MAX_PREFIX, ObjectUrl

SEGMENTS = st.from_regex(r"[A-Za-z0-9._=@+,!()-]{1,12}", fullmatch=True).filter(
    lambda text: text not in {".", ".."}
)
URLS = st.builds(
    ObjectUrl,
    st.sampled_from(["s3", "gs", "az"]),
    st.from_regex(r"[a-z0-9]{3,20}", fullmatch=True),
    st.lists(SEGMENTS, max_size=4).map("/".join),
)


@given(URLS)
def test_what_is_written_is_read_back(url: ObjectUrl) -> None:
    """The canonical text leads to the same place, with and without a slash at its end."""
    assert ObjectUrl.parse(str(url)) == url
    assert ObjectUrl.parse(f"{url}/") == url
    assert ObjectUrl.parse(str(url).replace(url.scheme, url.scheme.upper(), 1)) == url


@given(URLS, st.lists(SEGMENTS, min_size=1, max_size=4))
def test_keys_and_paths_correspond(url: ObjectUrl, parts: list[str]) -> None:
    """A path's key leads back to the path."""
    path = PurePosixPath(*parts)
    assert url.path(url.key(path)) == path


@given(URLS, st.text(max_size=40))
def test_a_key_leads_to_a_path_below_the_prefix_or_nowhere(url: ObjectUrl, key: str) -> None:
    """Whatever lies in a bucket, it is not taken for what it is not."""
    for each in (key, f"{url.prefix}/{key}"):
        path = url.path(each)
        if path is not None:
            assert ".." not in path.parts
            assert not path.is_absolute()
            assert url.key(path) == each


@given(st.text(max_size=60), st.sampled_from(["", "s3://", "gs://", "az://", "s3://bucket/"]))
def test_any_text_is_a_folder_an_address_or_refused(text: str, start: str) -> None:
    """No text is half an address, and what is refused is not repeated."""
    try:
        url = ObjectUrl.parse(start + text)
    except UsageError as error:
        url, told = None, str(error)
    else:
        told = ""
    assert len(text) < 12 or text not in told
    assert url is None or ObjectUrl.parse(str(url)) == url


@given(URLS)
def test_a_state_folder_is_one_name(url: ObjectUrl) -> None:
    """It can be a folder's name anywhere, and is never hidden."""
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,90}-[0-9a-f]{8}", url.state_name())


@given(URLS, URLS)
def test_two_places_have_two_state_folders(one: ObjectUrl, other: ObjectUrl) -> None:
    """Also where only what cannot be in a folder's name differs."""
    assert (one == other) == (one.state_name() == other.state_name())


@pytest.mark.parametrize("text", ["archive", "./s3", "/srv/s3:x", "a/b", "", "C:\\x", "~/calls"])
def test_folders_are_folders(text: str) -> None:
    """What has no scheme is left to the disk."""
    assert ObjectUrl.parse(text) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s3:/bucket/x", "two slashes"),
        ("s3:bucket", "two slashes"),
        ("http://host/x", "http://"),
        ("file:///x", "file://"),
        ("s3://", "no bucket"),
        ("s3://b", "no bucket"),
        ("s3://bu..cket", "no bucket"),
        ("gs://Bucket", "no bucket"),
        ("az://con_tainer", "no bucket"),
        ("s3://AKIA:hunter2hunter2@bucket/x", "credentials or a port"),
        ("s3://host:9000/bucket", "credentials or a port"),
        ("s3://bucket/a//b", "beginning of keys"),
        ("s3://bucket//a", "beginning of keys"),
        ("s3://bucket/../x", "beginning of keys"),
        ("s3://bucket/a?sig=hunter2hunter2", "beginning of keys"),
        ("s3://bucket/a b", "beginning of keys"),
        ("s3://bucket/é", "beginning of keys"),
        ("s3://bucket/" + "x" * (MAX_PREFIX + 1), "beginning of keys"),
        ("s3://bucket/a\n", "beginning of keys"),
    ],
)
def test_what_cannot_be_is_refused(text: str, told: str) -> None:
    """With what is wrong, how to mend it, and without what was typed."""
    with pytest.raises(UsageError, match=re.escape(told)) as caught:
        ObjectUrl.parse(text)
    assert caught.value.fix
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("path", ["/abs", "../x", "a/../../b", "."])
def test_no_key_leaves_the_prefix(path: str) -> None:
    """A path that is not below the archive has no key."""
    with pytest.raises(ValueError, match=re.escape(path)):
        ObjectUrl("s3", "bucket", "p").key(PurePosixPath(path))
