"""``python -m bulkaudio``."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from bulkaudio.cli.app import main as run
    except KeyboardInterrupt:
        # Reading the program takes a moment, and who stops it then has no use for a traceback.
        sys.exit(130)
    sys.exit(run())


if __name__ == "__main__":
    main()
