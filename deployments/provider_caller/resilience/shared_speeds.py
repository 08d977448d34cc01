"""What every replica has seen of the models' speeds, put together. The router's policy `speed` reads it."""

import asyncio
import math
import secrets
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import orjson
from redis.asyncio import Redis

from deployments.provider_caller.resilience.histogram import Histogram
from deployments.provider_caller.resilience.redis_guard import RedisGuard
from deployments.provider_caller.resilience.speeds import Sampled, Speeds
from deployments.provider_caller.resilience.targets import OPERATOR

REPLICAS = "penstock:provider:speeds"
TTL_SECONDS = 60
PUBLISH_EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds; None where nothing is known. count: answers and streams that it rests on. tokens_per_second: of output,
    once it has begun."""

    count: int
    first_token_p50: float | None
    first_token_p95: float | None
    first_token_p999: float | None
    total_p50: float | None
    total_p95: float | None
    tokens_per_second: float | None


@dataclass
class _Merged:
    first_token: Histogram = field(default_factory=Histogram)
    total: Histogram = field(default_factory=Histogram)
    tokens: int = 0
    seconds: float = 0.0


class SpeedsPublisher:
    """Puts this replica's view beside the others', where it stays for a minute."""

    def __init__(self, redis: Redis, guard: RedisGuard, speeds: Speeds) -> None:
        self._redis = redis
        self._guard = guard
        self._speeds = speeds
        self._replica = secrets.token_hex(8)

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await asyncio.sleep(PUBLISH_EVERY)
            await self._guard.call(self.publish)

    async def publish(self) -> bool:
        """Publish once. Raises RedisError, OSError."""
        fields: dict[Any, Any] = {
            ":".join(key): orjson.dumps(_summary(sampled)) for key, sampled in self._speeds.recent()
        }
        own, now = f"{REPLICAS}:{self._replica}", time.time()
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(own)
            if fields:
                pipeline.hset(own, mapping=fields)
                pipeline.expire(own, TTL_SECONDS)
            pipeline.zadd(REPLICAS, {self._replica: now})
            pipeline.zremrangebyscore(REPLICAS, "-inf", now - TTL_SECONDS)
            await pipeline.execute()
        return True


async def read_speeds(redis: Redis, owner: str = OPERATOR) -> dict[tuple[str, str], Speed]:
    """The speeds by (provider, model) that calls with one owner's keys had. Raises RedisError, OSError."""
    replicas: list[Any] = await redis.zrangebyscore(REPLICAS, time.time() - TTL_SECONDS, math.inf)
    async with redis.pipeline(transaction=False) as pipeline:
        for replica in replicas:
            pipeline.hgetall(f"{REPLICAS}:{replica.decode()}")
        views = await pipeline.execute()
    merged: dict[tuple[str, str], _Merged] = defaultdict(_Merged)
    for view in views:
        for name, stated in view.items():
            whose, provider, model = name.decode().split(":", 2)
            if whose == owner:
                _merge(merged[provider, model], orjson.loads(stated))
    return {key: _speed(found) for key, found in merged.items()}


def _summary(sampled: Sampled) -> dict[str, object]:
    return {
        "first_token": list(Histogram.of(seconds for _, seconds in sampled.first_token).counts.items()),
        "total": list(Histogram.of(seconds for _, seconds in sampled.total).counts.items()),
        "tokens": sum(tokens for _, tokens, _ in sampled.output),
        "seconds": sum(seconds for _, _, seconds in sampled.output),
    }


def _merge(merged: _Merged, stated: dict[str, Any]) -> None:
    merged.first_token.add(Histogram(dict(stated["first_token"])))
    merged.total.add(Histogram(dict(stated["total"])))
    merged.tokens += stated["tokens"]
    merged.seconds += stated["seconds"]


def _speed(merged: _Merged) -> Speed:
    first_token, total = merged.first_token, merged.total
    return Speed(
        count=max(len(first_token), len(total)),
        first_token_p50=first_token.percentile(0.5),
        first_token_p95=first_token.percentile(0.95),
        first_token_p999=first_token.percentile(0.999),
        total_p50=total.percentile(0.5),
        total_p95=total.percentile(0.95),
        tokens_per_second=merged.tokens / merged.seconds if merged.seconds else None,
    )
