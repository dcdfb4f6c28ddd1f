"""What callers said and who they are stays where it was asked for; every file is its owner's alone."""

import json
import os
import sqlite3
import stat
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bulkaudio.ledger.files import create_private
from bulkaudio.ledger.migrations import MIGRATIONS, migrate
from tests.audio import wav_of
from tests.forked import Ended, Order, forked, run_forked
from tests.inside import Inside
from tests.oracle import Trial, trial_on
from tests.plans import whole
from tests.program import until, write_csv
from tests.wire import Exchange, Script, WireServer, hangs, in_thread, says, says_json

START = "2026-11-20T10:00:00Z"
DAY = ("--since", "2026-11-20", "--until", "2026-11-21", "--account", "ws-1")

PERSONAL = {
    "from_number": "+447700900123",
    "to_number": "+441632960456",
    "caller_name": "Perpetua-Quibble",
    "variant_name": "variant-of-Quibble",
    "handoff_reason": "reason-Quibble",
    "handoff_destination": "sip:Quibble@example.com",
    "summary": "Quibble-wants-her-balance",
    "note": "note-Quibble",
    "post_call_sms": "sms-Quibble",
    "poly_score": "score-Quibble",
}
SPOKEN = {"user_input": "my-card-is-4929000000006", "agent_response": "thank-you-Mrs-Quibble"}
NESTED = {
    "state": {"email": "p.quibble@example.com", "list": ["4929000-Quibble", {"k": "v-Quibble"}]}
}
KEYS = {"metrics": {"Quibble-as-a-key": 1}}

MARKS = ("447700900123", "441632960456", "Quibble", "quibble", "4929000", "my-card", "thank-you")
"""In every one of these fields; they are to be found in metadata files only."""

RECORD: Mapping[str, Any] = {
    "id": "CA1",
    "started_at": START,
    "channel": "VOICE-SIP",
    "in_progress": False,
    "total_duration": 12.5,
    **PERSONAL,
    **NESTED,
    **KEYS,
    "turns": [SPOKEN],
    "transcript": [SPOKEN],
}

SET_ASIDE = (
    {**RECORD, "id": "+447700900123"},
    {**RECORD, "id": {"number": "+447700900123"}},
    {**RECORD, "id": "CA2", "started_at": "Quibble"},
    {**RECORD, "id": "CA3", "in_progress": "Quibble"},
    "Quibble",
    ["Quibble"],
)


def marks_in(text: bytes) -> set[str]:
    """Return what of the callers stands in there."""
    return {mark for mark in MARKS if mark.encode() in text}


def files_with_marks(folder: Path) -> dict[str, set[str]]:
    """Return every file below a folder that betrays somebody, by name or content."""
    found = {}
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if marks := marks_in(content) | marks_in(path.name.encode()):
            found[str(path.relative_to(folder))] = marks
    return found


def polyai(audio: Script = whole, *records: object) -> Script:
    """List one call of somebody's, and what is set aside; answer for its recording as told."""
    page = {"conversations": [RECORD, *records], "cursor": None, "count": 1}

    async def script(exchange: Exchange) -> None:
        target = exchange.head.target
        if target.startswith("/v3/"):
            await says_json(200, page)(exchange)
        elif target.endswith("/conversations/CA1"):
            await says_json(200, RECORD)(exchange)
        else:
            await audio(exchange)

    return script


@pytest.mark.parametrize(
    ("metadata", "log_format"),
    [
        *(("none", "text"), ("basic", "json"), ("full", "text")),
        pytest.param("none", "json", marks=pytest.mark.slow),
        pytest.param("basic", "text", marks=pytest.mark.slow),
        pytest.param("full", "json", marks=pytest.mark.slow),
    ],
)
def test_who_called_and_what_was_said_is_in_metadata_only(
    metadata: str, log_format: str, inside: Inside
) -> None:
    """Not in log, output, summary, status or ledger; what was said only where all was asked for."""
    options = ("--log-file", "log", "--summary-file", "summary", "--log-format", log_format, "-vv")
    with in_thread(WireServer(polyai(whole, *SET_ASIDE))) as server:
        inside.reach(server)
        done = inside.download(*DAY, "--metadata", metadata, *options)
        page = inside.run("status", inside.archive)
        plain = inside.run("download", "--out", inside.archive, *DAY, "-v")
    assert (done.code, done.summary["counts"]["rejected"]) == (3, len(SET_ASIDE))
    for each in (done, page, plain):
        assert marks_in((each.stdout + each.stderr).encode()) == set()
    found = files_with_marks(inside.folder)
    if metadata == "none":
        assert found == {}
        return
    assert found.keys() == {"archive/metadata/CA1.json"}
    (marks,) = found.values()
    said = {"my-card", "thank-you"}
    assert marks == set(MARKS) - (set() if metadata == "full" else said)
    kept = json.loads((inside.archive / "metadata" / "CA1.json").read_text())
    assert kept.keys() == RECORD.keys() - (set() if metadata == "full" else {"turns", "transcript"})


@pytest.mark.parametrize("status", [200, 410, 404, 500])
def test_no_answer_brings_a_caller_into_a_log(status: int, inside: Inside) -> None:
    """A gateway that describes the conversation in its error, or answers with it."""
    text = " ".join((*PERSONAL.values(), *SPOKEN.values()))
    # What a log quotes of an error is its code and its ids; a caller fits into neither.
    answer = {"error_code": text, "error_id": text, "error_message": text, "error": text, **RECORD}
    csv = write_csv(inside.folder / "calls.csv", ["CA1"])
    with in_thread(WireServer(polyai(says_json(status, answer)))) as server:
        inside.reach(server)
        options = ("--log-file", "log", "--summary-file", "summary", "-vv", "--attempts", "2")
        done = inside.download("--csv", csv, *options, "--give-up-after", "1s")
    assert done.code in {2, 3, 5}
    assert marks_in((done.stdout + done.stderr).encode()) == set()
    assert files_with_marks(inside.folder) == {}


@pytest.mark.parametrize("broken", [says(500), says(200, b"{"), says(200, b'"Quibble"'), hangs])
def test_metadata_that_fails_betrays_nobody(broken: Script, inside: Inside) -> None:
    """A conversation that is asked for by itself, and comes broken."""
    csv = write_csv(inside.folder / "calls.csv", ["CA1"])

    async def script(exchange: Exchange) -> None:
        is_recording = "/audio" in exchange.head.target
        if broken is hangs and not is_recording:
            await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + b'{"Quibble"')
            await exchange.close()
        else:
            await (whole if is_recording else broken)(exchange)

    with in_thread(WireServer(script)) as server:
        inside.reach(server)
        options = ("--metadata", "full", "--log-file", "log", "-vv", "--attempts", "2")
        done = inside.download("--csv", csv, *options)
    assert done.summary["metadata"]["failed"] == 1
    assert marks_in((done.stdout + done.stderr).encode()) == set()
    assert files_with_marks(inside.folder) == {}


def test_a_column_of_numbers_taken_for_ids_is_not_repeated(inside: Inside) -> None:
    """The wrong column holds what the caller is known by: rows are told by their lines."""
    csv = write_csv(inside.folder / "calls.csv", ["+447700900123", "Perpetua Quibble", "CA1"])
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        done = inside.download(
            "--csv", csv, "-vv", "--log-file", "log", "--summary-file", "summary"
        )
    assert (done.code, done.summary["counts"]["rejected"]) == (3, 2)
    assert marks_in((done.stdout + done.stderr).encode()) == set()
    csv.unlink()
    assert files_with_marks(inside.folder) == {}


# Who may read it.


def wrong_modes(folder: Path, *, but: Path) -> dict[str, str]:
    """Return everything below a folder whose mode lets anybody else in."""
    modes = {path: path.lstat().st_mode for path in folder.rglob("*") if path != but}
    return {
        str(path.relative_to(folder)): oct(mode)
        for path, mode in modes.items()
        if stat.S_IMODE(mode) != (0o700 if stat.S_ISDIR(mode) else 0o600)
    }


async def run_open(trial: Trial, *words: str | Path) -> Ended:
    """Run the program under umask 000."""
    return await run_forked(opened(trial, *words))


def opened(trial: Trial, *words: str | Path) -> Order:
    """Order the program under umask 000."""
    order = trial.order(*words)
    return Order(arguments=order.arguments, env=order.env, cwd=order.cwd, umask=0, speed=30.0)


async def test_files_are_the_owners_alone_through_an_archives_whole_life(tmp_path: Path) -> None:
    """Under umask 000: while it runs, killed, repaired, rebuilt; whatever is moved aside, too."""
    stays = polyai(hangs)
    async with WireServer(stays) as server:
        trial = trial_on(server, tmp_path / "work", "CA1", "CA2")
        csv = tmp_path / "work" / "calls.csv"
        outputs = ("--log-file", trial.cwd / "log", "--summary-file", trial.cwd / "summary")
        words = trial.words(*DAY, "--metadata", "full", *outputs, "-vv")
        async with forked(opened(trial, *words)):
            status = trial.archive / ".bulkaudio" / "status.json"
            await until(lambda: len(server.targets) > 1 and status.exists())
            assert wrong_modes(trial.cwd, but=csv) == {}
            assert {"log", "archive"} <= {path.name for path in trial.cwd.iterdir()}
        assert wrong_modes(trial.cwd, but=csv) == {}
        server.scripts = (polyai(),)
        assert (await run_open(trial, *words)).code == 0
        assert wrong_modes(trial.cwd, but=csv) == {}

        saved = trial.archive / "combined" / "CA1.wav"
        saved.write_bytes(b"RIFF damaged")
        assert (await run_open(trial, "verify", trial.archive, "--repair")).code == 0
        assert saved.read_bytes() == wav_of("CA1")
        assert wrong_modes(trial.cwd, but=csv) == {}

        (trial.archive / ".bulkaudio" / "ledger.db").write_bytes(b"junk")
        assert (await run_open(trial, "rebuild", trial.archive)).code == 0
        assert (await run_open(trial, *words)).code == 0
        assert wrong_modes(trial.cwd, but=csv) == {}

    names = {path.name for path in trial.archive.rglob("*") if path.is_file()}
    assert {"CA1.wav", "CA1.json", "ledger.db", "status.json", "lock"} <= names
    assert len([name for name in names if name.startswith("ledger.db")]) > 1, (
        "nothing was moved aside"
    )


def test_the_copy_before_a_migration_is_the_owners_alone(tmp_path: Path) -> None:
    """A ledger of an older schema is copied before it is changed, under umask 000 as well."""
    path = tmp_path / "ledger.db"
    before = os.umask(0)
    try:
        create_private(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as ledger:
            migrate(ledger, path)
            backup = migrate(ledger, path, (*MIGRATIONS, lambda _: None))
    finally:
        os.umask(before)
    assert backup is not None
    assert backup.exists()
    assert wrong_modes(tmp_path, but=tmp_path / "home") == {}
