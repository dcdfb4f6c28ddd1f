"""The command ``download`` against a simulated PolyAI, as a nightly job lives with it."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from bulkaudio.simulator.answers import Key
from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.journal import Journal
from bulkaudio.simulator.server import Simulator
from tests.program import (
    Desk,
    check_archive,
    expected,
    ledger_rows,
    run,
    started,
    temporary_files,
    until,
    wavs,
    write_csv,
)
from tests.wire import WireServer, says_json

SHORT = (0.05, 0.15)
SIDES = ["combined", "user", "agent"]


def recorded(count: int) -> Calls:
    """Make calls that all have a recording."""
    return Calls(count=count, speech_s=SHORT, chat_share=0.0, opt_out_share=0.0)


def page_queries(journal: Journal) -> list[dict[str, str]]:
    """Return what each page of the listing was asked for with."""
    queries = (urlsplit(heard.target) for heard in journal.recent if "?" in heard.target)
    return [
        {name: values[0] for name, values in parse_qs(query.query).items()}
        for query in queries
        if query.path.endswith("/conversations")
    ]


def moment(text: str) -> datetime:
    """Read a time as the server does."""
    return datetime.fromisoformat(text).astimezone(UTC)


# The nightly job.


async def test_nightly_run_remembers_everything_and_looks_back(tmp_path: Path) -> None:
    """With nothing but --out: same account, agent, directions; 48 hours before the last end."""
    async with Simulator(calls=recorded(20)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        first = await desk.list("--direction", "user", "--direction", "agent")
        assert first.code == 0, first.stderr
        asked = page_queries(simulator.requests)[0]
        assert moment(asked["start_time"]) == simulator.calls.since
        assert moment(asked["end_time"]) == simulator.calls.until

        simulator.requests.clear()
        began = datetime.now(UTC)
        nightly = await desk.go_on()
        assert nightly.code == 0, nightly.stderr
        (page,) = page_queries(simulator.requests)
        assert moment(page["start_time"]) == simulator.calls.until - timedelta(hours=48)
        assert began - timedelta(seconds=1) <= moment(page["end_time"]) <= datetime.now(UTC)
        (heard,) = simulator.requests.recent
        assert heard.target.startswith(f"/v3/{simulator.account}/{simulator.agent}/conversations?")
        scope = nightly.summary["scope"]
        assert scope["region"] == "uk"
        assert scope["directions"] == ["user", "agent"]
        assert nightly.summary["counts"]["already"] == 40
        assert not simulator.requests.recordings()

        simulator.requests.clear()
        third = await desk.go_on("--lookback", "6h")
        assert third.code == 0, third.stderr
        (again,) = page_queries(simulator.requests)
        assert moment(again["start_time"]) == moment(page["end_time"]) - timedelta(hours=6)
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids(), ["user", "agent"])


@pytest.mark.slow
async def test_one_off_does_not_change_what_every_night_takes(tmp_path: Path) -> None:
    """Another direction, channel or environment for once, or a refused key, stays for once."""
    async with Simulator(calls=recorded(10)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        refused = await desk.list("--env", "sandbox", POLYAI_API_KEY="wrong")
        assert refused.code == 4
        first = await desk.list("--direction", "user", "--direction", "agent")
        assert first.code == 0, first.stderr
        for once in (["--direction", "combined"], ["--channel", "NONE"], ["--env", "sandbox"]):
            assert (await desk.list(*once)).code == 0
        window = await desk.list()
        assert window.summary["scope"]["directions"] == ["user", "agent"]

        nightly = await desk.go_on()
        assert nightly.summary["scope"]["directions"] == ["user", "agent"]
        assert nightly.summary["counts"]["already"] == 20
        assert any("user and agent" in note for note in nightly.summary["notes"])
        quiet = await desk.download("--quiet")
        assert (quiet.code, quiet.stderr) == (0, "")


async def test_nightly_run_without_a_first_one_says_what_is_missing(tmp_path: Path) -> None:
    """An archive that remembers nothing cannot go on: exit 2, no request."""
    async with Simulator(calls=recorded(5)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        done = await desk.go_on()
        assert done.code == 2
        assert "--region" in done.stderr
        named = await desk.download("--account", simulator.account)
        assert named.code == 2
        assert "--since" in named.stderr
        assert simulator.requests.total == 0


async def test_chats_are_skipped_and_opt_outs_are_absent(tmp_path: Path) -> None:
    """Neither is a failure: exit 0, chats are never asked for, old opt-outs only once."""
    calls = Calls(count=80, speech_s=SHORT, chat_share=0.2, opt_out_share=0.2)
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        chats = [call.id for call in calls.all() if call.channel == "WEBCHAT"]
        opted_out = {
            call.id for call in calls.all() if not call.has_recording and call.id not in chats
        }
        assert chats
        assert opted_out
        done = await desk.list()
        assert done.code == 0, done.stderr
        assert done.summary["status"] == "complete"
        counts = done.summary["counts"]
        assert counts["skipped"] == len(chats)
        assert counts["absent"] == len(opted_out)
        assert counts["saved"] == 80 - len(chats) - len(opted_out) == len(calls.recorded_ids())
        asked = simulator.requests.recordings()
        assert not {id_ for id_, _ in asked} & set(chats)
        assert {asked[id_, "combined"] for id_ in opted_out} == {1}
        rows = check_archive(desk.archive, simulator)
        assert {id_ for (id_, _), row in rows.items() if row.status == "absent"} == opted_out

        again = await desk.list()
        assert again.code == 0, again.stderr
        assert again.summary["counts"]["absent"] == len(opted_out)
        assert simulator.requests.recordings() == asked


async def test_call_in_progress_is_fetched_when_it_has_ended(tmp_path: Path) -> None:
    """It is deferred without being asked for; the next night it is there."""
    calls = Calls(count=30, speech_s=SHORT, chat_share=0.0, opt_out_share=0.0, in_progress=4)
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        going_on = {call.id for call in calls.all() if call.in_progress}
        first = await desk.list()
        assert first.code == 0, first.stderr
        assert first.summary["counts"]["deferred"] == len(going_on) == 4
        assert not {id_ for id_, _ in simulator.requests.recordings()} & going_on
        reasons = {row.reason for row in ledger_rows(desk.archive).values() if row.reason}
        assert reasons == {"in_progress"}

        calls.catch_up()
        simulator.requests.clear()
        second = await desk.go_on()
        assert second.code == 0, second.stderr
        assert set(simulator.requests.recordings()) == {(id_, "combined") for id_ in going_on}
        assert wavs(desk.archive) == expected(simulator, calls.ids(), ["combined"])


async def test_window_stays_open_for_a_call_in_progress(tmp_path: Path) -> None:
    """The next listing begins before it, however short the look-back is."""
    calls = Calls(count=30, speech_s=SHORT, chat_share=0.0, opt_out_share=0.0, in_progress=4)
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        oldest = min(call.started_at for call in calls.all() if call.in_progress)
        assert (await desk.list()).code == 0
        simulator.requests.clear()
        assert (await desk.go_on("--lookback", "1m")).code == 0
        assert moment(page_queries(simulator.requests)[0]["start_time"]) <= oldest


async def test_late_arrivals_are_found_by_looking_back(tmp_path: Path) -> None:
    """Calls that were listed after their window had been read arrive the next night."""
    calls = Calls(count=60, speech_s=SHORT, chat_share=0.0, opt_out_share=0.0, late=6)
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        early = set(calls.ids())
        assert len(early) == 54
        first = await desk.list()
        assert first.summary["counts"]["saved"] == 54
        calls.catch_up()
        simulator.requests.clear()
        second = await desk.go_on()
        assert second.code == 0, second.stderr
        late = set(calls.ids()) - early
        assert {id_ for id_, _ in simulator.requests.recordings()} == late
        assert second.summary["counts"]["saved"] == 6
        assert wavs(desk.archive) == expected(simulator, calls.ids(), ["combined"])


async def test_young_recording_that_is_missing_is_deferred(tmp_path: Path) -> None:
    """A fresh 404 is looked at again by a later run, and is no failure meanwhile."""
    today = datetime.now(UTC).replace(microsecond=0)
    calls = Calls(
        count=20,
        speech_s=SHORT,
        chat_share=0.0,
        opt_out_share=0.0,
        not_ready=5,
        since=today - timedelta(hours=8),
        until=today - timedelta(hours=1),
    )
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        first = await desk.list()
        assert first.code == 0, first.stderr
        assert first.summary["counts"]["deferred"] == 5
        assert first.summary["counts"]["absent"] == 0
        calls.catch_up()
        second = await desk.go_on()
        assert second.code == 0, second.stderr
        assert second.summary["counts"]["saved"] == 5
        assert wavs(desk.archive) == expected(simulator, calls.ids(), ["combined"])


@pytest.mark.slow
async def test_what_one_csv_left_deferred_is_looked_at_with_the_next(tmp_path: Path) -> None:
    """Every night brings another file: yesterday's late recordings are in none of them any more."""
    today = datetime.now(UTC).replace(microsecond=0)
    calls = Calls(
        count=20,
        speech_s=SHORT,
        chat_share=0.0,
        opt_out_share=0.0,
        not_ready=5,
        since=today - timedelta(hours=8),
        until=today - timedelta(hours=1),
    )
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = calls.ids()
        first = await desk.download("--csv", desk.csv(ids[:10] + ids[11:], "monday.csv"))
        assert first.code == 0, first.stderr
        late = first.summary["counts"]["deferred"]
        assert late > 0
        calls.catch_up()
        sample = await desk.download("--csv", desk.csv(ids[10:11], "few.csv"), "--limit", "1")
        assert sample.summary["counts"]["recordings"] == 1
        second = await desk.download("--csv", desk.csv(ids[10:11], "tuesday.csv"))
        assert second.code == 0, second.stderr
        assert second.summary["counts"]["saved"] == late
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])


async def test_age_in_a_csv_decides_between_absent_and_deferred(tmp_path: Path) -> None:
    """A missing recording of an old call is absent; without a date it is given 48 hours."""
    calls = Calls(count=40, speech_s=SHORT, chat_share=0.0, opt_out_share=0.3)
    async with Simulator(calls=calls) as simulator:
        gone = len(calls.ids()) - len(calls.recorded_ids())
        assert gone > 3
        dated = tmp_path / "dated.csv"
        lines = [f"{call.id},{call.started_at.isoformat()}" for call in calls.all()]
        dated.write_text("\n".join(["conversation_id,started_at", *lines]) + "\n")
        plain = write_csv(tmp_path / "plain.csv", calls.ids())
        for csv, outcome in ((dated, "absent"), (plain, "deferred")):
            (tmp_path / outcome).mkdir()
            desk = Desk.at(simulator, tmp_path / outcome)
            done = await desk.download("--csv", csv)
            assert done.code == 0, done.stderr
            assert done.summary["counts"][outcome] == gone
            assert done.summary["counts"]["saved"] == 40 - gone


async def test_listing_by_offset_only(tmp_path: Path) -> None:
    """A server without cursors is listed page by page all the same."""
    async with Simulator(calls=recorded(70), has_cursors=False) as simulator:
        desk = Desk.at(simulator, tmp_path)
        done = await desk.list("--page-size", "30")
        assert done.code == 0, done.stderr
        assert simulator.requests.pages() == {"": 1, "30": 1, "60": 1}
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids(), ["combined"])


async def test_studio_region_is_listed_by_its_own_endpoint(tmp_path: Path) -> None:
    """It lives on the recordings' host, knows no dates and no account, and pages by offset."""
    async with Simulator(calls=recorded(70)) as simulator:
        desk = Desk.at(simulator, tmp_path, region="studio")
        calls = simulator.calls
        middle = next(call.started_at for call in calls.all() if call.index == 20)
        wanted = [call.id for call in calls.all() if call.started_at >= middle]
        env = desk.env()
        del env["BULKAUDIO_CONVERSATIONS_URL"]
        words = desk.words("--since", middle.isoformat(), "--page-size", "30")
        done = await run(*words, env=env, cwd=tmp_path)
        assert done.code == 0, done.stderr
        assert {heard.host for heard in simulator.requests.recent} == {"audio"}
        assert done.summary["counts"]["saved"] == len(wanted) == 50
        assert wavs(desk.archive) == expected(simulator, wanted, ["combined"])


# What an archive is held to.


async def test_redaction_is_pinned_to_the_archive(tmp_path: Path) -> None:
    """Redacted once, redacted for ever: without the flag it is asked for, against it refused."""
    async with Simulator(calls=recorded(10)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        first = await desk.download("--csv", desk.csv(ids[:5]), "--redacted")
        assert first.code == 0, first.stderr
        assert first.summary["scope"]["redaction_requested"] is True
        before = simulator.requests.total
        against = await desk.download("--csv", desk.csv(ids), "--no-redacted")
        assert against.code == 2
        assert "--redacted" in against.stderr
        assert simulator.requests.total == before
        later = await desk.download("--csv", desk.csv(ids))
        assert later.code == 0, later.stderr
        assert simulator.requests.total == 10
        for heard in simulator.requests.recent:
            assert parse_qs(urlsplit(heard.target).query)["redacted"] == ["true"]
        assert wavs(desk.archive) == {
            f"combined/{id_}.wav": simulator.expected_bytes(id_, "combined", redacted=True)
            for id_ in ids
        }


async def test_unasked_redaction_is_left_to_the_api(tmp_path: Path) -> None:
    """Without the flag the parameter is not sent; later --redacted contradicts what is kept."""
    async with Simulator(calls=recorded(4)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        csv = desk.csv(simulator.calls.ids())
        assert (await desk.download("--csv", csv)).code == 0
        assert not any("redacted" in heard.target for heard in simulator.requests.recent)
        against = await desk.download("--csv", csv, "--redacted")
        assert against.code == 2
        assert "--redacted" in against.stderr
        assert simulator.requests.total == 4


@pytest.mark.slow
async def test_what_has_no_date_does_not_stop_the_dated_rest(tmp_path: Path) -> None:
    """Left by a run that saved nothing under the flat layout, it is told of until it has one."""
    calls = Calls(count=5, speech_s=SHORT, chat_share=0.0, opt_out_share=0.0, not_ready=1)
    async with Simulator(calls=calls) as simulator:
        desk = Desk.at(simulator, tmp_path)
        (late,) = set(calls.ids()) - set(calls.recorded_ids())
        tried = await desk.download("--csv", desk.csv([late]))
        assert tried.summary["counts"]["deferred"] == 1
        calls.catch_up()
        done = await desk.list("--layout", "{direction}/{date}/{id}.wav")
        assert done.code == 3, done.stderr
        assert done.summary["counts"]["saved"] == 4
        assert done.summary["counts"]["rejected"] == 1
        nightly = await desk.go_on()
        assert nightly.code == 0, nightly.stderr
        assert nightly.summary["counts"]["saved"] == 1


@pytest.mark.slow
async def test_dated_layout_names_files_and_stays(tmp_path: Path) -> None:
    """{date} is the UTC day of the call; another layout is refused, none is remembered."""
    layout = "{direction}/{date}/{id}.wav"
    async with Simulator(calls=recorded(20)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        done = await desk.list("--layout", layout)
        assert done.code == 0, done.stderr
        named = {
            f"combined/{call.started_at:%Y-%m-%d}/{call.id}.wav": simulator.expected_bytes(
                call.id, "combined"
            )
            for call in simulator.calls.all()
        }
        assert len({name.split("/")[1] for name in named}) == 2
        assert wavs(desk.archive) == named

        before = simulator.requests.total
        other = await desk.list("--layout", "{direction}/{id}.wav")
        assert other.code == 2
        assert "--layout" in other.stderr
        assert layout in other.stderr
        undated = await desk.download("--csv", desk.csv(simulator.calls.ids()))
        assert undated.code == 2
        assert "started_at" in undated.stderr
        assert simulator.requests.total == before
        nightly = await desk.go_on()
        assert nightly.code == 0, nightly.stderr
        assert wavs(desk.archive) == named


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value"), [("--region", "us"), ("--agent", "PROJECT-2"), ("--account", "ws-9")]
)
async def test_archive_of_another_agent_is_refused(tmp_path: Path, option: str, value: str) -> None:
    """Recordings of two agents never mix: exit 2 with the difference named, before any request."""
    async with Simulator(calls=recorded(5)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        assert (await desk.list()).code == 0
        before = simulator.requests.total
        done = await desk.go_on(option, value)
        assert done.code == 2
        assert option in done.stderr
        assert value in done.stderr
        assert simulator.requests.total == before


async def test_first_run_with_a_wrong_agent_does_not_bind_the_archive(tmp_path: Path) -> None:
    """A slip of the pen is corrected by typing it again."""
    async with Simulator(calls=recorded(30)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        csv = desk.csv(simulator.calls.ids())
        words = ("download", "--csv", csv, "--region", "uk", "--out", desk.archive, "--json")
        wrong = await run(*words, "--agent", "PROJEKT-1", env=desk.env(), cwd=tmp_path)
        assert wrong.code == 2, wrong.stderr
        assert "PROJEKT-1" in wrong.stderr
        assert simulator.requests.total <= 16
        right = await desk.download("--csv", csv)
        assert right.code == 0, right.stderr
        assert right.summary["counts"]["saved"] == 30
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids(), ["combined"])


@pytest.mark.slow
async def test_first_listing_of_a_wrong_account_does_not_bind_the_archive(tmp_path: Path) -> None:
    """It is refused by PolyAI once, and the right account may be named afterwards."""
    async with Simulator(calls=recorded(10)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        words = desk.words("--since", "2026-01-05", "--until", "2026-01-07")
        wrong = await run(*words, "--account", "ws-9", env=desk.env(), cwd=tmp_path)
        assert wrong.code in {2, 4}, wrong.stderr
        assert simulator.requests.total <= 3
        right = await desk.list()
        assert right.code == 0, right.stderr
        assert right.summary["scope"]["account"] == simulator.account
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids(), ["combined"])
        nightly = await desk.go_on()
        assert nightly.code == 0, nightly.stderr


# Metadata.


@pytest.mark.parametrize("kind", ["basic", "full"])
@pytest.mark.parametrize("source", ["listing", "csv"])
async def test_metadata_lies_beside_the_recordings(tmp_path: Path, kind: str, source: str) -> None:
    """One valid JSON file each, with a transcript only when asked for; nothing is asked twice."""
    async with Simulator(calls=recorded(12)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        words = ("--metadata", kind, "--direction", "user", "--direction", "agent")

        async def once() -> dict[str, int]:
            done = (
                await desk.list(*words)
                if source == "listing"
                else await desk.download("--csv", desk.csv(ids), *words)
            )
            assert done.code == 0, done.stderr
            return {
                kind: sum(n for what, n in simulator.requests.counts.items() if what.kind == kind)
                for kind in ("recording", "conversation", "page")
            }

        of_its_own = 12 if source == "csv" else 0
        pages = 1 if source == "listing" else 0
        assert await once() == {"recording": 24, "conversation": of_its_own, "page": pages}
        files = sorted((desk.archive / "metadata").iterdir())
        assert [path.name for path in files] == sorted(f"{id_}.json" for id_ in ids)
        for path in files:
            details = json.loads(path.read_text(encoding="utf-8"))
            assert details["conversationId" if source == "csv" else "id"] == path.stem
            assert ("turns" in details) is (kind == "full")
            assert details["channel"] == "VOICE-SIP"
            assert path.stat().st_mode & 0o777 == 0o600
        assert wavs(desk.archive) == expected(simulator, ids, ["user", "agent"])
        again = {"recording": 24, "conversation": of_its_own, "page": 2 * pages}
        assert await once() == again


# Keys and hosts.


@pytest.mark.parametrize("concurrency", ["auto", "64"])
async def test_refused_key_ends_the_run_at_once(tmp_path: Path, concurrency: str) -> None:
    """401: exit 4 after 16 requests at most, not one for each recording."""
    async with Simulator(calls=recorded(300), latency_s=0.05) as simulator:
        desk = Desk.at(simulator, tmp_path)
        done = await desk.download(
            "--csv",
            desk.csv(simulator.calls.ids()),
            "--concurrency",
            concurrency,
            POLYAI_API_KEY="canary-0123456789",
        )
        assert done.code == 4, done.stderr
        assert "POLYAI_API_KEY" in done.stderr
        assert 1 <= simulator.requests.total <= 16
        assert simulator.requests.recent[0].headers["x-api-key"] == "canary-0123456789"
        assert done.summary["counts"]["failed"] == 0
        assert done.summary["counts"]["saved"] == 0
        written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        for text in (done.stdout.encode(), done.stderr.encode(), *written):
            assert b"canary-0123456789" not in text
        right = await desk.download("--csv", desk.csv(simulator.calls.ids()))
        assert right.code == 0, right.stderr
        assert right.summary["counts"]["saved"] == 300


async def test_key_refused_in_the_middle_ends_the_run(tmp_path: Path) -> None:
    """A key revoked during a run costs a few requests more, and nothing that was saved."""
    async with Simulator(calls=recorded(400), latency_s=0.05) as simulator:
        desk = Desk.at(simulator, tmp_path)
        words = desk.words("--csv", desk.csv(simulator.calls.ids()), "--concurrency", "8")
        async with started(*words, env=desk.env(), cwd=tmp_path) as process:
            await until(lambda: simulator.requests.total >= 60, process)
            simulator.keys = (Key(), Key(has_pii_access=False))
            stdout, stderr = await process.communicate()
        assert process.returncode == 4, stderr.decode()
        assert simulator.requests.statuses[401] <= 16
        counts = json.loads(stdout)["counts"]
        # What was still arriving when the refusal came is given up, and stays open.
        assert counts["saved"] == len(wavs(desk.archive)) <= simulator.requests.statuses[200]
        assert counts["failed"] == 0
        check_archive(desk.archive, simulator)
        assert temporary_files(desk.archive) == []


async def test_rotated_key_file_is_read_again_during_the_run(tmp_path: Path) -> None:
    """The old key is refused, the file has the new one: nobody notices but the server."""
    async with Simulator(calls=recorded(300), latency_s=0.02) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        file = tmp_path / "polyai.key"
        file.touch(mode=0o600)
        file.write_text(simulator.key + "\n")
        env = desk.env()
        del env["POLYAI_API_KEY"]
        words = desk.words("--csv", desk.csv(ids), "--api-key-file", file, "--concurrency", "16")
        async with started(*words, env=env, cwd=tmp_path) as process:
            await until(lambda: simulator.requests.total >= 60, process)
            new = Key()
            file.write_text(new.value + "\n")
            simulator.keys = (new,)
            stdout, stderr = await process.communicate()
        assert process.returncode == 0, stderr.decode()
        assert json.loads(stdout)["counts"]["saved"] == 300
        refused = simulator.requests.statuses[401]
        assert 1 <= refused <= 16
        assert simulator.requests.total == 300 + refused
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])


async def test_listing_may_need_a_key_of_its_own(tmp_path: Path) -> None:
    """A key for recordings only: exit 4 naming the option; with both keys everything arrives."""
    audio, listing = Key(hosts=frozenset({"audio"})), Key(hosts=frozenset({"conversations"}))
    async with Simulator(calls=recorded(10), keys=(audio, listing)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        one = await desk.list()
        assert one.code == 4, one.stderr
        assert "--conversations-key-file" in one.stderr
        assert simulator.requests.total == 1
        both = await desk.list(POLYAI_CONVERSATIONS_API_KEY=listing.value)
        assert both.code == 0, both.stderr
        assert wavs(desk.archive) == expected(simulator, simulator.calls.ids(), ["combined"])
        for heard in simulator.requests.recent:
            if heard.host == "audio":
                assert heard.headers["x-api-key"] == audio.value


async def test_missing_key_is_told_before_any_request(tmp_path: Path) -> None:
    """Exit 4, naming where keys are looked for; not even an archive is begun."""
    async with Simulator(calls=recorded(5)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        env = desk.env()
        del env["POLYAI_API_KEY"]
        words = desk.words("--csv", desk.csv(simulator.calls.ids()))
        done = await run(*words, env=env, cwd=tmp_path)
        assert done.code == 4, done.stderr
        assert "--api-key-file" in done.stderr
        assert "POLYAI_API_KEY" in done.stderr
        assert done.summary["exit_code"] == 4
        assert simulator.requests.total == 0
        assert not desk.archive.exists()


async def test_ten_times_forbidden_in_a_row_ends_the_run(tmp_path: Path) -> None:
    """403 for one recording is its own; ten in a row are the key's: exit 4."""
    refusal = {"error_code": "USER_ACCESS_FORBIDDEN", "error_message": "no"}
    async with WireServer(says_json(403, refusal)) as server, Simulator() as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = [f"CA{n:032x}" for n in range(60)]
        words = ("--csv", desk.csv(ids), "--concurrency", "2")
        done = await desk.download(*words, BULKAUDIO_AUDIO_URL=server.url())
        assert done.code == 4, done.stderr
        assert "403" in done.stderr
        assert 10 <= len(server.heads) <= 16


async def test_wrong_host_is_named_with_the_right_one(tmp_path: Path) -> None:
    """Recordings asked of the listing's host: exit 2 after a few requests, with the way out."""
    async with Simulator(calls=recorded(60)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        csv = desk.csv(simulator.calls.ids())
        wrong = await desk.download("--csv", csv, BULKAUDIO_AUDIO_URL=simulator.conversations_url)
        assert wrong.code == 2, wrong.stderr
        assert simulator.conversations_url in wrong.stderr
        assert "https://api.uk.poly.ai" in wrong.stderr
        assert "BULKAUDIO_AUDIO_URL" in wrong.stderr
        assert simulator.requests.total <= 16
        assert wrong.summary["counts"]["absent"] == wrong.summary["counts"]["failed"] == 0
        right = await desk.download("--csv", csv)
        assert right.code == 0, right.stderr
        assert right.summary["counts"]["saved"] == 60


async def test_unknown_conversation_is_a_failure_of_its_own(tmp_path: Path) -> None:
    """It is told with its reason, exit 3, and everything else arrives."""
    async with Simulator(calls=recorded(10)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        stranger = f"CA{7:032x}"
        done = await desk.download("--csv", desk.csv([*ids, stranger, "../../etc/passwd"]))
        assert done.code == 3, done.stderr
        assert done.summary["status"] == "partial"
        counts = done.summary["counts"]
        assert (counts["saved"], counts["failed"], counts["rejected"]) == (10, 1, 1)
        (failure,) = done.summary["failures"]
        assert failure["id"] == stranger
        assert failure["reason"] == "unknown_conversation"
        assert failure["http_status"] == 404
        assert failure["attempts"] == 1
        assert failure["correlation_id"]
        assert wavs(desk.archive) == expected(simulator, ids, ["combined"])


async def test_directions_and_duplicates_are_asked_for_once_each(tmp_path: Path) -> None:
    """Ids on standard input, some twice, in all directions: one request and file each."""
    async with Simulator(calls=recorded(15)) as simulator:
        desk = Desk.at(simulator, tmp_path)
        ids = simulator.calls.ids()
        stdin = "\n".join([*ids, *ids[:7], ""]).encode()
        words = desk.words("--csv", "-", "--direction", "all")
        done = await run(*words, env=desk.env(), cwd=tmp_path, stdin=stdin)
        assert done.code == 0, done.stderr
        assert done.summary["counts"]["recordings"] == 45
        assert Counter(simulator.requests.recordings().values()) == {1: 45}
        assert wavs(desk.archive) == expected(simulator, ids, SIDES)
        modes = {path.stat().st_mode & 0o777 for path in desk.archive.rglob("*.wav")}
        assert modes == {0o600}
        folders = {p.stat().st_mode & 0o777 for p in desk.archive.rglob("*") if p.is_dir()}
        assert folders == {0o700}
