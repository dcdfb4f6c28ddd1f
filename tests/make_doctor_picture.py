"""
Make the picture of a diagnosis from a real one in a terminal.

    python -m tests.make_doctor_picture docs/doctor.svg

A simulated PolyAI refuses the key for listing, and others can reach the archive; all else is well.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from bulkaudio.simulator import Calls, Key, Simulator
from tests.make_picture import in_terminal, rows_of, svg_of
from tests.program import environment, run, write_csv
from tests.wire import Certificates

WHOSE = ("--region", "uk", "--agent", "PROJECT-1")


async def picture() -> str:
    """Make an archive, then look at it."""
    certificates = Certificates()
    simulator = Simulator(
        calls=Calls(count=40),
        keys=(Key(hosts=frozenset({"audio"})), Key(has_pii_access=False)),
        ssl_context=certificates.context("localhost", days=250),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = certificates.write_bundle(folder)
        async with simulator:
            env = environment(simulator)
            for variable in ("BULKAUDIO_AUDIO_URL", "BULKAUDIO_CONVERSATIONS_URL"):
                env[variable] = env[variable].replace("127.0.0.1", "localhost")
            env["BULKAUDIO_CA_BUNDLE"] = str(bundle)
            ids = simulator.calls.recorded_ids()
            csv = write_csv(folder / "calls.csv", ids)
            words = ("--csv", csv, "--out", "archive", *WHOSE)
            done = await run("download", *words, env=env, cwd=folder)
            if done.code:
                raise RuntimeError(done.stderr)
            (folder / "archive" / ".bulkaudio").chmod(0o755)
            looking = ["doctor", "--out", "archive", "--account", "ws-1", "--probe", ids[0]]
            written = await asyncio.to_thread(in_terminal, looking, folder, env)
    return svg_of(rows_of(written)).rstrip() + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(picture()), encoding="utf-8")
