"""What the look at an archive means for each check of it."""

import errno
import os
import pwd
import shlex
from collections.abc import Iterator
from pathlib import Path

from bulkaudio import interrupted
from bulkaudio.doctor.check import MACHINE, Check, fail, fail_for, ok, skip, warn
from bulkaudio.doctor.ground import DiskLook, LedgerLook, folder_error
from bulkaudio.ledger.glance import Contents
from bulkaudio.quantities import format_bytes
from bulkaudio.stores.address import argument_of
from bulkaudio.stores.disk import NO_ROOM, cause_and_fix
from bulkaudio.stores.register import REGISTER_FILE
from bulkaudio.stores.trial import LOCAL_DISK

NETWORK_DISKS = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "ceph")

FORBIDDEN = {errno.EACCES, errno.EPERM}

AS_IT_IS = "status, gaps, verify, export and report --output FILE work as it is"

CHECKS = tuple(f"archive.{what}" for what in ("folder", "permissions", "disk", "space", "ledger"))


def disk_checks(disk: DiskLook, ledger: LedgerLook, min_free_bytes: int) -> Iterator[Check]:
    """Judge folder, permissions, disk and space."""
    error = folder_error(disk)
    if error is not None:
        yield fail_for("archive.folder", error)
        yield skip("archive.permissions", "needs the folder")
        yield skip("archive.disk", "needs the folder")
        yield skip("archive.space", "needs the folder")
        return
    kind = f" ({disk.file_system})" if disk.file_system else ""
    where = f"{disk.root}{kind}"
    made = f"{where}: the first download makes it, below {disk.home}"
    yield ok("archive.folder", where if disk.is_there else made)
    yield _permissions(disk)
    yield _disk(disk)
    yield _space(disk, ledger, min_free_bytes)


def _permissions(disk: DiskLook) -> Check:
    name = "archive.permissions"
    if disk.refusal is not None and disk.refusal.errno in FORBIDDEN:
        words = f"this user may read {disk.root}, and not write there"
        return fail(name, words, f"{_owners(disk.root)}; {AS_IT_IS}", MACHINE)
    foreign = [each for each in disk.exposures if not each.is_own]
    exposed = [each for each in disk.exposures if each.mode & 0o077]
    if foreign:
        who = _name(foreign[0].owner)
        return warn(
            name,
            f"{foreign[0].path} belongs to {who}, and this is somebody else",
            f"run bulkaudio as {who}, as the nightly job does: sudo -u {who} bulkaudio …",
        )
    if exposed:
        one = exposed[0]
        more = f" and {len(exposed) - 1} more" if len(exposed) > 1 else ""
        return warn(
            name,
            f"others can reach {one.path} (mode {one.mode:04o}){more}",
            f"chmod -R go-rwx {shlex.quote(str(disk.root))}",
        )
    if not disk.is_there:
        return ok(name, "folders will be 0700 and files 0600")
    return ok(name, "folders are 0700, files 0600, and this user's own")


def _owners(root: Path) -> str:
    owner = root.stat().st_uid
    if owner == os.geteuid():
        return f"chmod -R u+rwX {shlex.quote(str(root))}"
    return f"run bulkaudio as {_name(owner)}, who owns it, or let this user write there"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _disk(disk: DiskLook) -> Check:
    name = "archive.disk"
    if disk.refusal is not None:
        return _refused(disk.root, disk.refusal)
    worst = sorted(disk.shortcomings, key=lambda each: not each.is_fatal)
    if worst and worst[0].is_fatal:
        return fail(name, worst[0].what, worst[0].fix, MACHINE)
    if (disk.file_system or "").startswith(NETWORK_DISKS):
        return warn(
            name,
            f"{disk.file_system} is a network file system: what it calls synced or locked may be "
            "neither",
            LOCAL_DISK,
        )
    if worst:
        return warn(name, worst[0].what, worst[0].fix)
    return ok(name, "writes, hard links, syncing and locks work there")


def _refused(root: Path, refusal: OSError) -> Check:
    """Say why nothing can be written in an archive that is there."""
    name = "archive.disk"
    if refusal.errno in FORBIDDEN:
        return skip(name, "needs permission to write")
    cause, fix = cause_and_fix(refusal)
    words = f"nothing can be written there: {cause} ({refusal.strerror})"
    if refusal.errno == errno.EROFS:
        fix += f"; {AS_IT_IS}"
    elif refusal.errno in NO_ROOM:
        fix = f"free some (df -h and df -i {shlex.quote(str(root))}), such as by purge"
    return fail(name, words, fix, MACHINE)


def _space(disk: DiskLook, ledger: LedgerLook, min_free_bytes: int) -> Check:
    name, room = "archive.space", disk.room
    if room is None:
        return skip(name, "needs the folder")
    free = format_bytes(room.free_bytes)
    if not room.has_inodes:
        return fail(name, "no inodes are left for this user", "delete files (df -i)", MACHINE)
    if room.free_bytes < min_free_bytes:
        return fail(
            name,
            f"{free} free, less than the {format_bytes(min_free_bytes)} of --min-free",
            "free some space, use another disk, or lower --min-free",
            MACHINE,
        )
    needed = needed_bytes(ledger)
    words = f"{free} free, {format_bytes(min_free_bytes)} of it to stay so (--min-free)"
    if needed is None:
        return ok(name, words)
    open_ = f"what is open needs about {format_bytes(needed)}"
    if room.free_bytes - min_free_bytes < needed:
        return warn(name, f"{words}; {open_}", "free some space, or use a larger disk")
    return ok(name, f"{words}; {open_}" if needed else words)


def needed_bytes(ledger: LedgerLook) -> int | None:
    """Estimate what is open by what was saved; None where nothing was yet."""
    contents = ledger.contents
    if contents is None or not contents.saved:
        return None
    return round(contents.unsettled * contents.saved_bytes / contents.saved)


def ledger_check(ledger: LedgerLook, root: Path) -> Check:
    """Judge the ledger."""
    name, found = "archive.ledger", ledger.found
    unseen = ledger.holder or (
        "whether it is lost, the store does not say" if ledger.doubt else None
    )
    if unseen is not None:
        return skip(name, unseen)
    if ledger.error is not None:
        return fail_for(name, ledger.error)
    if found.contents is None:
        if found.was_killed:
            return ok(name, "a run was killed before it noted anything; the next one begins anew")
        return skip(name, "nothing was saved yet" if ledger.is_begun else "there is no archive yet")
    return _whole(ledger, found.contents, root)


def _whole(ledger: LedgerLook, contents: Contents, root: Path) -> Check:
    """Judge a ledger that could be read."""
    name, found = "archive.ledger", ledger.found
    words = [f"{contents.saved:,} saved, {contents.unsettled:,} to do"]
    words.append("whole" if found.is_checked else "it opens, and is too large to be walked whole")
    words += ["what a killed run left is taken up by the next"] if found.was_killed else []
    if (left := contents.interruption) is not None:
        words.append(interrupted.state(left))
        return warn(name, "; ".join(words), interrupted.fix(left, root))
    if ledger.is_register_short:
        words.append(f"{REGISTER_FILE} beside it, which outlives it, has lost erasures or holds")
        return warn(
            name,
            "; ".join(words),
            f"bulkaudio verify {argument_of(root)} --repair tells it anew",
        )
    return ok(name, "; ".join(words))


def unlooked(why: str) -> Iterator[Check]:
    """Say of every check of an archive why it was not looked at."""
    return (skip(name, why) for name in CHECKS)
