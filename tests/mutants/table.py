"""
The mistakes: each an exact piece of the program, what stands there instead, and who must notice.

The old text has to be found exactly once, so that the table cannot fall behind the program.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """
    One mistake.

    Attributes:
        file: Below ``bulkaudio``.
        test: A node id of pytest; None: the power cuts notice.
    """

    name: str
    file: str
    old: str
    new: str
    test: str | None = None


MUTANTS = (
    Mutant(
        name="files are not synced",
        file="stores/staging.py",
        old="                os.fsync(self.fileno())\n",
        new="                self.fileno()\n",
    ),
    Mutant(
        name="folders are not synced after publishing",
        file="stores/publishing.py",
        old="                os.fsync(fd)\n            except OSError as error:\n",
        new="                os.fstat(fd)\n            except OSError as error:\n",
    ),
    Mutant(
        name="the ledger says saved before the file has its name",
        file="committer.py",
        old="                published = await self.store.publish(batch)\n",
        new="""\
                layout = self.store.layout
                early = [
                    Outcome(
                        recording=each.recording,
                        status=Status.SAVED,
                        path=Path(layout.path(each.recording)),
                        bytes=each.bytes,
                        sha256=each.sha256,
                    )
                    for each in batch
                ]
                await self.ledger.settle(early, self.run_id, self.clock())
                published = await self.store.publish(batch)
""",
    ),
    Mutant(
        name="commits are not synced (synchronous=NORMAL)",
        file="ledger/database.py",
        old="PRAGMA synchronous = FULL",
        new="PRAGMA synchronous = NORMAL",
    ),
    Mutant(
        name="saved is reported before it is in the ledger",
        file="committer.py",
        old="""\
        if outcomes:
            await self._record(outcomes)
            reach(Step.ACKNOWLEDGE)
        for outcome in outcomes:
            self.emit(Settled(outcome=outcome))
""",
        new="""\
        for outcome in outcomes:
            self.emit(Settled(outcome=outcome))
        if outcomes:
            await self._record(outcomes)
""",
    ),
    Mutant(
        name="a listing's cursor is kept before its page's calls",
        file="ledger/ledger.py",
        old="""\
        return await self._database.change(
            lambda connection: planning.Planner(connection, directions, now, self._seen).plan(batch)
        )
""",
        new="""\
        if batch.bookmark is not None:
            bookmark, moment = batch.bookmark, text_of(now)
            await self._database.change(
                lambda connection: planning.keep_bookmark(connection, bookmark, moment)
            )
        return await self._database.change(
            lambda connection: planning.Planner(connection, directions, now, self._seen).plan(batch)
        )
""",
    ),
    Mutant(
        name="metadata files are not synced before they get their name",
        file="stores/local.py",
        old="                os.fsync(file.fileno())\n",
        new="                file.fileno()\n",
    ),
    Mutant(
        name="an adopted file of somebody else is not synced",
        file="stores/publishing.py",
        old="        os.fsync(fd)\n        return Publication.ADOPTED\n",
        new="        return Publication.ADOPTED\n",
        test="tests/test_durable_order.py::"
        "test_a_file_of_somebody_else_is_synced_before_the_ledger_calls_it_saved",
    ),
    Mutant(
        name="recovery believes names that nobody has synced",
        file="stores/recovery.py",
        old="            os.fsync(folder_fd)\n",
        new="            os.fstat(folder_fd)\n",
        test="tests/test_durable_order.py::"
        "test_recovery_syncs_a_folder_before_the_ledger_has_what_is_in_it",
    ),
    Mutant(
        name="an existing file is replaced by a rename",
        file="stores/publishing.py",
        old="""\
            os.link(
                temporary,
                name,
                src_dir_fd=bench_fd,
                dst_dir_fd=folder_fd,
                follow_symlinks=False,
            )
""",
        new="            os.rename(temporary, name, src_dir_fd=bench_fd, dst_dir_fd=folder_fd)\n",
        test="tests/test_local_store.py::test_anything_else_under_the_final_name_is_a_conflict",
    ),
    Mutant(
        name="an existing file of the right size is taken for ours",
        file="stores/publishing.py",
        old="if os.fstat(fd).st_size != staged.bytes or hash_of(fd) != staged.sha256:",
        new="if os.fstat(fd).st_size != staged.bytes:",
        test="tests/test_local_store.py::test_anything_else_under_the_final_name_is_a_conflict",
    ),
    Mutant(
        name="temporary names that recovery does not know",
        file="stores/staging.py",
        old='return f"{stem}.{recording.direction}.{token}.{PART}"',
        new='return f"{recording.direction}-{stem}.{token}.{PART}"',
        test="tests/test_local_store.py::"
        "test_after_a_kill_the_next_start_brings_the_ledger_what_was_published",
    ),
    Mutant(
        name="temporary names are dropped before the ledger's commit",
        file="committer.py",
        old="""\
        if outcomes:
            await self._record(outcomes)
""",
        new="""\
        if published:
            await self.store.forget(published)
        if outcomes:
            await self._record(outcomes)
""",
        test="tests/test_durable_order.py::"
        "test_temporary_names_stay_until_the_ledger_has_the_batch",
    ),
    Mutant(
        name="recovery clears its traces before the ledger has them",
        file="stores/local.py",
        old="""\
        outcomes = await self._adopt(traces, catalogue)
        if traces:
            await self._run(lambda: self._told(lambda: recovery.clear(bench_fd)))
""",
        new="""\
        if traces:
            await self._run(lambda: self._told(lambda: recovery.clear(bench_fd)))
        outcomes = await self._adopt(traces, catalogue)
""",
        test="tests/test_local_store.py::test_recovery_itself_may_be_killed",
    ),
    Mutant(
        name="a failed sync is repeated on the same descriptor",
        file="stores/staging.py",
        old="                os.fsync(self.fileno())\n",
        new="""\
                try:
                    os.fsync(self.fileno())
                except OSError:
                    os.fsync(self.fileno())
""",
        test="tests/test_local_store.py::test_a_failed_sync_is_not_repeated_and_spares_the_others",
    ),
    Mutant(
        name="recordings are kept without proof",
        file="stores/staging.py",
        old="            self._abandon()\n        return proof\n",
        new="""\
            return Audio(codec="pcm", sample_rate_hz=1, channels=1, data_bytes=0, seconds=0.0)
        return proof
""",
        test="tests/test_local_store.py::test_what_is_no_whole_recording_leaves_nothing",
    ),
    Mutant(
        name="what stands under a temporary name is opened and followed",
        file="stores/disk.py",
        old="    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC\n",
        new="    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC\n",
        test="tests/faults/test_machine_planted.py::test_under_a_temporary_name",
    ),
    Mutant(
        name="the archive's lock is not taken",
        file="stores/lock.py",
        old="        fcntl.flock(fd, kind | fcntl.LOCK_NB)\n",
        new="        fcntl.flock(fd, fcntl.LOCK_UN | fcntl.LOCK_NB)\n",
        test="tests/test_lock.py::test_only_one_of_many_runs_gets_it",
    ),
    Mutant(
        name="the next night begins after what is still open",
        file="ledger/listings.py",
        old="    return end if oldest is None else min(end, oldest)\n",
        new="    return end if oldest is None else max(end, oldest)\n",
        test="tests/test_ledger.py::test_the_high_water_mark_waits_for_what_is_not_settled",
    ),
    Mutant(
        name="a saved recording is degraded by a later failure",
        file="ledger/settling.py",
        old="WHERE recordings.status NOT IN ('saved', 'purged')\n",
        new="WHERE recordings.status <> ''\n",
        test="tests/test_ledger.py::test_attempts_accumulate_and_saved_is_never_degraded",
    ),
    Mutant(
        name="a lost ledger is begun anew beside recordings",
        file="ledger/database.py",
        old="            if is_new and not is_new_allowed:\n",
        new="            if is_new and is_new_allowed is None:\n",
        test="tests/test_ledger.py::test_a_ledger_missing_beside_recordings_is_not_begun_anew",
    ),
    Mutant(
        name="a refused key is asked with again",
        file="policy.py",
        old='    401: Ruling(action=Action.KEY_REFUSED, reason="http_401"),\n',
        new='    401: Ruling(action=Action.RETRY, reason="http_401"),\n',
        test="tests/test_policy.py::test_rulings",
    ),
    Mutant(
        name="the key goes along to another origin",
        file="polyai/redirects.py",
        old="    return url.origin() == origin.origin()\n",
        new="    return url.scheme == origin.scheme\n",
        test="tests/test_redirects.py::test_another_origin_never_gets_the_key",
    ),
)
