"""The linter's security rules are in force, everywhere, and what is excused is excused by name."""

import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "bulkaudio"

EXCUSED = {
    ("gate.py", "S311"): (1, "when to ask again is no secret"),
    ("retry.py", "S311"): (1, "when to ask again is no secret"),
    ("stores/objects/patience.py", "S311"): (1, "when to ask again is no secret"),
    ("stores/objects/aws.py", "S603"): (1, "the user's own credential_process, without a shell"),
    ("simulator/calls.py", "S311"): (2, "synthetic speech is no secret"),
    ("simulator/faults.py", "S311"): (1, "planned faults are no secret"),
    ("simulator/speech.py", "S311"): (1, "noise is no secret"),
    ("schedule/kubernetes.py", "S108"): (1, "a folder of the pod, named in a manifest"),
    ("schedule/systemd.py", "S108"): (2, "named, to see what lies there; nothing is written there"),
    ("ledger/database.py", "S101"): (2, "for mypy; what it says holds by construction"),
    ("ledger/burying.py", "S608"): (1, "names of columns of its own"),
    ("ledger/erasing.py", "S608"): (1, "names of columns of its own"),
    ("ledger/journal.py", "S608"): (2, "names of tables and queries of its own"),
    ("ledger/restoring.py", "S608"): (2, "names of columns and queries of its own"),
    ("ledger/listings.py", "S101"): (1, "for mypy; an INSERT has a row"),
    ("cluster/parcels.py", "S301"): (1, "Dask itself runs what a scheduler sends; docs/cluster.md"),
    ("polyai/pages.py", "S101"): (1, "for mypy; what it says holds by construction"),
}
"""How often each rule is broken in a file, and why that is right; nothing else may be."""

MISTAKES = {
    "S602": "import subprocess\nsubprocess.run('ls ' + x, shell=True)\n",
    "S301": "import pickle\npickle.loads(x)\n",
    "S307": "eval(x)\n",
    "S324": "import hashlib\nhashlib.md5(x)\n",
    "S608": "q = f'SELECT * FROM t WHERE a = {x}'\n",
    "S105": "password = 'hunter2'\n",
    "S108": "path = '/tmp/x'\n",
    "S323": "import ssl\nssl._create_unverified_context()\n",
    "S103": "import os\nos.chmod(x, 0o777)\n",
    "S310": "import urllib.request\nurllib.request.urlopen(x)\n",
    "S314": "import xml.etree.ElementTree as e\ne.parse(x)\n",
    "S110": "try:\n    f()\nexcept Exception:\n    pass\n",
}


def ruff(*arguments: str, stdin: str = "") -> list[str]:
    """Run ruff; return what it found, a line each."""
    program = Path(sys.executable).parent / "ruff"
    if not program.exists():
        pytest.skip("ruff is not installed beside this Python: pip install -e '.[dev]'")
    done = subprocess.run(
        [program, "check", "--no-cache", "--output-format", "concise", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={"PATH": os.environ.get("PATH", "")},
    )
    assert done.returncode in {0, 1}, done.stderr
    return [line for line in done.stdout.splitlines() if line.count(":") >= 3]


def test_every_excuse_is_known() -> None:
    """Without any configuration and any excuse, the rules find what the table explains."""
    found: Counter[tuple[str, str]] = Counter()
    for line in ruff("--isolated", "--select", "S", "--ignore-noqa", str(PACKAGE)):
        path, _, _, message = line.split(":", 3)
        name = (ROOT / path).relative_to(PACKAGE).as_posix()
        found[name, message.split()[0]] += 1
    assert found == {place: count for place, (count, _) in EXCUSED.items()}


@pytest.mark.parametrize("room", ["", "cli/", "polyai/", "ledger/", "stores/", "simulator/"])
def test_the_rules_are_in_force_in_every_room(room: str) -> None:
    """A mistake of each kind is reported under the configuration as it is."""
    text = "".join(MISTAKES.values())
    found = ruff("--stdin-filename", f"bulkaudio/{room}mistake.py", "-", stdin=text)
    unseen = [rule for rule in MISTAKES if not any(f" {rule} " in line for line in found)]
    assert unseen == []


def test_no_configuration_takes_them_back() -> None:
    """No list of exceptions holds a security rule for the package, nor a wider one of its own."""
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    assert [rule for rule in lint["ignore"] if rule.startswith("S")] == []
    for pattern, rules in lint["per-file-ignores"].items():
        is_ours = not pattern.startswith(("tests/", "examples/"))
        assert not (is_ours and [r for r in rules if r == "ALL" or r[0] == "S"]), pattern
    folders = [path.parent for path in PACKAGE.rglob("*.py")]
    names = ("ruff.toml", ".ruff.toml", "pyproject.toml")
    assert not [folder for folder in folders if any((folder / name).exists() for name in names)]
