"""Two replicas with a real Redis and real time: what one call finds out holds for the other's calls."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from deployments.provider_caller.resilience.attempts import Attempts
from deployments.provider_caller.resilience.config import BreakerConfig, ResilienceConfig, RetryConfig
from deployments.provider_caller.resilience.shared_speeds import REPLICAS
from deployments.provider_caller.resilience.sharing import BREAKERS, PAUSES
from kit.errors import PenstockError
from kit.redis import redis_client
from tests.deployments.provider_caller.resilience.scripted import A, B, Provider, failed, failing, limited, plan

CONFIG = ResilienceConfig(breaker=BreakerConfig(share_every=0.02), retry=RetryConfig(first_wait=0.001))


@pytest.fixture
async def replicas(redis: Redis) -> AsyncIterator[tuple[Attempts, Attempts]]:
    await redis.delete(BREAKERS, PAUSES, REPLICAS)
    both = Attempts(CONFIG, redis), Attempts(CONFIG, redis)
    for replica in both:
        await replica.start()
    yield both
    for replica in both:
        await replica.close()
    await redis.delete(BREAKERS, PAUSES, REPLICAS)


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_a_provider_that_fails_for_one_replica_is_passed_over_by_the_other(
    replicas: tuple[Attempts, Attempts],
) -> None:
    one, other = replicas
    provider = Provider(time.monotonic, {"a": failing(failed)})
    for _ in range(3):
        await one.run(plan(time.monotonic, A, B), provider.once)
    await until(lambda: other.states().get(("a", "operator")))
    assert other.states()["a", "operator"].state == "open"
    provider.asked.clear()
    outcome = await other.run(plan(time.monotonic, A, B), provider.once)
    assert provider.order == "b"
    assert "has been failing" in str(outcome.failure)


async def test_a_pause_that_one_replica_was_asked_for_holds_for_the_other(
    replicas: tuple[Attempts, Attempts],
) -> None:
    one, other = replicas
    provider = Provider(time.monotonic, {"a": failing(lambda: limited(30))})
    await one.run(plan(time.monotonic, A, B), provider.once)
    await asyncio.sleep(0.1)
    await other.run(plan(time.monotonic, A, B), provider.once)
    assert provider.order == "abb"


async def test_a_lost_redis_never_reaches_a_caller() -> None:
    attempts = Attempts(CONFIG, redis_client("redis://127.0.0.1:1/0"))
    await attempts.start()
    provider = Provider(time.monotonic, {"a": failing(failed)})
    for _ in range(3):
        assert (await attempts.run(plan(time.monotonic, A, B), provider.once)).target is B
    assert attempts.states()["a", "operator"].state == "open"
    assert attempts.alone
    with pytest.raises(PenstockError, match="has been failing"):
        await attempts.run(plan(time.monotonic, A), provider.once)
    await attempts.close()
