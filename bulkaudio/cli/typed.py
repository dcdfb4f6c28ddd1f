"""What a person can type: this program's name, and paths, as a shell takes them."""

import shlex
import shutil
import sys
from pathlib import Path


def program() -> str:
    """Return how this program was started, in a form that can be typed again."""
    started = Path(sys.argv[0])
    if started.name == "bulkaudio":
        return _typed(started)
    return f"{_typed(Path(sys.executable))} -m bulkaudio"


def quoted(path: Path) -> str:
    """Write a path for a shell."""
    return shlex.quote(str(path))


def _typed(path: Path) -> str:
    found = shutil.which(path.name)
    if found is not None and Path(found) == path:
        return path.name
    here = Path.cwd()
    return quoted(path.relative_to(here) if path.is_relative_to(here) else path)
