"""What ``init`` tells: what it read and found, and what to type next."""

import io
import os
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from rich.text import Text

from bulkaudio.cli.config_file import usual_places
from bulkaudio.cli.config_text import Settled
from bulkaudio.cli.typed import program, quoted
from bulkaudio.errors import BulkAudioError, KeyRefusedError
from bulkaudio.keys import FoundKeys, KeyFinder
from bulkaudio.observe.terminal import PLAIN_WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """
    What there is now.

    Attributes:
        keys: None when none can be used.
        trouble: Why not.
    """

    settled: Settled
    keys: FoundKeys | None = None
    trouble: str = ""

    @classmethod
    def look(cls, settled: Settled, named: str | None) -> Self:
        """
        Look for the key where a download will; standard input is left alone.

        Args:
            named: The key's file, as typed: what looks like a key itself is not shown then.

        Raises:
            KeyRefusedError: That file holds none.
        """
        finder = KeyFinder(api_key_file=named, environ=os.environ, stdin=io.BytesIO(b"unread"))
        try:
            return cls(settled=settled, keys=finder.find(settled.address.region))
        except KeyRefusedError as error:
            if named is not None:
                raise
            return cls(settled=settled, trouble=error.message)
        except BulkAudioError as error:
            return cls(settled=settled, trouble=error.message)

    def page(self) -> Text:
        """Lay it out; no command is broken into lines, so that it can be copied."""
        return Text("\n").join(self._parts())

    def key_words(self) -> str:
        """Say where the key was found, never what it is."""
        if self.keys is None:
            return self.trouble
        listing = self.keys.conversations_key
        other = f", and that for listing from {listing.source}" if listing is not None else ""
        return f"the API key comes from {self.keys.api_key.source}{other}"

    def _parts(self) -> Iterator[Text]:
        yield Text(f"Wrote {self.settled.output}, which only you can read.\n", style="bold")
        address, where = self.settled.address, self.settled.where
        for name, value in (
            ("region", address.region),
            ("account", address.account),
            ("agent", address.agent),
            ("archive", self.settled.where.out),
            *((("ledger", str(where.folder)),) if where.url else ()),
        ):
            yield Text(f"  {name:<10}").append(value, style="cyan")
        words = self.key_words()
        yield Text("\n" + textwrap.fill(f"{words[:1].upper()}{words[1:]}.", PLAIN_WIDTH))
        for note in self.keys.notes if self.keys is not None else ():
            yield Text(note)
        if self.keys is None:
            yield from self._key_steps()
        yield from self._next_steps()

    def _key_steps(self) -> Iterator[Text]:
        yield _heading("Put the key into a file of its own")
        file = quoted(self.settled.own_key_file)
        yield _shell(f"(umask 077; cat > {file})     # paste the key, Enter, Ctrl-D")
        yield Text(f"  and take the # from the line api-key-file in {self.settled.output}.")

    def _next_steps(self) -> Iterator[Text]:
        given, nightly = self._finding()
        yield _heading("See what counts, and take a handful of calls")
        yield _shell(f"{program()} config show{given}")
        yield _shell(f"{program()} download{given} --since yesterday --limit 5")
        yield _heading(
            "Take everything since a day of your choice, and then what is new each night"
        )
        yield _shell(f"{program()} download{given} --since 2026-11-01")
        yield _shell(f"{program()} download{nightly} --quiet")

    def _finding(self) -> tuple[str, str]:
        """Return what has a command find the file: here, and from where a scheduler starts it."""
        output, where = self.settled.output, self.settled.where
        if output.absolute() in set(usual_places(os.environ)):
            return "", ""
        if self.settled.is_own:
            given = f" --out {shlex.quote(where.out)}"
            # Remembered by the state folder from the first run on.
            told = f" --store-endpoint {shlex.quote(where.endpoint)}" if where.endpoint else ""
            return f"{given}{told}", given
        return f" --config {quoted(output)}", f" --config {quoted(output.absolute())}"


def _heading(words: str) -> Text:
    return Text(f"\n{words}:", style="bold")


def _shell(line: str) -> Text:
    return Text("  $ ", style="dim").append(line, style="not dim cyan")
