"""What the schedulers read in the files, each written from its own manual and not from ours."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubernetes.client import models

_SYSTEMD_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "s": " ", "n": "\n", "t": "\t"}


def cron_command(line: str) -> str:
    """Undo a crontab's own escaping, see crontab(5); a bare % would end the command."""
    found = re.search(r"(?<!\\)%", line)
    command = line[: found.start()] if found else line
    return command.replace("\\%", "%")


def cron_lines(text: str) -> list[tuple[str, str]]:
    """Split a crontab into its five fields of time and the command of each line."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [
        (" ".join(line.split(None, 5)[:5]), cron_command(line.split(None, 5)[5])) for line in lines
    ]


def setting(text: str, name: str) -> list[str]:
    """Return the values of a setting of a unit."""
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def unit_words(value: str) -> list[str]:
    """Split as systemd.syntax(7) says: quotes, C escapes, then specifiers of which %% is one."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    letters = iter(value)
    for letter in letters:
        if letter == "\\":
            word = (word or "") + _SYSTEMD_ESCAPES[next(letters)]
        elif quote:
            quote, word = ("", word) if letter == quote else (quote, (word or "") + letter)
        elif letter in "\"'":
            quote, word = letter, word or ""
        elif letter == " ":
            words += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + letter
    assert not quote
    return [_specifiers(each) for each in [*words, *([] if word is None else [word])]]


def exec_start(value: str, environ: Mapping[str, str]) -> list[str]:
    """Read ExecStart= as systemd.service(5) says: variables are put into all but the program."""
    program, *rest = unit_words(value)

    def variable(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else environ[found[1]]

    return [program, *(re.sub(r"\$\$|\$\{(\w+)\}", variable, each) for each in rest)]


def pod_expanded(text: str, environ: Mapping[str, str]) -> str:
    """Expand ``$(NAME)`` in a container's command; ``$$`` is a ``$`` (third_party/forked/golang)."""
    return re.sub(
        r"\$\$|\$\(([^)]*)\)",
        lambda found: "$" if found[0] == "$$" else environ.get(found[1], found[0]),
        text,
    )


def kubernetes_object(kind: str, document: Any) -> Any:
    """
    Make an object of Kubernetes' own client, which knows the API's fields.

    Raises:
        AssertionError: For a field that is unknown or of another type.
        ValueError: For one that is required and missing.
    """
    listed = re.fullmatch(r"List\[(.+)\]|list\[(.+)\]", kind)
    mapped = re.fullmatch(r"[Dd]ict(?:\(|\[)str, (.+)(?:\)|\])", kind)
    if listed:
        assert isinstance(document, list), (kind, document)
        return [kubernetes_object(listed[1] or listed[2], each) for each in document]
    if mapped:
        assert isinstance(document, dict), (kind, document)
        return {key: kubernetes_object(mapped[1], each) for key, each in document.items()}
    simple = {"str": str, "int": int, "bool": bool, "object": object}.get(kind)
    if simple:
        assert isinstance(document, simple), (kind, document)
        assert simple is bool or not isinstance(document, bool), (kind, document)
        return document
    model = getattr(models, kind)
    fields = {json_name: name for name, json_name in model.attribute_map.items()}
    assert isinstance(document, dict), (kind, document)
    assert set(document) <= set(fields), f"{kind} has no {set(document) - set(fields)}"
    return model(
        **{
            fields[key]: kubernetes_object(model.openapi_types[fields[key]], each)
            for key, each in document.items()
        }
    )


def _specifiers(word: str) -> str:
    def of(pair: Iterator[str]) -> Iterator[str]:
        for letter in pair:
            if letter == "%":
                assert next(pair) == "%", f"a specifier that nobody meant: {word}"
            yield letter

    return "".join(of(iter(word)))
