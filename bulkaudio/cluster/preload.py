"""What a worker that a run starts on its own machine does first; Dask imports and calls it."""

import gc
import signal
from typing import Any

from bulkaudio.cluster.quiet import close_pages, hush


def dask_setup(worker: Any) -> None:
    """
    Leave Ctrl-C to the run, which drains: the terminal sends it to every process.

    Not so SIGTERM, which somebody sends to this process alone.
    """
    close_pages(worker)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hush()
    # All that was read for Dask and for bulkaudio stays: no need to look through it again and again.
    gc.freeze()
