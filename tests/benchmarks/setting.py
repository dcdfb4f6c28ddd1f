"""What a person asked the benchmark for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """
    How a workload is set up.

    Attributes:
        folder: All of the workload's own, on the disk that is measured.
        tools: Names; None: all there are.
    """

    folder: Path
    connections: int
    scale: float = 1.0
    tools: frozenset[str] | None = None

    def scaled(self, count: int) -> int:
        """Return a number of things at this scale."""
        return max(1, round(count * self.scale))

    def takes(self, tool: str) -> bool:
        """Whether a tool takes part."""
        return self.tools is None or tool in self.tools
