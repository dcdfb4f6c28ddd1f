"""Whole nights, killed anywhere: the real archive does what a dictionary would, and loses nothing."""

import errno
import hashlib
import os
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from bulkaudio.ledger.rows import LedgerRow
from bulkaudio.model import Bookmark, Outcome, Recording, Status, Task
from bulkaudio.naming import Layout
from bulkaudio.policy import Reason
from bulkaudio.settings import DEFAULT_LAYOUT, ListingQuery
from tests.audio import wav_of
from tests.properties.nights import Break, Night, key_of, name_of
from tests.properties.world import BEGIN, DIRECTIONS, PAGE, Call, Key, LedgerModel, PolyAI, Row

LAYOUT = Layout.parse(DEFAULT_LAYOUT)
HOUR = timedelta(hours=1)
FIRST, NIGHTLY = ListingQuery(since=BEGIN, lookback_s=7200.0), ListingQuery(lookback_s=7200.0)
KINDS = st.sampled_from(["whole", "whole", "whole", "failed", "later"])
BROKEN = st.tuples(st.integers(0, 99), st.sampled_from([None, None, errno.EIO, errno.ENOSPC]))
BREAKS = BROKEN | BROKEN | st.none()


class ArchiveMachine(RuleBasedStateMachine):
    """
    {list a page, fetch, publish, commit, kill, clock} in any order.

    `model` is the ledger as it should be, `fetched` counts what was asked of PolyAI.
    """

    def __init__(self) -> None:
        super().__init__()
        self.night = Night()
        self.polyai = PolyAI()
        self.model = LedgerModel()
        self.now = BEGIN
        self.saved_before: set[Key] = set()
        self.patch = pytest.MonkeyPatch()

    # What happens in the world.

    @initialize(has_links=st.booleans())
    def begin(self, has_links: bool) -> None:  # noqa: FBT001
        """Open a new archive, on a file system with hard links or without."""
        if not has_links:
            self.patch.setattr(os, "link", _no_links)
        self.night.start(self.now)
        self.calls_come_in(count=5, in_progress=False, has_recording=True)

    def teardown(self) -> None:
        """End in order, whatever came before, and hold the end to every promise."""
        try:
            if self.night._archive is not None:
                self._finish()
        finally:
            self.patch.undo()
            self.night.close()

    @rule(count=st.integers(1, 5), in_progress=st.booleans(), has_recording=st.booleans())
    def calls_come_in(self, count: int, in_progress: bool, has_recording: bool) -> None:  # noqa: FBT001
        """People call; ids come as twins that differ by case only."""
        for _ in range(count):
            number = len(self.polyai.calls)
            id_ = f"CA{number // 2:x}a" if number % 2 == 0 else f"ca{number // 2:x}A"
            self.polyai.calls[id_] = Call(
                id=id_,
                started_at=self.now,
                in_progress=in_progress,
                has_recording=has_recording or number % 3 > 0,
            )
            self.now += timedelta(seconds=1)

    @rule(hours=st.sampled_from([0.01, 1, 20, 50]))
    def clock(self, hours: float) -> None:
        """Time passes, and whoever was talking hangs up."""
        self.now += hours * HOUR
        for call in self.polyai.calls.values():
            call.in_progress = False

    # What a run does.

    @rule(broken=BREAKS)
    def list_a_page(self, broken: Break | None) -> None:
        """Take the next page; its ids and the cursor are kept together or not at all."""
        hands = self.night.hands
        if not hands.errands:
            self.now += timedelta(seconds=1)
            query = NIGHTLY if self.model.listings else FIRST
            self.night.choose_windows(query, self.now)
        if hands.listing is None:
            row, is_new = self.night.next_window()
            if is_new:
                assert row.since is not None
                self.model.begin_listing(row.listing_id, row.since, row.until)
        assert hands.listing is not None
        number = hands.listing.listing_id
        known = self.model.listings[number]
        listed = self.polyai.listed(known.since, known.until)
        page = listed[known.listed : known.listed + PAGE]
        position = known.listed + len(page)
        is_last = position == len(listed)
        mark = Bookmark(
            listing_id=number, cursor=None if is_last else str(position), is_last=is_last
        )
        after = self.model.copy()
        expected = after.plan(page, self.now, (number, is_last))
        already_saved = {key for key, row in self.model.rows.items() if row.status is Status.SAVED}

        def work() -> None:
            plan = self.night.take_page(page, mark, self.now)
            todo = [key_of(task.recording) for task in plan.todo]
            assert todo == expected.todo
            assert not already_saved & set(todo), "what is saved is never planned again"
            assert (plan.already, plan.absent, plan.deferred, plan.duplicates) == (
                expected.already,
                expected.absent,
                expected.deferred,
                expected.duplicates,
            )

        if self._do("list", broken, work):
            self.model = after
            return
        # Whole or not at all: the ledger says which.
        assert self._settle_on(self.model, after), "half a page was kept"

    def take_the_backlog(self) -> None:
        """All that is due and not yet considered comes, each once."""
        due = self.model.due(self.now)
        taken = [key_of(task.recording) for task in self.night.take_backlog(self.now)]
        assert sorted(taken) == sorted(due)
        self.model.seen.update(due)

    @rule(kinds=st.lists(KINDS, min_size=1, max_size=5), is_last_first=st.booleans())
    def fetch(self, kinds: list[str], is_last_first: bool) -> None:  # noqa: FBT001
        """Ask PolyAI for some; what it has not is absent, or not ready yet."""
        tasks = self.night.hands.tasks
        if not tasks:
            self.take_the_backlog()
        if not tasks:
            self.list_a_page(None)
        for kind in kinds[: len(tasks)]:
            self._fetch(tasks.pop(-1 if is_last_first else 0), kind)

    @rule(broken=BREAKS)
    def publish(self, broken: Break | None) -> None:
        """Give names, and tell nobody yet."""
        self._have_something()
        if not self._do("publish", broken, self.night.publish):
            assert self._settle_on(self.model), "publishing changed the ledger"

    @rule(broken=BREAKS)
    def settle_published(self, broken: Break | None) -> None:
        """Tell the ledger of what has names."""
        if not self.night.hands.published:
            self.publish(None)
        keys = [key_of(each.staged.recording) for each in self.night.hands.published]
        after = self.model.copy()
        for key in keys:
            after.rows[key] = _saved(after.rows[key])
        if self._do("settle", broken, lambda: self.night.settle_published(self.now)):
            self.model = after
        else:
            assert self._settle_on(self.model, after)

    @rule(broken=BREAKS)
    def commit(self, broken: Break | None) -> None:
        """Publish and settle a batch: the ledger has all of it or nothing."""
        self._have_something()
        hands = self.night.hands
        after = self.model.copy()
        for outcome in hands.outcomes:
            after.settle(outcome)
        partly = after.copy()
        for staged in hands.staged:
            after.rows[key_of(staged.recording)] = _saved(after.rows[key_of(staged.recording)])
        if self._do("commit", broken, lambda: self.night.commit(self.now)):
            self.model = after
        else:
            assert self._settle_on(self.model, after, partly), "half a batch was kept"

    @rule()
    def kill(self) -> None:
        """End the process between two steps."""
        self.night.kill()
        self._start(None)
        assert self._settle_on(self.model)

    @rule(publishes=st.booleans(), broken=BREAKS)
    def restart(self, publishes: bool, broken: Break | None) -> None:  # noqa: FBT001
        """Stop in order and start again; the start may be broken like everything else."""
        if publishes:
            self.publish(None)
        self.night.stop()
        self._start(broken)
        assert self._settle_on(self.model), "the start lost what had a name"

    # What must hold.

    @invariant()
    def promises_hold(self) -> None:
        """I1 to I5, and the ledger is what the model says."""
        if self.night._archive is None:
            return
        rows = {key_of(row.recording): row for row in self.night.rows()}
        assert {key: _as_model(row) for key, row in rows.items()} == self.model.rows
        files = self.night.files()
        saved = {key: row for key, row in rows.items() if row.status is Status.SAVED}
        for row in saved.values():
            assert row.path is not None
            body = files[row.path.as_posix()]
            assert hashlib.sha256(body).hexdigest() == row.sha256, "I1"
            assert row.bytes == len(body)
        truth = {_path_of(key): wav_of(*key) for key in rows}
        assert len({path.casefold() for path in truth}) == len(rows), "I3"
        for path, body in files.items():
            assert body == truth[path], "I2"
        names = {name_of(key) for key in saved}
        assert self.night.acknowledged <= names, "I5"
        assert self.saved_before <= saved.keys(), "what is saved stays saved"
        self.saved_before = set(saved)

    @invariant()
    def no_page_is_skipped(self) -> None:
        """I4, and the mark from which the next night goes on never passes what is not settled."""
        if self.night._archive is None:
            return
        memory = self.night.memory()
        assert memory.high_water == self.model.high_water()
        for listing in self.model.listings.values():
            behind = self.polyai.listed(listing.since, listing.until)
            for call in behind if listing.is_finished else behind[: listing.listed]:
                assert all((call.id, each) in self.model.rows for each in DIRECTIONS), "I4"
        if memory.unfinished is not None:
            kept = self.model.listings[memory.unfinished.listing_id]
            assert int(memory.unfinished.cursor or 0) == kept.listed
        if memory.high_water is not None:
            for call in self.polyai.listed(None, memory.high_water):
                for direction in DIRECTIONS:
                    row = self.model.rows[call.id, direction]
                    assert row.is_settled or row.status is Status.FAILED

    # How.

    def _have_something(self) -> None:
        if not self.night.hands.staged and not self.night.hands.outcomes:
            self.fetch(kinds=["whole", "whole", "failed"], is_last_first=False)

    def _do(self, name: str, broken: Break | None, work: Callable[[], None]) -> bool:
        """Do one step, and start again when it was broken."""
        if self.night.survives(name, broken, work):
            return True
        self._start(None)
        return False

    def _start(self, broken: Break | None) -> None:
        """Open what is on the disk; a broken start is begun again."""
        name = "recover" if self.night.temporaries() else "start"
        if not self.night.survives(name, broken, lambda: self.night.start(self.now)):
            self.night.start(self.now)
        self.model.seen = set()
        assert self.night.temporaries() == [], "no leftovers after a start"

    def _settle_on(self, *candidates: LedgerModel) -> bool:
        """
        Find the model that the ledger agrees with, after a start.

        What has a final name was proven before it got it, so a start saves it: it is never asked
        for again.
        """
        there = set(self.night.files())
        rows = {key_of(row.recording): _as_model(row) for row in self.night.rows()}
        memory = self.night.memory()
        for candidate in candidates:
            model = candidate.copy()
            for key, row in model.rows.items():
                if _path_of(key) in there:
                    model.rows[key] = _saved(row)
            unfinished = [n for n, each in sorted(model.listings.items()) if not each.is_finished]
            begun = memory.unfinished
            cursor = model.listings[unfinished[0]].listed if unfinished else None
            kept = None if begun is None else (begun.listing_id, int(begun.cursor or 0))
            expected = (unfinished[0], cursor) if unfinished else None
            if model.rows == rows and kept == expected:
                model.seen = set()
                self.model = model
                return True
        return False

    def _fetch(self, task: Task, kind: str) -> None:
        key = key_of(task.recording)
        assert self.model.rows[key].status is not Status.SAVED, "fetched twice"
        call = self.polyai.calls[key[0]]
        if call.in_progress or (kind == "later"):
            status, reason = Status.DEFERRED, Reason.NOT_READY
        elif not call.has_recording:
            status, reason = Status.ABSENT, Reason.NO_RECORDING
        elif kind == "failed":
            status, reason = Status.FAILED, Reason.TRUNCATED
        else:
            self.night.stage(task)
            return
        later = self.now + 5 * HOUR if kind == "later" else None
        self.night.hands.outcomes.append(
            Outcome(recording=task.recording, status=status, reason=reason, next_try_at=later)
        )

    def _finish(self) -> None:
        """Run to the end: everything is saved or known to be absent, and nothing is left to do."""
        for call in self.polyai.calls.values():
            call.in_progress = False
        for _ in range(2):
            self.now += 50 * HOUR
            self.restart(publishes=False, broken=None)
            self.take_the_backlog()
            self.list_a_page(None)
            while self.night.hands.errands:
                self.list_a_page(None)
            while self.night.hands.tasks:
                self._fetch(self.night.hands.tasks.pop(), "whole")
            if self.night.hands.staged or self.night.hands.outcomes:
                self.commit(None)
            self.promises_hold()
            self.no_page_is_skipped()
        assert {key[0] for key in self.model.rows} == self.polyai.calls.keys()
        for (id_, _), row in self.model.rows.items():
            has_recording = self.polyai.calls[id_].has_recording
            assert row.status is (Status.SAVED if has_recording else Status.ABSENT)
        self.restart(publishes=False, broken=None)
        assert self.night.take_backlog(self.now) == []
        assert self.night.temporaries() == []


def _no_links(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _path_of(key: Key) -> str:
    return LAYOUT.path(Recording(conversation_id=key[0], direction=key[1])).as_posix()


def _saved(row: Row) -> Row:
    return Row(status=Status.SAVED, started_at=row.started_at)


def _as_model(row: LedgerRow) -> Row:
    assert row.recording.started_at is not None
    return Row(
        status=row.status,
        started_at=row.recording.started_at,
        next_try_at=row.next_try_at,
        reason=row.reason,
    )
