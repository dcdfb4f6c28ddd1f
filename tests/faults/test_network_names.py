"""Names that do not resolve, and certificates that do not fit."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.answers import download_hooked, place, some
from tests.oracle import Trial, trial_on
from tests.plans import whole
from tests.wire import Certificates, WireServer, self_signed_context

IDS = ("CA1", "CA2", "CA3")

# Names.


NAMES = ("bulkaudio.invalid", "a" * 63 + ".invalid", "api.uk.poly.ai.invalid.")


@pytest.mark.parametrize("name", some({name: name for name in NAMES}, NAMES[0]))
async def test_a_name_that_does_not_resolve_ends_the_run(name: str, tmp_path: Path) -> None:
    """After three looks: exit 5 with the name, and everything open for the next run."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", *IDS, speed=10.0)
        ended = await trial.download(*trial.csv(*IDS), BULKAUDIO_AUDIO_URL=f"https://{name}")
        assert ended.code == 5, ended.stderr
        assert name in ended.stderr
        assert "--region" in ended.stderr
        assert set(trial.statuses().values()) == {("open", None)}
        assert server.heads == []
        await trial.healed(*trial.csv(*IDS))
        assert len(server.heads) == 3


def fail_lookups(failures: int) -> None:
    """Let so many look-ups fail, as a resolver does that is not up yet."""
    look_up, left = socket.getaddrinfo, [failures]

    def flaky(*arguments: Any, **named: Any) -> list[Any]:
        left[0] -= 1
        if left[0] >= 0:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(*arguments, **named)

    vars(socket)["getaddrinfo"] = flaky


def by_name(trial: Trial, server: WireServer) -> Trial:
    """Reach the server by a name."""
    url = server.url("localhost")
    env = {**trial.env, "BULKAUDIO_AUDIO_URL": url, "BULKAUDIO_CONVERSATIONS_URL": url}
    return Trial(cwd=trial.cwd, env=env, truth=trial.truth, asked=trial.asked, speed=trial.speed)


@pytest.mark.parametrize(
    ("failures", "code"),
    some({"1": (1, 0), "2": (2, 0), "3": (3, 5), "9": (9, 5)}, "2", "3"),
)
async def test_a_look_up_is_tried_three_times(failures: int, code: int, tmp_path: Path) -> None:
    """A resolver that is slow to come up costs nothing; one that stays away ends the run."""
    async with WireServer(whole) as server:
        trial = by_name(trial_on(server, tmp_path / "work", *IDS, speed=10.0), server)
        words = (*trial.csv(*IDS), "--concurrency", "1", "--attempts", "5")
        ended = await download_hooked(trial, fail_lookups, (failures,), *words)
        assert ended.code == code, ended.stderr
        wanted = ("open", None) if code else ("saved", None)
        assert set(trial.statuses().values()) == {wanted}
        assert len(server.heads) == (0 if code else 3)
        await trial.healed(*words)


# Certificates.

AUTHORITY = Certificates()
"""One for all tests: what it issues differs, not what vouches for it."""

FLAWS: Mapping[str, tuple[Any, str]] = {
    "expired": (lambda: AUTHORITY.context(expired=True), "expired"),
    "another host": (lambda: AUTHORITY.context("example.org"), "another host"),
    "another address": (lambda: AUTHORITY.context("127.0.0.2"), "another host"),
    "self-signed": (self_signed_context, "self-signed"),
    "another authority": (lambda: Certificates().context(), "authority"),
}


@pytest.mark.parametrize(
    ("flaw", "has_bundle"),
    some(
        {
            f"{flaw}, {'bundle' if has_bundle else 'system'}": (flaw, has_bundle)
            for flaw in FLAWS
            for has_bundle in (False, True)
        },
        *("expired, bundle", "self-signed, system"),
    ),
)
async def test_a_certificate_that_does_not_fit_ends_the_run(
    flaw: str, tmp_path: Path, *, has_bundle: bool
) -> None:
    """One handshake, exit 5, and not a request; a good certificate heals it."""
    make, word = FLAWS[flaw]
    bundle = ("--ca-bundle", AUTHORITY.write_bundle(tmp_path))
    listener = place()
    async with WireServer(whole, tls=make(), listener=listener) as server:
        trial = trial_on(server, tmp_path / "work", *IDS, speed=10.0)
        one = ("--concurrency", "1")
        ended = await trial.download(*trial.csv(*IDS), *one, *(bundle if has_bundle else ()))
        assert ended.code == 5, ended.stderr
        assert "certificate" in ended.stderr
        assert "--ca-bundle" in ended.stderr
        if has_bundle:
            assert word in ended.stderr
        assert server.heads == []
        assert listener.accepted == 1
        assert set(trial.statuses().values()) == {("open", None)}
        port = server.port
    async with WireServer(whole, tls=AUTHORITY.context(), listener=place(port)) as mended:
        healthy = trial_on(mended, tmp_path / "other", *IDS, speed=10.0)
        healed = Trial(
            cwd=trial.cwd, env=trial.env, truth=trial.truth, asked=healthy.asked, speed=10.0
        )
        await healed.healed(*trial.csv(*IDS), *bundle)
        assert len(mended.heads) == 3


@pytest.mark.parametrize("words", some({"soon": [], "patient": ["--attempts", "50"]}))
async def test_what_speaks_no_tls_is_tried_again_and_gets_no_key(
    words: Sequence[str], tmp_path: Path
) -> None:
    """A plain server behind an https address fails each attempt before anything was sent."""
    async with WireServer(whole) as server:
        trial = trial_on(server, tmp_path / "work", "CA1", speed=10.0)
        env = {"BULKAUDIO_AUDIO_URL": f"https://127.0.0.1:{server.port}"}
        limits = (*words, "--give-up-after", "30") if words else ("--attempts", "2")
        ended = await trial.download(*trial.csv("CA1"), *limits, **env)
        assert ended.code == (5 if words else 3), ended.stderr
        assert server.heads == []
        wanted = ("open" if words else "failed", "timeout")
        assert set(trial.statuses().values()) == {wanted}
        await trial.healed(*trial.csv("CA1"))
