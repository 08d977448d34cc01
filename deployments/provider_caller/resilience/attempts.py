"""Gets an answer from the first target that gives one, within the deadline.

    targets that can hold the prompt, in order
      └ one target: in through its gate ── passed over (open breaker, pause, full queue, limit) ──> the next target
          └ an attempt, hedged where that is allowed
              ├ success ──> the outcome
              ├ bad input ──> the caller
              ├ worth a retry, budget and deadline allow it ──> wait, the same target again
              └ else ──> the next target; after the last one, the first target's failure

What is an attempt is the caller's: a whole answer, or a stream whose first event is at hand. After that event nothing
is ever repeated.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, TypeVar

import structlog
from redis.asyncio import Redis

from deployments.provider_caller.resilience.attempt import Attempt, Course, Once
from deployments.provider_caller.resilience.config import ResilienceConfig
from deployments.provider_caller.resilience.context_window import fitting, larger
from deployments.provider_caller.resilience.failures import CONTEXT_LENGTH, NotAskedError, judge
from deployments.provider_caller.resilience.gate import GateKey, Gates
from deployments.provider_caller.resilience.health import ProviderHealth, health_of
from deployments.provider_caller.resilience.hedge import Hedges
from deployments.provider_caller.resilience.outcome import Outcome
from deployments.provider_caller.resilience.pauses import Pauses
from deployments.provider_caller.resilience.probes import Probe, Probes
from deployments.provider_caller.resilience.provider_limits import LimitQueue
from deployments.provider_caller.resilience.redis_guard import RedisGuard
from deployments.provider_caller.resilience.retry import RetryPolicy
from deployments.provider_caller.resilience.shared_speeds import SpeedsPublisher
from deployments.provider_caller.resilience.sharing import Sharing
from deployments.provider_caller.resilience.speeds import Speeds
from deployments.provider_caller.resilience.targets import Plan, Target
from kit.errors import DeadlineError, PenstockError, UnavailableError
from kit.tasks import stop
from kit.telemetry import METRICS

RETRIES = "penstock_provider_retries_total"
FALLBACKS = "penstock_provider_fallbacks_total"
HEDGES = "penstock_hedges_total"

T = TypeVar("T")
Discard = Callable[[T], Awaitable[None]]

_log = structlog.get_logger("penstock.resilience")


class Attempts:
    """The attempts of one replica. redis: answers in bytes, not decoded. probe: see `probes`; None: no probes."""

    def __init__(
        self,
        config: ResilienceConfig,
        redis: Redis,
        *,
        probe: Probe | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        random = random or Random()
        self._gates = Gates(config)
        self._pauses = Pauses(clock)
        self._guard = RedisGuard(timeout=config.redis_timeout, pause=config.redis_pause, clock=clock)
        self._sharing = Sharing(config.breaker, redis, self._guard, self._gates, self._pauses, clock)
        self._speeds = Speeds(config.first_token, config.hedge.samples, clock)
        limits = LimitQueue(config.queue, redis, self._guard, clock)
        self._attempt = Attempt(config, self._gates, self._pauses, limits, self._sharing, self._speeds, clock)
        self._retry = RetryPolicy(config.retry, random)
        self._hedges = Hedges()
        self._background: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._sharing.run,
            SpeedsPublisher(redis, self._guard, self._speeds).run,
        ]
        if probe is not None:
            self._background.append(Probes(config.probe, self._gates, self._sharing, probe, clock, random).run)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Know what other replicas know, and go on sharing. A lost Redis does not hinder the start."""
        await self._sharing.sync()
        self._tasks = [asyncio.create_task(work(), name="penstock resilience") for work in self._background]

    async def close(self) -> None:
        """Stop sharing; wait for hedges that lost."""
        await asyncio.gather(*(stop(task) for task in self._tasks))
        await self._hedges.close()

    @property
    def alone(self) -> bool:
        """Whether Redis is lost, so that this replica judges by itself."""
        return self._guard.lost

    def states(self) -> Mapping[GateKey, ProviderHealth]:
        """By (provider, owner), each that was called or is in trouble."""
        return health_of(self._gates, self._pauses, self._clock())

    async def run(self, plan: Plan, once: Once[T], *, discard: Discard[T] | None = None) -> Outcome[T]:
        """The first success. `discard` closes a value that a hedge no longer needs.

        Raises the routed target's failure where no target answers, DeadlineError once the time is over, and bad input
        at once. What `once` raises beside the platform's errors passes through, as a cancellation does.
        """
        first_failure: PenstockError | None
        targets, first_failure = fitting(plan, self._config.context_margin)
        course = Course(plan, once)
        left = list(targets)
        while left:
            target = left.pop(0)
            try:
                outcome = await self._ask(course, target, left, discard)
            except PenstockError as error:
                if first_failure is None and not judge(error).fallback:
                    raise
                first_failure = first_failure or error
                left = self._next(course, target, error, first_failure, left)
            else:
                outcome.attempts = course.attempts
                outcome.failure = first_failure if outcome.target is not plan.targets[0] else None
                return outcome
        raise first_failure or UnavailableError("No provider is at hand.")

    async def _ask(
        self, course: Course[T], target: Target, others: Sequence[Target], discard: Discard[T] | None
    ) -> Outcome[T]:
        """An answer of one target, if need be after retries."""
        budget = self._gates[target.provider, target.owner].budget
        budget.called(self._clock())
        failure: PenstockError | None = None
        made = 0
        while True:
            before = course.attempts
            try:
                return await self._try(course, target, others, discard, hedge=failure is None)
            except PenstockError as error:
                passed_over = course.attempts == before or isinstance(error, NotAskedError)
                if passed_over and failure is not None:
                    raise failure from error  # What it had failed with says more.
                if passed_over:
                    raise
                made, failure = made + 1, error
            verdict, fallback = judge(failure), self._at_hand(others)
            time_left = course.plan.deadline - self._clock()
            wait = self._retry.wait(failure, verdict, made=made, fallback=fallback, left=time_left)
            if wait is None or not budget.spend(self._clock()):
                raise failure
            METRICS.count(RETRIES, provider=target.provider, reason=verdict.reason)
            await asyncio.sleep(wait)

    async def _try(
        self, course: Course[T], target: Target, others: Sequence[Target], discard: Discard[T] | None, *, hedge: bool
    ) -> Outcome[T]:
        """One attempt, with a second one beside it where that is wanted and the first is slow."""
        at_hand = partial(self._at_hand, others)
        make = self._attempt.make
        wanted = hedge and course.plan.hedge and self._config.hedge.enabled
        delay = self._speeds.slow(target, stream=course.plan.stream) if wanted else None
        if delay is None:
            return await make(course, target, fallback=at_hand)

        def second() -> Coroutine[Any, Any, Outcome[T]] | None:
            if not self._gates[target.provider, target.owner].budget.spend(self._clock()):
                return None
            METRICS.count(HEDGES, provider=target.provider, outcome="begun")
            beside = next((other for other in others if self._healthy(other)), target)
            return make(course, beside, fallback=lambda: True)

        async def lose(outcome: Outcome[T]) -> None:
            outcome.ended(complete=None)
            if discard is not None:
                await discard(outcome.value)

        outcome = await self._hedges.race(
            lambda: make(course, target, fallback=at_hand), second, delay=delay, discard=lose
        )
        if outcome.target is not target:
            METRICS.count(HEDGES, provider=target.provider, outcome="won")
        return outcome

    def _next(
        self,
        course: Course[T],
        target: Target,
        error: PenstockError,
        first_failure: PenstockError,
        left: list[Target],
    ) -> list[Target]:
        """The targets that are still worth asking. Raises DeadlineError where the time is over."""
        if self._clock() >= course.plan.deadline:
            raise _over(first_failure) from error
        verdict = judge(error)
        if verdict is CONTEXT_LENGTH:
            left = list(larger(left, target))
        if left:
            names = {"from": target.provider, "to": left[0].provider}
            METRICS.count(FALLBACKS, 1, reason=verdict.reason, **names)
            _log.info("fallback", **names, model=left[0].model, reason=verdict.reason)
        return left

    def _at_hand(self, targets: Sequence[Target]) -> bool:
        return any(self._healthy(target) for target in targets)

    def _healthy(self, target: Target) -> bool:
        gate = self._gates[target.provider, target.owner]
        closed = gate.breaker.state(self._clock()) == "closed"
        return closed and self._pauses.of(target.owner, target.provider, target.model) is None


def _over(failure: PenstockError) -> DeadlineError:
    if isinstance(failure, DeadlineError):
        return failure
    return DeadlineError(f"The time for this request is over. Before: {failure.message}")
