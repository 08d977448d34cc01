import asyncio

import pytest

from deployments.provider_caller.resilience.redis_guard import RedisGuard


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_lost_redis_is_left_alone_for_a_moment() -> None:
    clock, calls = Clock(), 0
    guard = RedisGuard(timeout=1, pause=5, clock=clock)

    async def refuse() -> int:
        nonlocal calls
        calls += 1
        raise ConnectionError

    assert [await guard.call(refuse) for _ in range(3)] == [None] * 3
    assert calls == 1
    assert guard.lost
    clock.now = 5
    assert await guard.call(refuse) is None
    assert calls == 2


async def test_a_redis_that_answers_again_is_no_longer_lost() -> None:
    guard = RedisGuard(timeout=0.01, pause=0, clock=Clock())
    assert await guard.call(lambda: asyncio.sleep(1, "late")) is None
    assert guard.lost
    assert await guard.call(lambda: asyncio.sleep(0, "in time")) == "in time"
    assert not guard.lost


async def test_a_cancellation_that_the_client_of_redis_loses_still_counts() -> None:
    guard = RedisGuard(timeout=1, pause=0, clock=Clock())

    async def forgetful() -> str:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            return "an answer that came at the same moment"
        return ""

    call = asyncio.create_task(guard.call(forgetful))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
