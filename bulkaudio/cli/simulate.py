"""The command ``simulate``: a PolyAI stand-in that runs until it is stopped."""

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bulkaudio.errors import UsageError

if TYPE_CHECKING:
    from asyncio import Future

    from bulkaudio.simulator import Simulator

_POLL_S = 0.5


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateOptions:
    """What is simulated."""

    conversations: Annotated[int, Parameter(help="How many calls there are.")] = 200
    port: Annotated[
        int, Parameter(help="Port for recordings; the listing takes the next one. 0: free ones.")
    ] = 8080
    faults: Annotated[
        Literal["none", "some", "storm"], Parameter(help="How often answers go wrong.")
    ] = "none"
    seed: Annotated[int, Parameter(help="Same seed, same calls, same faults.")] = 1
    latency: Annotated[str, Parameter(help="Before every answer, e.g. 20ms or 0.5s.")] = "0ms"
    days: Annotated[int, Parameter(help="The calls lie in so many days before today (UTC).")] = 2


DEFAULTS = SimulateOptions()


def simulate(options: SimulateOptions = DEFAULTS) -> int:
    """
    Run a PolyAI stand-in on this machine: both APIs, synthetic speech, faults on request.

    Prints what to paste into another terminal, then serves until Ctrl-C. It listens on loopback
    only, and its key opens nothing else.
    """
    import asyncio

    check(options)
    return asyncio.run(_serve(options))


def check(options: SimulateOptions) -> None:
    """Raise UsageError for figures that make no sense."""
    if options.conversations < 1 or options.days < 1:
        raise UsageError(
            "--conversations and --days must be at least 1",
            fix="leave them out: 200 calls in 2 days are the default",
        )
    if not 0 <= options.port < 65535:
        raise UsageError(
            "--port must be from 0 to 65534",
            fix="choose a smaller one: the listing takes the port after it; 0 finds free ones",
        )
    latency_s(options.latency)


def latency_s(text: str) -> float:
    """Read ``20ms`` or ``0.5s`` as seconds."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(ms|s)", text)
    if found is None:
        raise UsageError(
            f"--latency: {text[:40]!r} is not a time", fix="write it like 20ms or 0.5s"
        )
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def instructions(simulator: "Simulator") -> str:
    """Return the lines to paste into another terminal."""
    calls = simulator.calls
    command = (
        f"python -m bulkaudio download --since {calls.since:%Y-%m-%d} --until {calls.until:%Y-%m-%d}"
        f" --region us --account {simulator.account} --agent {simulator.agent}"
        " --direction all --out simulated"
    )
    return "\n".join(
        (
            f"export BULKAUDIO_AUDIO_URL={simulator.audio_url}",
            f"export BULKAUDIO_CONVERSATIONS_URL={simulator.conversations_url}",
            f"export POLYAI_API_KEY={simulator.key}",
            command,
        )
    )


async def _serve(options: SimulateOptions) -> int:
    import asyncio
    import signal

    from bulkaudio.simulator import Calls, Faults, Simulator

    faults = {
        "none": Faults.none(),
        "some": Faults.some(seed=options.seed),
        "storm": Faults.storm(seed=options.seed),
    }
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    calls = Calls(
        count=options.conversations,
        seed=options.seed,
        since=today - timedelta(days=options.days),
        until=today,
    )
    simulator = Simulator(
        calls=calls,
        faults=faults[options.faults],
        latency_s=latency_s(options.latency),
        ports=(options.port, options.port + 1 if options.port else 0),
    )
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, stopped, int(number))
    async with simulator:
        print(instructions(simulator), flush=True)
        print("Serving until Ctrl-C.", file=sys.stderr)
        told = 0
        while not (await asyncio.wait({stopped}, timeout=_POLL_S))[0]:
            if simulator.requests.total // 1000 > told:
                told = simulator.requests.total // 1000
                print(f"{simulator.requests.total} requests", file=sys.stderr)
    return 128 + stopped.result()


def _stop(stopped: "Future[int]", number: int) -> None:
    if not stopped.done():
        stopped.set_result(number)
