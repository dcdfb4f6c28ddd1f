"""Memory, which holds the key, stays out of files."""

import resource


def forbid_core_dumps() -> None:
    """
    Have no core dump made of this process, should it crash.

    By a limit of one byte, not of none: Linux gives dumps to a program that collects them, such as
    systemd-coredump, whatever the limit is, unless it is exactly this one.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard != 0:
        resource.setrlimit(resource.RLIMIT_CORE, (1, hard))
