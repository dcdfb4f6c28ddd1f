"""A DAG for Airflow, 2 or 3."""

from bulkaudio.schedule.job import Job, JobFile
from bulkaudio.schedule.outcomes import HOPELESS, TRIES_AGAIN, TRY_AGAIN_AFTER_S
from bulkaudio.schedule.templates import filled

STOP_MARGIN_S = 30

_CLOUD = """\
# The folder of --state-dir holds the ledger, and has to be there every night: one worker, or a disk that
# goes with the task. The object store's credentials come from the worker's environment.
"""

_DAG = '''\
"""Archive call recordings of PolyAI every night, with bulkaudio in an environment of its own."""

import logging
import os
import subprocess
from datetime import timedelta

import pendulum

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException

@CLOUD@COMMAND = @COMMAND@
ENVIRONMENT = @ENVIRONMENT@

BUSY = 75  # another run holds the archive
BUDGET = 8  # a --max-... was used up: a later night goes on
HOPELESS = @HOPELESS@  # usage, key, machine, damage: a person has to look
STOP_S = @STOP@  # how long it may take to stop cleanly

log = logging.getLogger("bulkaudio.job")


def run() -> int:
    """Run the download, its words in the task's log; stop it cleanly when the task is stopped."""
    process = subprocess.Popen(
        COMMAND,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    try:
        for line in process.stdout:
            log.info("%s", line.rstrip("\\n"))
        return process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    finally:
        process.stdout.close()


@dag(
    dag_id=@NAME@,
    schedule=@SCHEDULE@,
    start_date=pendulum.datetime(2026, 1, 1, tz=@ZONE@),
    catchup=False,
    max_active_runs=1,
    tags=["bulkaudio"],
)
def nightly():
    """Every night from where the last one ended: a missed one is made up for by the next."""

    @task(task_id="download", retries=@TRIES@, retry_delay=timedelta(seconds=@AFTER@))
    def download() -> None:
        code = run()
        if code == BUSY:
            raise AirflowSkipException("another run holds the archive: the next night goes on")
        if code in HOPELESS:
            raise AirflowFailException(f"bulkaudio ended with exit code {code}: see the log above")
        if code not in (0, BUDGET):
            raise AirflowException(f"bulkaudio ended with exit code {code}: it is tried again")

    download()


nightly()
'''


def airflow_files(job: Job) -> tuple[JobFile, ...]:
    """Write the DAG's file; values are written as Python's own `repr`."""
    hour, minute = divmod(job.shifted(), 60)
    words = "".join(f"    {word!r},\n" for word in job.words())
    values = {
        "CLOUD": "" if job.url is None else _CLOUD,
        "COMMAND": f"[\n{words}]",
        "ENVIRONMENT": repr(dict(job.environment)),
        "HOPELESS": repr(HOPELESS),
        "STOP": repr(job.grace_s + STOP_MARGIN_S),
        "NAME": repr(job.name),
        "SCHEDULE": repr(f"{minute} {hour} * * *"),
        "ZONE": repr(job.clock.zone),
        "TRIES": repr(TRIES_AGAIN),
        "AFTER": repr(TRY_AGAIN_AFTER_S),
    }
    name = f"{job.name.replace('-', '_')}.py"
    return (JobFile(name=name, place=f"dags/{name}", text=filled(_DAG, values)),)
