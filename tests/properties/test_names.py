"""Names of many ids at once, on every kind of file system."""

import unicodedata
from collections.abc import Callable
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from bulkaudio.model import Direction, Recording
from bulkaudio.naming import Layout, conversation_id_of, file_stem, is_conversation_id
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.stores.staging import recording_of, temporary_name

FOLDINGS: list[Callable[[str], str]] = [
    str,
    str.casefold,
    str.lower,
    str.upper,
    lambda name: unicodedata.normalize("NFC", name.casefold()),
    lambda name: unicodedata.normalize("NFD", name.upper()),
    lambda name: unicodedata.normalize("NFKC", name).casefold(),
]
LETTERS = "cCaA0fFxX.-"
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)


def test_every_short_id_has_a_name_of_its_own() -> None:
    """All ids of up to four of the letters that matter: none meets another, each leads back."""
    ids = [
        "".join(letters)
        for length in range(1, 5)
        for letters in product(LETTERS, repeat=length)
        if letters[0] not in ".-"
    ]
    stems = [file_stem(each) for each in ids]
    assert [conversation_id_of(stem) for stem in stems] == ids
    for fold in FOLDINGS:
        assert len({fold(stem) for stem in stems}) == len(ids)


@settings(max_examples=40)
@given(st.lists(IDS, unique=True, max_size=15), st.data())
def test_no_two_of_many_recordings_share_a_path(ids: list[str], data: st.DataObject) -> None:
    """Not even twins by case, in any direction, nor with each other's temporary names."""
    twins = [
        data.draw(st.sampled_from([each.lower(), each.upper(), each.swapcase()])) for each in ids
    ]
    recordings = [
        Recording(conversation_id=each, direction=direction)
        for each in {*ids, *twins}
        for direction in Direction
    ]
    layout = Layout.parse(DEFAULT_LAYOUT)
    paths = [str(layout.path(each)) for each in recordings]
    for fold in FOLDINGS:
        assert len({fold(path) for path in paths}) == len(recordings)
    assert [recording_of(temporary_name(each, "0" * 8)) for each in recordings] == recordings


@given(st.text(max_size=140) | IDS.map(lambda text: text + "\n") | IDS)
def test_what_is_an_id_is_safe_anywhere(text: str) -> None:
    """An id is plain ASCII without anything that a shell, a URL, a path or a log could mistake."""
    if is_conversation_id(text):
        assert text.isascii()
        assert text.isprintable()
        assert 0 < len(text) <= 128
        assert not set(text) & set(" /\\%?#&=+:;,'\"`$<>|*!~^()[]{}@")
        assert text[0].isalnum()
        assert text not in {".", ".."}
