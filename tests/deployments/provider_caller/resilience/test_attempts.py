import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, TypeVar

import pytest

from deployments.provider_caller.resilience.attempts import FALLBACKS, HEDGES, RETRIES, Attempts
from deployments.provider_caller.resilience.config import HedgeConfig, QueueConfig, ResilienceConfig, RetryConfig
from deployments.provider_caller.resilience.failures import NotAskedError, StallError
from deployments.provider_caller.resilience.targets import Target
from kit.errors import DeadlineError, PenstockError, UpstreamError, UpstreamRefusedError, ValidationError
from kit.telemetry import METRICS
from tests.deployments.provider_caller.resilience.redises import LostRedis
from tests.deployments.provider_caller.resilience.scripted import (
    OK,
    A,
    B,
    C,
    Provider,
    Step,
    bad_request,
    failed,
    failing,
    key_refused,
    limited,
    overloaded,
    plan,
    too_long,
)
from tests.deployments.provider_caller.resilience.virtual_time import in_virtual_time

T = TypeVar("T")
Clock = Callable[[], float]

CONFIG = ResilienceConfig(retry=RetryConfig(jitter=0))


class World:
    def __init__(self, clock: Clock, config: ResilienceConfig, steps: dict[str, Sequence[Step]]) -> None:
        self.clock = clock
        self.redis = LostRedis()
        self.attempts = Attempts(config, self.redis, clock=clock, random=Random(1))  # type: ignore[arg-type]
        self.provider = Provider(clock, steps)

    async def run(self, *targets: Target, **more: Any) -> Any:
        return await self.attempts.run(plan(self.clock, *targets, **more), self.provider.once)

    async def fails(self, *targets: Target, **more: Any) -> PenstockError:
        with pytest.raises(PenstockError) as caught:
            await self.run(*targets, **more)
        return caught.value

    def idle(self) -> bool:
        return all(state.running == 0 and state.waiting == 0 for state in self.attempts.states().values())


def within(test: Callable[[World], Awaitable[T]], config: ResilienceConfig = CONFIG, **steps: Sequence[Step]) -> T:
    async def work(clock: Clock) -> T:
        world = World(clock, config, steps)
        result = await test(world)
        await asyncio.sleep(0)
        assert world.idle()
        return result

    return in_virtual_time(work)


def test_a_call_that_succeeds_is_made_once_and_asks_no_redis() -> None:
    async def test(world: World) -> None:
        outcome = await world.run()
        assert (outcome.value, outcome.target, outcome.attempts, outcome.failure) == ("answer of a", A, 1, None)
        assert world.redis.calls == 0

    within(test)


def test_without_a_fallback_it_is_tried_three_times_with_growing_waits() -> None:
    async def test(world: World) -> None:
        error = await world.fails(A)
        assert isinstance(error, UpstreamError)
        assert "status 500" in error.message
        assert world.provider.waits == [0.11, 0.21]

    within(test, a=failing(failed))


def test_a_retry_that_succeeds_is_no_failure() -> None:
    async def test(world: World) -> None:
        outcome = await world.run()
        assert (outcome.target, outcome.attempts, outcome.failure) == (A, 2, None)

    within(test, a=failing(overloaded, 1))


def test_with_a_fallback_at_hand_one_retry_and_then_the_fallback_at_once() -> None:
    async def test(world: World) -> None:
        before = METRICS.read(FALLBACKS, **{"from": "a", "to": "b"}), METRICS.read(RETRIES, provider="a")
        outcome = await world.run()
        assert world.provider.order == "aab"
        assert world.provider.waits == [0.11, 0.01]
        assert outcome.target is B
        assert outcome.failure.message == "it failed with status 500"
        assert METRICS.read(FALLBACKS, **{"from": "a", "to": "b"}) == before[0] + 1
        assert METRICS.read(RETRIES, provider="a") == before[1] + 1

    within(test, a=failing(failed))


def test_the_attempts_are_numbered_through() -> None:
    async def test(world: World) -> None:
        await world.run(A, B, C)
        assert [number for _, number, _ in world.provider.asked] == [1, 2, 3, 4, 5]

    within(test, a=failing(failed), b=failing(failed))


def test_retry_after_is_kept_where_it_fits() -> None:
    async def test(world: World) -> None:
        await world.run(A)
        assert world.provider.waits == [3.01]

    within(test, a=failing(lambda: limited(3), 1))


@pytest.mark.parametrize(("seconds", "order"), [(0.3, "aa"), (2, "ab")])
def test_with_a_fallback_a_long_retry_after_is_not_waited_for(seconds: float, order: str) -> None:
    async def test(world: World) -> None:
        await world.run()
        assert world.provider.order == order

    within(test, a=failing(lambda: limited(seconds), 1))


def test_a_retry_after_beyond_the_deadline_ends_it_at_once() -> None:
    async def test(world: World) -> None:
        begun = world.clock()
        error = await world.fails(A, within=5)
        assert error.retry_after == 60
        assert world.clock() - begun < 0.1

    within(test, a=failing(lambda: limited(60)))


def test_a_provider_that_asked_for_a_pause_is_left_alone_by_the_next_call() -> None:
    async def test(world: World) -> None:
        await world.run()
        outcome = await world.run()
        assert world.provider.order == "abb"
        assert "asked to leave a-model alone" in outcome.failure.message
        await asyncio.sleep(20)
        assert (await world.run()).target is A

    within(test, a=failing(lambda: limited(20), 1))


def test_without_a_fallback_a_call_waits_for_the_pause_to_end() -> None:
    async def test(world: World) -> None:
        first = asyncio.create_task(world.run(A))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(world.run(A))
        await asyncio.gather(first, second)
        assert world.provider.waits[0] == 4.01
        assert len(world.provider.asked) == 3

    within(test, a=failing(lambda: limited(4), 1))


def test_bad_input_is_neither_repeated_nor_sent_elsewhere() -> None:
    async def test(world: World) -> None:
        error = await world.fails()
        assert isinstance(error, UpstreamRefusedError)
        assert error.status == 400
        assert world.provider.order == "a"
        assert world.attempts.states()["a", "operator"].failures == 0

    within(test, a=failing(bad_request))


def test_a_fallback_that_refuses_the_request_does_not_hide_the_failure_of_the_routed_model() -> None:
    async def test(world: World) -> None:
        assert (await world.fails(A, B)).status == 502
        assert (await world.run(A, B, C)).target is C

    within(test, a=failing(failed), b=failing(bad_request))


@pytest.mark.parametrize("status", [402, 404, 410])
def test_a_model_that_is_gone_and_an_account_without_money_lead_to_the_fallback(status: int) -> None:
    async def test(world: World) -> None:
        await world.run()
        assert world.provider.order == "ab"

    within(test, a=failing(lambda: UpstreamRefusedError("no", status=status)))


def test_when_all_fail_the_first_targets_failure_is_raised() -> None:
    async def test(world: World) -> None:
        error = await world.fails(A, B)
        assert error.message == "it failed with status 500"

    within(test, a=failing(failed), b=failing(overloaded))


def test_an_attempt_that_outlasts_the_deadline_is_cancelled() -> None:
    async def test(world: World) -> None:
        begun = world.clock()
        error = await world.fails(A, B, within=3)
        assert isinstance(error, DeadlineError)
        assert world.clock() - begun == 3
        assert world.provider.order == "a"
        assert world.provider.cancelled == [A]

    within(test, a=[Step(100)])


def test_once_the_time_is_over_that_is_the_error_and_it_names_what_failed_before() -> None:
    async def test(world: World) -> None:
        error = await world.fails(A, B, C, within=3)
        assert isinstance(error, DeadlineError)
        assert error.message == "The time for this request is over. Before: it failed with status 500"
        assert world.provider.order == "aab"

    within(test, a=failing(failed), b=[Step(100)])


def test_an_attempt_that_hung_for_long_counts_against_its_provider_and_a_short_deadline_does_not() -> None:
    async def test(world: World) -> None:
        for _ in range(6):
            await world.fails(A, within=2)
        assert world.attempts.states()["a", "operator"].failures == 0
        for _ in range(5):
            await world.fails(A, within=25)
        assert world.attempts.states()["a", "operator"].state == "open"

    within(test, a=[Step(100)])


def test_a_stream_that_does_not_begin_is_given_up_and_replaced() -> None:
    async def test(world: World) -> None:
        outcome = await world.run(stream=True)
        assert outcome.target is B
        assert isinstance(outcome.failure, StallError)
        assert "a-model of a did not begin within 15.0 s" in outcome.failure.message
        assert world.provider.waits == [15]
        outcome.ended(complete=True)

    within(test, a=[Step(100)])


def test_a_slow_whole_answer_is_no_stall() -> None:
    async def test(world: World) -> None:
        assert (await world.run()).target is A

    within(test, a=[Step(25)])


def test_a_stream_holds_its_slot_until_it_has_ended() -> None:
    config = ResilienceConfig(queue=QueueConfig(max_concurrency=1))

    async def test(world: World) -> None:
        stream = await world.run(A, stream=True)
        waiting = asyncio.create_task(world.run(A))
        await asyncio.sleep(1)
        assert world.attempts.states()["a", "operator"].waiting == 1
        assert not waiting.done()
        stream.ended(complete=None)
        stream.ended(complete=None)
        await waiting

    within(test, config)


def test_a_full_provider_leads_to_the_fallback_after_a_bounded_wait() -> None:
    config = ResilienceConfig(queue=QueueConfig(max_concurrency=1, max_waiting=1, longest_wait=2))

    async def test(world: World) -> None:
        stream = await world.run(A, stream=True)
        patient = asyncio.create_task(world.run(A, B))
        await asyncio.sleep(1)
        assert (await world.run(A, B)).target is B  # The queue is full.
        outcome = await patient
        assert outcome.target is B
        assert isinstance(outcome.failure, NotAskedError)
        stream.ended(complete=True)

    within(test, config)


def test_an_open_breaker_passes_the_provider_over_until_a_trial_succeeds() -> None:
    async def test(world: World) -> None:
        for _ in range(3):
            await world.run()
        assert world.provider.order == "aabaabab"  # The fifth failure opened it.
        assert (await world.run()).failure.message.startswith("a has been failing; it is left alone for 14.")
        await asyncio.sleep(16)
        assert (await world.run()).target is A
        assert world.attempts.states()["a", "operator"].state == "closed"

    within(test, a=failing(failed, 5))


def test_only_a_few_calls_try_a_provider_that_was_failing() -> None:
    async def test(world: World) -> None:
        for _ in range(3):
            await world.run()
        await asyncio.sleep(16)
        outcomes = await asyncio.gather(*(world.run() for _ in range(10)))
        assert [outcome.target.provider for outcome in outcomes].count("a") == 2

    within(test, a=failing(failed, 5))


def test_a_cancelled_trial_frees_its_place() -> None:
    async def test(world: World) -> None:
        for _ in range(3):
            await world.run()
        await asyncio.sleep(16)
        for _ in range(3):
            call = asyncio.create_task(world.run())
            await asyncio.sleep(0.5)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert len(world.provider.cancelled) == 3

    within(test, a=[*failing(failed, 5)[:5], Step(1)])


def test_a_trial_that_was_not_made_after_all_says_nothing_of_the_provider() -> None:
    async def test(world: World) -> None:
        for _ in range(3):
            await world.run()
        await asyncio.sleep(16)
        assert (await world.run()).target is B
        assert world.attempts.states()["a", "operator"].state == "half_open"

    within(test, a=[*failing(failed, 5)[:5], Step(0.01, lambda: NotAskedError("the budget does not cover it"))])


def test_429_never_opens_a_breaker() -> None:
    async def test(world: World) -> None:
        for _ in range(10):
            await world.run()
        assert world.attempts.states()["a", "operator"].state == "closed"

    within(test, a=failing(limited))


def test_a_key_that_is_refused_again_and_again_is_left_alone() -> None:
    async def test(world: World) -> None:
        for _ in range(5):
            await world.run()
        assert world.provider.order == "abababbb"
        assert world.attempts.states()["a", "operator"].state == "broken_key"
        other = Target("a", "a-model", owner="acme")
        await world.fails(other)
        assert world.provider.asked[-1][0] is other  # Another key is another matter.
        await asyncio.sleep(11)
        await world.run()
        assert world.provider.order.endswith("ab")

    within(test, a=failing(key_refused))


def test_retries_stay_within_their_budget() -> None:
    config = ResilienceConfig(retry=RetryConfig(budget_floor=1, jitter=0))

    async def test(world: World) -> None:
        for _ in range(3):
            await world.fails(A)
        assert len(world.provider.asked) == 4

    within(test, config, a=failing(lambda: UpstreamRefusedError("conflict", status=409)))


def test_a_prompt_that_does_not_fit_goes_to_a_larger_window_and_says_why() -> None:
    small, large = Target("a", "small", context_window=8_000), Target("b", "large", context_window=100_000)

    async def test(world: World) -> None:
        outcome = await world.run(small, large, tokens=20_000)
        assert outcome.target is large
        assert "about 20000 tokens does not fit into the 8000 tokens of small" in outcome.failure.message

    within(test)


def test_a_prompt_that_does_not_fit_is_why_nobody_answered_where_the_larger_window_fails() -> None:
    small, large = Target("a", "small", context_window=8_000), Target("b", "large", context_window=100_000)

    async def test(world: World) -> None:
        error = await world.fails(small, large, tokens=20_000)
        assert error.code == "context_length_exceeded"
        assert "8000 tokens of small" in error.message

    within(test, b=failing(lambda: NotAskedError("no budget covers it", should_retry=False)))


def test_a_prompt_longer_than_any_window_is_refused_before_anyone_is_asked() -> None:
    small, large = Target("a", "small", context_window=8_000), Target("b", "large", context_window=100_000)

    async def test(world: World) -> None:
        error = await world.fails(small, large, tokens=200_000, max_output=500)
        assert isinstance(error, ValidationError)
        assert error.code == "context_length_exceeded"
        assert "about 200000 tokens and 500 tokens of output does not fit into the 100000" in error.message
        assert not world.provider.asked

    within(test)


def test_after_a_providers_own_refusal_only_larger_windows_are_asked() -> None:
    targets = [Target(name, name, context_window=window) for name, window in (("a", 50), ("b", 40), ("c", 90))]

    async def test(world: World) -> None:
        assert (await world.run(*targets, tokens=10)).target is targets[2]
        assert world.provider.order == "ac"
        assert (await world.fails(*targets[:2], tokens=10)).status == 400

    within(test, a=failing(too_long))


def test_a_call_that_is_cancelled_passes_through_and_leaves_nothing_behind() -> None:
    async def test(world: World) -> None:
        call = asyncio.create_task(world.run(stream=True))
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert world.provider.order == "a"
        assert world.attempts.states()["a", "operator"].failures == 0

    within(test, a=[Step(100)])


def test_a_bug_passes_through_and_leaves_nothing_behind() -> None:
    async def test(world: World) -> None:
        with pytest.raises(KeyError):
            await world.run()

    within(test, a=failing(lambda: KeyError("bug")))


def test_streams_that_break_off_open_the_breaker_though_they_began() -> None:
    async def test(world: World) -> None:
        for _ in range(5):
            (await world.run(A, stream=True)).ended(complete=False)
        assert world.attempts.states()["a", "operator"].state == "open"

    within(test)


class TestHedging:
    config = ResilienceConfig(hedge=HedgeConfig(enabled=True), retry=RetryConfig(jitter=0))
    usual = (Step(0.2),) * 30

    async def learn(self, world: World) -> None:
        for _ in range(30):
            await world.run(A)

    def test_a_slow_call_is_hedged_and_the_loser_is_cancelled(self) -> None:
        async def test(world: World) -> None:
            await self.learn(world)
            before = METRICS.read(HEDGES, provider="a", outcome="won")
            begun = world.clock()
            outcome = await world.run(hedge=True)
            assert (outcome.target, outcome.attempts) == (B, 2)
            assert world.clock() - begun == pytest.approx(0.21)
            await asyncio.sleep(0.01)
            assert world.provider.cancelled == [A]
            assert METRICS.read(HEDGES, provider="a", outcome="won") == before + 1

        within(test, self.config, a=[*self.usual, Step(5)])

    def test_a_call_that_may_not_be_hedged_is_not(self) -> None:
        async def test(world: World) -> None:
            await self.learn(world)
            assert (await world.run(hedge=False)).target is A
            assert "b" not in world.provider.order

        within(test, self.config, a=[*self.usual, Step(5)])

    def test_without_a_fallback_the_same_target_is_asked_again(self) -> None:
        async def test(world: World) -> None:
            await self.learn(world)
            assert (await world.run(A, hedge=True)).attempts == 2

        within(test, self.config, a=[*self.usual, Step(5), OK])

    def test_where_both_fail_the_routed_targets_failure_counts(self) -> None:
        async def test(world: World) -> None:
            await self.learn(world)
            error = await world.fails(hedge=True)
            assert error.message == "it failed with status 500"

        within(test, self.config, a=[*self.usual, Step(1, failed)], b=failing(overloaded))

    def test_a_loser_that_answers_after_all_is_discarded(self) -> None:
        discarded: list[str] = []

        async def discard(value: str) -> None:
            discarded.append(value)

        async def stubborn(target: Target, number: int) -> str:
            try:
                await asyncio.sleep(5 if target is A else 0.01)
            except asyncio.CancelledError:
                return "a late stream"
            return "a stream"

        async def test(world: World) -> None:
            for _ in range(30):
                (await world.run(A, stream=True)).ended(complete=True)
            call = plan(world.clock, A, B, stream=True, hedge=True)
            outcome = await world.attempts.run(call, stubborn, discard=discard)
            await asyncio.sleep(0.01)
            assert outcome.value == "a stream"
            assert discarded == ["a late stream"]
            outcome.ended(complete=True)

        within(test, self.config, a=self.usual)

    def test_a_cancelled_race_cancels_both(self) -> None:
        async def test(world: World) -> None:
            await self.learn(world)
            call = asyncio.create_task(world.run(hedge=True))
            await asyncio.sleep(1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.sleep(0.01)
            assert world.provider.cancelled == [A, B]

        within(test, self.config, a=[*self.usual, Step(5)], b=[Step(5)])
