"""What an archive's ledger has told where its recordings are, looked at while no run here writes."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bulkaudio.errors import ArchiveBusyError
from bulkaudio.ledger.glance import glance
from bulkaudio.settings import Elsewhere
from bulkaudio.stores.disk import LEDGER_FILE, STATE_FOLDER
from bulkaudio.stores.lock import Glimpse
from bulkaudio.stores.opening import look_over


def faults_of(root: Path, elsewhere: Elsewhere) -> Sequence[str] | None:
    """
    Say by the parts' names what is missing; None while a run writes. Blocks.

    Raises:
        ArchiveBusyError: Another state folder has taken the archive over.
        LedgerError, StorageError: The ledger or the object store cannot be read.
    """
    state = root / STATE_FOLDER
    with ExitStack() as stack:
        try:
            stack.enter_context(Glimpse(state / "lock"))
        except ArchiveBusyError:
            return None
        # Under the lock: what a run tells in between would be taken for somebody else's.
        contents = glance(state / LEDGER_FILE, check_s=0).contents
        return look_over(elsewhere, None if contents is None else contents.mark, root)
