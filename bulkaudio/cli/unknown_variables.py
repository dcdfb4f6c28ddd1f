"""
Variables that begin as this program's do and that nothing reads.

A misspelt key of the configuration file is refused. A variable may be somebody else's, a wrapper's or
Kubernetes', so it is only told: but told always, for `BULKAUDIO_DIRECTOIN` loses calls every night.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from cyclopts import App, ArgumentCollection

from bulkaudio.cli.config_tables import SECRETS, Known
from bulkaudio.cli.failure import say
from bulkaudio.cli.settings_sources import PREFIX, options_in, variable_of
from bulkaudio.naming import printable

NO_OPTIONS = (f"{PREFIX}AUDIO_URL", f"{PREFIX}CONVERSATIONS_URL")
"""Read, and no option of any command."""

_KUBERNETES = re.compile(
    r"(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)"
)
"""What every pod is given beside a service whose name begins with ours, after the prefix."""


@dataclass(frozen=True, slots=True)
class UnknownVariables:
    """A source that gives no option: it says which variables nobody reads, before they are missed."""

    known: Known
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Look at the variables once, on behalf of one command."""
        del app
        if commands[:1] == ("config",):
            return  # it reads its words once more, as those of the command that it tells of
        own = [option for option, _ in options_in(arguments)]
        # Mostly all are the command's own, and the options of the others need not be loaded.
        if sentences(self.environ, own):
            every = [option for options in self.known().values() for option in options]
            for text in sentences(self.environ, every):
                say(text)


def sentences(environ: Mapping[str, str], options: Iterable[str]) -> list[str]:
    """Say of each variable that none of these options is set by it, what could have been meant."""
    known = {*NO_OPTIONS, *map(variable_of, options)}
    return [
        f"{printable(name)} is not an option of any command; {_meant(name, sorted(known))}"
        for name, value in environ.items()
        # An empty variable is none.
        if value and name.startswith(PREFIX) and name not in known and not _is_foreign(name)
    ]


def _is_foreign(name: str) -> bool:
    return _KUBERNETES.fullmatch(name.removeprefix(PREFIX)) is not None


def _meant(name: str, known: list[str]) -> str:
    if name.lower().rpartition("_")[2] in SECRETS:
        is_listings = "CONVERSATIONS" in name.upper()
        own = "POLYAI_CONVERSATIONS_API_KEY" if is_listings else "POLYAI_API_KEY"
        file = "CONVERSATIONS_KEY_FILE" if is_listings else "API_KEY_FILE"
        return f"a key is read from {own}, or {PREFIX}{file} for a file"
    word = name.removeprefix(PREFIX).upper().replace("-", "_")
    near = get_close_matches(word, [each.removeprefix(PREFIX) for each in known], n=1, cutoff=0.7)
    return f"did you mean {PREFIX}{near[0]}?" if near else "it is ignored"
