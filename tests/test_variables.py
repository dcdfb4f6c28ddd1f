"""Variables that nobody knows: a misspelt one loses calls, so it is said; its value never is."""

from pathlib import Path

import pytest

from bulkaudio.cli.unknown_variables import sentences
from tests.inside import Inside
from tests.plans import whole
from tests.program import write_csv
from tests.wire import WireServer, in_thread

CANARY = "sk-canary-0123456789"
KNOWN = ("direction", "since", "api-key-file", "conversations-key-file", "max-rate")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("BULKAUDIO_DIRECTOIN", "did you mean BULKAUDIO_DIRECTION?"),
        ("BULKAUDIO_MAX-RATE", "did you mean BULKAUDIO_MAX_RATE?"),
        ("BULKAUDIO_since", "did you mean BULKAUDIO_SINCE?"),
        ("BULKAUDIO_AUDIO_URI", "did you mean BULKAUDIO_AUDIO_URL?"),
        ("BULKAUDIO_QQQ", "BULKAUDIO_QQQ is not an option of any command; it is ignored"),
        ("BULKAUDIO_", "BULKAUDIO_ is not an option of any command; it is ignored"),
        ("BULKAUDIO_API_KEY", "POLYAI_API_KEY, or BULKAUDIO_API_KEY_FILE for a file"),
        ("BULKAUDIO_POLYAI_API_KEY", "POLYAI_API_KEY, or BULKAUDIO_API_KEY_FILE for a file"),
        (
            "BULKAUDIO_CONVERSATIONS_KEY",
            "POLYAI_CONVERSATIONS_API_KEY, or BULKAUDIO_CONVERSATIONS_KEY_FILE for a file",
        ),
        ("BULKAUDIO_\x1b[31m", "BULKAUDIO_\\x1b[31m is not an option"),
    ],
)
def test_a_name_that_nobody_knows_is_told(name: str, told: str) -> None:
    """With the nearest one, and for a key with the places that it is read from."""
    (said,) = sentences({name: CANARY, "POLYAI_API_KEY": CANARY}, KNOWN)
    assert told in said
    assert CANARY not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BULKAUDIO_DIRECTION", "all"),
        ("BULKAUDIO_MAX_RATE", "5"),
        ("BULKAUDIO_AUDIO_URL", "http://127.0.0.1:1"),
        ("BULKAUDIO_CONVERSATIONS_URL", "http://127.0.0.1:1"),
        # An empty variable is none.
        ("BULKAUDIO_DIRECTOIN", ""),
        ("OTHER_DIRECTOIN", "all"),
        # What Kubernetes sets in every pod beside a service of that name.
        ("BULKAUDIO_SERVICE_HOST", "10.0.0.1"),
        ("BULKAUDIO_SERVICE_PORT_HTTP", "80"),
        ("BULKAUDIO_PORT", "tcp://10.0.0.1:80"),
        ("BULKAUDIO_METRICS_PORT_80_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_other_names_are_nobodys_mistake(name: str, value: str) -> None:
    """Nothing is said of them."""
    assert sentences({name: value}, KNOWN) == []


def test_it_is_said_once_and_the_run_goes_on(inside: Inside) -> None:
    """Also with ``-q``, which keeps success quiet and not a mistake."""
    inside.env("BULKAUDIO_DIRECTOIN", CANARY)
    csv = write_csv(inside.folder / "calls.csv", ["CA0"])
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = inside.download("--csv", csv, "-q")
    assert (done.code, done.summary["counts"]["saved"]) == (0, 1)
    assert done.stderr == (
        "bulkaudio: BULKAUDIO_DIRECTOIN is not an option of any command; did you mean "
        "BULKAUDIO_DIRECTION?\n"
    )


@pytest.mark.parametrize(
    "words", [("status",), ("gaps",), ("config", "show", "--out"), ("plan", "--out")]
)
def test_every_command_that_reads_variables_says_it(inside: Inside, words: tuple[str, ...]) -> None:
    """Once, whether it has the option or not; what is another command's option is no mistake."""
    inside.env("BULKAUDIO_DIRECTOIN", CANARY)
    inside.env("BULKAUDIO_REPAIR", "true")
    done = inside.run(*words, inside.archive)
    assert done.stderr.count("BULKAUDIO_DIRECTOIN is not an option of any command") == 1
    assert "BULKAUDIO_REPAIR" not in done.stderr
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [("--help",), ("download", "--help"), ("--version",)])
def test_who_asks_for_help_is_told_nothing_else(inside: Inside, words: tuple[str, ...]) -> None:
    """The page comes at once, without a look at every command's options."""
    inside.env("BULKAUDIO_DIRECTOIN", CANARY)
    assert inside.run(*words).stderr == ""


def test_a_look_that_goes_by_no_variable_is_not_disturbed(inside: Inside, tmp_path: Path) -> None:
    """What is erased or held is never decided by one."""
    inside.env("BULKAUDIO_DIRECTOIN", CANARY)
    assert "DIRECTOIN" not in inside.run("hold", tmp_path, "list").stderr
