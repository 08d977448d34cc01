"""Two replicas over one Redis: what one finds out, the other knows."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis.asyncio import Redis

from deployments.provider_caller.resilience.config import BreakerConfig, ResilienceConfig
from deployments.provider_caller.resilience.gate import Gates
from deployments.provider_caller.resilience.pauses import Pauses
from deployments.provider_caller.resilience.redis_guard import RedisGuard
from deployments.provider_caller.resilience.sharing import BREAKERS, PAUSES, Sharing
from kit.redis import redis_client
from tests.deployments.provider_caller.resilience.redises import ClockedRedis

KEY = ("openai", "operator")
CONFIG = ResilienceConfig(redis_pause=0, breaker=BreakerConfig(trial_seconds=3600))


class Clock:
    def __init__(self) -> None:
        self.now = 10_000.0

    def __call__(self) -> float:
        return self.now


class Replica:
    def __init__(self, redis: Redis, clock: Clock) -> None:
        self.redis = ClockedRedis(redis, clock)
        self.pauses = Pauses(clock)
        self.gates = Gates(CONFIG)
        guard = RedisGuard(timeout=5, pause=0, clock=clock)
        self.sharing = Sharing(CONFIG.breaker, self.redis, guard, self.gates, self.pauses, clock)  # type: ignore[arg-type]
        self.breaker = self.gates[KEY].breaker


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def replicas(redis: Redis, clock: Clock) -> AsyncIterator[tuple[Replica, Replica]]:
    await redis.delete(BREAKERS, PAUSES)
    yield Replica(redis, clock), Replica(redis, clock)
    await redis.delete(BREAKERS, PAUSES)


Two = tuple[Replica, Replica]


async def sync(*replicas: Replica) -> None:
    for replica in replicas:
        await replica.sharing.sync()


async def test_a_breaker_that_opens_in_one_replica_is_open_in_the_other(replicas: Two, clock: Clock) -> None:
    one, other = replicas
    for _ in range(5):
        one.breaker.failed(clock())
    await sync(one, other)
    assert other.breaker.state(clock()) == "open"
    assert other.breaker.reopens == pytest.approx(one.breaker.reopens, abs=0.01)


async def test_failures_of_all_replicas_add_up(replicas: Two, clock: Clock) -> None:
    one, other = replicas
    for replica in (one, other, one, other):
        replica.breaker.failed(clock())
        await sync(replica)
    assert {r.breaker.state(clock()) for r in replicas} == {"closed"}
    one.breaker.failed(clock())
    await sync(one, other)
    assert {r.breaker.state(clock()) for r in replicas} == {"open"}


async def test_failures_that_are_too_many_only_together_open_it(replicas: Two, clock: Clock) -> None:
    one, other = replicas
    for replica in (one, one, one, other, other):
        replica.breaker.failed(clock())
    await sync(one, other, one)
    assert {r.breaker.state(clock()) for r in replicas} == {"open"}


async def test_a_success_in_one_replica_breaks_the_row_of_the_other(replicas: Two, clock: Clock) -> None:
    one, other = replicas
    for _ in range(50):
        other.breaker.succeeded(clock())
    for _ in range(4):
        one.breaker.failed(clock())
    await sync(one, other)
    other.breaker.succeeded(clock())
    await sync(other, one)
    one.breaker.failed(clock())
    assert one.breaker.state(clock()) == "closed"


async def test_a_trial_that_succeeds_closes_it_everywhere(replicas: Two, clock: Clock) -> None:
    one, other = replicas
    for _ in range(5):
        one.breaker.failed(clock())
    await sync(one, other)
    clock.now = other.breaker.reopens
    assert other.breaker.try_trial()
    assert await other.sharing.try_trial(KEY)
    other.breaker.tried(clock(), well=True)
    await sync(other, one)
    assert {r.breaker.state(clock()) for r in replicas} == {"closed"}
    one.breaker.failed(clock())
    assert one.breaker.state(clock()) == "closed"  # What was before is forgotten.


async def test_how_long_nobody_has_tried_it_is_known_after_every_look(replicas: Two, clock: Clock) -> None:
    """Probes wait for that."""
    one, other = replicas
    for _ in range(5):
        one.breaker.failed(clock())
    await sync(one, other)
    reopens = one.breaker.reopens
    clock.now = reopens + 20
    await sync(one, other)
    assert [r.breaker.reopens for r in replicas] == [pytest.approx(reopens, abs=0.1)] * 2


async def test_trials_are_bounded_over_all_replicas(replicas: Two, clock: Clock) -> None:
    one, other = replicas
    for _ in range(5):
        one.breaker.failed(clock())
    await sync(one, other)
    clock.now += 15
    assert [await r.sharing.try_trial(KEY) for r in (one, other, one, other)] == [True, True, False, False]
    one.breaker.try_trial()
    one.breaker.abandoned()
    await sync(one)
    assert await other.sharing.try_trial(KEY)
    clock.now += CONFIG.breaker.trial_seconds  # A replica that died with its trial holds no place for ever.
    assert await other.sharing.try_trial(KEY)


async def test_a_pause_holds_in_all_replicas_until_it_is_over(replicas: Two, clock: Clock) -> None:
    one, other = replicas
    one.pauses.add(("operator", "ollama", "llama3:8b"), 7, "rate_limited")
    await sync(one, other)
    pause = other.pauses.of("operator", "ollama", "llama3:8b")
    assert pause is not None
    assert pause.until == pytest.approx(clock() + 7, abs=0.01)
    assert other.pauses.of("operator", "ollama", "another") is None
    assert other.pauses.of("acme", "ollama", "llama3:8b") is None
    clock.now += 7.01
    await sync(one, other)
    assert other.pauses.of("operator", "ollama", "llama3:8b") is None


async def test_without_redis_each_replica_judges_alone_and_tells_later(replicas: Two, clock: Clock) -> None:
    one, other = replicas
    one.redis.lost = True
    for _ in range(5):
        one.breaker.failed(clock())
    one.pauses.add(("operator", "groq", "m"), 30, "rate_limited")
    await sync(one, other)
    assert one.breaker.state(clock()) == "open"
    assert other.breaker.state(clock()) == "closed"
    assert one.pauses.of("operator", "groq", "m")
    one.redis.lost = False
    await sync(one, other)
    assert other.breaker.state(clock()) == "open"
    assert other.pauses.of("operator", "groq", "m")


async def test_an_open_breaker_survives_a_redis_that_lost_its_data(replicas: Two, clock: Clock, redis: Redis) -> None:
    one, other = replicas
    for _ in range(5):
        one.breaker.failed(clock())
    await sync(one)
    await redis.delete(BREAKERS)
    await sync(one, one, other)
    assert {r.breaker.state(clock()) for r in replicas} == {"open"}


async def test_records_go_once_they_say_nothing_any_more(replicas: Two, clock: Clock, redis: Redis) -> None:
    one, _ = replicas
    one.breaker.failed(clock())
    one.breaker.succeeded(clock())
    await sync(one)
    assert await redis.hlen(BREAKERS) == 1
    clock.now += 200
    await sync(one)
    assert await redis.hlen(BREAKERS) == 0


class Breakers(RuleBasedStateMachine):
    """Any interleaving of calls, trials, looks at Redis, its loss, and time."""

    runner: asyncio.Runner
    client: Redis

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.wait(self.client.delete(BREAKERS, PAUSES))
        self.replicas = [Replica(self.client, self.clock) for _ in range(2)]
        self.trials: list[tuple[Replica, float, bool]] = []
        self.failures: list[float] = []
        self.alone = [0, 0]
        self.success_at = 0.0

    def wait(self, work: Any) -> Any:
        return self.runner.run(_awaited(work))

    which = st.integers(0, 1)

    @rule(which=which, well=st.booleans(), times=st.integers(1, 5))
    def calls(self, which: int, well: bool, times: int) -> None:
        """Ordinary calls, as far as the replica lets them pass."""
        breaker = self.replicas[which].breaker
        for _ in range(times):
            if breaker.state(self.clock()) != "closed":
                return
            if well:
                breaker.succeeded(self.clock())
                self.alone, self.success_at = [0, 0], self.clock()
                continue
            self.failures.append(self.clock())
            # Whether a success elsewhere came a moment before or after is not known to replicas.
            self.alone[which] += self.clock() - self.success_at > 1
            opened = breaker.failed(self.clock())
            recent = [moment for moment in self.failures if moment > self.clock() - 601]
            assert not opened or len(recent) >= 5, "opened by fewer than five failures"
            assert opened or self.alone[which] < 5, "five failures in a row did not open it"

    @rule(which=which)
    def tries(self, which: int) -> None:
        replica = self.replicas[which]
        if replica.breaker.state(self.clock()) != "half_open" or not replica.breaker.try_trial():
            return
        if self.wait(replica.sharing.try_trial(KEY)):
            self.trials.append((replica, self.clock(), replica.redis.lost))
        else:
            replica.breaker.not_granted()

    @precondition(lambda self: self.trials)
    @rule(result=st.sampled_from([True, False, None]), data=st.data())
    def ends(self, result: bool | None, data: st.DataObject) -> None:
        replica, _, _ = self.trials.pop(data.draw(st.integers(0, len(self.trials) - 1)))
        if result is None:
            replica.breaker.abandoned()
        else:
            replica.breaker.tried(self.clock(), well=result)
            self.alone, self.success_at = [0, 0], self.clock()

    @rule(which=which)
    def looks(self, which: int) -> None:
        self.wait(self.replicas[which].sharing.sync())

    @rule(seconds=st.sampled_from([0.2, 5, 16, 61]))
    def passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(lost=st.booleans())
    def redis(self, lost: bool) -> None:
        for replica in self.replicas:
            replica.redis.lost = lost

    @rule()
    def settles(self) -> None:
        """Once all have told and read, all agree."""
        if self.replicas[0].redis.lost:
            return
        for _ in range(3):
            for replica in self.replicas:
                self.wait(replica.sharing.sync())
        states = [replica.breaker.state(self.clock()) for replica in self.replicas]
        assert (states[0] == "closed") == (states[1] == "closed"), states
        self.alone = [0, 0] if "closed" not in states else self.alone

    @invariant()
    def trials_are_bounded(self) -> None:
        assert all(0 <= replica.breaker.trials <= 2 for replica in self.replicas)
        assert sum(not lost for _, _, lost in self.trials) <= 2, "more trials of all replicas than may be"


async def _awaited(work: Any) -> Any:
    return await work


def test_replicas_agree_whatever_happens(services: Any) -> None:
    with asyncio.Runner() as runner:

        async def connect() -> Redis:
            return redis_client(services.redis_url)

        client = runner.run(connect())
        Breakers.runner, Breakers.client = runner, client
        try:
            run_state_machine_as_test(
                Breakers, settings=settings(max_examples=30, stateful_step_count=25, deadline=None)
            )
        finally:
            runner.run(_awaited(client.aclose()))
