"""
Makes aioresponses work with aiohttp 3.14, whose `ClientResponse` wants one argument more.

aioresponses 0.7.9 does not pass ``stream_writer`` (its issue 289). The subclass here supplies it
unless it is passed, so that it changes nothing once upstream does. Use it for the shape of requests
and for branching on a status: redirects, pools, timeouts and framing are bypassed by such mocks,
and belong to `tests.wire`.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import aioresponses
import aioresponses.core
from aiohttp import ClientResponse

IS_NEEDED = "stream_writer" in inspect.signature(ClientResponse.__init__).parameters


class _NothingWritten:
    """What is asked of a writer by a response whose request was never sent."""

    output_size = 0


class _Response(ClientResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", _NothingWritten())
        super().__init__(*args, **kwargs)


@contextmanager
def mocked() -> Iterator[Any]:
    """Replace the network by what is registered with the yielded object."""
    response = _Response if IS_NEEDED else ClientResponse
    with (
        patch.object(aioresponses.core, "ClientResponse", response),
        aioresponses.aioresponses() as responses,
    ):
        yield responses
