"""Networks that refuse, lose or delay packets: waited out, and all recordings saved in the end."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.machine import few, hook, in_network, lifted, network, ordered
from tests.forked import forked, run_forked
from tests.oracle import trial_on
from tests.plans import Plans
from tests.program import until
from tests.wire import WireServer

IDS = tuple(f"CA{n}" for n in range(1, 13))

CUTS = {
    "refused": "tcp dport {port} reject with tcp reset",
    "unreachable": "tcp dport {port} reject with icmpx admin-prohibited",
    "silent": "tcp dport {port} drop",
    "deaf": "tcp sport {port} drop",
    "reset": "tcp dport {port} ct state established reject with tcp reset",
}


@pytest.mark.parametrize("cut", few(CUTS, ("refused",)))
async def test_a_network_that_is_cut_for_a_while(tmp_path: Path, cut: str) -> None:
    """Nobody gives up before the time to do so; once it is back, everything is fetched."""
    with network() as net:
        async with WireServer(Plans(), listener=net.listen()) as server:
            trial = trial_on(server, tmp_path / "work", *IDS, speed=10.0)
            csv = trial.csv(*IDS)
            net.rule(CUTS[cut].format(port=server.port))
            order = ordered(trial, *csv, "-v", **hook(in_network, net.path))
            async with forked(order) as fork:
                await until(lambda: "retry" in fork.stderr)
                net.rule("accept")
                ended = await fork.wait()
            trial.check(ended)
            assert ended.code == 0, ended.stderr
            assert ended.summary["counts"]["saved"] == len(IDS)
            assert ended.summary["counts"]["retries"] > 0
            assert set(trial.asked()) == set(trial.truth)


@pytest.mark.parametrize("percent", few((5, 10, 20, 35), ()))
async def test_a_network_that_loses_packets(tmp_path: Path, percent: int) -> None:
    """What TCP cannot hide is retried."""
    with network() as net:
        async with WireServer(Plans(), listener=net.listen()) as server:
            trial = trial_on(server, tmp_path / "work", *IDS)
            csv = trial.csv(*IDS)
            net.rule(f"tcp dport {server.port} numgen random mod 100 < {percent} drop")
            order = ordered(trial, *csv, **hook(in_network, net.path))
            async with asyncio.timeout(50):
                ended = await run_forked(order)
            trial.check(ended)
            assert ended.code == 0, ended.stderr
            assert ended.summary["counts"]["saved"] == len(IDS)


@pytest.mark.slow
async def test_a_narrow_network(tmp_path: Path) -> None:
    """A line of 64 kbit/s takes its time and fails nothing."""
    with network() as net:
        async with WireServer(Plans(), listener=net.listen()) as server:
            trial = trial_on(server, tmp_path / "work", *IDS)
            net.run(
                "tc",
                *[
                    "qdisc",
                    "add",
                    "dev",
                    "lo",
                    "root",
                    "tbf",
                    "rate",
                    "64kbit",
                    "burst",
                    "66000",
                    "latency",
                    "5s",
                ],
            )
            order = ordered(trial, *trial.csv(*IDS), **hook(in_network, net.path))
            ended = await run_forked(order)
            trial.check(ended)
            assert ended.code == 0, ended.stderr
            assert ended.summary["counts"]["saved"] == len(IDS)


async def test_a_machine_without_any_network(tmp_path: Path) -> None:
    """
    Only loopback, and nobody there: exit 5 after the time to give up, and nothing is settled.

    A few may use up their attempts before it is known for an outage: failed, and tried again.
    """
    with network() as net:
        net.listen().close()
        async with WireServer(Plans()) as server:
            ids = [f"CA{n}" for n in range(40)]
            trial = trial_on(server, tmp_path / "work", *ids, speed=30.0)
            csv = (*trial.csv(*ids), "--give-up-after", "10s")
            ended = await run_forked(ordered(trial, *csv, **hook(in_network, net.path)))
            trial.check(ended)
            assert ended.code == 5, ended.stderr
            assert "Fix: " in ended.stderr
            assert server.targets == []
            counts = ended.summary["counts"]
            assert counts["open"] > counts["failed"]
            assert counts["open"] + counts["failed"] == len(ids)
            await lifted(trial, *csv)
