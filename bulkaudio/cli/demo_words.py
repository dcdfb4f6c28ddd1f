"""What the demo says, apart from what `download` says itself."""

import shlex
import shutil
from collections import Counter

from rich.text import Text

from bulkaudio.cli.typed import program, quoted
from bulkaudio.demo import CONVERSATIONS, RECORDINGS, Earlier, Folder, listening, mishaps
from bulkaudio.simulator import Simulator
from bulkaudio.simulator.faults import Fault

PLAYERS = (
    ("afplay",),
    ("ffplay", "-loglevel", "error", "-nodisp", "-autoexit"),
    ("mpv",),
    ("paplay",),
    ("aplay", "-q"),
    ("play", "-q"),
)
"""Looked for in this order; each plays one file and ends."""

SLOW = "slow"
KINDS = {
    Fault.RESET: "connections reset",
    Fault.RESET_BODY: "connections reset",
    Fault.SHORT_BODY: "recordings cut short",
    Fault.CUT_CHUNKS: "recordings cut short",
    Fault.HTTP_429: "throttled",
    Fault.HTML: "web pages instead of audio",
    Fault.DRIP: SLOW,
    Fault.HANG: SLOW,
}


def opening(simulator: Simulator, folder: Folder, earlier: Earlier) -> Text:
    """Say what is about to happen."""
    text = Text(
        f"A PolyAI stand-in runs on this machine, at {simulator.audio_url}. It has {CONVERSATIONS} "
        "calls with three recordings each, and some of its answers go wrong on purpose."
    )
    if earlier is Earlier.STOPPED:
        text.append(" An earlier demo was stopped here: this one goes on with it.")
    elif earlier is Earlier.REPLACED:
        text.append(
            f" The finished demo that was in {folder.root} is removed, and this one begins anew."
        )
    return text.append("\n")


def command(simulator: Simulator, folder: Folder, region: str) -> Text:
    """Show what is run, as one would type it."""
    return _shell(
        f"{program()} download --csv {quoted(folder.csv)} --direction all",
        f"  --region {region} --agent {simulator.agent} --api-key-file {quoted(folder.key)}",
        f"  --out {quoted(folder.archive)}",
    )


def trouble(simulator: Simulator) -> Text:
    """Say what went wrong on the way."""
    found = Counter[str]()
    for fault, count in mishaps(simulator).items():
        found[KINDS.get(fault, "server errors")] += count
    slow = found.pop(SLOW, 0)
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.most_common())
    return Text(
        f"\nOf {simulator.requests.total} answers, {found.total()} went wrong: {kinds}. "
        f"{slow} more were slow. Only what went wrong was asked for again."
    )


def again() -> Text:
    """Introduce the second run."""
    return Text("\nThe same command again:")


def proof() -> Text:
    """Say what the second run shows."""
    return Text(
        f"\nIt made no request. All {RECORDINGS} files are byte for byte what the stand-in has."
    )


def closing(simulator: Simulator, folder: Folder) -> Text:
    """Say how to listen, how to go on with a real key, and how to be rid of it."""
    parts = [
        _heading("Listen"),
        _shell(f"{_player()} {quoted(listening(simulator, folder))}"),
        _heading("Look, and listen to all of them, in a browser"),
        _shell(f"{program()} report {quoted(folder.archive)}"),
        Text(f"Then open {folder.archive}/report.html by double click.\n"),
        _heading("Look closer"),
        _shell(f"{program()} status {quoted(folder.archive)}"),
        _shell(f"{program()} verify {quoted(folder.archive)}"),
        _heading("The same with your own key"),
        Text("The address of Agent Studio is https://studio.REGION.poly.ai/ACCOUNT/AGENT/…\n"),
        _shell("(umask 077; cat > polyai.key)     # paste the key, Enter, Ctrl-D"),
        _shell(
            f"{program()} download --api-key-file polyai.key --region REGION",
            "  --account ACCOUNT --agent AGENT --since yesterday --direction all --limit 5",
            "  --out archive",
        ),
        _heading("Remove the demo"),
        _shell(f"rm -r {quoted(folder.root)}"),
    ]
    return Text().join(parts)


def _player() -> str:
    words = next((player for player in PLAYERS if shutil.which(player[0])), ("ffplay",))
    return shlex.join(words)


def _heading(words: str) -> Text:
    return Text(f"\n{words}\n", style="bold")


def _shell(*lines: str) -> Text:
    text = Text("$ ", style="dim")
    text.append(" \\\n".join(lines), style="not dim cyan")
    return text.append("\n")
