"""Notices that Redis has lost data: emptied, or restarted (its file may lack the last second).

The epoch is a key that says which run of the server wrote the counters. When it is missing or names another run, a new
epoch begins: all replicas write their open holds again, and hard budgets refuse for a moment, so that no counter is
summed up before every hold is back.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from deployments.provider_caller.money import keys
from deployments.provider_caller.money.scripts import Scripts


class Epoch:
    """This process's view of the epoch. Its methods raise RedisError or OSError."""

    def __init__(self, redis: Redis, scripts: Scripts, *, pause: float, clock: Callable[[], datetime]) -> None:
        """pause: seconds after an epoch's beginning in which no counter is summed up."""
        self._redis: Any = redis  # whose own types are unions of all that any protocol may answer
        self._scripts = scripts
        self._pause = pause
        self._clock = clock
        self._seen = b""
        self.began = False
        """Whether this process began the present epoch at the last look."""

    async def look(self) -> bool:
        """Whether another epoch is there than at the last look (or none had been seen)."""
        run = (await self._redis.info("server"))["run_id"]
        stored: bytes = await self._redis.get(keys.EPOCH) or b""
        self.began = False
        if stored.split(b" ")[:1] != [run.encode()]:
            own = f"{run} {self._now()} {secrets.token_hex(8)}".encode()
            stored = await self._scripts.epoch(keys=[keys.EPOCH], args=[stored, own])
            self.began = stored == own
        changed = stored != self._seen
        self._seen = stored
        return changed

    def pause_left(self) -> float:
        """Seconds until counters may be summed up, as of the last look."""
        if not self._seen:
            return self._pause
        began = int(self._seen.split(b" ")[1])
        return min(max(0.0, self._pause - (self._now() - began) / 1000), self._pause)

    def _now(self) -> int:
        return int(self._clock().timestamp() * 1000)
