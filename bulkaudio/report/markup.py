"""
HTML and SVG that cannot say anything but what was meant.

A text becomes markup by being escaped, and only this module makes markup of texts: whatever an id,
a reason or a caller's name holds, a browser shows it and does not act on it.
"""

import json
from html import escape
from typing import Any


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Attribute = str | float | bool | None


def tag(name: str, *children: str, **attributes: Attribute) -> Markup:
    """
    Make an element; children that are plain texts are escaped.

    Args:
        attributes: ``class_`` for ``class``, ``_`` for ``-``; None and False are left out.
    """
    return Markup(f"<{name}{_written(attributes)}>{joined(*children)}</{name}>")


def alone(name: str, **attributes: Attribute) -> Markup:
    """Make an SVG element without children."""
    return Markup(f"<{name}{_written(attributes)}/>")


def joined(*parts: str) -> Markup:
    """Put elements and texts one behind the other."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def json_text(value: Any) -> Markup:
    """Write a value for a ``<script type="application/json">``: no end tag, no comment in it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _written(attributes: dict[str, Attribute]) -> str:
    return "".join(
        f" {_name(key)}" if value is True else f' {_name(key)}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _plain(value: Attribute) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
