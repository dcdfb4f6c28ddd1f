"""An archive that was put together from two backups says how it becomes one again."""

import shutil

from tests.audio import pcm_wav
from tests.inside import Inside
from tests.plans import whole
from tests.program import write_csv
from tests.wire import WireServer, in_thread, says


def test_an_older_ledger_beside_newer_files(inside: Inside) -> None:
    """What PolyAI gives otherwise by now is not replaced; the hint that is given ends the matter."""

    def csv(*ids: str) -> tuple[str, str]:
        return "--csv", str(write_csv(inside.folder / "calls.csv", list(ids)))

    ledger = inside.archive / ".bulkaudio" / "ledger.db"
    with in_thread(WireServer(whole)) as server:
        inside.reach(server)
        assert inside.download(*csv("CA1")).code == 0
        shutil.copy(ledger, inside.folder / "backup.db")
        assert inside.download(*csv("CA1", "CA2")).code == 0
        shutil.copy(inside.folder / "backup.db", ledger)
        server.scripts = (says(200, pcm_wav(0.05, "redacted since")),)

        fixed = ("--agent", "PROJECT-1", "--region", "uk", "--out", inside.archive)
        done = inside.run("download", *csv("CA1", "CA2"), *fixed)
        assert done.code == 3
        assert "bulkaudio rebuild --force" in done.stdout.replace("\n", " ")
        rebuilt = inside.run("rebuild", "--force", inside.archive)
        assert rebuilt.code == 0
        assert "--since T" in rebuilt.stdout
        asked = len(server.targets)
        assert inside.download(*csv("CA1", "CA2")).code == 0
        assert len(server.targets) == asked
