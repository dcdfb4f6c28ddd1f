"""
A task for Airflow or a scheduler like it: one day of calls, safe to run again.

In a DAG::

    @task(retries=3, retry_delay=timedelta(minutes=20))
    def archive_calls(data_interval_start=None, data_interval_end=None):
        return archive_day(data_interval_start, data_interval_end, "/data/calls")

What it returns is small and free of personal data, so it can go where schedulers keep results.
"""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import bulkaudio

TRY_AGAIN_LATER = {5, 75}
"""PolyAI is unavailable, or another run holds the archive: a retry by the scheduler will help."""


class TryAgainLater(Exception):  # noqa: N818  schedulers retry on any exception; this one says why
    """Raised for what passes by itself."""


def archive_day(since: datetime, until: datetime, archive: str) -> dict[str, Any]:
    """Archive the calls of a half-open window; raises when a person or a retry is needed."""
    try:
        summary = bulkaudio.download(since=since, until=until, out=archive, directions=["combined"])
    except bulkaudio.BulkAudioError as error:
        if error.exit_code in TRY_AGAIN_LATER:
            raise TryAgainLater(str(error)) from error
        raise
    if summary.counts.failed:
        raise TryAgainLater(f"{summary.counts.failed} recordings failed")
    return {"run_id": summary.run_id, "saved": summary.counts.saved, "bytes": summary.bytes}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: scheduler_task.py ARCHIVE", file=sys.stderr)
        sys.exit(2)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    print(archive_day(midnight - timedelta(days=2), midnight, sys.argv[1]))
