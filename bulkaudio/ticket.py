"""What one request that was admitted tells the gate of how it went."""

from typing import Protocol

REPEATED = 0.2
"""What a failure costs whose request had failed before: a few recordings that always fail are not
an outage, many that fail for the first time are."""


class Hears(Protocol):
    """The gate, as its tickets see it."""

    @property
    def is_down(self) -> bool:
        """Whether failures outweigh successes."""
        ...

    def heard_began(self, first_byte_s: float, received_bytes: int) -> None:
        """Take note that a good answer began."""
        ...

    def heard_bytes(self, received_bytes: int) -> None:
        """Take note of bytes of an answer that had begun."""
        ...

    def heard_succeeded(self, epoch: int) -> None:
        """Take note that a good answer is over."""
        ...

    def heard_throttled(self, epoch: int, retry_after_s: float | None) -> None:
        """Take note that the host is busy."""
        ...

    def heard_failed(self, epoch: int, reason: str, weight: float) -> None:
        """Take note of trouble."""
        ...


class Ticket:
    """One admitted request: say once how the host took it. Saying nothing is neutral."""

    __slots__ = ("_epoch", "_gate", "_has_begun", "_said", "is_probe")

    def __init__(self, gate: Hears, epoch: int, *, is_probe: bool) -> None:
        self._gate = gate
        self._epoch = epoch
        self._said = self._has_begun = False
        self.is_probe = is_probe
        """Sent while the host was thought to be down: its failure is the host's, not its own."""

    def began(self, first_byte_s: float) -> None:
        """Record the head of a good answer, when its body may take long; once counts."""
        if not self._has_begun:
            self._has_begun = True
            self._gate.heard_began(first_byte_s, 0)

    def received(self, received_bytes: int) -> None:
        """Record bytes of an answer that began."""
        self._gate.heard_bytes(received_bytes)

    def succeeded(self, first_byte_s: float, received_bytes: int = 0) -> None:
        """
        Record a good answer: any that shows a healthy host, a plain 404 among them.

        Args:
            received_bytes: Of one that did not say before that it began.
        """
        if self._speak():
            if not self._has_begun:
                self._gate.heard_began(first_byte_s, received_bytes)
            self._gate.heard_succeeded(self._epoch)

    def throttled(self, retry_after_s: float | None) -> None:
        """Record a 429, or a 503 with ``Retry-After``."""
        if self._speak():
            self._gate.heard_throttled(self._epoch, retry_after_s)

    def failed(self, reason: str, *, is_repeated: bool = False) -> None:
        """
        Record connection trouble, a timeout or a 5xx.

        Args:
            is_repeated: The same request failed before: it says less about the host than the first
                failure of another one.
        """
        if self._speak():
            self._gate.heard_failed(self._epoch, reason, REPEATED if is_repeated else 1.0)

    @property
    def is_hosts_fault(self) -> bool:
        """Whether a failure of this request says nothing about what was asked for."""
        return self.is_probe or self._gate.is_down

    def _speak(self) -> bool:
        first, self._said = not self._said, True
        return first
