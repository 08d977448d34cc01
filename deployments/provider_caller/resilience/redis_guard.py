"""Redis as something that may be lost at any moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

T = TypeVar("T")

_log = structlog.get_logger("penstock.resilience")


class RedisGuard:
    """Bounds each call, and leaves Redis alone for a moment after it failed: else every call would wait for it."""

    def __init__(self, *, timeout: float, pause: float, clock: Callable[[], float]) -> None:
        self._timeout = timeout
        self._pause = pause
        self._clock = clock
        self._lost_until = float("-inf")
        self._known_lost = False

    @property
    def lost(self) -> bool:
        """Whether Redis did not answer the last call."""
        return self._known_lost

    async def call(self, command: Callable[[], Awaitable[T]]) -> T | None:
        """The command's answer; None where Redis is lost. The command itself must not answer None."""
        if self._clock() < self._lost_until:
            return None
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            async with asyncio.timeout(self._timeout):
                answer = await command()
        except (RedisError, OSError) as error:  # TimeoutError is an OSError.
            self._lose(error)
            answer = None
        if task and task.cancelling() > cancelled:
            # redis-py uses asyncio.wait_for, which loses a cancellation on Python 3.11 (python/cpython#86296).
            raise asyncio.CancelledError
        if answer is None:
            return None
        if self._known_lost:
            self._known_lost = False
            _log.info("Redis is back; replicas share again what they know of providers")
        return answer

    def _lose(self, error: Exception) -> None:
        self._lost_until = self._clock() + self._pause
        if not self._known_lost:
            self._known_lost = True
            _log.warning("Redis is lost; this process judges providers alone", error=type(error).__name__)
