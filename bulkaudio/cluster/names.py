"""What things are called at the scheduler, where other programs' things may be, too."""

PLUGIN = "bulkaudio"


def shard_name(run_id: str, number: int) -> str:
    """Name a shard; also the name of a file."""
    return f"{run_id}-{number:06d}"


def task_key(shard: str, number: int) -> str:
    """Name a task: a shard that is sent again is another one."""
    return f"bulkaudio-{shard}-{number}"


def stop_name(run_id: str) -> str:
    """Name the event that stops a run."""
    return f"bulkaudio-stop-{run_id}"


def notice_name(run_id: str) -> str:
    """Name the variable that shares and pauses stand in."""
    return f"bulkaudio-notice-{run_id}"


def topic_name(run_id: str) -> str:
    """Name the topic that workers tell how it goes under."""
    return f"bulkaudio-progress-{run_id}"
