"""What a command line, the environment and a file have given together, after they were read."""

from collections.abc import Iterator
from contextvars import ContextVar

from cyclopts import App, ArgumentCollection
from cyclopts.argument import Argument

_ARGUMENTS: ContextVar[ArgumentCollection] = ContextVar("arguments")


class Given:
    """The last source of options: it gives none, and keeps what the ones before it gave."""

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Keep `arguments`; their values are read later."""
        del app, commands
        _ARGUMENTS.set(arguments)


def given_options() -> Iterator[tuple[str, Argument]]:
    """Yield the options that the running command was given, wherever from, in the order of help."""
    for argument in _ARGUMENTS.get():
        if argument.name.startswith("--") and not argument.children and argument.tokens:
            yield argument.name, argument
