"""The run itself, where no program shows it: what happens in one and the same moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bulkaudio.budget import Budget
from bulkaudio.committer import Committer
from bulkaudio.crew import Hands
from bulkaudio.events import Event, Stopping
from bulkaudio.fetch import Fetcher, Means
from bulkaudio.gate import Gate
from bulkaudio.ledger.ledger import Ledger
from bulkaudio.model import Batch, Direction
from bulkaudio.naming import Layout
from bulkaudio.polyai.client import Session
from bulkaudio.retry import Limits
from bulkaudio.run import Parts, Run
from bulkaudio.settings import DEFAULT_LAYOUT, Budgets, Pace, RunOptions, Selection
from bulkaudio.sources.base import Source
from bulkaudio.stopper import Stopper
from bulkaudio.stores.local import LocalStore
from bulkaudio.verdicts import Verdicts, Wording
from tests.sessions import connection_to


class StoppedWhileTrying:
    """A listing that is about to try a page again when the run is stopped."""

    kind = "listing"
    knows_dates = True

    def __init__(self, stopper: Stopper) -> None:
        self.stopper = stopper

    async def open(self) -> None:
        """Nothing to check."""

    async def aclose(self) -> None:
        """Nothing is held."""

    async def batches(self) -> AsyncIterator[Batch]:
        """Wait between two attempts, as `bulkaudio.retry` does."""
        yield Batch(conversations=())
        self.stopper.stop("SIGTERM", 143)
        await self.stopper.sleep(0.5)


@asynccontextmanager
async def parts_with(source: Source, stopper: Stopper, folder: Path) -> AsyncIterator[Parts]:
    """Put a run together that has nothing to fetch."""
    ledger = await Ledger.open(folder / "ledger.db", is_new_allowed=True)
    store = await LocalStore.open(folder, layout=Layout.parse(DEFAULT_LAYOUT))
    gate = Gate("host")
    means = Means(
        session=Session(connection_to("http://127.0.0.1:9"), slots=1),
        gate=gate,
        verdicts=Verdicts(
            Wording(agent="", key_source="", right_host=""), reread_key=lambda: False
        ),
        store=store,
        emit=lambda _: None,
        sleep=stopper.sleep,
    )
    committer = Committer(store, ledger, run_id="run-1", emit=lambda _: None)
    try:
        yield Parts(
            source=source,
            ledger=ledger,
            store=store,
            gate=gate,
            crew=Hands(
                fetcher=Fetcher(means, redacted=None, limits=Limits()),
                committer=committer,
                sidecars=None,
                budget=Budget(limits=Budgets()),
                stopper=stopper,
                gate=gate,
                size=4,
            ),
            committer=committer,
            sidecars=None,
            backlog=None,
            min_free_bytes=0,
            needs_dates=False,
        )
    finally:
        await store.aclose()
        await ledger.aclose()


async def test_a_stop_in_the_moment_of_a_retry_is_a_stop(tmp_path: Path) -> None:
    """The listing hears of it before it is cancelled: no error, and everybody goes home."""
    events: list[Event] = []
    stopper = Stopper()
    options = RunOptions(
        selection=Selection(directions=(Direction.COMBINED,), redacted=None),
        pace=Pace(),
        budgets=Budgets(),
    )
    async with parts_with(StoppedWhileTrying(stopper), stopper, tmp_path) as parts:
        await Run(parts, options, emit=events.append, stopper=stopper).execute()
    assert any(isinstance(event, Stopping) for event in events)
