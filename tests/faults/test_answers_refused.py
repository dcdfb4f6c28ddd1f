"""Refusals: of a key, of a recording, of an address; which end the run, and which one recording."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.answers import (
    LASTING,
    OTHER,
    SAVED,
    Fault,
    coded,
    faults,
    permanent,
    some,
    suffer,
)
from tests.oracle import CANARY, Trial, trial_on
from tests.plans import Plans, whole
from tests.wire import Exchange, Script, WireServer, says, says_json, says_raw

PERMANENT: dict[str, Fault] = {
    **{
        f"{status} {what}": permanent(script, f"http_{status}")
        for status in (400, 405, 410, 415, 422, 451, 501)
        for what, script in {
            "coded": coded(status, "SOME_CODE"),
            "empty": says(status),
            "html": says(status, b"<html>no</html>", content_type="text/html"),
        }.items()
    },
    **{str(status): permanent(says(status), f"http_{status}") for status in (402, 406, 411, 413)},
    **{str(status): permanent(says(status), f"http_{status}") for status in (414, 416, 418, 505)},
    "400 cut short": permanent(
        says_raw(b"HTTP/1.1 400 Bad\r\nContent-Length: 99\r\n\r\n{"), "http_400"
    ),
    "404 unknown conversation": permanent(
        coded(404, "CONVERSATIONS_NOT_FOUND"), "unknown_conversation"
    ),
    "404 unknown conversation, by number": permanent(coded(404, "5001"), "unknown_conversation"),
    "404 unknown code": permanent(coded(404, "A_NEW_CODE"), "http_404"),
    "403": permanent(coded(403, "USER_ACCESS_FORBIDDEN"), "forbidden"),
    "403 html": permanent(says(403, b"<html>"), "forbidden"),
}


@faults(
    PERMANENT,
    quick=["400 coded", "501 empty", "404 unknown conversation"],
)
async def test_a_refusal_is_not_asked_for_again(fault: Fault, tmp_path: Path) -> None:
    """One request, its reason in the ledger, exit 3; the next run looks again."""
    async with WireServer() as server:
        ended = await suffer(fault, server, tmp_path)
    told = {each["id"]: each["reason"] for each in ended.summary["failures"]}
    assert told == dict.fromkeys(("CA0", "CA1"), fault.reason)


# Keys.

MANY = [f"CA{number:02}" for number in range(60)]


def is_open_or_saved(trial: Trial) -> bool:
    """Whether no recording was blamed for what the key did."""
    return set(trial.statuses().values()) <= {("open", None), SAVED}


@pytest.mark.parametrize(
    "script",
    some(
        {
            "coded": coded(401, "AUTH_USER_INVALID_TOKEN"),
            "empty": says(401),
            "html": says(401, b"<html>Log in</html>", www_authenticate="Basic"),
        },
        "coded",
    ),
)
async def test_a_refused_key_ends_the_run_at_once(script: Script, tmp_path: Path) -> None:
    """Exit 4 after the requests that were under way together; none failed, all come later."""
    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", *MANY, speed=10.0)
        ended = await trial.download(*trial.csv(*MANY))
        assert ended.code == 4, ended.stderr
        assert "POLYAI_API_KEY" in ended.stderr
        assert len(server.heads) <= 8
        assert set(trial.statuses().values()) == {("open", None)}
        server.scripts = (whole,)
        await trial.healed(*trial.csv(*MANY))


@pytest.mark.parametrize("at", some({str(at): at for at in (1, 2, 20, 60)}, "20"))
async def test_one_401_ends_the_run_wherever_it_comes(at: int, tmp_path: Path) -> None:
    """What was saved before it is kept; the rest is open and comes with the next run."""

    async def once(exchange: Exchange) -> None:
        await (says(401) if len(server.heads) == at else whole)(exchange)

    async with WireServer(once) as server:
        trial = trial_on(server, tmp_path / "work", *MANY, speed=10.0)
        ended = await trial.download(*trial.csv(*MANY), "--concurrency", "2")
        assert ended.code == 4, ended.stderr
        assert is_open_or_saved(trial)
        assert at - 6 <= len(trial.saved()) <= at + 1
        await trial.healed(*trial.csv(*MANY), "--concurrency", "2")


class Rotation:
    """A server that takes only the newest key, and a file that holds it a little later."""

    def __init__(self, path: Path, *, is_rotated: bool = True) -> None:
        self._path = path
        self._is_rotated = is_rotated
        self.refused = 0
        self._write(CANARY)

    def _write(self, key: str) -> None:
        # In one step, as whoever rotates keys should: half a key would be refused for good.
        new = self._path.with_name("new")
        new.write_text(key + "\n")
        new.chmod(0o600)
        new.replace(self._path)

    async def __call__(self, exchange: Exchange) -> None:
        """Refuse the first key, and write the second one."""
        if exchange.head.header("x-api-key") == f"{CANARY}-2":
            await whole(exchange)
            return
        self.refused += 1
        if self._is_rotated:
            self._write(f"{CANARY}-2")
        await coded(401, "AUTH_USER_INVALID_TOKEN")(exchange)


def in_folder_of_its_own(folder: Path) -> Path:
    """Make a place for a key outside of where the program works."""
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    return keys / "key"


@pytest.mark.parametrize("count", some({"1": 1, "30": 30}, "30"))
async def test_a_rotated_key_is_read_again_from_its_file(count: int, tmp_path: Path) -> None:
    """The run goes on with the new key; those that went out with the old one cost no attempt."""
    rotation = Rotation(in_folder_of_its_own(tmp_path))
    ids = MANY[:count]
    async with WireServer(rotation) as server:
        trial = trial_on(server, tmp_path / "work", *ids, speed=10.0)
        words = (*trial.csv(*ids), "--api-key-file", str(tmp_path / "keys" / "key"))
        ended = await trial.download(*words, "--attempts", "1")
        assert ended.code == 0, ended.stderr
        assert 1 <= rotation.refused <= min(count, 8)
        assert len(server.heads) == count + rotation.refused
        await trial.healed(*words)


@pytest.mark.parametrize("count", some({"1": 1, "30": 30}, "30"))
async def test_a_key_file_that_holds_the_same_key_is_not_tried_again(
    count: int, tmp_path: Path
) -> None:
    """Read once more, refused once: exit 4, named by its file."""
    rotation = Rotation(in_folder_of_its_own(tmp_path), is_rotated=False)
    ids = MANY[:count]
    path = tmp_path / "keys" / "key"
    async with WireServer(rotation) as server:
        trial = trial_on(server, tmp_path / "work", *ids, speed=10.0)
        words = (*trial.csv(*ids), "--api-key-file", str(path))
        ended = await trial.download(*words)
        assert ended.code == 4, ended.stderr
        assert str(path) in ended.stderr
        assert rotation.refused == len(server.heads) <= min(count, 8)
        assert set(trial.statuses().values()) == {("open", None)}
        server.scripts = (whole,)
        await trial.healed(*words)


async def test_a_key_that_is_rotated_to_another_wrong_one_ends_the_run(tmp_path: Path) -> None:
    """Each reading costs the requests under way; the file is not read for ever."""
    path = in_folder_of_its_own(tmp_path)
    rotation = Rotation(path)

    async def never(exchange: Exchange) -> None:
        if exchange.head.header("x-api-key") == f"{CANARY}-2":
            await says(401)(exchange)
        else:
            await rotation(exchange)

    async with WireServer(never) as server:
        trial = trial_on(server, tmp_path / "work", *MANY, speed=10.0)
        words = (*trial.csv(*MANY), "--api-key-file", str(path))
        ended = await trial.download(*words)
        assert ended.code == 4, ended.stderr
        assert len(server.heads) <= 16
        assert set(trial.statuses().values()) == {("open", None)}
        server.scripts = (whole,)
        await trial.healed(*words)


# Forbidden.


@pytest.mark.parametrize("count", some({"1": 1, "9": 9}, "9"))
async def test_a_few_forbidden_recordings_are_theirs_alone(count: int, tmp_path: Path) -> None:
    """Failed with `forbidden`, one request each; all others are saved."""
    no = coded(403, "USER_ACCESS_FORBIDDEN")
    plans = Plans(dict.fromkeys(MANY[:count], (no,)))
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", *MANY[:20], speed=10.0)
        words = (*trial.csv(*MANY[:20]), "--concurrency", "1")
        ended = await trial.download(*words)
        assert ended.code == 3, ended.stderr
        assert list(trial.statuses().values()).count(("failed", "forbidden")) == count
        assert plans.asked == dict.fromkeys(MANY[:20], 1)
        server.scripts = (whole,)
        await trial.healed(*words)


@pytest.mark.parametrize("good_first", some({"0": 0, "5": 5}, "5"))
async def test_ten_forbidden_in_a_row_are_the_keys_fault(good_first: int, tmp_path: Path) -> None:
    """Exit 4; those before the tenth have failed, all others are open."""
    no = coded(403, "USER_ACCESS_FORBIDDEN")
    plans = Plans(dict.fromkeys(MANY[good_first:], (no,)))
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", *MANY, speed=10.0)
        words = (*trial.csv(*MANY), "--concurrency", "1")
        ended = await trial.download(*words)
        assert ended.code == 4, ended.stderr
        assert "403" in ended.stderr
        statuses = list(trial.statuses().values())
        assert statuses.count(("failed", "forbidden")) == 9
        assert statuses.count(SAVED) == good_first
        assert len(server.heads) == good_first + 10
        server.scripts = (whole,)
        await trial.healed(*words)


# Not found.

NO_RECORDING = coded(404, "CONVERSATIONS_RECORDING_NOT_FOUND")


def age_ledger(trial: Trial, age: timedelta) -> None:
    """Let everything have been seen first so long ago."""
    seen = (datetime.now(UTC) - age).isoformat(timespec="microseconds")
    with closing(sqlite3.connect(trial.archive / ".bulkaudio" / "ledger.db")) as ledger, ledger:
        assert ledger.execute("UPDATE recordings SET first_seen_at = ?", (seen,)).rowcount


def dated_csv(trial: Trial, started: Mapping[str, str]) -> tuple[str, str]:
    """Write a CSV that knows when each conversation began."""
    path = trial.cwd / "calls.csv"
    lines = (f"{id_},{at}" for id_, at in started.items())
    path.write_text("\n".join(("conversation_id,started_at", *lines)) + "\n")
    return "--csv", str(path)


def ago(hours: float) -> str:
    """Write a time in the past."""
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


AGES = {"fresh": 0.0, "a day": 24.0, "47 hours": 47.0, "49 hours": 49.0, "a year": 8760.0}


CODES = {"name": "CONVERSATIONS_RECORDING_NOT_FOUND", "number": "5003"}


@pytest.mark.parametrize(
    ("hours", "code"),
    some(
        {
            f"{age}, {kind}": (hours, code)
            for age, hours in AGES.items()
            for kind, code in CODES.items()
        },
        *("47 hours, name", "49 hours, number"),
    ),
)
async def test_a_missing_recording_is_late_or_absent_by_its_calls_age(
    hours: float, code: str, tmp_path: Path
) -> None:
    """Below 48 hours it is looked for again by the next run, from then on never; exit 0."""
    plans = Plans({LASTING: (coded(404, code),)})
    is_absent = hours > 48
    async with WireServer(plans) as server:
        held = (OTHER,) if is_absent else (LASTING, OTHER)
        trial = trial_on(server, tmp_path / "work", *held, speed=10.0)
        words = dated_csv(trial, {LASTING: ago(hours), OTHER: ago(hours)})
        ended = await trial.download(*words)
        assert ended.code == 0, ended.stderr
        wanted = ("absent", "no_recording") if is_absent else ("deferred", "not_ready")
        assert trial.statuses() == {f"combined/{LASTING}": wanted, f"combined/{OTHER}": SAVED}
        assert plans.asked == {LASTING: 1, OTHER: 1}
        server.scripts = (whole,)
        await trial.healed(*words)
        assert len(server.heads) == (2 if is_absent else 3)


@pytest.mark.parametrize(
    ("hours", "is_absent"), some({"47": (47.0, False), "49": (49.0, True)}, "49")
)
async def test_a_missing_recording_of_an_unknown_age_is_judged_by_its_first_sight(
    hours: float, tmp_path: Path, *, is_absent: bool
) -> None:
    """The first run cannot know, and defers; one two days later does."""
    plans = Plans({LASTING: (NO_RECORDING,)})
    async with WireServer(plans) as server:
        held = (OTHER,) if is_absent else (LASTING, OTHER)
        trial = trial_on(server, tmp_path / "work", *held, speed=10.0)
        words = trial.csv(LASTING, OTHER)
        assert (await trial.download(*words)).code == 0
        assert trial.statuses()[f"combined/{LASTING}"] == ("deferred", "not_ready")
        age_ledger(trial, timedelta(hours=hours))
        assert (await trial.download(*words)).code == 0
        wanted = ("absent", "no_recording") if is_absent else ("deferred", "not_ready")
        assert trial.statuses()[f"combined/{LASTING}"] == wanted
        assert plans.asked == {LASTING: 2, OTHER: 1}
        server.scripts = (whole,)
        await trial.healed(*words)


LOST: dict[str, Script] = {
    "html": says(404, b"<html>Not Found</html>", content_type="text/html"),
    "empty": says(404),
    "gateway": says_json(404, {"message": "no Route matched with those values"}),
    "json list": says_json(404, ["nothing"]),
    "cut short": says_raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\n<"),
}


@pytest.mark.parametrize("script", some(LOST, "html"))
async def test_a_host_that_is_not_polyais_ends_the_run(script: Script, tmp_path: Path) -> None:
    """Exit 2 after three such answers and those under way, with the right host; all stays open."""
    async with WireServer(script) as server:
        trial = trial_on(server, tmp_path / "work", *MANY, speed=10.0)
        ended = await trial.download(*trial.csv(*MANY))
        assert ended.code == 2, ended.stderr
        assert f"127.0.0.1:{server.port}" in ended.stderr
        assert "https://api.uk.poly.ai" in ended.stderr
        assert len(server.heads) <= 10
        assert set(trial.statuses().values()) == {("open", None)}
        server.scripts = (whole,)
        await trial.healed(*trial.csv(*MANY))


@pytest.mark.slow
async def test_an_agent_that_polyai_does_not_know_ends_the_run(tmp_path: Path) -> None:
    """Exit 2, naming the agent."""
    async with WireServer(coded(404, "PROJECT_NOT_FOUND")) as server:
        trial = trial_on(server, tmp_path / "work", *MANY, speed=10.0)
        ended = await trial.download(*trial.csv(*MANY))
        assert ended.code == 2, ended.stderr
        assert "PROJECT-1" in ended.stderr
        assert len(server.heads) <= 10
        server.scripts = (whole,)
        await trial.healed(*trial.csv(*MANY))


async def test_two_lost_answers_of_one_recording_heal(tmp_path: Path) -> None:
    """A gateway that restarts is not the wrong host."""
    plans = Plans({LASTING: (LOST["html"], LOST["html"], whole)})
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, speed=10.0)
        ended = await trial.download(*trial.csv(LASTING))
        assert ended.code == 0, ended.stderr
        assert plans.asked == {LASTING: 3}
        await trial.healed(*trial.csv(LASTING))


async def test_a_gateway_that_echoes_the_key_does_not_spread_it(tmp_path: Path) -> None:
    """Code, message and support id of an error are shown, unless the key stands in them."""
    code = CANARY.upper().replace("-", "_")
    echo = {"error_code": code, "error_message": f"bad key {CANARY}", "error_id": CANARY}
    plans = Plans({LASTING: (says_json(400, echo, x_polyai_correlation_id=CANARY),)})
    async with WireServer(plans) as server:
        trial = trial_on(server, tmp_path / "work", LASTING, OTHER, speed=10.0)
        log = trial.cwd / "run.log"
        words = (*trial.csv(LASTING, OTHER), "-vv", "--log-file", str(log))
        ended = await trial.download(*words)
        assert ended.code == 3, ended.stderr
        assert CANARY not in log.read_text()
        assert log.stat().st_mode & 0o077 == 0
        server.scripts = (whole,)
        await trial.healed(*words)
