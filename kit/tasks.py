"""Ends background tasks for good."""

import asyncio
from typing import Any

AGAIN_SECONDS = 0.5


async def stop(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait until it has ended. Its own failure is not raised.

    Asked again until it is done: `asyncio.wait_for` of Python 3.11, which Redis's client uses, can lose a cancellation
    (https://github.com/python/cpython/issues/86296), and a loop that goes on would be waited for for ever.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_SECONDS)
    if not task.cancelled():
        task.exception()  # seen
