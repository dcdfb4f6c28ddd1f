"""
Blocking work with an end to the waiting.

A name server that is gone and a dead network disk hold a thread for minutes or for good. The event
loop's own threads are waited for at the end of the program; these are not.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Callable[[], T]) -> T:
    """
    Run `work` in a thread that nobody has to wait for.

    Raises:
        TimeoutError: It took longer; it may go on, and what becomes of it is lost.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  # handed to whoever waits
            failure = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await done
