"""`completion`: its scripts, run by real shells."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from bulkaudio.cli.app import COMMANDS, main
from bulkaudio.cli.completion import Shell, script

WORDS = {name.partition(" ")[0] for name, *_ in COMMANDS}

BASH = """\
set -u
source ./script
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
$(complete -p bulkaudio | sed 's/.*-F \\([^ ]*\\).*/\\1/') 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""

FISH = 'source ./script; complete -C "$argv[1]"'

ZSH = """\
zmodload zsh/zpty
zpty z zsh -f -i
line() { zpty -w z "$1" }
line "PS1='' PS2='' RPS1=''; fpath=($PWD/functions \\$fpath); autoload -Uz compinit"
line "compinit -u -d $PWD/dump; zstyle ':completion:*' insert-tab false; bindkey '^I' list-choices"
line "compadd() { builtin compadd -O found \\"\\$@\\"; print -rl -- \\$found >> $PWD/found; \
builtin compadd \\"\\$@\\" }; print loa''ded"
zpty -r z out '*loaded*'
zpty -n -w z "$1"$'\\t'
for ((i = 0; i < 100; i++)) { sleep 0.05; zpty -r -t z out; [[ -s found ]] && break }
sleep 0.3
zpty -d z
cat found
"""
"""Presses the key in a terminal, and writes down whatever is offered as a completion."""


def offered(shell: Shell, folder: Path, *words: str) -> set[str]:
    """Return what a shell offers for the last of these words."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed: apt install {shell}")
    functions = folder / "functions"
    functions.mkdir()
    path = functions / "_bulkaudio" if shell == "zsh" else folder / "script"
    path.write_text(script(shell) + "\n")
    line = " ".join(("bulkaudio", *words))
    arguments = {
        "bash": ["--norc", "-c", BASH, "bash", "bulkaudio", *words],
        "zsh": ["-f", "-c", ZSH, "zsh", line],
        "fish": ["--no-config", "-c", FISH, line],
    }[shell]
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TERM": "dumb", "LANG": "C.UTF-8"},
    )
    assert done.stderr == ""
    lines = (line.partition("\t")[0].strip() for line in done.stdout.splitlines())
    return {line.removesuffix("/") for line in lines if line}


SHELLS: tuple[Shell, ...] = ("bash", "zsh", "fish")

CASES: list[tuple[list[str], set[str], set[str]]] = [
    ([""], WORDS, {"show"}),
    (["config", "show", "--reg"], {"--region"}, {"--repair"}),
    (["download", "--csv", ""], {"calls.csv"}, {"download"}),
    (["ver"], {"verify"}, {"download"}),
    (["download", "--reg"], {"--region"}, {"--repair"}),
    (["verify", "--rep"], {"--repair"}, {"--region"}),
    (["download", "--region", ""], {"us", "uk", "eu", "studio"}, {"calls.csv"}),
    (["completion", ""], {"bash", "zsh", "fish"}, {"calls.csv"}),
    (["download", "--out", "arch"], {"archive"}, {"calls.csv"}),
    (["download", "--config", "b"], {"bulkaudio.toml"}, {"calls.csv"}),
]
"""What was typed, what is offered then, and what is not."""


def trials() -> Iterator[ParameterSet]:
    """Yield each case for each shell; zsh needs a terminal, a second each time, and waits for it."""
    for shell in SHELLS:
        for number, case in enumerate(CASES):
            marks = [pytest.mark.slow] if shell == "zsh" and number > 2 else []
            yield pytest.param(shell, *case, marks=marks, id=f"{shell}: {' '.join(case[0])}")


@pytest.mark.parametrize(("shell", "words", "expected", "unwanted"), list(trials()))
def test_shell_completes(
    *, shell: Shell, words: list[str], expected: set[str], unwanted: set[str], tmp_path: Path
) -> None:
    """Commands, options of each command, choices of an option, and files."""
    for name in ("calls.csv", "bulkaudio.toml"):
        (tmp_path / name).touch()
    (tmp_path / "archive").mkdir()
    found = offered(shell, tmp_path, *words)
    assert expected <= found
    assert not unwanted & found


def test_bash_completes_names_with_a_space(tmp_path: Path) -> None:
    """One file is one completion."""
    (tmp_path / "my calls.csv").touch()
    assert "my calls.csv" in offered("bash", tmp_path, "download", "--csv", "my")


@pytest.mark.parametrize("shell", SHELLS)
def test_script_alone_is_on_stdout(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It can be written to a file as it is."""
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "bulkaudio" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("words", [[], ["csh"]])
def test_other_shells_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    assert main(["completion", *words]) == 2
    err = capsys.readouterr().err
    assert "SHELL" in err
    assert "bash, zsh, fish" in err
