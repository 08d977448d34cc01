"""The cache: exact answers, kept in Redis."""

from redis.asyncio import Redis

from deployments.cache.config import CacheConfig
from deployments.cache.exact import ExactAnswers
from deployments.measure import measured
from deployments.protocols import CachedAnswer, CacheKey


class CacheStage:
    """Implements Cache. The Redis client belongs to whoever made it."""

    def __init__(self, config: CacheConfig, redis: Redis) -> None:
        self._answers = ExactAnswers(config, redis)

    async def start(self) -> None:
        """Nothing needs to be ready: Redis is reached by the first call, and may be lost."""

    async def close(self) -> None:
        """Nothing is held."""

    @measured("cache")
    async def get(self, key: CacheKey) -> CachedAnswer | None:
        """The stored answer; see Cache.get."""
        return await self._answers.get(key)

    @measured("cache")
    async def put(self, key: CacheKey, answer: CachedAnswer, *, operation: str) -> bool:
        """Store an answer; see Cache.put."""
        return await self._answers.put(key, answer, operation=operation)
