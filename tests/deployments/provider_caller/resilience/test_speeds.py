import pytest
from redis.asyncio import Redis

from deployments.provider_caller.resilience.config import FirstTokenConfig
from deployments.provider_caller.resilience.histogram import Histogram
from deployments.provider_caller.resilience.redis_guard import RedisGuard
from deployments.provider_caller.resilience.shared_speeds import REPLICAS, SpeedsPublisher, read_speeds
from deployments.provider_caller.resilience.speeds import Speeds
from deployments.provider_caller.resilience.targets import Target
from tests.deployments.provider_caller.resilience.scripted import A, B


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def speeds(clock: Clock) -> Speeds:
    return Speeds(FirstTokenConfig(), 20, clock)


def publisher(redis: Redis, speeds: Speeds) -> SpeedsPublisher:
    return SpeedsPublisher(redis, RedisGuard(timeout=5, pause=0, clock=lambda: 0), speeds)


@pytest.mark.parametrize(
    ("seconds", "limit"), [(0.5, 5), (8.0, 8), (60.0, 20)], ids=["a fast model", "a slow one", "a very slow one"]
)
def test_a_stream_gets_its_models_own_percentile_within_bounds(speeds: Speeds, seconds: float, limit: float) -> None:
    for _ in range(50):
        speeds.first_token(A, seconds)
    assert speeds.first_token_limit(A) == limit


def test_where_little_is_known_the_default_holds(speeds: Speeds) -> None:
    for _ in range(49):
        speeds.first_token(A, 0.5)
    assert speeds.first_token_limit(A) == 15


def test_one_slow_stream_among_many_raises_the_limit(speeds: Speeds) -> None:
    for _ in range(400):
        speeds.first_token(A, 0.5)
    speeds.first_token(A, 9)
    assert speeds.first_token_limit(A) == 9


def test_streams_that_were_given_up_do_not_lower_the_limit(speeds: Speeds, clock: Clock) -> None:
    for _ in range(50):
        speeds.first_token(A, 6)
    limit = speeds.first_token_limit(A)
    speeds.stalled(A, limit)
    clock.now += 3
    assert speeds.first_token_limit(A) == 1.5 * limit


def test_what_is_old_is_forgotten(speeds: Speeds, clock: Clock) -> None:
    for _ in range(60):
        speeds.first_token(A, 8)
    clock.now += 901
    assert speeds.first_token_limit(A) == 15
    assert list(speeds.recent()) == []


def test_slow_is_the_95th_percentile_of_streams_or_of_answers(speeds: Speeds) -> None:
    assert speeds.slow(B, stream=True) is None
    for tenth in range(100):
        speeds.first_token(A, tenth / 10)
        speeds.total(A, tenth)
    assert speeds.slow(A, stream=True) == 9.5
    assert speeds.slow(A, stream=False) == 95


async def test_what_replicas_have_seen_is_put_together(redis: Redis, speeds: Speeds, clock: Clock) -> None:
    await redis.delete(REPLICAS)
    other = Speeds(FirstTokenConfig(), 20, clock)
    for _ in range(90):
        speeds.first_token(A, 0.2)
        speeds.output(A, 50, 1.0)
    for _ in range(10):
        other.first_token(A, 3.0)
        other.output(A, 10, 2.0)
        other.total(Target("ollama", "llama3:8b"), 4.0)
    await publisher(redis, speeds).publish()
    await publisher(redis, other).publish()
    found = await read_speeds(redis)
    speed = found["a", "a-model"]
    assert speed.count == 100
    assert speed.first_token_p50 == pytest.approx(0.2, rel=0.03)
    assert speed.first_token_p95 == pytest.approx(3, rel=0.03)
    assert speed.first_token_p999 == pytest.approx(3, rel=0.03)
    assert speed.tokens_per_second == pytest.approx(4600 / 110)
    assert speed.total_p50 is None
    assert found["ollama", "llama3:8b"].total_p95 == pytest.approx(4, rel=0.03)


async def test_tenants_do_not_see_each_others_speeds(redis: Redis, speeds: Speeds) -> None:
    await redis.delete(REPLICAS)
    speeds.total(Target("a", "a-model", owner="acme"), 1.0)
    await publisher(redis, speeds).publish()
    assert await read_speeds(redis) == {}
    assert await read_speeds(redis, "other") == {}
    assert ("a", "a-model") in await read_speeds(redis, "acme")


async def test_a_replica_that_is_gone_is_forgotten(redis: Redis, speeds: Speeds) -> None:
    await redis.delete(REPLICAS)
    speeds.total(A, 1.0)
    await publisher(redis, speeds).publish()
    [replica] = await redis.zrange(REPLICAS, 0, -1)
    assert 50 < await redis.ttl(f"{REPLICAS}:{replica.decode()}") <= 60
    await redis.zincrby(REPLICAS, -61, replica)
    assert await read_speeds(redis) == {}


async def test_nothing_published_is_no_error(redis: Redis) -> None:
    await redis.delete(REPLICAS)
    assert await read_speeds(redis) == {}


def test_histograms_add_up_and_are_close() -> None:
    one, other = Histogram.of([0.1] * 3), Histogram.of([1.0, 0.0])
    one.add(other)
    assert len(one) == 5
    assert one.percentile(0.5) == pytest.approx(0.1, rel=0.025)
    assert one.percentile(1.0) == pytest.approx(1, rel=0.025)
    assert Histogram().percentile(0.5) is None
