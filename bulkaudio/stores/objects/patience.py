"""
Trying again: how often a request to a store is repeated, and how long is waited.

obstore repeats requests too, but not a create whose answer is late, and it hides how often it did;
a create that is repeated must know that it is, because it may have succeeded before. So its own
repeating is off here, except within one upload in parts.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import TypeVar

from bulkaudio.object_url import ObjectUrl
from bulkaudio.stores.objects.faults import OBSTORE_ERRORS, Fault, Kind, fault_of, storage_error

T = TypeVar("T")


class RequestFailed(Exception):  # noqa: N818  a signal inside the package, not an error that leaves it
    """What a request came to, for whoever can do something about it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """
    Bounds of repeating.

    Attributes:
        attempts: Of one request.
        total_s: After which none begins.
        halted: Ends every wait: nothing is repeated any more.
    """

    attempts: int = 8
    base_s: float = 0.5
    busy_base_s: float = 1.0
    cap_s: float = 30.0
    total_s: float = 300.0
    halted: Event = field(default_factory=Event, repr=False, compare=False)

    def wait_s(self, number: int, fault: Fault) -> float:
        """Draw the wait after attempt `number`: full jitter."""
        base = self.busy_base_s if fault.kind is Kind.BUSY else self.base_s
        return random.uniform(0, min(self.cap_s, base * 2.0**number))  # noqa: S311  jitter


HASTY = Patience(attempts=2, total_s=20.0)


def attempted(request: Callable[[], T]) -> T:
    """Do one request; raises `RequestFailed` for whatever obstore raises."""
    try:
        return request()
    except OBSTORE_ERRORS as error:
        fault = fault_of(error)
    # Out of the handler: chained, a traceback would print what obstore wrote.
    raise RequestFailed(fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeater:
    """Repeats requests to one bucket."""

    url: ObjectUrl
    patience: Patience

    def call(
        self, what: str, work: Callable[[int], T], *, left: frozenset[Kind] = frozenset()
    ) -> T:
        """
        Call `work` with the attempt's number, from 1, until it returns.

        Args:
            what: Is done, for messages: "storing an object".
            left: Kinds of faults that the caller deals with: raised as `RequestFailed`.

        Raises:
            StorageError: When it is of no use, or patience ends.
        """
        end = time.monotonic() + self.patience.total_s
        number = 0
        while True:
            number += 1
            try:
                return work(number)
            except RequestFailed as failure:
                fault = failure.fault
            if fault.kind in left:
                raise RequestFailed(fault)
            is_passing = fault.kind in {Kind.PASSING, Kind.BUSY}
            wait_s = self.patience.wait_s(number, fault)
            is_over = number >= self.patience.attempts or time.monotonic() + wait_s > end
            if not is_passing or is_over or self.patience.halted.wait(wait_s):
                raise storage_error(fault, what, self.url)
