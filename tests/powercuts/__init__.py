"""
Power cuts, simulated: whatever a disk had not flushed may be lost, and no promise with it.

The real store, committer and ledger work on a file system whose disk is an image file, served
through FUSE by a process that logs every write and flush (`disk`, `log`). Several processes do so
one after the other, all but the last killed (`recorder`), and note outside of that disk what they
acknowledged and when. Then the power is cut, a thousand times: any prefix of the log, with all,
none or half of what was not flushed (`replay`), is mounted, and has to keep I1, I2, I4, I5 and, of
what is erased, I6 before and after the real program recovers it and finishes its work (`oracle`).

``pytest -m slow -n 0 tests/powercuts`` does it on ext4; ``POWER_CUT_FS=ext4,xfs,btrfs`` names
other file systems and ``POWER_CUT_STATES=5000`` another number. ``python -m tests.powercuts --fs
xfs --states 500 --seed 7`` does it without pytest. It takes root, ``/dev/fuse``, loop devices and,
of Debian, ``fuse3``, ``libfuse3-3`` and ``e2fsprogs``, ``xfsprogs`` or ``btrfs-progs``.
"""
