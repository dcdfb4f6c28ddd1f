"""``python -m bulkaudio``."""

import sys

from bulkaudio.cli.garbage import look_rarely


def main() -> None:
    """Run the command line and leave with its exit code."""
    look_rarely()
    try:
        from bulkaudio.cli.app import main as run
    except KeyboardInterrupt:
        # Reading the program takes a moment, and who stops it then has no use for a traceback.
        sys.exit(130)
    sys.exit(run())


if __name__ == "__main__":
    main()
