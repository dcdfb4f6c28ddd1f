"""Metadata asked for one by one: what its answers mean to the host's gate."""

from pathlib import Path

from bulkaudio.events import Event, SidecarSettled
from bulkaudio.fetch import Means
from bulkaudio.gate import Gate, GateOptions
from bulkaudio.model import Metadata
from bulkaudio.naming import Layout
from bulkaudio.retry import Limits
from bulkaudio.settings import DEFAULT_LAYOUT
from bulkaudio.sidecars import Sidecars, SidecarTask
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
