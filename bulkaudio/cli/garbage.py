"""
When the interpreter looks for garbage: hardly while the program is read, later only in what it makes.

Reading makes a hundred thousand objects that all stay, and looking through them again and again
took a quarter of the start, and a tenth of a run of short recordings.
"""

import gc

WHILE_READING = 20_000
"""New objects between two looks, where the interpreter's own choice is some hundreds."""

_USUAL = gc.get_threshold()


def look_rarely() -> None:
    """Call it before the program is read."""
    gc.set_threshold(WHILE_READING)


def look_at_new() -> None:
    """Call it when the program has been read: what is there by now is never looked at again."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
