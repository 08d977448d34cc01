"""A bound on the calls that one replica has at one provider, so that a slow provider cannot take everything."""

import asyncio
from collections import deque


class QueueFullError(Exception):
    """As many calls wait as may."""


class Bulkhead:
    """Slots, and a queue in order of arrival. The limit is given with each call, since settings change."""

    def __init__(self) -> None:
        self.running = 0
        self._limit = 1
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._waiting)

    def try_acquire(self, limit: int) -> bool:
        """A slot, if one is free and nobody waits for it."""
        self._limit = limit
        if self.running >= limit or self._waiting:
            return False
        self.running += 1
        return True

    async def acquire(self, *, max_waiting: int, timeout: float) -> None:
        """Wait for a slot. Raises QueueFullError, or TimeoutError after `timeout` seconds."""
        if len(self._waiting) >= max_waiting:
            raise QueueFullError
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(timeout):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.release()  # The slot came in the moment in which the wait ended.
            elif turn in self._waiting:  # `release` passes over turns that were given up.
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give a slot back; who waits longest gets it."""
        self.running -= 1
        while self._waiting and self.running < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)
