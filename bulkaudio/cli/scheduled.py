"""From the options of a download to the job that a scheduler runs, and what it refuses."""

import os
import re
import shutil
import sys
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from cyclopts.argument import Argument

from bulkaudio.cli.given import given_options
from bulkaudio.cli.options import DownloadOptions
from bulkaudio.cli.places import place_of
from bulkaudio.cli.request import make_request
from bulkaudio.cli.schedule import JobOptions, Scheduler
from bulkaudio.cli.words import check_visible, is_path, path_of, words_of
from bulkaudio.doctor.ground import look_at_ledger
from bulkaudio.errors import UsageError
from bulkaudio.keys import LIKE_A_KEY
from bulkaudio.naming import Layout, printable
from bulkaudio.object_url import ObjectUrl
from bulkaudio.schedule.airflow import airflow_files
from bulkaudio.schedule.cron import cron_files
from bulkaudio.schedule.job import Clock, Job, JobFile, KeyFiles
from bulkaudio.schedule.kubernetes import Cluster, kubernetes_files
from bulkaudio.schedule.systemd import systemd_files
from bulkaudio.settings import Elsewhere
from bulkaudio.stores.disk import STATE_FOLDER
from bulkaudio.windows import parse_zone

USUAL_KEY = PurePosixPath("/etc/bulkaudio/polyai.key")
BASE_URLS = ("BULKAUDIO_AUDIO_URL", "BULKAUDIO_CONVERSATIONS_URL")
KEY_OPTIONS = ("--api-key-file", "--conversations-key-file")
NOT_BAKED = (*KEY_OPTIONS, "--config", "--profile", "--ping-url")
"""Keys each scheduler has its own place for, what a file said is written out, and an address that is
a secret has no place in files that others can read."""

PLACES = ("--out", "--state-dir")
SIZES = {False: "100Gi", True: "10Gi"}
"""Of a volume for an archive, and of one for a ledger and what is on its way."""

PODS_STATE = PurePosixPath("/var/lib/bulkaudio")

READ = ("--csv", "--ca-bundle")
MACHINES_ZONE = Path("/etc/localtime")

_AT = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,42}[a-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}")
_VOLUME = re.compile(r"[1-9][0-9]{0,8}(Mi|Gi|Ti|Pi|M|G|T|P)")
_FIXED_TIME = re.compile(r"[0-9]{4}")
_PASSWORD = re.compile(r"//[^/]*@")


def files_for(
    scheduler: Scheduler, job_options: JobOptions, options: DownloadOptions
) -> tuple[JobFile, ...]:
    """
    Write the files of a scheduler.

    Raises:
        UsageError: When `download` would refuse the options, or they make no sense in a job.
    """
    given = dict(given_options())
    own = {f"--{each.replace('_', '-')}" for each in JobOptions.__dataclass_fields__}
    baked = {name: each for name, each in given.items() if name not in own}
    make_request(options, now=datetime.now(UTC))
    _check(options)
    if options.where.layout is not None:
        Layout.parse(options.where.layout)
    if scheduler == "cron" and options.output.json:
        raise UsageError(
            "--json prints a line every night, and cron mails what is printed",
            fix="use --summary-file FILE",
        )
    job = _job(scheduler, job_options, options, baked)
    match scheduler:
        case "cron":
            return cron_files(job)
        case "systemd":
            return systemd_files(job)
        case "kubernetes":
            return kubernetes_files(job, _cluster(job_options, SIZES[job.url is not None]))
        case "airflow":
            return airflow_files(job)


def notes_on(scheduler: Scheduler, options: DownloadOptions) -> Iterator[str]:
    """Say what is still to be done, or is probably not meant."""
    source, where = options.source, options.where
    out, elsewhere = place_of(where.out or "", where.state_dir)
    if source.since and _FIXED_TIME.match(source.since):
        yield (
            f"--since {source.since} lists everything from then on every night: leave it out after "
            "the first run, and each night goes on where the last one ended"
        )
    elif source.since:
        yield (
            f"with --since {source.since}, a night that is missed longer ago is not made up for: "
            "without it, each night goes on where the last one ended"
        )
    if options.output.ping_url is not None:
        yield (
            "--ping-url is a secret and is left out of what is printed: give the job "
            "BULKAUDIO_PING_URL, or ping-url in a bulkaudio.toml that only it can read"
        )
    if options.what.limit is not None:
        yield (
            f"with --limit {options.what.limit}, each night would consider only "
            f"{options.what.limit} calls, and never go on: --max-recordings is meant for that"
        )
    if scheduler == "kubernetes":
        yield "the comments at the top say which secret to make first"
        return
    what = None if source.csv or source.since else _not_begun(out, elsewhere)
    if what is not None:
        yield (
            f"{what}: make the first run by hand, with the same options and "
            "--since, and without --limit, so that the nights have an end to go on from"
        )
    key = _key_file(options.keys.api_key_file, KEY_OPTIONS[0]) or USUAL_KEY
    if not Path(key).exists():
        yield f"the job reads the API key from {key}, which is not there yet"


def _not_begun(out: Path, elsewhere: Elsewhere | None) -> str | None:
    """Say why a night that is told no start would find none; None where it would, or nobody knows."""
    if not (out / STATE_FOLDER).is_dir():
        return (
            f"{out} is no archive yet"
            if elsewhere is None
            else (f"{out} has no ledger of {elsewhere.url} yet")
        )
    if look_at_ledger(out, check_s=0).has_no_start:
        return f"nothing was listed into {out} yet, and a sample with --limit is no listing"
    return None


def is_machines(zone: str, machines: Path = MACHINES_ZONE) -> bool:
    """Whether this machine's clock, as cron goes by it, shows the time of a zone."""
    try:
        own = machines.read_bytes()
    except OSError:
        return zone == "UTC"
    files = (Path(folder) / zone for folder in zoneinfo.TZPATH)
    return any(file.is_file() and file.read_bytes() == own for file in files)


def _check(options: DownloadOptions) -> None:
    """Refuse what a job has not, or what its file must not hold."""
    source, keys = options.source, options.keys
    if source.csv == "-":
        raise UsageError(
            "--csv - reads standard input, and a job has none",
            fix="name a file that is written anew before each run, or list with --account",
        )
    for name, value in zip(
        KEY_OPTIONS, (keys.api_key_file, keys.conversations_key_file), strict=True
    ):
        if value == "-":
            raise UsageError(
                f"{name} - reads standard input, and a job has none",
                fix=f"write the key into a file that only the job can read: {name} FILE",
            )
    if options.output.progress == "on":
        raise UsageError("--progress on is for a terminal, and a job has none", fix="leave it out")
    if options.how.proxy and _PASSWORD.search(options.how.proxy):
        raise UsageError(
            "--proxy holds a user or a password, which would stand in a file that others can read",
            fix="leave it out here and keep it in a bulkaudio.toml that only the job can read",
        )


def _job(
    scheduler: Scheduler,
    job: JobOptions,
    options: DownloadOptions,
    given: dict[str, Argument],
) -> Job:
    archive, url = _place(scheduler, options)
    paths = {
        name: path_of(each.tokens[-1].value)
        for name, each in given.items()
        if is_path(name, each) and name not in {*NOT_BAKED, *PLACES}
    }
    words = list(words_of((n, a) for n, a in given.items() if n not in NOT_BAKED))
    if url is not None and "--state-dir" not in given:
        # The usual one goes by the home of whoever runs the job, who may be another.
        check_visible("--state-dir", str(archive))
        words += ["--state-dir", str(archive)]
    return Job(
        name=_name(job.name, archive if url is None else PurePosixPath(url.prefix or url.bucket)),
        program=_program(),
        options=("download", *words),
        environment=_environment(),
        archive=archive,
        url=None if url is None else str(url),
        keys=_keys(options),
        reads={name: path for name, path in paths.items() if name in READ},
        writes={name: path for name, path in paths.items() if name not in READ},
        clock=_clock(job, options.source.tz),
        grace_s=options.stop.grace,
        user=_user(scheduler, job.run_as, archive),
    )


def _place(
    scheduler: Scheduler, options: DownloadOptions
) -> tuple[PurePosixPath, ObjectUrl | None]:
    """Return the folder that the job keeps, and the address of recordings that are not there."""
    where = options.where
    folder, elsewhere = place_of(where.out or "", where.state_dir)
    if elsewhere is not None and scheduler == "kubernetes" and where.state_dir is None:
        return PODS_STATE / elsewhere.url.state_name(), elsewhere.url
    return path_of(str(folder)), None if elsewhere is None else elsewhere.url


def _program() -> tuple[str, ...]:
    """Find the program beside its Python: the current folder has no say in what it imports."""
    script = Path(sys.executable).with_name("bulkaudio")
    found = shutil.which(str(script))
    words = (found,) if found else (sys.executable, "-P", "-m", "bulkaudio")
    for word in words:
        check_visible("the path of this program,", word)
    return words


def _environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in BASE_URLS if os.environ.get(name)}
    for name, value in found.items():
        check_visible(name, value)
    return found


def _keys(options: DownloadOptions) -> KeyFiles:
    keys = options.keys
    return KeyFiles(
        api_key=_key_file(keys.api_key_file, KEY_OPTIONS[0]) or USUAL_KEY,
        conversations_key=_key_file(keys.conversations_key_file, KEY_OPTIONS[1]),
    )


def _key_file(given: str | None, option: str) -> PurePosixPath | None:
    if given is None:
        return None
    path = path_of(given)
    if "/" not in given and len(given) >= LIKE_A_KEY and not Path(path).exists():
        # Not shown, and above all not written down: it may be the key itself.
        raise UsageError(
            f"{option} names no file that is there, and looks like a key",
            fix=f"write the key into a file that only the job can read: {option} FILE",
        )
    check_visible(option, str(path))
    return path


def _clock(job: JobOptions, zone: str) -> Clock:
    found = _AT.fullmatch(job.at)
    if found is None:
        raise UsageError(
            f"--at {printable(job.at)} is not a time of day", fix="write it like 02:30, up to 23:59"
        )
    if job.spread >= 12 * 3600:
        raise UsageError(
            "--spread is half a day or more, and a job is to run every night", fix="write 15m or 1h"
        )
    parse_zone(zone)
    return Clock(
        minute=int(found[1]) * 60 + int(found[2]),
        zone=zone,
        spread_s=job.spread,
        is_machines=is_machines(zone),
    )


def _name(given: str | None, archive: PurePosixPath) -> str:
    if given is None:
        folder = re.sub(r"[^a-z0-9]+", "-", archive.name.lower()).strip("-")
        given = f"bulkaudio-{folder}"[:44].rstrip("-")
    if not _NAME.fullmatch(given):
        raise UsageError(
            f"--name {printable(given)} cannot be used everywhere",
            fix="write at most 44 small letters, digits and hyphens, beginning with a letter",
        )
    return given


def _user(scheduler: Scheduler, given: str | None, archive: PurePosixPath) -> str | None:
    if given is not None:
        if scheduler not in {"cron", "systemd"}:
            raise UsageError(f"--run-as is not for {scheduler}", fix="leave it out")
        if not _USER.fullmatch(given):
            raise UsageError(
                f"--run-as {printable(given)} is no name of a user", fix="write one such as archive"
            )
    return given or (_owner(archive) if scheduler == "systemd" else None)


def _owner(archive: PurePosixPath) -> str:
    """Name the user who made the archive, or who would, running this."""
    import pwd

    try:
        number = Path(archive).stat().st_uid
    except OSError:
        number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _cluster(job: JobOptions, usual_size: str) -> Cluster:
    size = job.volume_size or usual_size
    if not job.image:
        raise UsageError(
            "--image is missing, the container image that the job runs in",
            fix="build one with bulkaudio in it, as docs/nightly.md shows, and add --image IMAGE",
        )
    if not _IMAGE.fullmatch(job.image):
        raise UsageError(
            f"--image {printable(job.image)} is no name of an image",
            fix="write one such as registry.example/bulkaudio:1",
        )
    if not _VOLUME.fullmatch(size):
        raise UsageError(
            f"--volume-size {printable(size)} is no size of a volume",
            fix="write it like 500Gi or 2Ti",
        )
    return Cluster(image=job.image, volume_size=size)
