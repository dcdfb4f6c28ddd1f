"""From the options of a cluster to what a request says of it."""

from bulkaudio.cli.engine_options import EngineOptions
from bulkaudio.cli.options import KeyOptions
from bulkaudio.cluster.whose import checked_key_file
from bulkaudio.errors import UsageError
from bulkaudio.naming import printable
from bulkaudio.settings import MOST_WORKERS, ClusterWish

SCHEMES = ("tcp://", "tls://")


def cluster_wish(options: EngineOptions, keys: KeyOptions) -> ClusterWish | None:
    """
    Say which workers are wanted; None: none but this process.

    Raises:
        UsageError: The options contradict each other, or no worker could find the key.
    """
    scheduler, workers = options.scheduler, options.workers
    if options.engine != "dask":
        given = "--scheduler" if scheduler else "--workers" if workers else None
        if given is not None:
            raise UsageError(
                f"{given} is for --engine dask, and this run is to be done in one process",
                fix=f"add --engine dask, or leave out {given}",
            )
        return None
    if scheduler and workers:
        raise UsageError(
            "--workers starts workers on this machine, and --scheduler names some that are there",
            fix="leave one of them out",
        )
    if scheduler and not scheduler.startswith(SCHEMES):
        raise UsageError(
            f"--scheduler {printable(scheduler)} is no address of a scheduler",
            fix="write tcp://HOST:8786, or tls://HOST:8786 where others share the network",
        )
    if workers and workers > MOST_WORKERS:
        raise UsageError(
            f"--workers is at most {MOST_WORKERS} on one machine", fix="one a core is enough"
        )
    return ClusterWish(
        scheduler=scheduler,
        workers=workers,
        api_key_file=checked_key_file("--api-key-file", keys.api_key_file),
        conversations_key_file=checked_key_file(
            "--conversations-key-file", keys.conversations_key_file
        ),
    )
