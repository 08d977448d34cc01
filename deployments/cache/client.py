"""Looks answers up straight in Redis, from the caller's process; has them stored by the Cache stage."""

from redis.asyncio import Redis

from deployments.cache.config import CacheConfig
from deployments.cache.exact import ExactAnswers
from deployments.measure import measured
from deployments.protocols import Cache, CachedAnswer, CacheKey
from kit.errors import PenstockError


class CacheClient:
    """Implements Cache beside its callers: a hit costs no hop. The Redis client belongs to whoever made it."""

    def __init__(self, remote: Cache, config: CacheConfig, redis: Redis) -> None:
        self._remote = remote
        self._answers = ExactAnswers(config, redis)

    @measured("cache")
    async def get(self, key: CacheKey) -> CachedAnswer | None:
        """The stored answer; see Cache.get."""
        return await self._answers.get(key)

    async def put(self, key: CacheKey, answer: CachedAnswer, *, operation: str) -> bool:
        """Store an answer; see Cache.put. While Redis is lost, in this process, where `get` will look for it."""
        if not self._answers.lost:
            try:
                return await self._remote.put(key, answer, operation=operation)
            except PenstockError:
                return False  # An answer that cannot be kept is no failed request.
        return await self._answers.put(key, answer, operation=operation)
