import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from deployments.cache.client import CacheClient
from deployments.cache.config import CacheConfig
from deployments.cache.exact import ExactAnswers, redis_key
from deployments.cache.policy import CachePolicy
from deployments.cache.stage import CacheStage
from deployments.protocols import CachedAnswer, CacheKey
from kit.errors import SetupError, UnavailableError
from kit.ids import uuid7

CONFIG = CacheConfig(max_bytes=1000)
ANSWER = CachedAnswer(b'{"choices":[]}', {"provider": "openai", "cost": 12})


@pytest.fixture
async def redis(services: Any) -> AsyncIterator[Redis]:
    client = Redis.from_url(services.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def lost_redis() -> AsyncIterator[Redis]:
    """A Redis that is not there."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        client = Redis(host="127.0.0.1", port=reserved.getsockname()[1])
        yield client
        await client.aclose()


@pytest.fixture
def key() -> CacheKey:
    return CacheKey(f"t-{uuid7().hex}", "digest")


class Remote:
    """The stage of another process: counts what it is asked."""

    def __init__(self, stage: CacheStage, fails: bool = False) -> None:
        self.stage, self.fails, self.gets, self.puts = stage, fails, 0, 0

    async def get(self, key: CacheKey) -> CachedAnswer | None:
        self.gets += 1
        return await self.stage.get(key)

    async def put(self, key: CacheKey, answer: CachedAnswer, *, operation: str) -> bool:
        self.puts += 1
        if self.fails:
            raise UnavailableError("The cache is busy.")
        return await self.stage.put(key, answer, operation=operation)


async def test_what_was_stored_is_found(redis: Redis, key: CacheKey) -> None:
    stage = CacheStage(CONFIG, redis)
    await stage.start()
    assert await stage.get(key) is None
    assert await stage.put(key, ANSWER, operation="factual") is True
    assert await stage.get(key) == ANSWER
    await stage.close()


async def test_another_tenants_answer_is_not(redis: Redis, key: CacheKey) -> None:
    stage = CacheStage(CONFIG, redis)
    await stage.put(key, ANSWER, operation="factual")
    assert await stage.get(CacheKey("another", key.digest)) is None


@pytest.mark.parametrize(("operation", "seconds"), [("factual", 86400), ("research", 900), ("unlisted", 77)])
async def test_an_answer_lives_as_long_as_its_operation_says(
    redis: Redis, key: CacheKey, operation: str, seconds: int
) -> None:
    await CacheStage(CacheConfig(ttl=77), redis).put(key, ANSWER, operation=operation)
    assert seconds - 5 <= await redis.ttl(redis_key(key)) <= seconds


async def test_chat_and_large_answers_are_not_stored(redis: Redis, key: CacheKey) -> None:
    stage = CacheStage(CONFIG, redis)
    assert await stage.put(key, ANSWER, operation="chat") is False
    assert await stage.put(key, CachedAnswer(b"0" * 1001), operation="factual") is False
    assert await stage.put(key, CachedAnswer(b"0", {"m": "0" * 1001}), operation="factual") is False
    assert await redis.exists(redis_key(key)) == 0


async def test_a_very_large_answer_comes_back_whole(redis: Redis, key: CacheKey) -> None:
    stage = CacheStage(CacheConfig(), redis)
    large = CachedAnswer(bytes(range(256)) * 2000)
    assert await stage.put(key, large, operation="factual") is True
    assert await stage.get(key) == large


async def test_a_cache_that_is_switched_off_neither_stores_nor_finds(redis: Redis, key: CacheKey) -> None:
    await CacheStage(CONFIG, redis).put(key, ANSWER, operation="factual")
    off = CacheStage(CacheConfig(enabled=False), redis)
    assert await off.get(key) is None
    assert await off.put(key, ANSWER, operation="factual") is False


async def test_a_damaged_entry_is_a_miss(redis: Redis, key: CacheKey) -> None:
    await redis.set(redis_key(key), b"\x01not zlib")
    assert await CacheStage(CONFIG, redis).get(key) is None


async def test_a_lost_redis_is_a_miss_and_this_process_stands_in(lost_redis: Redis, key: CacheKey) -> None:
    stage = CacheStage(CONFIG, lost_redis)
    assert await stage.get(key) is None
    assert await stage.put(key, ANSWER, operation="factual") is False
    assert await stage.get(key) == ANSWER


async def test_redis_is_asked_again_after_a_pause(redis: Redis, lost_redis: Redis, key: CacheKey) -> None:
    now = [0.0]
    answers = ExactAnswers(CONFIG, lost_redis, clock=lambda: now[0])
    await answers.get(key)
    assert answers.lost
    answers._redis = redis
    assert await answers.put(key, ANSWER, operation="factual") is False
    now[0] = CONFIG.redis_pause
    assert await answers.put(key, ANSWER, operation="factual") is True


async def test_a_redis_that_hangs_is_a_miss(key: CacheKey) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = Redis(host="127.0.0.1", port=silent.getsockname()[1])
        try:
            assert await ExactAnswers(CacheConfig(redis_timeout=0.05), client).get(key) is None
        finally:
            await client.aclose()


async def test_the_client_reads_redis_itself_and_stores_through_the_stage(redis: Redis, key: CacheKey) -> None:
    remote = Remote(CacheStage(CONFIG, redis))
    client = CacheClient(remote, CONFIG, redis)
    assert await client.put(key, ANSWER, operation="factual") is True
    assert await client.get(key) == ANSWER
    assert (remote.gets, remote.puts) == (0, 1)


async def test_the_client_keeps_answers_itself_while_redis_is_lost(lost_redis: Redis, key: CacheKey) -> None:
    remote = Remote(CacheStage(CONFIG, lost_redis))
    client = CacheClient(remote, CONFIG, lost_redis)
    assert await client.get(key) is None
    assert await client.put(key, ANSWER, operation="factual") is False
    assert await client.get(key) == ANSWER
    assert remote.puts == 0


async def test_a_cache_stage_that_is_busy_fails_no_request(redis: Redis, key: CacheKey) -> None:
    client = CacheClient(Remote(CacheStage(CONFIG, redis), fails=True), CONFIG, redis)
    assert await client.put(key, ANSWER, operation="factual") is False


def test_only_sampling_without_chance_is_cached() -> None:
    policy = CachePolicy(CONFIG)
    for grounded in (True, False):
        assert policy.admits_temperature(0, grounded=grounded)
        assert not policy.admits_temperature(0.7, grounded=grounded)
    assert policy.admits_temperature(None, grounded=True)
    assert not policy.admits_temperature(None, grounded=False), "the provider's own temperature is not zero"


def test_a_wrong_policy_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cache.yaml"
    file.write_text("ttl: {factual: soon}")
    with pytest.raises(SetupError, match=r"cache\.yaml"):
        CachePolicy(CONFIG, file)
