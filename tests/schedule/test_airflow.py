"""The DAG: the right end of a task for each exit code, with real child processes."""

import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from bulkaudio.schedule.airflow import airflow_files
from bulkaudio.simulator import Calls, Simulator
from tests.program import environment, run, wavs
from tests.schedule.airflow_stand_in import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    Seen,
    install,
)
from tests.schedule.jobs import dumped, dumper, job

ENDS = {
    0: None,
    8: None,
    75: AirflowSkipException,
    2: AirflowFailException,
    4: AirflowFailException,
    6: AirflowFailException,
    7: AirflowFailException,
    1: AirflowException,
    3: AirflowException,
    5: AirflowException,
    143: AirflowException,
}


def loaded(text: str, seen: Seen) -> Seen:
    """Load a DAG's file."""
    exec(compile(text, "dag.py", "exec"), {"__name__": "dag"})  # noqa: S102  it is what is tested
    assert len(seen.bodies) == 1
    return seen


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("code", ENDS)
def test_each_exit_code_has_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, major: int
) -> None:
    """Skipped, failed for good, tried again, or done."""
    made = job(dumper(tmp_path), "a'b", DUMP=str(tmp_path / "dump"), CODE=str(code))
    (file,) = airflow_files(made)
    assert file.name == "bulkaudio_calls.py"
    body = loaded(file.text, install(monkeypatch, major=major)).bodies[0]
    end = ENDS[code]
    if end is None:
        body()
    else:
        with pytest.raises(end) as raised:
            body()
        assert raised.type is end, "a subclass does something else to the task"
    assert dumped(tmp_path / "dump")[1] == "a'b"


def test_the_dag_is_declared_as_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """One run at a time, in the job's own zone, none for the nights of the past."""
    (file,) = airflow_files(job(zone="Europe/London", minute=245))
    seen = loaded(file.text, install(monkeypatch, major=3))
    assert (seen.dag["schedule"], seen.dag["catchup"]) == ("5 4 * * *", False)
    assert seen.dag["max_active_runs"] == 1
    assert str(seen.dag["start_date"].tzinfo) == "Europe/London"
    assert (seen.task["retries"], seen.task["retry_delay"]) == (3, timedelta(minutes=20))


def test_a_task_that_is_stopped_stops_its_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The child drains before the task ends, and what it said is in the task's log."""
    program = tmp_path / "bulkaudio"
    program.write_text(
        "#!/bin/sh\ntrap 'sleep 0.2; touch \"$DRAINED\"; exit 143' TERM\necho ready\n"
        "while :; do sleep 0.05; done\n"
    )
    program.chmod(0o755)
    (file,) = airflow_files(job(program, DRAINED=str(tmp_path / "drained")))
    body = loaded(file.text, install(monkeypatch, major=3)).bodies[0]

    def stop() -> None:
        while "ready" not in caplog.messages:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        body()
    stopper.join()
    assert (tmp_path / "drained").exists()


async def test_what_is_printed_archives_a_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed file, against the simulator."""
    import asyncio

    async with Simulator(calls=Calls(count=3, speech_s=(0.1, 0.3))) as simulator:
        (tmp_path / "key").touch(mode=0o600)
        (tmp_path / "key").write_text(simulator.key)
        calls = simulator.calls
        done = await run(
            *("schedule", "airflow", "--out", "it's", "--region", "us", "--api-key-file", "key"),
            *("--account", simulator.account, "--agent", simulator.agent),
            *("--since", calls.since.isoformat(), "--until", calls.until.isoformat()),
            env=environment(simulator),
            cwd=tmp_path,
        )
        assert done.code == 0, done.stderr
        body = loaded(done.stdout, install(monkeypatch, major=3)).bodies[0]
        await asyncio.to_thread(body)
        assert len(wavs(tmp_path / "it's")) == len(calls.recorded_ids())
