"""
The steps of the durable path, by name, so that each can be broken from outside.

A step is announced as an audit event (PEP 578) just before the system call it stands for, and where
that call's errors are handled: a hook that raises an `OSError` is the call that fails, and a hook
that kills the process is a kill at that call. Nothing here installs a hook, and no option or variable
does: only a program that starts bulkaudio from within, with ``sys.addaudithook`` before, can.
"""

import sys
from enum import StrEnum


class Step(StrEnum):
    """Every step of bringing a recording, and what is known of it, to the disk and back."""

    FOLDER_OPEN = "bulkaudio.folder.open"
    FOLDER_CREATE = "bulkaudio.folder.create"
    FOLDER_MODE = "bulkaudio.folder.mode"
    FOLDER_SYNC = "bulkaudio.folder.sync"

    PROBE_CREATE = "bulkaudio.probe.create"
    PROBE_WRITE = "bulkaudio.probe.write"
    PROBE_REMOVE = "bulkaudio.probe.remove"
    TRIAL_SYNC = "bulkaudio.trial.sync"
    TRIAL_LINK = "bulkaudio.trial.link"
    TRIAL_LOCK = "bulkaudio.trial.lock"
    SPACE_LOOK = "bulkaudio.space.look"

    LOCK_OPEN = "bulkaudio.lock.open"
    LOCK_TAKE = "bulkaudio.lock.take"
    LOCK_WRITE = "bulkaudio.lock.write"

    STAGE_CREATE = "bulkaudio.stage.create"
    STAGE_WRITE = "bulkaudio.stage.write"
    STAGE_PROVE = "bulkaudio.stage.prove"
    STAGE_SYNC = "bulkaudio.stage.sync"
    STAGE_REMOVE = "bulkaudio.stage.remove"

    PUBLISH_LINK = "bulkaudio.publish.link"
    PUBLISH_COMPARE = "bulkaudio.publish.compare"
    PUBLISH_ADOPT = "bulkaudio.publish.adopt"
    PUBLISH_LOOK = "bulkaudio.publish.look"
    PUBLISH_NOTE = "bulkaudio.publish.note"
    PUBLISH_NOTE_WRITE = "bulkaudio.publish.note_write"
    PUBLISH_MOVE = "bulkaudio.publish.move"
    PUBLISH_SYNC = "bulkaudio.publish.sync"

    ACKNOWLEDGE = "bulkaudio.acknowledge"
    """No call that can fail: the ledger has the batch, and nobody was told so yet."""
    FORGET = "bulkaudio.forget"

    SIDECAR_CREATE = "bulkaudio.sidecar.create"
    SIDECAR_WRITE = "bulkaudio.sidecar.write"
    SIDECAR_SYNC = "bulkaudio.sidecar.sync"
    SIDECAR_MOVE = "bulkaudio.sidecar.move"
    SIDECAR_PUBLISH = "bulkaudio.sidecar.publish"
    SIDECAR_LOOK = "bulkaudio.sidecar.look"

    LEDGER_CREATE = "bulkaudio.ledger.create"
    LEDGER_OPEN = "bulkaudio.ledger.open"
    LEDGER_SYNC = "bulkaudio.ledger.sync"
    LEDGER_READ = "bulkaudio.ledger.read"
    LEDGER_MIGRATE = "bulkaudio.ledger.migrate"
    LEDGER_BEGIN = "bulkaudio.ledger.begin"
    LEDGER_COMMIT = "bulkaudio.ledger.commit"
    LEDGER_COMMITTED = "bulkaudio.ledger.committed"
    LEDGER_CLOSE = "bulkaudio.ledger.close"
    LEDGER_REWRITE = "bulkaudio.ledger.rewrite"
    LEDGER_EMPTY_LOG = "bulkaudio.ledger.empty_log"

    RECOVER_LIST = "bulkaudio.recover.list"
    RECOVER_LOOK = "bulkaudio.recover.look"
    RECOVER_SYNC = "bulkaudio.recover.sync"
    RECOVER_CLEAR = "bulkaudio.recover.clear"
    RECOVER_REMOVE = "bulkaudio.recover.remove"

    INSPECT_OPEN = "bulkaudio.inspect.open"
    INSPECT_READ = "bulkaudio.inspect.read"
    INSPECT_LIST = "bulkaudio.inspect.list"

    ASIDE_MOVE = "bulkaudio.aside.move"
    ASIDE_SYNC = "bulkaudio.aside.sync"

    REGISTER_OPEN = "bulkaudio.register.open"
    REGISTER_WRITE = "bulkaudio.register.write"
    REGISTER_SYNC = "bulkaudio.register.sync"
    ERASE_REMOVE = "bulkaudio.erase.remove"
    ERASE_SYNC = "bulkaudio.erase.sync"
    ERASE_COPY = "bulkaudio.erase.copy"
    ERASE_PAGE = "bulkaudio.erase.page"

    ADDRESS_WRITE = "bulkaudio.address.write"
    ADDRESS_SYNC = "bulkaudio.address.sync"
    ADDRESS_MOVE = "bulkaudio.address.move"
    OBJECT_PUT = "bulkaudio.object.put"
    OBJECT_KEPT = "bulkaudio.object.kept"
    """No call that can fail: the object is there, and nobody knows yet."""
    OBJECT_ERASE = "bulkaudio.object.erase"
    OBJECT_ERASED = "bulkaudio.object.erased"
    REGISTER_COPY = "bulkaudio.register.copy"
    PART_PUT = "bulkaudio.part.put"
    PART_KEPT = "bulkaudio.part.kept"
    """The like of a part of the manifest."""
    GENERATION_MARK = "bulkaudio.generation.mark"
    GENERATION_CLEAN = "bulkaudio.generation.clean"

    REBUILD_DISCARD = "bulkaudio.rebuild.discard"
    REBUILD_ASIDE = "bulkaudio.rebuild.aside"
    REBUILD_SWITCH = "bulkaudio.rebuild.switch"


def reach(step: Step) -> None:
    """Say that a step comes next; costs nothing that can be measured while nobody listens."""
    sys.audit(step)
