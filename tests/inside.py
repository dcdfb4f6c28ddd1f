"""The program within the test's process: all of it but the process, and many times faster."""

from pathlib import Path

import pytest

from tests.program import Done
from tests.wire import WireServer


class Inside:
    """
    Runs command lines in a folder of their own, against one scripted server.

    Args:
        folder: The working directory; `archive` lies in it.
    """

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self.archive = folder / "archive"
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.chdir(folder)

    def reach(self, server: WireServer, key: str = "canary-inside-key") -> None:
        """Make the server PolyAI, and `key` the key for it."""
        self.env("BULKAUDIO_AUDIO_URL", server.url())
        self.env("BULKAUDIO_CONVERSATIONS_URL", server.url())
        self.env("POLYAI_API_KEY", key)

    def env(self, name: str, value: str) -> None:
        """Set a variable."""
        self._monkeypatch.setenv(name, value)

    def run(self, *arguments: str | Path) -> Done:
        """Run a command line to its end."""
        # Here, so that only the tests that use it need a program that can be imported.
        from bulkaudio.cli.app import main

        self._capsys.readouterr()
        code = main([str(each) for each in arguments])
        printed = self._capsys.readouterr()
        return Done(code=code, stdout=printed.out, stderr=printed.err)

    def download(self, *arguments: str | Path) -> Done:
        """Run ``download --json`` into `archive`."""
        fixed = ("--agent", "PROJECT-1", "--region", "uk", "--out", self.archive)
        return self.run("download", "--json", *fixed, *arguments)
