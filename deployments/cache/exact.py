"""Exact answers in Redis, one round trip each. While Redis is lost, a small map of this process stands in for it."""

import asyncio
import logging
import time
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deployments.cache.config import CacheConfig
from deployments.cache.framing import decode, encode
from deployments.cache.memory import ExpiringMap
from deployments.cache.policy import CachePolicy
from deployments.protocols import CachedAnswer, CacheKey

_LARGE = 64 * 1024

log = logging.getLogger(__name__)


class ExactAnswers:
    """Stores and finds answers by their key. Never raises for a lost Redis. redis: answers in bytes, not decoded."""

    def __init__(self, config: CacheConfig, redis: Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._policy = CachePolicy(config)
        self._redis = redis
        self._clock = clock
        self._lost_until = float("-inf")
        self._standby = ExpiringMap(config.standby_bytes, clock)

    async def get(self, key: CacheKey) -> CachedAnswer | None:
        """The stored answer. None for a miss, a damaged entry, a cache that is switched off."""
        if not self._config.enabled:
            return None
        name = redis_key(key)
        stored: bytes | None = None
        if self.lost:
            stored = self._standby.get(name)
        else:
            try:
                async with asyncio.timeout(self._config.redis_timeout):
                    found = await self._redis.get(name)
            except (RedisError, OSError) as error:
                self._lose(error)
                stored = self._standby.get(name)
            else:
                stored = found if isinstance(found, bytes) else None
        return None if stored is None else decode(stored, max_bytes=self._config.max_bytes)

    async def put(self, key: CacheKey, answer: CachedAnswer, *, operation: str) -> bool:
        """Whether the answer is in Redis now. Where Redis is lost, this process alone keeps it: False."""
        seconds = self._policy.ttl(operation)
        if not self._config.enabled or seconds == 0 or len(answer.body) > self._config.max_bytes:
            return False
        stored = await self._encode(answer)
        if stored is None:
            return False
        name = redis_key(key)
        if not self.lost:
            try:
                async with asyncio.timeout(self._config.redis_timeout):
                    await self._redis.set(name, stored, ex=seconds)
                return True
            except (RedisError, OSError) as error:
                self._lose(error)
        self._standby.put(name, stored, seconds)
        return False

    async def _encode(self, answer: CachedAnswer) -> bytes | None:
        if len(answer.body) < _LARGE:
            return encode(answer, max_bytes=self._config.max_bytes)
        # Compressing a megabyte takes the event loop's time for many small requests.
        return await asyncio.to_thread(encode, answer, max_bytes=self._config.max_bytes)

    @property
    def lost(self) -> bool:
        """Whether Redis did not answer a moment ago."""
        return self._clock() < self._lost_until

    def _lose(self, error: Exception) -> None:
        # Without a pause every request would wait for the same time-out.
        self._lost_until = self._clock() + self._config.redis_pause
        log.warning("Redis is lost to the answer cache (%s); this process keeps answers.", type(error).__name__)


def redis_key(key: CacheKey) -> str:
    """Where an answer lies in Redis: a tenant's answers share a prefix of their own."""
    return f"penstock:{key.tenant}:cache:exact:{key.digest}"
