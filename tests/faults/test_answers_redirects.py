"""Redirects: followed a little way, never with the key to anybody else, never to a bad place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.answers import (
    LASTING,
    ONCE,
    OTHER,
    SAVED,
    Fault,
    answers,
    faults,
    permanent,
    sized,
    some,
    suffer,
)
from tests.oracle import CANARY, trial_on
from tests.plans import Plans, subject, whole
from tests.wire import Certificates, Exchange, Head, Script, WireServer, http_head, says_raw

STATUSES = (301, 302, 303, 307, 308)
IDS = (ONCE, LASTING, OTHER)


def sends_to(place: Callable[[str], str], status: int = 302) -> Script:
    """Redirect to what `place` makes of the path and query that were asked for."""

    async def script(exchange: Exchange) -> None:
        headers = [("Location", place(exchange.head.target)), ("Content-Length", "0")]
        await exchange.send(http_head(status, headers))

    return script


def check_stranger(head: Head) -> None:
    """Insist that a request to another origin says nothing of who asks, byte for byte."""
    assert CANARY.encode() not in head.raw
    names = {name.lower() for name, _ in head.headers}
    assert names == {"host", "accept", "accept-encoding", "user-agent"}


def check_known(head: Head) -> None:
    """Insist on the key, once."""
    assert head.header("x-api-key") == CANARY
    assert head.raw.count(CANARY.encode()) == 1


# To where a recording may be.


@pytest.mark.parametrize("status", some({str(each): each for each in STATUSES}, "302"))
async def test_a_signed_url_elsewhere_is_asked_without_the_key(status: int, tmp_path: Path) -> None:
    """Another port is another origin: its URL arrives as it was signed, and nothing else."""
    async with WireServer(whole) as storage:

        def signed(target: str) -> str:
            return f"{storage.url()}{target}&X-Signature=abc%2Fdef%20%3D&x=a+b"

        async with WireServer(sends_to(signed, status)) as server:
            trial = trial_on(server, tmp_path / "work", *IDS, speed=10.0)
            ended = await trial.download(*trial.csv(*IDS))
            assert ended.code == 0, ended.stderr
            assert (len(server.heads), len(storage.heads)) == (3, 3)
            await trial.healed(*trial.csv(*IDS))
    for head in server.heads:
        check_known(head)
    for head in storage.heads:
        check_stranger(head)
        assert head.target.endswith("&X-Signature=abc%2Fdef%20%3D&x=a+b")


@pytest.mark.slow
async def test_another_name_of_the_same_machine_is_another_origin(tmp_path: Path) -> None:
    """The same server by its other name is a stranger."""
    async with WireServer() as server:
        other = f"http://localhost:{server.port}"

        async def script(exchange: Exchange) -> None:
            by_name = (exchange.head.header("Host") or "").startswith("localhost")
            await (whole if by_name else sends_to(lambda target: other + target))(exchange)

        server.scripts = (script,)
        trial = trial_on(server, tmp_path / "work", LASTING, speed=10.0)
        ended = await trial.download(*trial.csv(LASTING))
        assert ended.code == 0, ended.stderr
        check_known(server.heads[0])
        check_stranger(server.heads[1])
        await trial.healed(*trial.csv(LASTING))


AT_HOME: dict[str, Callable[[str], str]] = {
    "path": lambda target: f"/v2{target}",
    "query alone": lambda _: "?direction=combined&v=2",
    "sibling": lambda _: "audio?direction=combined&v=2",
    "with a fragment": lambda target: f"/v2{target}#part",
    "dots": lambda target: f"/v2/x/..{target}",
}


@pytest.mark.parametrize("place", some(AT_HOME, "query alone"))
async def test_a_redirect_at_home_keeps_the_key(
    place: Callable[[str], str], tmp_path: Path
) -> None:
    """A relative one stays with the configured origin."""

    async def script(exchange: Exchange) -> None:
        target = exchange.head.target
        is_first = (
            target == f"/v1/agents/PROJECT-1/conversations/{LASTING}/audio?direction=combined"
        )
        await (sends_to(place) if is_first else whole)(exchange)

    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, speed=10.0)
        ended = await trial.download(*trial.csv(LASTING))
        assert (ended.code, len(server.heads)) == (0, 2), ended.stderr
        for head in server.heads:
            check_known(head)
            assert "#" not in head.target
        await trial.healed(*trial.csv(LASTING))


async def test_the_way_back_home_carries_the_key_again(tmp_path: Path) -> None:
    """Home, elsewhere, home: built anew for each."""
    async with WireServer() as elsewhere:

        async def script(exchange: Exchange) -> None:
            is_back = exchange.head.target.startswith("/back")
            away = sends_to(lambda target: elsewhere.url() + target)
            await (whole if is_back else away)(exchange)

        async with WireServer(script) as server:
            elsewhere.scripts = (sends_to(lambda target: f"{server.url()}/back{target}"),)
            trial = trial_on(server, tmp_path / "work", LASTING, speed=10.0)
            ended = await trial.download(*trial.csv(LASTING))
            assert ended.code == 0, ended.stderr
            assert len(server.heads) == 2
            for head in server.heads:
                check_known(head)
            check_stranger(elsewhere.heads[0])
            await trial.healed(*trial.csv(LASTING))


@pytest.mark.slow
async def test_https_is_followed_to_https(tmp_path: Path) -> None:
    """From one encrypted origin to another that the same authority vouches for, without the key."""
    authority = Certificates()
    bundle = authority.write_bundle(tmp_path)
    async with WireServer(whole, tls=authority.context()) as storage:
        away = sends_to(lambda target: storage.url() + target)
        async with WireServer(away, tls=authority.context()) as server:
            trial = trial_on(server, tmp_path / "work", LASTING, OTHER, speed=10.0)
            words = (*trial.csv(LASTING, OTHER), "--ca-bundle", bundle)
            ended = await trial.download(*words)
            assert ended.code == 0, ended.stderr
            assert (len(server.heads), len(storage.heads)) == (2, 2)
            await trial.healed(*words)
    for head in storage.heads:
        check_stranger(head)


@pytest.mark.parametrize("hops", some({str(each): each for each in (1, 3, 4, 9)}, "3", "4"))
async def test_three_hops_are_followed_and_no_more(hops: int, tmp_path: Path) -> None:
    """The fourth is refused, for good, and nobody else's recording is."""

    async def script(exchange: Exchange) -> None:
        target = exchange.head.target
        id_, _ = subject(target)
        number = int(target.split("/")[2]) if target.startswith("/hop/") else 0
        if id_ != LASTING or number == hops:
            await whole(exchange)
            return
        place = f"/hop/{number + 1}/{id_}/audio?direction=combined"
        await sends_to(lambda _: place)(exchange)

    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, OTHER, speed=10.0)
        ended = await trial.download(*trial.csv(LASTING, OTHER), "--concurrency", "1")
        is_followed = hops <= 3
        assert ended.code == (0 if is_followed else 3), ended.stderr
        assert trial.statuses() == {
            f"combined/{LASTING}": SAVED if is_followed else ("failed", "redirect"),
            f"combined/{OTHER}": SAVED,
        }
        assert len(server.heads) == min(hops + 1, 4) + 1
        server.scripts = (whole,)
        await trial.healed(*trial.csv(LASTING, OTHER), "--concurrency", "1")


# To where nothing may go.

REFUSED: dict[str, str] = {
    "nowhere": "",
    "a cloud's metadata": "http://169.254.169.254/latest/meta-data/",
    "a cloud's metadata, encrypted": "https://169.254.169.254/latest/meta-data/",
    "metadata in v6": "https://[fe80::a9fe:a9fe]/",
    "metadata mapped": "https://[::ffff:169.254.169.254]/",
    "metadata as a number": "https://2852039166/",
    "metadata in hex": "https://0xa9fea9fe/",
    "a neighbour": "https://10.0.0.1/x",
    "another neighbour": "https://192.168.1.1/x",
    "any address": "http://0.0.0.0/x",
    "multicast": "https://224.0.0.1/x",
    "plain http in the internet": "http://example.org/x",
    "a file": "file:///etc/passwd",
    "ftp": "ftp://127.0.0.1/x",
    "data": "data:audio/wav;base64,UklGRg==",
    "javascript": "javascript:alert(1)",
    "credentials": "http://user:word@127.0.0.1/x",
    "a user alone": "http://user@127.0.0.1/x",
    "a blank": "/with a blank",
    "a tab": "/with\ta-tab",
    "letters beyond ascii": "/wïth",
    "half an address": "http://[::1",
    "a port in words": "http://127.0.0.1:x/",
    "a port beyond all": "http://127.0.0.1:99999/",
    "no host": "https:///x",
}


def always(location: str) -> Script:
    """Redirect to the same place whatever was asked for."""
    return sends_to(lambda _: location)


@faults(
    {name: permanent(always(location), "redirect") for name, location in REFUSED.items()},
    quick=["a cloud's metadata", "credentials"],
)
async def test_a_redirect_to_a_bad_place_is_refused(fault: Fault, tmp_path: Path) -> None:
    """One request, no second one anywhere, `redirect` in the ledger."""
    async with WireServer() as server:
        await suffer(fault, server, tmp_path)


@pytest.mark.parametrize("status", [300, 304, 305, 306, 399])
@pytest.mark.slow
async def test_other_statuses_are_not_followed(status: int, tmp_path: Path) -> None:
    """A Location beside them says nothing."""
    async with WireServer(whole) as elsewhere:
        plans = Plans({LASTING: (sends_to(lambda t: elsewhere.url() + t, status),)})
        async with WireServer(plans) as server:
            trial = trial_on(server, tmp_path / "work", LASTING, OTHER, speed=10.0)
            words = trial.csv(LASTING, OTHER)
            ended = await trial.download(*words)
            assert ended.code == 3, ended.stderr
            assert elsewhere.connections == 0
            assert plans.asked[LASTING] <= 3
            server.scripts = (whole,)
            await trial.healed(*words)


CIRCLES: dict[str, tuple[list[str], int]] = {
    "itself": (["{first}"], 1),
    "itself, with a fragment": (["{first}#x"], 1),
    "one step": (["/a/{id}/x?direction=combined", "{first}"], 2),
    "not from the start": (["/a/{id}/x?direction=combined", "/a/{id}/x?direction=combined"], 2),
}


@pytest.mark.parametrize("name", some({name: name for name in CIRCLES}, "one step"))
async def test_a_circle_is_left_where_it_closes(name: str, tmp_path: Path) -> None:
    """Permanent, with as many requests as it has steps."""
    steps, requests = CIRCLES[name]
    first = f"/v1/agents/PROJECT-1/conversations/{LASTING}/audio?direction=combined"
    asked: list[str] = []

    async def script(exchange: Exchange) -> None:
        id_, _ = subject(exchange.head.target)
        if id_ != LASTING:
            await whole(exchange)
            return
        step = steps[min(len(asked), len(steps) - 1)].format(first=first, id=LASTING)
        asked.append(exchange.head.target)
        await sends_to(lambda _: step)(exchange)

    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, OTHER, speed=10.0)
        ended = await trial.download(*trial.csv(LASTING, OTHER))
        assert ended.code == 3, ended.stderr
        assert trial.statuses()[f"combined/{LASTING}"] == ("failed", "redirect")
        assert trial.saved() == {f"combined/{OTHER}.wav"}
        assert len(asked) == requests
        server.scripts = (whole,)
        await trial.healed(*trial.csv(LASTING, OTHER))


async def test_https_never_becomes_http(tmp_path: Path) -> None:
    """Not even to this machine: the plain server is not so much as connected to."""
    authority = Certificates()
    bundle = authority.write_bundle(tmp_path)
    async with WireServer(whole) as plain:
        fault = permanent(sends_to(lambda target: plain.url() + target), "redirect")
        async with WireServer(tls=authority.context()) as server:
            await suffer(fault, server, tmp_path, "--ca-bundle", bundle)
    assert plain.connections == 0


async def test_a_bad_certificate_elsewhere_fails_one_recording(tmp_path: Path) -> None:
    """It is not the host that the run depends on; nothing is sent to it."""
    authority = Certificates()
    bundle = authority.write_bundle(tmp_path)
    async with WireServer(whole, tls=Certificates().context()) as elsewhere:
        fault = permanent(sends_to(lambda target: elsewhere.url() + target), "redirect")
        async with WireServer(tls=authority.context()) as server:
            await suffer(fault, server, tmp_path, "--ca-bundle", bundle)
    assert elsewhere.heads == []


ELSEWHERE: dict[str, tuple[Script, str, str]] = {
    "expired signature": (says_raw(http_head(403, [("Content-Length", "0")])), "forbidden", "403"),
    "gone": (says_raw(http_head(410, [("Content-Length", "0")])), "http_410", "410"),
    "cut short": (answers(lambda wav: sized(wav)[:-1], Exchange.close), "truncated", "200"),
    "xml": (says_raw(http_head(200, [("Content-Length", "6")]) + b"<Error"), "not_audio", "200"),
}


@pytest.mark.parametrize("name", some({name: name for name in ELSEWHERE}, "expired signature"))
async def test_what_goes_wrong_elsewhere_is_judged_as_at_home(name: str, tmp_path: Path) -> None:
    """Each attempt begins at home again, with the key there and nowhere else."""
    script, reason, _ = ELSEWHERE[name]
    async with WireServer(script) as elsewhere:
        plans = Plans({LASTING: (sends_to(lambda target: elsewhere.url() + target),)})
        async with WireServer(plans) as server:
            trial = trial_on(server, tmp_path / "work", LASTING, OTHER, speed=10.0)
            words = (*trial.csv(LASTING, OTHER), "--attempts", "2")
            ended = await trial.download(*words)
            assert ended.code == 3, ended.stderr
            assert trial.statuses()[f"combined/{LASTING}"] == ("failed", reason)
            assert plans.asked[LASTING] == len(elsewhere.heads)
            assert len(elsewhere.heads) == (2 if reason in {"truncated", "not_audio"} else 1)
            for head in elsewhere.heads:
                check_stranger(head)
            server.scripts = (whole,)
            await trial.healed(*words)
