"""
Act on each recording the moment it is safe on disk.

    python examples/stream_outcomes.py calls.csv archive

Here the act is a line of print; think of a transcription queue. A slow consumer slows the download
instead of filling memory. Leaving the loop early loses no recording: what was not reached stays
open. But what was just being saved is saved without having been handed over, so a consumer that
must see every file compares its own list with the archive's from time to time.
"""

import asyncio
import os
import sys

import bulkaudio


async def main(csv: str, archive_folder: str) -> None:
    """Download both single tracks and print where they are."""
    region, agent = os.environ.get("POLYAI_REGION", "us"), os.environ.get("POLYAI_AGENT", "")
    async with (
        bulkaudio.Archive.open(archive_folder) as archive,
        bulkaudio.Client(region=region, agent=agent) as client,
    ):
        outcomes = archive.download(client, bulkaudio.from_csv(csv), directions=["user", "agent"])
        async for outcome in outcomes:
            if outcome.status is bulkaudio.Status.SAVED:
                print(f"transcribe {outcome.path}")
            else:
                print(f"{outcome.recording.conversation_id}: {outcome.status} ({outcome.reason})")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: stream_outcomes.py CSV ARCHIVE", file=sys.stderr)
        sys.exit(2)
    asyncio.run(main(*sys.argv[1:]))
