"""What a command line, the environment and a file have given together, after they were read."""

from collections.abc import Iterator
from contextvars import ContextVar

from cyclopts import App, ArgumentCollection, CycloptsError
from cyclopts.argument import Argument

_ARGUMENTS: ContextVar[ArgumentCollection | None] = ContextVar("arguments", default=None)


class Given:
    """A source of options that gives none, and keeps what is given by the others."""

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Keep `arguments`; their values are read later."""
        del app, commands
        _ARGUMENTS.set(arguments)


def forget_given() -> None:
    """Forget what an earlier command in this process was given."""
    _ARGUMENTS.set(None)


def given_options() -> Iterator[tuple[str, Argument]]:
    """Yield the options that the running command was given, wherever from, in the order of help."""
    for argument in _ARGUMENTS.get() or ():
        if argument.name.startswith("--") and not argument.children and argument.tokens:
            yield argument.name, argument


def given_switch(name: str) -> bool:
    """Whether a switch was set, wherever from, as far as anything could be read."""
    for option, argument in given_options():
        if option == name:
            try:
                return argument.convert() is True
            except CycloptsError:
                return False
    return False
