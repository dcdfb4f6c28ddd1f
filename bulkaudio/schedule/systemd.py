"""A service and its timer for systemd."""

import math
from pathlib import PurePosixPath

from bulkaudio.errors import UsageError
from bulkaudio.keys import CREDENTIAL
from bulkaudio.schedule import quoting
from bulkaudio.schedule.job import Job, JobFile
from bulkaudio.schedule.outcomes import FINE, HOPELESS, STOPPED, TRIES_AGAIN, TRY_AGAIN_AFTER_S
from bulkaudio.schedule.templates import filled

CONVERSATIONS_CREDENTIAL = "polyai-conversations-api-key"
FOLDER = "/etc/systemd/system"
PASSING = (PurePosixPath("/tmp"), PurePosixPath("/var/tmp"))  # noqa: S108  named, not written to
STOP_MARGIN_S = 30

_SERVICE = """\
# @FOLDER@ must be there before the first start; the first run, by hand, makes it.
[Unit]
Description=Archive call recordings of PolyAI (@NAME@)
Wants=network-online.target
After=network-online.target
# A night may be tried again @TRIES@ times; after that the unit has failed.
StartLimitIntervalSec=12h
StartLimitBurst=@STARTS@
# What tells a person goes here, such as:
#OnFailure=mail-to-operators@%n.service

[Service]
Type=oneshot
@USER@ExecStart=@COMMAND@
@ENVIRONMENT@@CLOUD@@CREDENTIALS@
# A budget that is used up, an archive that another run holds, and a stop are no failures.
SuccessExitStatus=@SUCCESS@
# What a person has to mend is not tried again; anything else is, such as 3 and 5.
Restart=on-failure
RestartPreventExitStatus=@HOPELESS@
RestartSec=@AFTER@
TimeoutStartSec=infinity
TimeoutStopSec=@STOP@

UMask=0077
ReadWritePaths=@WRITES@
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=@PRIVATE_TMP@
PrivateDevices=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""

_CLOUD = """\
# The object store's credentials: lines such as AWS_ACCESS_KEY_ID=... in a file that only root can read.
# Where the machine has a role, or the user a profile in his home, there need be none.
EnvironmentFile=-/etc/bulkaudio/cloud.env
"""

_TIMER = """\
[Unit]
Description=Archive call recordings of PolyAI every night (@NAME@)

[Timer]
OnCalendar=*-*-* @TIME@ @ZONE@
# A night on which the machine was off is made up for.
Persistent=true
RandomizedDelaySec=@DELAY@

[Install]
WantedBy=timers.target
"""


def systemd_files(job: Job) -> tuple[JobFile, ...]:
    """
    Write the units.

    Raises:
        UsageError: When a path cannot be written in one.
    """
    hour, minute = divmod(job.clock.minute, 60)
    timer = {
        "NAME": job.name,
        "TIME": f"{hour:02d}:{minute:02d}:00",
        "ZONE": job.clock.zone,
        "DELAY": f"{math.ceil(job.clock.spread_s)}s",
    }
    texts = {"service": filled(_SERVICE, _service(job)), "timer": filled(_TIMER, timer)}
    return tuple(
        JobFile(name=f"{job.name}.{kind}", place=f"{FOLDER}/{job.name}.{kind}", text=text)
        for kind, text in texts.items()
    )


def _service(job: Job) -> dict[str, str]:
    needed = (job.archive, PurePosixPath(job.program[0]), *job.reads.values(), *_written(job))
    is_passing = any(path.is_relative_to(folder) for path in needed for folder in PASSING)
    environment = (quoting.unit_word(f"{n}={v}") for n, v in job.environment.items())
    return {
        "NAME": job.name,
        "TRIES": str(TRIES_AGAIN),
        "STARTS": str(TRIES_AGAIN + 1),
        "USER": f"User={job.user}\n" if job.user else "",
        "COMMAND": _command(job),
        "ENVIRONMENT": "".join(f"Environment={each}\n" for each in environment),
        "FOLDER": "The archive's folder" if job.url is None else "The folder of the ledger",
        "CLOUD": "" if job.url is None else _CLOUD,
        "CREDENTIALS": _credentials(job),
        "SUCCESS": " ".join(map(str, (*FINE, STOPPED))),
        "HOPELESS": " ".join(map(str, HOPELESS)),
        "AFTER": f"{TRY_AGAIN_AFTER_S}s",
        "STOP": f"{math.ceil(job.grace_s) + STOP_MARGIN_S}s",
        "WRITES": " ".join(quoting.unit_word(str(path)) for path in _written(job)),
        # What lies there would be out of sight.
        "PRIVATE_TMP": "no" if is_passing else "yes",
    }


def _command(job: Job) -> str:
    program, *rest = job.program
    if "$" in program:
        # The path is taken as it is, and the same word as an argument is not.
        raise UsageError(
            f"the path of this program, {program}, has a $, which systemd has no way to say",
            fix="install bulkaudio under another path",
        )
    words = [quoting.unit_word(program)]
    words += [quoting.unit_argument(each) for each in (*rest, *job.options)]
    words += ["--api-key-file", f'"${{CREDENTIALS_DIRECTORY}}/{CREDENTIAL}"']
    if job.keys.conversations_key is not None:
        file = f'"${{CREDENTIALS_DIRECTORY}}/{CONVERSATIONS_CREDENTIAL}"'
        words += ["--conversations-key-file", file]
    return " ".join(words)


def _credentials(job: Job) -> str:
    files = {CREDENTIAL: job.keys.api_key, CONVERSATIONS_CREDENTIAL: job.keys.conversations_key}
    lines = []
    for name, path in files.items():
        if path is None:
            continue
        text = str(path)
        if "\\" in text or text != text.strip():
            # Taken to the letter up to the end of the line, so that nothing can be escaped in it.
            raise UsageError(
                f"the key file {text} has a backslash, or a blank at its end, which systemd has no "
                "way to say",
                fix="give the key file another name",
            )
        lines.append(f"LoadCredential={name}:{text.replace('%', '%%')}")
    return "\n".join(lines)


def _written(job: Job) -> tuple[PurePosixPath, ...]:
    """Name the folders that are written to: a file is replaced by way of a neighbour."""
    others = (path.parent for path in job.writes.values() if not job.is_kept(path))
    return tuple(dict.fromkeys((job.archive, *others)))
