"""Values that a program or a person chose, held to what they may be; every error is a `UsageError`."""

from collections.abc import Collection
from math import isfinite
from typing import TypeGuard

from bulkaudio.errors import UsageError
from bulkaudio.naming import printable

_MOST = 2**63 - 1


def check_whole(name: str, value: object, *, least: int, most: int | None = None) -> None:
    """Hold a number to whole ones; None is not given."""
    if value is None:
        return
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not _is_number(value) or not least <= value <= (most or _MOST):
        limit = "" if most is None else f" and at most {most}"
        raise wrong_value(name, value, f"a whole number of at least {least}{limit}")


def check_above_zero(name: str, value: object) -> None:
    """Hold a rate to numbers above 0; None is not given."""
    if value is not None and not (_is_number(value) and value > 0):
        raise wrong_value(name, value, "a number above 0, such as 20 or 0.5")


def check_not_negative(name: str, value: object) -> None:
    """Hold seconds to numbers from 0 on; None is not given."""
    if value is not None and not (_is_number(value) and value >= 0):
        raise wrong_value(name, value, "a number of seconds, not below 0")


def check_switch(name: str, value: object) -> None:
    """Hold a switch to its two settings; None is not given."""
    if value is not None and not isinstance(value, bool):
        # The text "no" would count as yes.
        raise wrong_value(name, value, "True or False")


def check_text(name: str, value: object) -> None:
    """Hold a name to texts; None is not given."""
    if value is not None and not isinstance(value, str):
        # The kind and not the value: it may be an address with a password in it.
        kind = type(value).__name__
        raise UsageError(f"{name} cannot be of the type {kind}", fix="give a text, or leave it out")


def check_word(name: str, value: object, words: Collection[str]) -> None:
    """Hold a word to those there are."""
    if value not in words:
        raise wrong_value(name, value, f"one of {', '.join(words)}")


def wrong_value(name: str, value: object, wanted: str) -> UsageError:
    """Make the error of a value that cannot be; never of a key."""
    return UsageError(f"{name} cannot be {printable(repr(value))}", fix=f"give {wanted}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
