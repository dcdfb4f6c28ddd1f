"""Texts with places for values."""

import re
from collections.abc import Mapping

_PLACE = re.compile(r"@([A-Z_]+)@")


def filled(template: str, values: Mapping[str, str]) -> str:
    """Put values into ``@NAME@``, all at once: a value may look like a place for another."""
    return _PLACE.sub(lambda place: values[place[1]], template)
