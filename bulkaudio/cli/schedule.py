"""The command ``schedule``: prints what makes a scheduler run a download every night."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from bulkaudio.cli import values
from bulkaudio.cli.options import DEFAULTS, DownloadOptions

JOB = Group("The job", sort_key=0)

Scheduler = Literal["cron", "systemd", "kubernetes", "airflow"]


@Parameter(name="*", group=JOB)
@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """When and as what it runs, and where its files go."""

    at: Annotated[
        str, Parameter(metavar="HH:MM", help="When to start, in the time zone of --tz.")
    ] = "02:30"
    spread: Annotated[
        float,
        Parameter(
            metavar="TIME",
            converter=values.duration,
            show_default=lambda _: "15m",
            help="Start up to so much later, so that not every job starts at once.",
        ),
    ] = 900.0
    name: Annotated[
        str | None,
        Parameter(metavar="NAME", help="What it is called; else bulkaudio- and the folder's name."),
    ] = None
    run_as: Annotated[
        str | None,
        Parameter(
            metavar="USER",
            help="Who runs it: for systemd, else the archive's owner; for cron, writes a file for "
            "/etc/cron.d.",
        ),
    ] = None
    image: Annotated[
        str | None,
        Parameter(metavar="IMAGE", help="A container image with bulkaudio in it, for kubernetes."),
    ] = None
    volume_size: Annotated[
        str | None,
        Parameter(
            metavar="SIZE",
            show_default=lambda _: "100Gi; for a URL 10Gi",
            help="Of the volume for the archive, or for the ledger of a URL, for kubernetes.",
        ),
    ] = None
    output_dir: Annotated[
        Path | None,
        Parameter(metavar="DIR", help="Write the files into this folder instead of printing them."),
    ] = None
    force: Annotated[
        bool, Parameter(negative="", help="Let --output-dir replace files that are there.")
    ] = False


JOB_DEFAULTS = JobOptions()


def schedule(
    scheduler: Annotated[Scheduler, Parameter(help="For whom the files are.")],
    /,
    job: JobOptions = JOB_DEFAULTS,
    options: DownloadOptions = DEFAULTS,
) -> int:
    """Print files that make a scheduler run this download every night."""
    from bulkaudio.cli.failure import say
    from bulkaudio.cli.scheduled import files_for, notes_on
    from bulkaudio.cli.scheduled_files import deliver

    files = files_for(scheduler, job, options)
    deliver(files, job.output_dir, may_replace=job.force)
    if not options.output.quiet:
        for note in notes_on(scheduler, options):
            say(note)
    return 0
