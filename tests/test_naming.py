"""Names: injective on every file system, reversible, and never outside the archive."""

import time
import unicodedata
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkaudio.errors import UsageError
from bulkaudio.model import Direction, Recording
from bulkaudio.naming import (
    LONGEST_STEM,
    Layout,
    are_conversation_ids,
    conversation_id_of,
    file_stem,
    is_conversation_id,
    printable,
)

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)
SHORT_IDS = st.from_regex(r"[cCaA][aAfFxX][0-1a-bA-B._-]{0,3}", fullmatch=True)
TEMPLATES = st.lists(
    st.sampled_from(["{id}", "{direction}", "{year}", "{date}", "{hour}", "/", "a", "-", ".", "~"]),
    min_size=2,
    max_size=8,
).map(lambda parts: "".join(parts) + ".wav")
STARTS = st.datetimes(timezones=st.just(UTC))


def as_a_folding_disk_sees(name: str) -> str:
    """Reduce a name as a case-insensitive, normalising file system does."""
    return unicodedata.normalize("NFC", name.casefold())


@pytest.mark.parametrize("text", ["CA1", "a", "0.x_-", "x" * 128])
def test_ids(text: str) -> None:
    """Letters, digits, dots, underscores and hyphens make an id."""
    assert is_conversation_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "-a",
        "../../etc/x",
        "/abs",
        "..\\x",
        "%2e%2e/",
        "a b",
        "a\n",
        "a\0",
        "é",
        "\u0661",
        "{conversationId}",
        "x" * 129,
        "a\u202eb",
        "a?b",
        "a#b",
        "a~1",
    ],
)
def test_what_is_no_id(text: str) -> None:
    """Whatever could alter a path or a URL is no id, and gets no name."""
    assert not is_conversation_id(text)
    with pytest.raises(ValueError, match="not a conversation id"):
        file_stem(text)


@given(st.lists(IDS | st.text(max_size=3) | st.sampled_from(["", "a\n", "a\nb", "\n"]), max_size=6))
def test_many_at_once_are_judged_as_one_by_one(texts: list[str]) -> None:
    """The fast check of many ids agrees with the check of each."""
    assert are_conversation_ids(texts) == all(map(is_conversation_id, texts))


@pytest.mark.parametrize("usual", ["CA0123456789abcdef", "3f2a-77", "conv_1.x"])
def test_usual_spellings_keep_their_name(usual: str) -> None:
    """Ids as PolyAI writes them are their own file names."""
    assert file_stem(usual) == usual


@pytest.mark.parametrize(
    ("conversation_id", "stem"),
    [
        ("CAab", "CAab"),
        ("caab", "caab~0"),
        ("CaAB", "CaAB~d"),
        ("hello", "hello"),
        ("Hello", "Hello~1"),
        ("heLLo.X-Y", "heLLo.X-Y~14c"),
        ("CAxyz", "CAxyz~3"),
        ("X" * 128, "X" * 128 + "~" + "f" * 32),
    ],
)
def test_names_of_other_spellings_never_change(conversation_id: str, stem: str) -> None:
    """Archives of years hold these names: another scheme would fetch everything again."""
    assert file_stem(conversation_id) == stem


@given(IDS)
def test_names_are_reversible_and_bounded(conversation_id: str) -> None:
    """A name tells its id, and fits into any directory entry."""
    stem = file_stem(conversation_id)
    assert conversation_id_of(stem) == conversation_id
    assert len(stem) <= LONGEST_STEM


@given(SHORT_IDS, st.data())
def test_names_are_injective_when_case_is_folded(one: str, data: st.DataObject) -> None:
    """Two ids never meet under one name, also where they differ by case only."""
    flips = data.draw(st.lists(st.booleans(), min_size=len(one), max_size=len(one)))
    twin = "".join(c.swapcase() if flip else c for c, flip in zip(one, flips, strict=True))
    for other in (twin, data.draw(SHORT_IDS)):
        same = as_a_folding_disk_sees(file_stem(one)) == as_a_folding_disk_sees(file_stem(other))
        assert same == (one == other)


@given(st.text(max_size=20) | st.from_regex(r"[cC][aA][0-9a-fA-F]~[0-9a-f]", fullmatch=True))
def test_only_real_names_are_reversed(stem: str) -> None:
    """A name that was not made here belongs to no conversation."""
    conversation_id = conversation_id_of(stem)
    assert conversation_id is None or file_stem(conversation_id) == stem


@given(st.text(), st.integers(1, 90))
def test_printable_is_short_and_inert(text: str, limit: int) -> None:
    """Nothing that reaches a terminal moves its cursor or turns its text around."""
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit


def test_printable_keeps_what_can_be_read() -> None:
    """Text stays as it is; escapes and cuts can be seen."""
    assert printable("Łódź 1") == "Łódź 1"
    assert printable("a\x1b[31m\u202e\ud800") == "a\\x1b[31m\\u202e\\ud800"
    assert printable("é\\ \n") == "é\\ \\n"
    assert printable("x" * 80) == "x" * 80
    assert printable("x" * 81) == printable("x" * 10**6) == "x" * 79 + "…"


def test_paths_follow_the_layout() -> None:
    """Dates are UTC and of fixed width."""
    start = datetime.fromisoformat("2026-03-01T01:05:00+02:00")
    recording = Recording(conversation_id="CA1", direction=Direction.USER, started_at=start)
    dated = Layout.parse("{year}/{month}/{day}/{hour}/{direction}-{id}.wav")
    assert dated.needs_date
    assert dated.path(recording) == PurePosixPath("2026/02/28/23/user-CA1.wav")
    flat = Layout.parse("{direction}/{id}.wav")
    assert not flat.needs_date
    assert flat.path(recording) == PurePosixPath("user/CA1.wav")


def test_paths_do_not_depend_on_where_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dates are UTC also where the machine's clock shows another day."""
    start = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    recording = Recording(conversation_id="CA1", direction=Direction.USER, started_at=start)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        path = Layout.parse("{date}/{hour}/{direction}/{id}.wav").path(recording)
    time.tzset()
    assert path == PurePosixPath("2026-03-01/23/user/CA1.wav")


def test_a_missing_date_is_said() -> None:
    """A layout with dates names the conversation that has none, and what would help."""
    recording = Recording(conversation_id="CA1", direction=Direction.USER)
    with pytest.raises(UsageError) as refusal:
        Layout.parse("{date}/{direction}/{id}.wav").path(recording)
    assert refusal.value.message == (
        "the layout '{date}/{direction}/{id}.wav' needs the start of every conversation, and "
        "CA1 has none"
    )
    assert refusal.value.fix == (
        "use a layout without dates, a CSV with a started_at column, or the listing "
        "(--since, --until)"
    )


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{direction}.wav", "{id}"),
        ("{id}.wav", "{direction}"),
        ("{id}/{direction}.mp3", ".wav"),
        ("{id}/{direction}.WAV", ".wav"),
        ("/{direction}/{id}.wav", "relative"),
        ("../{direction}/{id}.wav", "start with"),
        ("{direction}/../{id}.wav", "start with"),
        ("{direction}/./{id}.wav", "start with"),
        (".bulkaudio/{direction}/{id}.wav", "start with"),
        ("{direction}/{id}/.wav", "start with"),
        ("{direction}//{id}.wav", "without a name"),
        ("{direction} /{id}.wav", "blanks"),
        ("metadata/{direction}/{id}.wav", "metadata"),
        ("MetaData/{direction}/{id}.wav", "metadata"),
        ("{direction}/{id}{agent}.wav", "agent"),
        ("{direction}/{id!r}.wav", "not one of its fields"),
        ("{direction}/{{id}}.wav", "brace"),
        ("{direction}/{id}}.wav", "brace"),
        ("{direction}\\{id}.wav", "backslash"),
        ("{direction}/{id}\0.wav", "cannot be seen"),
        ("{direction}/\u202e{id}.wav", "cannot be seen"),
        ("{direction}/{id}{id}.wav", "255 bytes"),
        ("", "{id}"),
    ],
)
def test_layouts_that_are_refused(template: str, fault: str) -> None:
    """A layout that could leave the archive, or mix recordings up, is refused with the reason."""
    with pytest.raises(UsageError) as refusal:
        Layout.parse(template)
    assert fault in refusal.value.message
    assert "{direction}/{id}.wav" in (refusal.value.fix or "")


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (
            "{agent}/{call}/{id}.wav",
            "{agent} is not one of its fields, id, direction, date, year, month, day, hour",
        ),
        ("{direction}/{id}}.wav", "a brace stands alone"),
        ("{direction}.wav", "it must contain {id} and {direction}"),
        ("{direction}/{id}", "it must end with .wav"),
        ("{direction}\\{id}.wav", "it holds a backslash or a character that cannot be seen"),
        ("/{direction}/{id}.wav", "it must be relative to the archive"),
        ("metadata/{direction}/{id}.wav", "the folder metadata is taken"),
        ("{direction} /{id}.wav", "it has a folder without a name, or with blanks around it"),
        (".a/{direction}/{id}.wav", 'no folder or file may start with "."'),
        ("{direction}/{id}{id}.wav", "a name could grow beyond 255 bytes"),
    ],
)
def test_a_refused_layout_is_explained_in_full(template: str, fault: str) -> None:
    """Whoever reads it knows what is wrong, and has two layouts to copy."""
    with pytest.raises(UsageError) as refusal:
        Layout.parse(template)
    shown = template.replace("\\", "\\\\")
    assert refusal.value.message == f"the layout '{shown}' cannot be used: {fault}"
    assert refusal.value.fix == (
        'write something like --layout "{direction}/{id}.wav" or '
        '--layout "{year}/{month}/{day}/{direction}/{id}.wav"'
    )


def test_a_layout_may_use_every_byte_that_a_name_has() -> None:
    """With its longest id a name of 255 bytes is accepted, and one of 256 is not."""
    room = 255 - LONGEST_STEM - len(".wav")
    recording = Recording(conversation_id="X" * 128, direction=Direction.USER)
    path = Layout.parse("{direction}/" + "X" * room + "{id}.wav").path(recording)
    assert len(path.name) == 255
    with pytest.raises(UsageError, match="255 bytes"):
        Layout.parse("{direction}/" + "X" * (room + 1) + "{id}.wav")


@given(TEMPLATES, IDS, st.sampled_from(Direction), STARTS)
def test_no_layout_leaves_the_archive(
    template: str, conversation_id: str, direction: Direction, start: datetime
) -> None:
    """Whatever layout is accepted: paths stay below the archive, out of its own folder."""
    try:
        layout = Layout.parse(template)
    except UsageError:
        return
    path = layout.path(
        Recording(conversation_id=conversation_id, direction=direction, started_at=start)
    )
    assert not path.is_absolute()
    assert not any(part.startswith(".") or len(part.encode()) > 255 for part in path.parts)
    assert path.suffix == ".wav"
    assert len(path.parts) == template.count("/") + 1


@given(TEMPLATES, st.tuples(SHORT_IDS, SHORT_IDS), st.tuples(*[st.sampled_from(Direction)] * 2))
def test_layouts_keep_recordings_apart(
    template: str, ids: tuple[str, str], directions: tuple[Direction, Direction]
) -> None:
    """Two recordings of the same hour never share a path, on any file system."""
    try:
        layout = Layout.parse(template)
    except UsageError:
        return
    recordings = [
        Recording(conversation_id=i, direction=d, started_at=datetime(2026, 1, 1, tzinfo=UTC))
        for i, d in zip(ids, directions, strict=True)
    ]
    one, other = (as_a_folding_disk_sees(str(layout.path(r))) for r in recordings)
    assert (one == other) == (recordings[0] == recordings[1])


@given(TEMPLATES, IDS, st.sampled_from(Direction), STARTS)
def test_paths_are_reversible(
    template: str, conversation_id: str, direction: Direction, start: datetime
) -> None:
    """A path tells its recording, and of its start as much as leads to the same path again."""
    try:
        layout = Layout.parse(template)
    except UsageError:
        return
    path = layout.path(
        Recording(conversation_id=conversation_id, direction=direction, started_at=start)
    )
    found = layout.recording_of(path)
    assert found is not None
    assert (found.conversation_id, found.direction) == (conversation_id, direction)
    assert (found.started_at is not None) == layout.needs_date
    assert layout.path(found) == path


def test_a_path_without_dates_says_nothing_of_the_start() -> None:
    """None is made up."""
    found = Layout.parse("{direction}/{id}.wav").recording_of(PurePosixPath("user/CA1.wav"))
    assert found == Recording(conversation_id="CA1", direction=Direction.USER, started_at=None)


@pytest.mark.parametrize(
    ("template", "path", "start"),
    [
        ("{date}/{hour}/{direction}/{id}.wav", "2026-11-22/07/user/CA1.wav", "2026-11-22T07:00Z"),
        ("{year}/{month}/{direction}/{id}.wav", "2026/11/user/CA1.wav", "2026-11-01T00:00Z"),
        ("{direction}/{month}-{day}/{id}.wav", "user/02-29/CA1.wav", "2000-02-29T00:00Z"),
        ("{date}/{direction}/{year}/{id}.wav", "2026-11-22/user/2025/CA1.wav", None),
        ("{date}/{direction}/{id}.wav", "2026-02-30/user/CA1.wav", None),
        ("{year}/{direction}/{id}.wav", "0000/user/CA1.wav", None),
        ("{year}/{direction}/{id}.wav", "\u0662026/user/CA1.wav", None),
        ("{direction}/{direction}-{id}.wav", "user/agent-CA1.wav", None),
        ("{direction}/{id}.wav", "both/CA1.wav", None),
        ("{direction}/{id}.wav", "user/ca1.wav", None),
        ("{direction}/{id}.wav", "user/CA1.wav.part", None),
        ("{direction}/{id}.wav", "user/x/CA1.wav", None),
        ("{direction}/{id}.wav", "User/CA1.wav", None),
        ("{direction}/{id}.wav", "user/CA1xwav", None),
        ("{year}/{day}/{direction}/{id}.wav", "2026/31/user/CA1.wav", "2026-01-31T00:00Z"),
        ("{year}/{month}/{hour}/{direction}/{id}.wav", "2026/02/3/user/CA1.wav", None),
    ],
)
def test_only_own_paths_are_reversed(template: str, path: str, start: str | None) -> None:
    """What a path leaves open counts as its first; what no recording can have, is of none."""
    found = Layout.parse(template).recording_of(PurePosixPath(path))
    if start is None:
        assert found is None
    else:
        assert found is not None
        assert found.started_at == datetime.fromisoformat(start)
