"""Where API keys are looked for, and that they never show."""

import io
import json
import os
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from bulkaudio.errors import KeyRefusedError, UsageError
from bulkaudio.keys import KeyFinder
from bulkaudio.settings import ApiKey

CANARY = "sk-canary-0123456789"


def key_file(folder: Path, text: str = CANARY, *, mode: int = 0o600) -> Path:
    """Write a key file."""
    path = folder / "key.txt"
    path.write_text(text)
    path.chmod(mode)
    return path


def found(environ: Mapping[str, str], region: str = "us") -> ApiKey:
    """Look up with nothing but an environment."""
    return KeyFinder(environ=environ).find(region).api_key


def kit_file(home: Path, entries: object, *, mode: int = 0o600) -> dict[str, str]:
    """Write the command-line kit's file; return the environment that leads to it."""
    path = home / ".poly" / "credentials.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    path.chmod(mode)
    return {"HOME": str(home)}


def test_first_hit_wins_in_the_documented_order(tmp_path: Path) -> None:
    """Taking away the winner makes the next documented place win, down to the kit's file."""
    for name in ("flag", "variable", "polyai-api-key"):
        (tmp_path / name).write_text(f"from-{name}")
        (tmp_path / name).chmod(0o600)
    environ = {
        "BULKAUDIO_API_KEY_FILE": str(tmp_path / "variable"),
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "POLYAI_API_KEY": "from-POLYAI_API_KEY",
        "POLY_API_KEY": "from-POLY_API_KEY",
        "POLY_ADK_KEY_UK": "from-POLY_ADK_KEY_UK",
        "POLY_ADK_KEY": "from-POLY_ADK_KEY",
        **kit_file(tmp_path, {"uk": "from-kit"}),
    }
    flag = KeyFinder(api_key_file=str(tmp_path / "flag"), environ=environ).find("uk")
    winners = [flag.api_key.value.reveal()]
    for gone in list(environ):
        winners.append(found(environ, "uk").value.reveal())
        del environ[gone]
    assert winners == [
        "from-flag",
        "from-variable",
        "from-polyai-api-key",
        "from-POLYAI_API_KEY",
        "from-POLY_API_KEY",
        "from-POLY_ADK_KEY_UK",
        "from-POLY_ADK_KEY",
        "from-kit",
    ]


@pytest.mark.parametrize(
    ("region", "variable"),
    [("us", "US"), ("uk", "UK"), ("eu", "EUW"), ("eu", "EU"), ("studio", "STUDIO")],
)
def test_kit_variables_are_those_of_the_region(region: str, variable: str) -> None:
    """A region's own variable of the command-line kit is used, another region's is not."""
    environ = {f"POLY_ADK_KEY_{variable}": CANARY}
    assert found(environ, region).source == f"POLY_ADK_KEY_{variable}"
    other = "us" if region != "us" else "uk"
    with pytest.raises(KeyRefusedError):
        found(environ, other)


@pytest.mark.parametrize("name", ["euw", "eu", "euw-1"])
def test_kit_file_may_name_a_region_in_any_way(tmp_path: Path, name: str) -> None:
    """The kit's file names the European region in several ways; each is understood."""
    key = found(kit_file(tmp_path, {"us": "other", name: CANARY}), "eu")
    assert key.value.reveal() == CANARY
    assert key.source == "~/.poly/credentials.json (eu)"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_kit_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The kit's file is refused, with the fix, when group or others can read it."""
    environ = kit_file(tmp_path, {"us": CANARY}, mode=mode)
    with pytest.raises(KeyRefusedError) as caught:
        found(environ)
    assert caught.value.exit_code == 4
    assert (caught.value.fix or "").startswith("chmod 600 ")


@pytest.mark.parametrize("content", ["not json " + CANARY, "[]", '{"us": ""}', '{"us": ["x y"]}'])
def test_broken_kit_file_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    """A kit file that is no object of keys is an error that repeats nothing of it."""
    environ = kit_file(tmp_path, content)
    with pytest.raises(KeyRefusedError) as caught:
        found(environ)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("", "empty"),
        ("  \r\n", "empty"),
        (f"{CANARY}\nsecond", "more than one line"),
        (f"{CANARY}\rsecond", "more than one line"),
        (f"{CANARY} x", "space"),
        (f"{CANARY}\tx", "space"),
        (f"{CANARY}é", "ASCII"),
        (f"{CANARY}\ufeff", "ASCII"),
        (f"{CANARY}\x00", "ASCII"),
        (CANARY * 1000, "longer"),
    ],
)
def test_key_that_no_header_can_carry_is_refused(tmp_path: Path, text: str, flaw: str) -> None:
    """A key that is empty or has line ends, spaces or other characters is refused, unshown."""
    path = tmp_path / "key.txt"
    path.write_bytes(text.encode())
    with pytest.raises(KeyRefusedError, match=flaw) as caught:
        KeyFinder(api_key_file=str(path), environ={}).find("us")
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_empty_variable_is_an_error_and_not_a_miss() -> None:
    """An empty POLYAI_API_KEY does not let the key of another place win."""
    with pytest.raises(KeyRefusedError, match="POLYAI_API_KEY is empty"):
        found({"POLYAI_API_KEY": "", "POLY_API_KEY": CANARY})


def test_missing_key_tells_every_place(tmp_path: Path) -> None:
    """Without any key the error lists where it was looked for, also without HOME."""
    with pytest.raises(KeyRefusedError) as caught:
        found({}, "eu")
    text = str(caught.value)
    for place in ("--api-key-file", "BULKAUDIO_API_KEY_FILE", "polyai-api-key", "POLYAI_API_KEY"):
        assert place in text
    assert "POLY_ADK_KEY_EUW" in text
    assert "HOME is not set" in text
    with pytest.raises(KeyRefusedError):
        found({"HOME": str(tmp_path)})


def test_key_from_standard_input_is_read_once() -> None:
    """`-` reads standard input, has a source that says so, and cannot be read again."""
    finder = KeyFinder(api_key_file="-", environ={}, stdin=io.BytesIO(CANARY.encode() + b"\n"))
    key = finder.find("us").api_key
    assert key.value.reveal() == CANARY
    assert "standard input" in key.source
    assert key.reread is None


def test_both_keys_from_standard_input_is_a_usage_error() -> None:
    """Standard input cannot give two keys."""
    finder = KeyFinder(api_key_file="-", conversations_key_file="-", environ={})
    with pytest.raises(UsageError):
        finder.find("us")


def test_rotated_file_is_read_again(tmp_path: Path) -> None:
    """A key from a file can be read again after its rotation."""
    path = key_file(tmp_path)
    key = KeyFinder(api_key_file=str(path), environ={}).find("us").api_key
    path.write_text("rotated\n")
    assert key.reread is not None
    assert key.reread().reveal() == "rotated"
    path.unlink()
    with pytest.raises(KeyRefusedError, match="cannot be read"):
        key.reread()


def test_key_from_a_pipe_is_not_read_twice(tmp_path: Path) -> None:
    """A process substitution gives its key once: reading it again would hang."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(CANARY,))
    writer.start()
    key = KeyFinder(api_key_file=str(pipe), environ={}).find("us").api_key
    writer.join()
    assert (key.value.reveal(), key.reread) == (CANARY, None)


def test_own_key_file_that_others_can_read_is_noted(tmp_path: Path) -> None:
    """A readable key file works, as mounted secrets must, and its owner is told the fix."""
    open_to_all = KeyFinder(api_key_file=str(key_file(tmp_path, mode=0o644)), environ={})
    assert "chmod 600" in open_to_all.find("us").notes[0]
    private = KeyFinder(api_key_file=str(key_file(tmp_path, mode=0o600)), environ={})
    assert private.find("us").notes == ()


def test_unreadable_key_file_is_refused(tmp_path: Path) -> None:
    """A missing file and a folder are refused with their name, not passed over."""
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(KeyRefusedError, match="cannot be read") as caught:
            KeyFinder(
                api_key_file=str(path), environ={"POLYAI_API_KEY": CANARY, "HOME": "/nowhere"}
            ).find("us")
        assert str(path) in str(caught.value)


def test_listing_key_has_its_own_places(tmp_path: Path) -> None:
    """The listing's key comes from its file, else its variable, else is the same key."""
    path = key_file(tmp_path, "listing-key")
    environ = {"POLYAI_API_KEY": CANARY, "POLYAI_CONVERSATIONS_API_KEY": "variable"}
    both = KeyFinder(conversations_key_file=str(path), environ=environ).find("us")
    assert both.conversations_key is not None
    assert both.conversations_key.value.reveal() == "listing-key"
    named = KeyFinder(environ=environ).find("us").conversations_key
    assert named is not None
    assert named.source == "POLYAI_CONVERSATIONS_API_KEY"
    assert KeyFinder(environ={"POLYAI_API_KEY": CANARY}).find("us").conversations_key is None


def test_nothing_found_shows_a_key(tmp_path: Path) -> None:
    """Neither the finder nor what it found repeats a key's value."""
    environ = {"POLYAI_API_KEY": CANARY}
    finder = KeyFinder(environ=environ)
    assert CANARY not in repr(finder) + repr(finder.find("us"))
    in_file = KeyFinder(api_key_file=str(key_file(tmp_path)), environ={})
    assert CANARY not in repr(in_file.find("us"))


def test_a_file_from_windows_is_read(tmp_path: Path) -> None:
    """Its byte order mark is no part of the key."""
    path = tmp_path / "key"
    path.write_bytes(b"\xef\xbb\xbfcanary\r\n")
    path.chmod(0o600)
    assert (
        KeyFinder(api_key_file=str(path), environ={}).find("us").api_key.value.reveal() == "canary"
    )


def test_a_key_given_as_a_file_is_not_repeated() -> None:
    """The likeliest mistake must not put the key into a log."""
    key = "sk-0123456789abcdef0123456789abcdef"
    with pytest.raises(KeyRefusedError) as caught:
        KeyFinder(api_key_file=key, environ={}).find("us")

    assert key not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
