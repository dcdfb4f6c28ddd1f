"""A line for cron: silent on success and on what a later night makes good, mail for the rest."""

from bulkaudio.errors import UsageError
from bulkaudio.schedule import quoting
from bulkaudio.schedule.job import Job, JobFile
from bulkaudio.schedule.outcomes import FINE

LONGEST_LINE = 990
"""Debian's cron refuses a command of a thousand characters."""

_HEAD = """\
# bulkaudio: archives calls every night. cron mails what is printed, and nothing is printed unless a
# person has to look: exit codes {fine} (budget used up, archive busy) are as silent as success.
# {where}
# {when}
"""

_CLOUD = """\
# The object store's credentials are found in the home of whoever runs this (such as ~/.aws) or by the
# machine's role; or in lines like AWS_PROFILE=archive above, in a crontab that nobody else can read.
"""


def cron_files(job: Job) -> tuple[JobFile, ...]:
    """
    Write the line; with a user, for a folder such as ``/etc/cron.d``, which names one in each line.

    Raises:
        UsageError: When it is longer than cron takes.
    """
    fields, guard, when = _when(job)
    command = quoting.crontab(guard + _quietly(job))
    if len(command) > LONGEST_LINE:
        raise UsageError(
            f"the command has {len(command)} characters, and cron takes less than a thousand",
            fix="keep options in a bulkaudio.toml that the job finds, or use schedule systemd",
        )
    user = f"{job.user} " if job.user else ""
    place = f"/etc/cron.d/{job.name}" if job.user else "crontab -e"
    where = f"Goes into {place}." if job.user else "Goes into the crontab of one user: crontab -e."
    head = _HEAD.format(fine=" and ".join(map(str, FINE)), where=where, when=when)
    head += "" if job.url is None else _CLOUD
    text = f"{head}{fields} {user}{command}\n"
    return (JobFile(name=job.name, place=place, text=text),)


def _when(job: Job) -> tuple[str, str, str]:
    """
    Return the fields of time, what the command asks first, and a sentence for people.

    cron knows the machine's zone only. In another one the line is looked at four times an hour, for
    zones differ by quarters, and goes on when the clocks there show the time.
    """
    hour, minute = divmod(job.shifted(), 60)
    zone = job.clock.zone
    if job.clock.is_machines:
        return f"{minute} {hour} * * *", "", f"Starts at {hour:02d}:{minute:02d} {zone}."
    quarters = ",".join(str(each) for each in sorted((minute + 15 * n) % 60 for n in range(4)))
    shown = f"$(TZ={quoting.shell([zone])} date +%H%M)"
    guard = f'[ "{shown}" = {hour:02d}{minute:02d} ] || exit 0; '
    when = f"Starts when clocks of {zone} show {hour:02d}:{minute:02d}, whatever this machine's do."
    return f"{quarters} * * * *", guard, when


def _quietly(job: Job) -> str:
    """Run the job with its words held back until its exit code is known."""
    variables = [f"{name}={quoting.shell([value])}" for name, value in job.environment.items()]
    words = [*job.words(), *(() if "--quiet" in job.options else ("--quiet",))]
    command = " ".join([*variables, quoting.shell(words)])
    fine = "|".join(map(str, FINE))
    return (
        f"o=$({command} 2>&1); c=$?; case $c in {fine}) exit 0;; esac; "
        '[ -z "$o" ] || printf "%s\\n" "$o"; '
        '[ $c = 0 ] || echo "bulkaudio ended with exit code $c"; exit $c'
    )
