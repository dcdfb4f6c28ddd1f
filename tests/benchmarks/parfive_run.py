"""parfive over a list: ``python -m tests.benchmarks.parfive_run LIST FOLDER CA CONNECTIONS``."""

import os
import ssl
import sys
from pathlib import Path

from parfive import Downloader, SessionConfig


def main(listed: str, folder: str, ca: str, connections: str) -> int:
    """Save all of them, each in one piece: pieces would be connections of their own."""
    context = ssl.create_default_context(cafile=ca)
    config = SessionConfig(headers={"x-api-key": os.environ["POLYAI_API_KEY"]})
    downloader = Downloader(
        max_conn=int(connections), max_splits=1, progress=False, overwrite=True, config=config
    )
    for line in Path(listed).read_text().splitlines():
        url, name = line.split()
        downloader.enqueue_file(url, path=folder, filename=name, ssl=context)
    return 1 if downloader.download().errors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
