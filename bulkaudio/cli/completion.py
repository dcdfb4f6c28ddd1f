"""The command ``completion``: a script that lets a shell complete commands, options and files."""

import re
import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter

Shell = Literal["bash", "zsh", "fish"]

PROGRAM = "bulkaudio"

PLACES = {
    "bash": "~/.local/share/bash-completion/completions/bulkaudio",
    "zsh": "a file _bulkaudio in a folder of $fpath",
    "fish": "~/.config/fish/completions/bulkaudio.fish",
}

FILES = ("FILE", "DIR")
"""How the metavar of an option begins whose value is a file's name, or ``-``."""


def completion(
    shell: Annotated[Shell, Parameter(help="Which shell: bash, zsh or fish.", show_choices=False)],
    /,
) -> int:
    """Print a completion script for a shell."""
    from bulkaudio.cli.failure import say

    print(script(shell), flush=True)
    if sys.stdout.isatty():
        say(f"to use it, write it to where {shell} looks: {PLACES[shell]}")
    return 0


def script(shell: Shell) -> str:
    """Write the script; nothing is run when a user presses the key."""
    from bulkaudio.cli.app import COMMANDS, make_app

    # `config show` takes the options of `download`, and hands them on unread.
    paths = {name: path for name, path, *_ in COMMANDS}
    like_download = {"config show": paths["download"]}
    commands = tuple(
        (name, like_download.get(name, path), group, text) for name, path, group, text in COMMANDS
    )
    app = make_app(commands)
    text = app.generate_completion(prog_name=PROGRAM, shell=shell)
    files = _file_options(app)
    if shell == "bash":
        text = _bash(text, files)
    elif shell == "zsh":
        text = _zsh(text, files)
    return text.strip()


def _file_options(app: App) -> list[str]:
    """Name the options whose value is a file or a word, which the library completes as a word."""
    arguments = app["download"].assemble_argument_collection()
    return [
        argument.name
        for argument in arguments
        if argument.name.startswith("--") and str(argument.parameter.metavar).startswith(FILES)
    ]


def _bash(text: str, files: list[str]) -> str:
    """Complete files there, too, and those with a space in their name."""
    plain = 'COMPREPLY=( $(compgen -f -- "${cur}") )'
    whole = f"compopt -o filenames 2>/dev/null; local IFS=$'\\n'; {plain}"
    for name in files:
        text = re.sub(rf"({name}\)\n\s+)COMPREPLY=\(\)", lambda found: found[1] + plain, text)
    return text.replace(plain, whole)


def _zsh(text: str, files: list[str]) -> str:
    """Complete files there, too, and from the first key on when zsh itself loads the script."""
    for name in files:
        option = rf"(\*{name}\[(?:[^\]\\]|\\.)*\]:{name[2:]})(?=')"
        text = re.sub(option, r"\1:_files", text)
    function = f"_cyclopts_{PROGRAM}"
    return f"""{text.strip()}

if [[ $funcstack[1] == _{PROGRAM} ]]; then
  {function} "$@"
else
  compdef {function} {PROGRAM}
fi"""
