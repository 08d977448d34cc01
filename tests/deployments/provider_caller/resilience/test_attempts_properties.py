"""Whatever providers do, a run keeps its promises."""

import asyncio
from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.provider_caller.config import ProviderLimits
from deployments.provider_caller.resilience.attempts import Attempts
from deployments.provider_caller.resilience.config import (
    BreakerConfig,
    HedgeConfig,
    QueueConfig,
    ResilienceConfig,
)
from deployments.provider_caller.resilience.outcome import Outcome
from deployments.provider_caller.resilience.targets import Plan, Target
from kit.errors import DeadlineError, PenstockError
from tests.deployments.provider_caller.resilience.redises import LostRedis
from tests.deployments.provider_caller.resilience.scripted import (
    Provider,
    Step,
    bad_request,
    failed,
    key_refused,
    limited,
    overloaded,
    too_long,
)
from tests.deployments.provider_caller.resilience.virtual_time import in_virtual_time

CONFIG = ResilienceConfig(
    breaker=BreakerConfig(open_seconds=3, broken_key_seconds=2),
    queue=QueueConfig(max_concurrency=2, max_waiting=2, longest_wait=4),
    hedge=HedgeConfig(enabled=True, samples=1),
)
LIMITS = ProviderLimits(requests_per_minute=6, requests_per_day=9, tokens_per_minute=500)
TARGETS = [Target("a", "a1", limits=LIMITS), Target("a", "a2"), Target("b", "b", owner="acme"), Target("c", "c")]

errors = st.sampled_from(
    [
        *(None, None, failed, overloaded, limited, lambda: limited(0.2), lambda: limited(5)),
        *(bad_request, key_refused, too_long, lambda: KeyError("bug"), lambda: DeadlineError("late")),
    ]
)
steps = st.lists(st.builds(Step, st.sampled_from([0.0, 0.1, 1.0, 30.0]), errors), min_size=1, max_size=5)


class Call:
    """One run: its plan, when it begins, when its caller leaves, and how it went."""

    def __init__(self, targets: list[Target], begins: float, within: float, leaves: float | None, kind: int) -> None:
        self.targets = targets
        self.begins = begins
        self.within = within
        self.leaves = leaves
        self.stream, self.hedge = bool(kind & 1), bool(kind & 2)

    def __repr__(self) -> str:
        return f"Call({vars(self)})"

    async def make(self, attempts: Attempts, steps: dict[str, list[Step]], clock: Callable[[], float]) -> None:
        await asyncio.sleep(self.begins)
        provider = Provider(clock, steps)
        plan = Plan(tuple(self.targets), clock() + self.within, tokens=50, stream=self.stream, hedge=self.hedge)
        run = asyncio.create_task(attempts.run(plan, provider.once))
        await asyncio.wait([run], timeout=self.leaves)
        if not run.done():
            run.cancel()
            await asyncio.wait([run], timeout=0)
            assert run.done(), "a cancellation waited for something"
        assert clock() <= plan.deadline + 0.001, "a wait or an attempt passed the deadline"
        self.check(provider, plan, run)
        if self.stream and not run.cancelled() and run.exception() is None:
            await asyncio.sleep(0.5)
            run.result().ended(complete=True)

    def check(self, provider: Provider, plan: Plan, run: "asyncio.Task[Outcome[str]]") -> None:
        asked = [target for target, _, _ in provider.asked]
        assert [number for _, number, _ in provider.asked] == list(range(1, len(asked) + 1))
        assert all(moment < plan.deadline for _, _, moment in provider.asked)
        spare = 1 if self.hedge else 0
        assert all(asked.count(target) <= 3 + spare for target in self.targets), "too many attempts at one target"
        places = [self.targets.index(target) for target in asked]
        assert self.hedge or places == sorted(places), "targets out of order"
        if run.cancelled():
            return
        error = run.exception()
        if error is None:
            outcome = run.result()
            assert outcome.value == f"answer of {outcome.target.provider}"
            assert outcome.attempts == len(asked)
            if not self.hedge:
                assert outcome.target is asked[-1]
                assert (outcome.failure is None) == (outcome.target is self.targets[0])
        else:
            assert isinstance(error, PenstockError | KeyError), error


def the_calls(targets: list[Target]) -> st.SearchStrategy[Call]:
    return st.builds(
        Call,
        targets=st.lists(st.sampled_from(targets), min_size=1, max_size=4, unique=True),
        begins=st.sampled_from([0.0, 0.05, 2.0, 40.0]),
        within=st.sampled_from([0.5, 3.0, 30.0]),
        leaves=st.sampled_from([None, None, 0.0, 0.15, 1.0]),
        kind=st.integers(0, 3),
    )


@settings(max_examples=150)
@given(
    calls=st.lists(the_calls(TARGETS), min_size=1, max_size=12),
    steps=st.fixed_dictionaries(dict.fromkeys("abc", steps)),
)
def test_a_run_keeps_its_bounds_and_gives_everything_back(calls: list[Call], steps: dict[str, list[Step]]) -> None:
    async def work(clock: Callable[[], float]) -> None:
        attempts = Attempts(CONFIG, LostRedis(), clock=clock, random=Random(0))  # type: ignore[arg-type]
        await asyncio.gather(*(call.make(attempts, steps, clock) for call in calls))
        await attempts.close()
        for key, state in attempts.states().items():
            assert (state.running, state.waiting) == (0, 0), key
        assert all(gate.breaker.trials == 0 for gate in attempts._gates.values())

    in_virtual_time(work)


@given(failures=st.integers(1, 3), ways=st.lists(st.sampled_from([failed, overloaded]), min_size=2, max_size=2))
def test_the_switch_to_a_fallback_is_decided_within_half_a_second_of_the_failure(
    failures: int, ways: list[Callable[[], PenstockError]]
) -> None:
    async def work(clock: Callable[[], float]) -> None:
        attempts = Attempts(ResilienceConfig(), LostRedis(), clock=clock, random=Random(failures))  # type: ignore[arg-type]
        provider = Provider(clock, {"a": [Step(0.0, way) for way in ways]})
        outcome = await attempts.run(Plan((TARGETS[1], TARGETS[3]), clock() + 30), provider.once)
        assert outcome.target is TARGETS[3]
        assert provider.asked[-1][2] - provider.asked[0][2] <= 0.5

    in_virtual_time(work)
