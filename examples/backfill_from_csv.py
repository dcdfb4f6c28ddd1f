"""
Download the recordings named in a CSV file, in portions.

    python examples/backfill_from_csv.py calls.csv archive

Region and agent come from the environment or from what the archive remembers. Run it again until
it says that everything is there; nothing is fetched twice.
"""

import os
import sys

import bulkaudio

PORTION = 10_000


def main(csv: str, archive: str) -> int:
    """Fetch one portion; returns the exit code."""
    try:
        summary = bulkaudio.download(
            csv=csv,
            out=archive,
            region=os.environ.get("POLYAI_REGION"),
            agent=os.environ.get("POLYAI_AGENT"),
            directions=["combined", "user", "agent"],
            max_recordings=PORTION,
        )
    except bulkaudio.BulkAudioError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    counts = summary.counts
    print(f"{counts.saved} saved, {counts.already} already there, {counts.failed} failed")
    for outcome in summary.details.failures:
        print(f"  {outcome.recording.conversation_id}: {outcome.reason}", file=sys.stderr)
    if summary.exit_code == 8:
        print("there is more: run it again")
    return summary.exit_code


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: backfill_from_csv.py CSV ARCHIVE", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
