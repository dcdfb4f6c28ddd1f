"""
Whether the tests take every branch of what decides and of what keeps: ``python -m tests.branches``.

The tests that fit those modules are run alone: what another test happens to pass by is not tested.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
MODULES = (
    *("policy", "naming", "wav", "windows", "gate", "slots", "put_off", "rate", "ticket"),
    *("ledger/*", "stores/*"),
)
TESTS = (
    *("policy", "naming", "wav", "wav_sizes", "windows", "gate", "gate_tickets", "lock", "verify"),
    "rate",
    *("ledger", "ledger_edges", "ledger_planning", "ledger_spoilt", "ledger_erasing"),
    *("purge", "purge_interrupted", "returned", "registered"),
    *("local_store", "store_edges"),
    *("doctor_archive", "rehearsal", "plan", "gaps", "metrics", "bandwidth"),
    *("ledger_looks", "trial_and_glance", "readonly_archive", "ledger_journal", "address"),
)
OTHERS = tuple(
    f"tests/{name}.py"
    for name in (
        "objects/test_writers",
        "objects/test_worker_place",
        "cluster/test_benches",
        "cluster/test_worker_bucket",
    )
)
"""What object stores do is tried in processes of their own, which nobody watches here."""


def main() -> None:
    """Run them under coverage, and end with 1 when a branch is missing."""
    with tempfile.TemporaryDirectory(prefix="bulkaudio-branches-") as folder:
        environment = os.environ | {"CI": "1", "COVERAGE_FILE": str(Path(folder, "coverage"))}

        def coverage(*arguments: str) -> None:
            command = [sys.executable, "-m", "coverage", *arguments]
            code = subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode
            if code:
                raise SystemExit(code)

        files = [*(f"tests/test_{name}.py" for name in TESTS), *OTHERS]
        coverage("run", "--branch", "-m", "pytest", "-n", "0", "-q", *files)
        included = ",".join(f"bulkaudio/{name}{'' if '*' in name else '.py'}" for name in MODULES)
        chosen = (f"--include={included}", "--omit=bulkaudio/stores/objects/*")
        coverage("report", "--show-missing", "--fail-under=100", *chosen)


if __name__ == "__main__":
    main()
