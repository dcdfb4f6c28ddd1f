"""
A cluster for one run: found or started, used, and left as it was found.

Importing this needs the extra ``bulkaudio[cluster]``.
"""

import os
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from distributed import Client, Event, LocalCluster, Security, Variable
from distributed.versions import VersionMismatchWarning

from bulkaudio.cluster.crew import ClusterCrew
from bulkaudio.cluster.desk import DaskDesk
from bulkaudio.cluster.names import notice_name, stop_name
from bulkaudio.cluster.parcels import Orders
from bulkaudio.cluster.quiet import SILENCE, close_pages, hush, settings
from bulkaudio.cluster.shares import Whole
from bulkaudio.cluster.whose import elsewhere_of, whose_of
from bulkaudio.conduct import Hired, Hiring
from bulkaudio.errors import AND_AGAIN, ClusterError, UsageError, exhaustion
from bulkaudio.events import Settled
from bulkaudio.polyai.client import Host
from bulkaudio.settings import ClusterWish
from bulkaudio.version import __version__

THREADS = 2
"""Shards that a worker has at once: while one ends, the next has begun."""

CONNECT_S = 15.0
CLOSE_S = 5.0
LISTING_RATE, LISTING_PART = 1.0, 0.1
"""What the run itself keeps of a ceiling to list with, where that is done at the same host."""


@asynccontextmanager
async def muster(wish: ClusterWish, hiring: Hiring) -> AsyncIterator[Hired]:
    """
    Have a crew of workers for the block.

    In the end the ledger is brought what workers had published and could not report any more.

    Raises:
        ClusterError: There is no scheduler at that address, or workers cannot be started.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(settings())
        hush()
        stack.push_async_callback(_gather_in, hiring)
        client = await _client(stack, wish, hiring)
        orders = orders_of(wish, hiring)
        desk = DaskDesk(
            client=client,
            orders=orders,
            whole=_whole(hiring),
            store=hiring.work.archive.store,
            emit=hiring.emit,
        )
        crew = ClusterCrew(
            desk,
            hiring.committer,
            budget=hiring.budget,
            stopper=hiring.stopper,
            emit=hiring.emit,
            run_id=hiring.run_id,
        )
        desk.hear = crew.hear
        stack.push_async_callback(_tidy, desk)
        await desk.open()
        yield Hired(crew=crew, attendants=[desk.attend, partial(desk.pass_on, hiring.stopper)])


async def _client(stack: AsyncExitStack, wish: ClusterWish, hiring: Hiring) -> Client:
    address: object = wish.scheduler
    security = None
    if wish.scheduler is None:
        security = Security.temporary()
        address = await stack.enter_async_context(_local(wish, security))
    elif wish.scheduler.startswith("tls://"):
        security = _certificates(wish.scheduler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)
            client: Client = await Client(
                address,
                security=security,
                asynchronous=True,
                set_as_default=False,
                timeout=CONNECT_S,
                name=f"bulkaudio-{hiring.run_id}",
            )
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ClusterError(
            f"the scheduler {wish.scheduler or 'of this machine'} cannot be reached: {error}",
            fix=f"check the address, and that it is running, {AND_AGAIN}",
        ) from error
    stack.push_async_callback(client.close, CLOSE_S)
    return client


def _certificates(address: str) -> Security:
    """Take this client's certificates from Dask's configuration."""
    security = Security()
    if security.get_connection_args("client").get("ssl_context") is None:
        raise UsageError(
            f"the scheduler {address} wants certificates, and Dask's configuration names none",
            fix="set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT "
            "and DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY to files",
        )
    return security


@asynccontextmanager
async def _local(wish: ClusterWish, security: Security) -> AsyncIterator[LocalCluster]:
    """
    Have workers on this machine, each a process, that only this run can give anything to do.

    A port on loopback is everybody's on the same machine, and whoever can talk to a scheduler can
    have code run: hence certificates that exist in memory only.
    """
    try:
        cluster = await LocalCluster(
            n_workers=wish.workers or os.cpu_count() or 1,
            threads_per_worker=THREADS,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            security=security,
            silence_logs=SILENCE,
            memory_limit=0,
            asynchronous=True,
            preload=["bulkaudio.cluster.preload"],
        )
    except (OSError, RuntimeError) as error:
        raise exhaustion(error) or ClusterError(
            f"workers cannot be started on this machine: {error}",
            fix=f"start fewer (--workers), or leave out --engine dask, {AND_AGAIN}",
        ) from error
    async with cluster:
        close_pages(cluster.scheduler)
        yield cluster


def orders_of(wish: ClusterWish, hiring: Hiring) -> Orders:
    """Say what all shards of a run have in common."""
    work = hiring.work
    elsewhere = work.archive.store.elsewhere
    return Orders(
        run_id=hiring.run_id,
        version=__version__,
        archive=work.archive.root.absolute(),
        layout=work.archive.layout.template,
        whose=whose_of(work.session.connection, wish),
        redacted=work.options.selection.redacted,
        metadata=work.options.selection.metadata,
        pace=work.options.pace,
        grace_s=work.options.budgets.grace_s,
        elsewhere=elsewhere_of(elsewhere),
        needs_store_proxy=elsewhere is not None and elsewhere.proxy is not None,
    )


def _whole(hiring: Hiring) -> Whole:
    """Divide the ceilings between the workers and this process, which may be listing."""
    work, pace = hiring.work, hiring.work.options.pace
    names = {work.session.hosts.name(host) for host in Host}
    if work.asks_for_details or len(names) > 1:
        return Whole(max_rate=pace.max_rate, slots=pace.concurrency)
    part = LISTING_PART
    work.gate.bandwidth.keep_to(part)
    rate = pace.max_rate
    if rate is not None:
        own = min(LISTING_RATE, rate * LISTING_PART)
        work.gate.keep_to(own)
        rate -= own
    return Whole(max_rate=rate, slots=pace.concurrency, part=1.0 - part)


async def _tidy(desk: DaskDesk) -> None:
    """Have workers end, also after an error, and leave nothing at the scheduler."""
    client, run_id = desk.client, desk.orders.run_id
    with suppress(OSError):
        await desk.stop()
        await Event(stop_name(run_id), client=client).clear()
        Variable(notice_name(run_id), client=client).delete()


async def _gather_in(hiring: Hiring) -> None:
    """Adopt what was published and not reported: workers that died, a grace that was over."""
    archive = hiring.work.archive
    for outcome in await archive.store.gather_in(archive.ledger):
        hiring.emit(Settled(outcome=outcome))
