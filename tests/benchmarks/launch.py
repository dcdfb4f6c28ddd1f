"""
Starts one program and prints what it used: ``python -I -S launch.py STDOUT STDERR PROGRAM …``.

A process of its own, with as little in it as possible: Linux counts the memory of whoever started a
program into that program's peak. What is less than the eight megabytes of this one is not seen.
"""

import json
import os
import sys
import time

KIB = 1 if sys.platform == "darwin" else 1024


def main() -> None:
    """Run it to its end, with its children."""
    stdout, stderr, *command = sys.argv[1:]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, stdout, flags, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, stderr, flags, 0o600),
    ]
    started_at, start = time.time(), time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    _, status, used = os.wait4(pid, 0)
    wall_s = time.perf_counter() - start
    figures = {
        "started_at": started_at,
        "wall_s": wall_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * KIB,
        "code": os.waitstatus_to_exitcode(status),
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
