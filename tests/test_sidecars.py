"""Metadata asked for one by one: what its answers mean to the host's gate."""

from pathlib import Path

from bulkaudio.events import Event, Noted, SidecarSettled
from bulkaudio.fetch import Means
from bulkaudio.gate import Gate, GateOptions
from bulkaudio.model import Conversation, Metadata
from bulkaudio.naming import Layout
from bulkaudio.retry import Limits
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.sidecars import DetailsWriter, Sidecars, SidecarTask
from bulkaudio.stopper import Stopper
from bulkaudio.stores.local import LocalStore
from bulkaudio.verdicts import Verdicts, Wording
from tests.sessions import session_to
from tests.wire import WireServer, says


async def test_a_long_wait_slows_all_requests_for_metadata_down(tmp_path: Path) -> None:
    """Ten thousand conversations are not each told to come back tomorrow."""
    events: list[Event] = []
    store = await LocalStore.open(tmp_path, layout=Layout.parse(DEFAULT_LAYOUT))
    gate = Gate("host", GateOptions(start=8))
    script = says(429, retry_after="86400")
    try:
        async with WireServer(script) as server, session_to(server.url()) as session:
            means = Means(
                session=session,
                gate=gate,
                verdicts=Verdicts(
                    Wording(agent="", key_source="", right_host=""), reread_key=lambda: False
                ),
                store=store,
                emit=events.append,
                sleep=Stopper().sleep,
            )
            await Sidecars(means, Metadata.FULL, limits=Limits()).fetch(
                SidecarTask(conversation_id="CA1")
            )
        assert events[-1] == SidecarSettled(conversation_id="CA1", reason="throttled")
        assert gate.slots < 8
    finally:
        await store.aclose()


async def test_what_is_in_the_way_of_listed_metadata_costs_only_that(tmp_path: Path) -> None:
    """The call's metadata counts as failed, with its path; the rest of the page is written."""
    events: list[Event] = []
    store = await LocalStore.open(tmp_path, layout=Layout.parse(DEFAULT_LAYOUT))
    (tmp_path / "metadata" / "CA1.json").mkdir(parents=True)
    try:
        details = DetailsWriter(store=store, metadata=Metadata.FULL, emit=events.append)
        for id_ in ("CA1", "CA2"):
            await details.take(Conversation(id=id_), {"id": id_})
        await details.flush()
    finally:
        await store.aclose()
    note, *settled = events
    assert isinstance(note, Noted)
    assert str(tmp_path / "metadata" / "CA1.json") in note.text
    assert settled == [
        SidecarSettled(conversation_id="CA1", reason="conflict"),
        SidecarSettled(conversation_id="CA2"),
    ]
