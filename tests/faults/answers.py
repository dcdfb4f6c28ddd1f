"""
Answers that go wrong, and what must come of each.

Most faults are met in the same way, by `suffer`: one recording meets the fault once, one meets it
whenever it is asked for, one never. So each case shows what is tried again, how often and with
which end, that nobody else suffers, and that all is well once the fault is gone.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.polyai.throughput import TransferLimits
from tests.audio import wav_of
from tests.forked import Ended, run_forked
from tests.oracle import Trial, trial_on
from tests.plans import Plans, subject, whole
from tests.wire import Counting, Exchange, Script, WireServer, chunked, http_head, says_json

ONCE, LASTING, OTHER = "CA0", "CA1", "CA2"

SAVED = ("saved", None)

End = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    An answer that goes wrong.

    Attributes:
        status, reason: What the ledger says of a recording that gets no other answer.
        asked: How often that one is asked for.
        heals: One such answer is followed by another request, and its answer counts.
        asked_once: How often a recording is asked for that meets the fault once.
        attempts: What the run is allowed.
        code: What the run ends with.
        speed: How much faster than real time runs.
    """

    script: Script
    reason: str
    status: str = "failed"
    asked: int = 2
    heals: bool = True
    asked_once: int = 2
    attempts: int = 2
    code: int = 3
    speed: float = 10.0


def transient(script: Script, reason: str, **more: Any) -> Fault:
    """Describe what is tried again."""
    return Fault(script=script, reason=reason, **more)


def permanent(script: Script, reason: str, **more: Any) -> Fault:
    """Describe what is not."""
    return Fault(script=script, reason=reason, asked=1, asked_once=1, heals=False, **more)


async def suffer(fault: Fault, server: WireServer, folder: Path, *arguments: str | Path) -> Ended:
    """Hold the program to what it should make of a fault; return how the first run ended."""
    plans = Plans({ONCE: (fault.script, whole), LASTING: (fault.script,)})
    server.scripts = (plans,)
    trial = trial_on(server, folder / "work", ONCE, LASTING, OTHER, speed=fault.speed)
    words = (*trial.csv(ONCE, LASTING, OTHER), "--attempts", str(fault.attempts), *arguments)
    ended = await trial.download(*words)
    assert ended.code == fault.code, ended.stderr
    lasting = (fault.status, fault.reason)
    assert trial.statuses() == {
        f"combined/{ONCE}": SAVED if fault.heals else lasting,
        f"combined/{LASTING}": lasting,
        f"combined/{OTHER}": SAVED,
    }, ended.stderr
    assert plans.asked == {ONCE: fault.asked_once, LASTING: fault.asked, OTHER: 1}
    server.scripts = (whole,)
    asked = len(server.heads)
    await trial.healed(*words)
    assert len(server.heads) - asked == (1 if fault.heals else 2)
    return ended


def some(table: Mapping[str, Any], *quick: str) -> list[Any]:
    """
    Make a parameter of each value, or several of a tuple.

    All but the `quick` ones are left to CI.
    """
    unknown = set(quick) - set(table)
    assert not unknown, unknown
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)),
            id=name,
            marks=() if name in quick else (pytest.mark.slow,),
        )
        for name, value in table.items()
    ]


def faults(table: Mapping[str, Fault], *, quick: Sequence[str]) -> pytest.MarkDecorator:
    """Make a test of each fault; all but the `quick` ones are left to CI."""
    return pytest.mark.parametrize("fault", some(table, *quick))


# Answers with the recording that was asked for.


def wav_in(exchange: Exchange) -> bytes:
    """Return the recording that a request asks for."""
    return wav_of(*subject(exchange.head.target))


def sized(wav: bytes) -> bytes:
    """Frame by a length."""
    return http_head(200, [("Content-Length", str(len(wav)))]) + wav


def in_chunks(wav: bytes) -> bytes:
    """Frame by two chunks and the last one."""
    return http_head(200, [("Transfer-Encoding", "chunked")]) + chunked(wav[:500], wav[500:])


def until_close(wav: bytes) -> bytes:
    """Frame by nothing but the end of the connection."""
    return http_head(200, [("Connection", "close")]) + wav


def answers(make: Callable[[bytes], bytes], end: End | None = None) -> Script:
    """Send what `make` makes of the right recording, then end the connection, or keep it."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(make(wav_in(exchange)))
        if end is not None:
            await end(exchange)

    return script


def coded(status: int, code: str, **headers: str) -> Script:
    """Refuse in PolyAI's own words."""
    envelope = {"success": False, "error_code": code, "error_message": "no", "error_id": "e-1"}
    return says_json(status, envelope, **headers)


# Places to listen at.


def place(port: int = 0) -> Counting:
    """Take a port, where connections are refused until a server is given it."""
    return Counting(port)


# What cannot be had from the command line.


async def download_hooked(
    trial: Trial, hook: Callable[..., None], hook_arguments: tuple[Any, ...], *words: str | Path
) -> Ended:
    """Download with `hook` called in the process before the program starts."""
    name = f"{hook.__module__}:{hook.__name__}"
    order = replace(trial.order(*trial.words(*words)), hook=name, hook_arguments=hook_arguments)
    ended = await run_forked(order)
    trial.check(ended)
    return ended


def limit_bodies(max_body_bytes: int) -> None:
    """Lower the limit that takes minutes to reach."""
    defaults = TransferLimits.__init__.__kwdefaults__
    assert defaults is not None
    defaults["max_body_bytes"] = max_body_bytes
