"""
``python -m tests.powercuts``: the figures of one simulation, and its violations.

Ends with 0 when every promise was kept, 1 when one was broken, 2 when this machine cannot simulate.
"""

import argparse
import subprocess
import sys

from tests.powercuts.launch import launch, missing
from tests.powercuts.simulate import FILE_SYSTEMS, Plan


def main() -> int:
    """Simulate and say how it went."""
    parser = argparse.ArgumentParser(prog="python -m tests.powercuts")
    parser.add_argument("--fs", choices=FILE_SYSTEMS, default="ext4")
    parser.add_argument("--states", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--brief", action="store_true", help="stop at the first violation")
    asked = parser.parse_args()
    lacking = missing(asked.fs)
    if lacking:
        sys.stdout.write(f"power cuts cannot be simulated here without {lacking}\n")
        return 2
    plan = Plan(file_system=asked.fs, states=asked.states, seed=asked.seed, is_brief=asked.brief)
    try:
        result = launch(plan)
    except (OSError, subprocess.SubprocessError) as error:
        sys.stdout.write(f"{error}\n")
        return 2
    sys.stdout.write("\n".join([result.text, *result.violations]) + "\n")
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
