"""Puts all items that are ready into one message: between processes a message costs more than what is in it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")

MOST_READY = 256
"""Items that wait for a slow reader; then the source waits too."""


async def coalesced(items: AsyncIterator[T], most: int = MOST_READY) -> AsyncGenerator[list[T], None]:
    """Lists of at least one item, in order. The first item waits for nothing, the others only while a list is out.

    An exception of the source comes after the items before it. Closing closes the source.
    """
    ready: list[T] = []
    changed, room = asyncio.Event(), asyncio.Event()
    failure: BaseException | None = None

    async def pump() -> None:
        nonlocal failure
        try:
            async for item in items:
                ready.append(item)
                changed.set()
                if len(ready) >= most:
                    room.clear()
                    await room.wait()
        except Exception as error:
            failure = error
        finally:
            await _close(items)
            changed.set()

    source = asyncio.create_task(pump())
    try:
        while True:
            await changed.wait()
            changed.clear()
            # Read before the list: the source may end while the list is out.
            ended = source.done()
            if ready:
                batch, ready[:] = ready[:], []
                room.set()
                yield batch
            elif ended:
                break
            if source.done():
                changed.set()
        if failure is not None:
            raise failure
    finally:
        source.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await source


async def _close(items: AsyncIterator[T]) -> None:
    aclose = getattr(items, "aclose", None)
    if aclose is not None:
        await aclose()
