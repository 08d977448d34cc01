import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from deployments.provider_caller.config import ProviderLimits
from deployments.provider_caller.resilience.attempts import Attempts
from deployments.provider_caller.resilience.config import QueueConfig, ResilienceConfig
from deployments.provider_caller.resilience.failures import NotAskedError
from deployments.provider_caller.resilience.gate import Gate
from deployments.provider_caller.resilience.provider_limits import LimitQueue
from deployments.provider_caller.resilience.redis_guard import RedisGuard
from deployments.provider_caller.resilience.sliding_window import Limit, LocalWindow
from deployments.provider_caller.resilience.targets import Target
from tests.deployments.provider_caller.resilience.redises import ClockedRedis, LostRedis
from tests.deployments.provider_caller.resilience.scripted import B, Provider, plan
from tests.deployments.provider_caller.resilience.virtual_time import in_virtual_time

CONFIG = ResilienceConfig(redis_pause=0)
PATIENT = QueueConfig(longest_wait=3600)


class Clock:
    now = 50_000.0

    def __call__(self) -> float:
        return self.now


def queue(redis: Any, clock: Callable[[], float], config: QueueConfig | None = None) -> LimitQueue:
    guard = RedisGuard(timeout=5, pause=0, clock=clock)
    return LimitQueue(config or CONFIG.queue, redis, guard, clock)


def target(**limits: int) -> Target:
    return Target("a", "a-model", limits=ProviderLimits(**limits))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def shared(redis: Redis, clock: Clock) -> ClockedRedis:
    for name in await redis.keys("penstock:provider:operator:a:*"):
        await redis.delete(name)
    return ClockedRedis(redis, clock)


async def taken(limits: LimitQueue, whom: Target, clock: Callable[[], float], times: int, tokens: int = 0) -> int:
    """How many of so many calls go at once."""
    gate = Gate(("a", "operator"), CONFIG)
    count = 0
    for _ in range(times):
        try:
            await limits.enter(gate, whom, tokens, clock())
        except NotAskedError:
            continue
        count += 1
    return count


async def test_two_replicas_together_keep_within_a_providers_requests_per_minute(
    shared: ClockedRedis, clock: Clock
) -> None:
    one, other = queue(shared, clock), queue(shared, clock)
    whom = target(requests_per_minute=30)
    assert await taken(one, whom, clock, 20) + await taken(other, whom, clock, 20) == 30
    clock.now += 59
    assert await taken(one, whom, clock, 20) == 0
    clock.now += 3
    assert await taken(other, whom, clock, 40) == 30


async def test_a_spent_day_says_so_and_when_it_ends(shared: ClockedRedis, clock: Clock) -> None:
    limits, whom = queue(shared, clock), target(requests_per_day=5)
    assert await taken(limits, whom, clock, 9) == 5
    clock.now += 3600
    with pytest.raises(NotAskedError, match="The known limit of a, 5 requests per day, is reached") as caught:
        await limits.enter(Gate(("a", "operator"), CONFIG), whom, 0, clock() + 30)
    assert 82_000 < (caught.value.retry_after or 0) < 84_000


async def test_tokens_count_by_their_number_and_a_call_larger_than_the_limit_goes_alone(
    shared: ClockedRedis, clock: Clock
) -> None:
    limits, whom = queue(shared, clock), target(tokens_per_minute=1000)
    assert await taken(limits, whom, clock, 5, tokens=300) == 3
    assert await taken(limits, whom, clock, 1, tokens=5000) == 0
    clock.now += 62
    assert await taken(limits, whom, clock, 2, tokens=5000) == 1


async def test_what_one_limit_refuses_is_not_taken_from_the_others(shared: ClockedRedis, clock: Clock) -> None:
    limits = queue(shared, clock)
    both = target(requests_per_minute=2, requests_per_day=3)
    assert await taken(limits, both, clock, 10) == 2
    clock.now += 62
    assert await taken(limits, both, clock, 10) == 1


async def test_owners_have_limits_of_their_own(shared: ClockedRedis, clock: Clock, redis: Redis) -> None:
    await redis.delete("penstock:provider:acme:a:requests_per_minute")
    limits = queue(shared, clock)
    own = Target("a", "a-model", owner="acme", limits=ProviderLimits(requests_per_minute=1))
    assert await taken(limits, target(requests_per_minute=1), clock, 2) == 1
    assert await taken(limits, own, clock, 2) == 1


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 12)), max_size=40), st.integers(1, 20))
def test_no_minute_holds_more_than_the_limit(calls: list[tuple[float, int]], amount: int) -> None:
    limit, window = Limit("tokens_per_minute", amount, 60), LocalWindow()
    now, taken = 1000.0, []
    for pause, cost in calls:
        now += pause
        wait = window.wait(limit, cost, now)
        if wait == 0:
            window.take(limit, cost, now)
            taken.append((now, min(cost, amount)))
        else:
            assert deepcopy(window).wait(limit, cost, now + wait) == 0, "the stated wait was not enough"
    for begin, _ in taken:
        assert sum(cost for moment, cost in taken if begin <= moment < begin + 60) <= amount


def alone(test: Callable[[LimitQueue, Callable[[], float]], Awaitable[None]], config: QueueConfig = PATIENT) -> None:
    """Without Redis, in virtual time."""

    async def work(clock: Callable[[], float]) -> None:
        await test(queue(LostRedis(), clock, config), clock)

    in_virtual_time(work)


def test_calls_beyond_a_minutes_limit_wait_in_order_of_arrival() -> None:
    async def test(limits: LimitQueue, clock: Callable[[], float]) -> None:
        gate, whom, begun = Gate(("a", "operator"), CONFIG), target(requests_per_minute=2), clock()
        passed: list[tuple[int, float]] = []

        async def call(number: int) -> None:
            await limits.enter(gate, whom, 0, clock() + 1000)
            passed.append((number, clock() - begun))

        await asyncio.gather(*(call(number) for number in range(6)))
        assert [number for number, _ in passed] == list(range(6))
        assert all(seconds == 0 for _, seconds in passed[:2])
        assert all(60 <= seconds <= 62 for _, seconds in passed[2:4])
        assert all(120 <= seconds <= 124 for _, seconds in passed[4:])
        assert gate.waiting == 0

    alone(test)


def test_a_wait_that_the_deadline_does_not_allow_is_not_begun() -> None:
    async def test(limits: LimitQueue, clock: Callable[[], float]) -> None:
        gate, whom, begun = Gate(("a", "operator"), CONFIG), target(requests_per_minute=1), clock()
        await limits.enter(gate, whom, 0, clock() + 30)
        with pytest.raises(NotAskedError):
            await limits.enter(gate, whom, 0, clock() + 30)
        assert clock() == begun
        assert gate.waiting == 0

    alone(test)


def test_the_queue_is_bounded_in_length() -> None:
    async def test(limits: LimitQueue, clock: Callable[[], float]) -> None:
        gate, whom = Gate(("a", "operator"), CONFIG), target(requests_per_minute=1)
        calls = [asyncio.create_task(limits.enter(gate, whom, 0, clock() + 1000)) for _ in range(5)]
        await asyncio.sleep(1)
        assert gate.waiting == 3
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [type(None)] * 4 + [NotAskedError]

    alone(test, QueueConfig(max_waiting=3, longest_wait=3600))


def test_who_leaves_the_queue_holds_nobody_up() -> None:
    async def test(limits: LimitQueue, clock: Callable[[], float]) -> None:
        gate, whom, begun = Gate(("a", "operator"), CONFIG), target(requests_per_minute=1), clock()
        await limits.enter(gate, whom, 0, clock() + 1000)
        impatient = asyncio.create_task(limits.enter(gate, whom, 0, clock() + 1000))
        await asyncio.sleep(1)
        patient = asyncio.create_task(limits.enter(gate, whom, 0, clock() + 1000))
        await asyncio.sleep(1)
        impatient.cancel()
        await patient
        assert clock() - begun < 63
        assert gate.waiting == 0

    alone(test)


def test_a_spent_limit_leads_to_the_fallback() -> None:
    async def work(clock: Callable[[], float]) -> None:
        attempts = Attempts(CONFIG, LostRedis(), clock=clock, random=Random(0))  # type: ignore[arg-type]
        provider = Provider(clock, {})
        whom = target(requests_per_day=1)
        first = await attempts.run(plan(clock, whom, B), provider.once)
        second = await attempts.run(plan(clock, whom, B), provider.once)
        assert (first.target, second.target) == (whom, B)
        assert "1 requests per day, is reached" in str(second.failure)
        assert provider.order == "ab"

    in_virtual_time(work)
