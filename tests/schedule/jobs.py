"""Jobs with hostile values, and programs that tell what they were started with."""

from pathlib import Path, PurePosixPath

from hypothesis import strategies

from bulkaudio.schedule.job import Clock, Job, KeyFiles

HOSTILE = (
    *("a b", "'", '"', "%", "%%", "%h", "$", "$$", "$HOME", "$(id)", "$(HOME)", "${HOME}", "`id`"),
    *("\\", "\\\\", "\\n", "\\%", ";", "&&", "|", "*", "~", "!x", "#", "# x", "-x", "--x=y", "@x"),
    *(
        "",
        " ",
        " x ",
        "é",
        "客服",
        "📞",
        "null",
        "yes",
        "1e3",
        "2026-11-27",
        "{x}",
        "[x]",
        ": x",
        "- x",
    ),
    *("@COMMAND@", "'\"'\"'", "\\u0041", "%%$$\\\\\"'", "a\\", "=", "é̈", "<<x", "&x", "?", "0x10"),
)
"""Values that a reader of some kind takes for more than themselves."""

TEXTS = strategies.one_of(
    strategies.sampled_from(HOSTILE),
    strategies.text(alphabet=" \"'\\%$`;&|#@{}()[]<>*?!~=:-+,.ax0é客📞", max_size=12),
)

DUMP = 'for word in "$@"; do printf \'%s\\0\' "$word"; done > "$DUMP"\nexit ${CODE:-0}\n'
"""A program that writes down its arguments."""


def dumper(folder: Path) -> Path:
    """Make that program."""
    program = folder / "bulkaudio"
    program.write_text("#!/bin/sh\n" + DUMP)
    program.chmod(0o755)
    return program


def dumped(path: Path) -> list[str]:
    """Read what it wrote."""
    return path.read_text(encoding="utf-8").split("\0")[:-1]


def job(
    program: str | Path = "/opt/bulkaudio/bin/bulkaudio",
    *values: str,
    spread_s: float = 0.0,
    minute: int = 150,
    zone: str = "UTC",
    is_machines: bool = True,
    **environment: str,
) -> Job:
    """Make a job with these values among its options."""
    return Job(
        name="bulkaudio-calls",
        program=(str(program),),
        options=("download", *values),
        environment=environment,
        archive=PurePosixPath("/data/calls"),
        keys=KeyFiles(api_key=PurePosixPath("/etc/bulkaudio/polyai.key")),
        reads={},
        writes={},
        clock=Clock(minute=minute, zone=zone, spread_s=spread_s, is_machines=is_machines),
        grace_s=20.0,
    )
