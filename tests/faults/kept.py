"""An archive that a real run made, once a process, and copies of it to spoil."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

from tests.forked import Ended, run_forked
from tests.oracle import Trial, check_files, check_modes, check_secret, check_words, trial_on
from tests.program import wavs
from tests.wire import WireServer

IDS = tuple(f"CA{number}" for number in range(30))

_MADE: dict[str, Path] = {}


async def kept(server: WireServer, cwd: Path) -> Trial:
    """Return a trial whose archive has all of `IDS`, with nothing asked for yet."""
    trial = trial_on(server, cwd, *IDS)
    if "whole" not in _MADE:
        ended = await trial.download(*trial.csv(*IDS))
        assert ended.code == 0, ended.stderr
        _MADE["whole"] = Path(mkdtemp(prefix="kept-")) / "archive"
        shutil.copytree(trial.archive, _MADE["whole"])
        server.heads.clear()
    else:
        shutil.copytree(_MADE["whole"], trial.archive)
        trial.csv(*IDS)
    return trial


def ledger_of(trial: Trial) -> Path:
    """Where the ledger is."""
    return trial.archive / ".bulkaudio" / "ledger.db"


async def run_on(trial: Trial, command: str, *arguments: str) -> Ended:
    """Run a command that takes the archive's folder; its ledger may be anything."""
    words = (command, str(trial.archive), *arguments)
    if command == "download":
        words = trial.words("--csv", "calls.csv", *arguments)
    ended = await run_forked(trial.order(*words))
    check_words(ended)
    check_secret(trial.cwd)
    assert (ended.descriptors, ended.threads, ended.tasks) == ((), (), ())
    check_files(wavs(trial.archive), trial.truth, trial.foreign)
    check_modes(trial.archive, trial.foreign)
    return ended


def old_ledgers(trial: Trial) -> list[bytes]:
    """Return the content of every ledger that was moved aside."""
    found = (trial.archive / ".bulkaudio").glob("ledger.db.*.old")
    return [path.read_bytes() for path in sorted(found) if path.is_file()]


async def rebuilt(trial: Trial, server: WireServer, *arguments: str) -> None:
    """Make the ledger anew: it knows everything, without a request, and a download asks nothing."""
    before = len(server.heads)
    ended = await run_on(trial, "rebuild", "--json", *arguments)
    assert ended.code == 0, ended.stderr
    assert ended.summary["adopted"] == len(wavs(trial.archive)) - len(trial.foreign)
    trial.check_archive(is_whole=True)
    assert trial.saved() == set(wavs(trial.archive)) - set(trial.foreign)
    assert len(server.heads) == before
    asked = dict(trial.asked())
    await trial.healed(*trial.csv(*IDS))
    missing = set(trial.truth) - set(asked)
    again = {path for path, count in trial.asked().items() if count > asked.get(path, 0)}
    assert again <= missing, f"{again} were taken up and asked for again"
