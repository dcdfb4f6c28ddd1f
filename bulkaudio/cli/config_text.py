"""The text of a new configuration file."""

import json
from dataclasses import dataclass
from pathlib import Path

from bulkaudio.cli.config_file import MACHINES
from bulkaudio.polyai.studio import StudioAddress
from bulkaudio.settings import CONFIG_FILE

KEY_FILE = "polyai.key"

TEXT = """\
# Written by `bulkaudio init` for {url}
#
# Read with --config FILE or BULKAUDIO_CONFIG=FILE; without being named only from the archive's folder
# (of an address: its state folder), ~/.config/bulkaudio/{name} and {machines}.
# Flags and variables win over it: `bulkaudio config show` tells where each value comes from.

region = {region}
account = {account}
agent = {agent}

{place}

# The file that holds the API key, which only you can read. The key itself belongs nowhere here.
{hash}api-key-file = {key_file}

# What follows are examples: take the # away to have a line count.

# Which sides of a call: "combined", "user", "agent", or "all" of them.
# direction = ["all"]

# A JSON file beside each call: "none", "basic", or "full", with the transcript.
# metadata = "basic"

# Ask for redacted recordings; without it, PolyAI decides.
# redacted = true

# The time zone of words such as yesterday.
# tz = "Europe/London"

# Ceilings; without them the run finds its pace, and goes on to the end.
# max-rate = 20
# max-duration = "6h"

# For one command alone, after the lines that are for all of them.
# [download]
# max-recordings = 10000

# What differs for another agent: --profile other, or BULKAUDIO_PROFILE=other, chooses it.
# [profile.other]
# agent = "OTHER-AGENT"
# out = {other}
"""

FOLDER = """\
# The archive, a folder on a local disk.
out = {out}"""

ADDRESS = """\
# The archive: recordings go to an object store, with credentials that are found as its cloud's own
# tools find them. None belongs here.
out = {out}

# The folder of lock and ledger, on a local disk that is kept from night to night.
{state_hash}state-dir = {state_dir}

# The object store's server, if it is not the cloud's own.
{endpoint_hash}store-endpoint = {endpoint}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """
    Where an archive is going to be.

    Attributes:
        folder: Of ledger and lock; without `url` also of the recordings. Absolute, so that it does
            not depend on where a job is started.
        is_folder_named: Somebody chose it, although there is an address.
    """

    folder: Path
    url: str | None = None
    is_folder_named: bool = False
    endpoint: str | None = None

    @property
    def out(self) -> str:
        """What ``--out`` is to be."""
        return self.url or str(self.folder)

    def text(self, *, is_own: bool) -> str:
        """Write the lines of the file; the archive's own may not say to which server things go."""
        if self.url is None:
            return FOLDER.format(out=_quoted(self.out))
        return ADDRESS.format(
            out=_quoted(self.url),
            state_hash="" if self.is_folder_named else "# ",
            state_dir=_quoted(str(self.folder)),
            endpoint_hash="" if self.endpoint and not is_own else "# ",
            endpoint=_quoted(self.endpoint or "https://s3.example"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """
    What a new file is to say.

    Attributes:
        key_file: Absolute; None when nobody named it.
        output: The file itself.
    """

    address: StudioAddress
    where: Where
    key_file: Path | None
    output: Path

    @property
    def is_own(self) -> bool:
        """Whether it will be found as the archive's own, wherever that is named."""
        is_usual = not self.where.is_folder_named
        return is_usual and self.output.absolute() == self.where.folder / CONFIG_FILE

    @property
    def own_key_file(self) -> Path:
        """The file that holds the key, or could: beside the configuration."""
        return self.key_file or self.output.absolute().with_name(KEY_FILE)


def text_of(settled: Settled) -> str:
    """Write the file."""
    address = settled.address
    return TEXT.format(
        url=address.url,
        name=CONFIG_FILE,
        machines=MACHINES,
        region=_quoted(address.region),
        account=_quoted(address.account),
        agent=_quoted(address.agent),
        place=settled.where.text(is_own=settled.is_own),
        hash="" if settled.key_file else "# ",
        key_file=_quoted(str(settled.own_key_file)),
        other=_quoted(f"{settled.where.out}-other"),
    )


def _quoted(text: str) -> str:
    """Write a text as TOML does: JSON's escapes are TOML's, and DEL needs one, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
