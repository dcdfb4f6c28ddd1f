"""Dask's own logs, which are for whoever keeps a cluster, stay off the streams of a run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask.config

NOISY = ("distributed", "tornado", "bokeh")
SILENCE = logging.CRITICAL + 1


def hush() -> None:
    """Silence what Dask logs in this process, unless somebody has configured it."""
    if dask.config.get("logging", None) is not None:
        return
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in NOISY:
            logger = logging.getLogger(name)
            logger.handlers = [logging.NullHandler()]
            logger.propagate = False
            logger.setLevel(SILENCE)


def close_pages(node: Any) -> None:
    """Close the port that a scheduler, or a worker, opens for browsers even when there is no page."""
    server = getattr(node, "http_server", None)
    if server is not None:
        server.stop()


@contextmanager
def settings() -> Iterator[None]:
    """Apply what was found to be right for shards; what the user's own configuration says of TLS stays."""
    with dask.config.set(SETTINGS):
        yield


SETTINGS = {
    # A worker may die of its machine ten times before the shard is suspected.
    "distributed.scheduler.allowed-failures": 10,
    # A worker that is frozen is given up after a minute.
    "distributed.scheduler.worker-ttl": "60s",
    # Shards are sent a few at a time: there is nothing to steal that would not come by itself.
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    # A sample of every thread's stack, a hundred times a second, that nobody looks at.
    "distributed.worker.profile.enabled": False,
    "distributed.diagnostics.nvml": False,
    # Dask has glibc give memory back at every turn: pieces of recordings, which come and go, would be
    # mapped and zeroed anew each time.
    "distributed.nanny.pre-spawn-environ": {},
    # Nothing is opened for browsers.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.diagnostics.computations.max-history": 1,
}
