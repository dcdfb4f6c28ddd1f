"""
How a value is written so that its reader gets back exactly that value.

No value has a line break or another character that cannot be seen: those are refused before.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")

_YAML_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./:,=+-]+")


def shell(words: Sequence[str]) -> str:
    """Write a command line for ``sh``."""
    return shlex.join(words)


def crontab(command: str) -> str:
    r"""
    Write a shell's line as the command of a crontab.

    Its first bare ``%`` would end the command; ``\%`` is a ``%`` even between a shell's quotes.
    """
    return command.replace("%", r"\%")


def unit_word(text: str) -> str:
    """Write a word of a systemd setting that splits words and expands specifiers."""
    if _PLAIN_WORD.fullmatch(text):
        return text
    inner = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{inner}"'


def unit_argument(text: str) -> str:
    """Write an argument of ``ExecStart=``, which expands variables as well."""
    return unit_word(text).replace("$", "$$")


def pod_argument(text: str) -> str:
    """Write an argument, or a variable's value, of a container: ``$(NAME)`` would be expanded."""
    return text.replace("$", "$$")


def yaml(document: object) -> str:
    """
    Write a document as YAML, in blocks.

    Texts are written as JSON writes them, which YAML reads as the same text: no word is taken for a
    number, a date or a switch. Texts of several lines are this program's own, and stand as they are.

    Raises:
        TypeError: For anything but mappings, sequences, texts, numbers and switches.
    """
    return "\n".join(_block(document)) + "\n"


def _block(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _entry(f"{_key(key)}:", each)
    elif isinstance(value, (list, tuple)) and value:
        for each in value:
            first, *rest = _block(each)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    elif isinstance(value, str) and "\n" in value:
        yield "|"
        yield from (f"  {line}" for line in value.removesuffix("\n").split("\n"))
    else:
        yield _scalar(value)


def _entry(head: str, value: object) -> Iterator[str]:
    if isinstance(value, (Mapping, list, tuple)) and value:
        yield head
        yield from (f"  {line}" for line in _block(value))
    else:
        yield f"{head} {_scalar(value)}"


def _key(key: object) -> str:
    text = str(key)
    is_plain = _PLAIN_KEY.fullmatch(text) and text.lower() not in _YAML_WORDS
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _scalar(value: object) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    if isinstance(value, (str, bool, int)):
        return json.dumps(value, ensure_ascii=False)
    raise TypeError(f"{type(value).__name__} has no place in a document")
