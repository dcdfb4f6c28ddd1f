"""Who else is told of a run: the metrics file, and the dead man's switch at its start and its end."""

import asyncio
import json
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from bulkaudio.archive import look_into
from bulkaudio.cli.existing import require_archive
from bulkaudio.cli.failure import say, tell
from bulkaudio.cli.options import DownloadOptions
from bulkaudio.cli.places import likely_folder
from bulkaudio.errors import ArchiveBusyError, BulkAudioError, StorageError
from bulkaudio.events import Event, Started
from bulkaudio.observe.exposition import Ended
from bulkaudio.observe.metrics_file import MetricsFile
from bulkaudio.observe.outlets import is_archives_own
from bulkaudio.observe.summary import Summary
from bulkaudio.observe.tally import Tally
from bulkaudio.ping import Route, send
from bulkaudio.ping_url import PingUrl

SCHEMA = "bulkaudio.ping/1"

START_S = 30.0
"""For the ping of the start to end, which has time-outs of its own; a name look-up may have none."""

BUSY = ArchiveBusyError.exit_code
"""The run that holds the archive tells of itself; nothing is to be said over its head."""


def ping_body(summary: Summary, exit_code: int) -> str:
    """Write what a ping says of a run that ended: counts only."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "status": summary.status,
            "exit_code": exit_code,
            "duration_s": round(summary.duration_s, 3),
            "counts": asdict(summary.counts),
            "bytes": summary.bytes,
            "audio_seconds": round(summary.audio_seconds, 3),
        },
        separators=(",", ":"),
    )


@dataclass(slots=True, kw_only=True)
class Pinger:
    """Pings, and says so where that fails; the run is not affected by it."""

    url: PingUrl
    route: Route
    _starting: threading.Thread | None = None
    _trouble: str | None = None

    def __call__(self, event: Event) -> None:
        """Ping the start when the archive is this run's; see `Emit`."""
        if not isinstance(event, Started):
            return
        thread = threading.Thread(target=self._start, name="bulkaudio ping", daemon=True)
        # Without a thread there is no ping; the run has troubles enough then.
        with suppress(RuntimeError):
            thread.start()
            self._starting = thread

    def finish(self, exit_code: int, body: str) -> None:
        """Ping the end, never before the start has arrived or is given up."""
        if self._starting is not None:
            self._starting.join(START_S)
        self._warn("start", self._trouble)
        self._warn("end", send(self.url.for_end(exit_code), body, self.route))

    def _start(self) -> None:
        self._trouble = send(self.url.for_start(), "", self.route)

    def _warn(self, which: str, trouble: str | None) -> None:
        if trouble is not None:
            say(
                f"warning: the ping of the run's {which} did not reach {self.url.host}: {trouble}; "
                "the run is not affected"
            )


@dataclass(slots=True, kw_only=True)
class Sentries:
    """What was asked for of the two."""

    tally: Tally = field(default_factory=Tally)
    metrics: MetricsFile | None = None
    pinger: Pinger | None = None

    @classmethod
    def of(cls, options: DownloadOptions) -> "Sentries":
        """Make those that the options name."""
        output, how, tally = options.output, options.how, Tally()
        archive = likely_folder(options.where.out, options.where.state_dir)
        metrics = pinger = None
        if output.metrics_file is not None:
            path = output.metrics_file.expanduser()
            metrics = MetricsFile(path=path, archive=archive, tally=tally)
        if output.ping_url is not None:
            bundle = how.ca_bundle.expanduser() if how.ca_bundle else None
            route = Route(ca_bundle=bundle, proxy=how.proxy)
            pinger = Pinger(url=output.ping_url, route=route)
        return cls(tally=tally, metrics=metrics, pinger=pinger)

    def finish(self, summary: Summary, exit_code: int) -> int:
        """Tell how the run ended; return the exit code, which only a lost metrics file changes."""
        if exit_code == BUSY:
            return exit_code
        flaw = self._keep_metrics(summary, exit_code)
        exit_code = exit_code or flaw
        if self.pinger is not None:
            # Who interrupts the ping has not interrupted the run.
            with suppress(KeyboardInterrupt):
                self.pinger.finish(exit_code, ping_body(summary, exit_code))
        return exit_code

    def _keep_metrics(self, summary: Summary, exit_code: int) -> int:
        metrics = self.metrics
        if metrics is None or is_archives_own(metrics.path, metrics.archive):
            # The run was refused for it.
            return 0
        if not summary.run_id:
            _look(metrics)
        try:
            metrics.finish(
                Ended(
                    started_at=summary.started_at,
                    finished_at=summary.finished_at,
                    exit_code=exit_code,
                )
            )
        except OSError as error:
            return tell(
                StorageError(
                    f"the metrics file {metrics.path} cannot be written: {error.strerror}",
                    fix="choose another --metrics-file",
                )
            )
        return 0


def _look(metrics: MetricsFile) -> None:
    """Show the ledger to the metrics of a run that ended before it could; blocks."""

    async def look() -> None:
        async with look_into(metrics.archive) as held:
            await metrics.look(held.ledger)

    # What keeps the archive shut is what ended the run, or another run that holds it.
    with suppress(BulkAudioError):
        require_archive(metrics.archive)
        asyncio.run(look())


def code_of(error: BaseException) -> int:
    """Say with which code a run ends whose result could not be shown."""
    if isinstance(error, BulkAudioError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return StorageError.exit_code if isinstance(error, OSError) else BulkAudioError.exit_code
