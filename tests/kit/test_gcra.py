from typing import Any

from kit.gcra import Rate, RateLimiter


async def test_a_burst_passes_and_what_follows_waits_its_turn(redis: Any) -> None:
    limiter = RateLimiter(redis)
    rate = Rate(60, burst=3)
    assert [await limiter.take("gcra-burst", rate) for _ in range(3)] == [0, 0, 0]
    assert 0.9 < await limiter.take("gcra-burst", rate) <= 1
    assert 1.8 < await limiter.take("gcra-burst", rate, cost=2) <= 2


async def test_what_was_refused_takes_nothing(redis: Any) -> None:
    limiter = RateLimiter(redis)
    rate = Rate(600_000, burst=1)
    assert await limiter.take("gcra-refused", rate) == 0
    waits = [await limiter.take("gcra-refused", Rate(1, burst=1)) for _ in range(3)]
    assert waits[0] == 0
    assert all(wait > 55 for wait in waits[1:])


async def test_more_than_a_burst_goes_alone(redis: Any) -> None:
    limiter = RateLimiter(redis)
    rate = Rate(6000, burst=10)
    assert await limiter.take("gcra-large", rate, cost=100) == 0
    assert await limiter.take("gcra-large", rate) > 0.5


async def test_a_key_goes_when_it_says_nothing_any_more(redis: Any) -> None:
    await RateLimiter(redis).take("gcra-expiry", Rate(60))
    assert 0 < await redis.pttl("gcra-expiry") <= 1001
