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
# Read with --config FILE or BULKAUDIO_CONFIG=FILE; without being named only from the archive's folder,
# ~/.config/bulkaudio/{name} and {machines}.
# Flags and variables win over it: `bulkaudio config show` tells where each value comes from.

region = {region}
account = {account}
agent = {agent}

# The archive, a folder on a local disk.
out = {out}

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
# limit = 5

# What differs for another agent: --profile other, or BULKAUDIO_PROFILE=other, chooses it.
# [profile.other]
# agent = "OTHER-AGENT"
# out = {other}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """
    What a new file is to say.

    Attributes:
        out: The archive's folder. Absolute, so that it does not depend on where a job is started.
        key_file: Absolute, too; None when nobody named it.
        output: The file itself.
    """

    address: StudioAddress
    out: Path
    key_file: Path | None
    output: Path

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
        out=_quoted(str(settled.out)),
        hash="" if settled.key_file else "# ",
        key_file=_quoted(str(settled.own_key_file)),
        other=_quoted(f"{settled.out}-other"),
    )


def _quoted(text: str) -> str:
    """Write a text as TOML does: JSON's escapes are TOML's, and DEL needs one, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
