"""A second attempt beside one that is slow, after "The Tail at Scale" (Dean, Barroso; CACM 2013). The first that
succeeds is taken, the other is cancelled."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Hedges:
    """Runs the races, and sees the losers off in the background: a winner does not wait for them."""

    def __init__(self) -> None:
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait until every loser has left."""
        await asyncio.gather(*self._leaving)

    async def race(
        self,
        first: Callable[[], Coroutine[Any, Any, T]],
        second: Callable[[], Coroutine[Any, Any, T] | None],
        *,
        delay: float,
        discard: Callable[[T], Awaitable[None]],
    ) -> T:
        """The first result. `second` is asked after `delay` seconds and may decline with None.

        Where both fail, the first one's error is raised. `discard` gets a result that came too late.
        """
        racers = [asyncio.create_task(first())]
        winner: asyncio.Task[T] | None = None
        try:
            await asyncio.wait(racers, timeout=delay)
            if not racers[0].done() and (attempt := second()) is not None:
                racers.append(asyncio.create_task(attempt))
            winner = await _first_to_succeed(racers)
            return winner.result() if winner else racers[0].result()
        finally:
            self._see_off([racer for racer in racers if racer is not winner], discard)

    def _see_off(self, losers: list["asyncio.Task[T]"], discard: Callable[[T], Awaitable[None]]) -> None:
        if not losers:
            return
        for loser in losers:
            loser.cancel()
        leaving = asyncio.create_task(_leave(losers, discard))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)


async def _first_to_succeed(racers: list["asyncio.Task[T]"]) -> "asyncio.Task[T] | None":
    pending = set(racers)
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for racer in racers:
            if racer.done() and not racer.cancelled() and racer.exception() is None:
                return racer
    return None


async def _leave(losers: list["asyncio.Task[T]"], discard: Callable[[T], Awaitable[None]]) -> None:
    await asyncio.gather(*losers, return_exceptions=True)
    for loser in losers:
        if not loser.cancelled() and loser.exception() is None:
            await discard(loser.result())
