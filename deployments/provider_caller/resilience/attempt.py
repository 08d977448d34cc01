"""One attempt at one target: in through its gate, a bounded call, and what its result says of the provider.

Whatever happens, the cancellation of the caller too, the slot goes back and a trial ends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from deployments.provider_caller.resilience.bulkhead import QueueFullError
from deployments.provider_caller.resilience.config import ResilienceConfig
from deployments.provider_caller.resilience.failures import (
    ANSWERED,
    CANCELLED,
    DEADLINE,
    KEY_REFUSED,
    NOT_ASKED,
    RATE_LIMITED,
    SPENT,
    NotAskedError,
    StallError,
    Verdict,
    judge,
)
from deployments.provider_caller.resilience.gate import Gate, Gates, note_transition
from deployments.provider_caller.resilience.outcome import Outcome
from deployments.provider_caller.resilience.pauses import ALL_MODELS, Pause, Pauses
from deployments.provider_caller.resilience.provider_limits import QUEUE_SECONDS, LimitQueue
from deployments.provider_caller.resilience.sharing import Sharing
from deployments.provider_caller.resilience.speeds import Speeds
from deployments.provider_caller.resilience.targets import OPERATOR, Plan, Target
from kit.errors import DeadlineError, PenstockError
from kit.telemetry import METRICS

ATTEMPTS = "penstock_provider_attempts_total"

T = TypeVar("T")

Once = Callable[[Target, int], Awaitable[T]]
"""Makes exactly one attempt, the n-th of its run."""


class Course(Generic[T]):
    """One run under way."""

    __slots__ = ("attempts", "once", "plan")

    def __init__(self, plan: Plan, once: Once[T]) -> None:
        self.plan = plan
        self.once = once
        self.attempts = 0


class Attempt:
    """Makes attempts, for all runs of a replica."""

    def __init__(
        self,
        config: ResilienceConfig,
        gates: Gates,
        pauses: Pauses,
        limits: LimitQueue,
        sharing: Sharing,
        speeds: Speeds,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._gates = gates
        self._pauses = pauses
        self._limits = limits
        self._sharing = sharing
        self._speeds = speeds
        self._clock = clock

    async def make(self, course: Course[T], target: Target, *, fallback: Callable[[], bool]) -> Outcome[T]:
        """Raises NotAskedError where the target is passed over, DeadlineError, StallError, or what the attempt raises;
        an attempt that finds out itself that it must not be made raises NotAskedError, too.

        fallback: whether a healthy one is at hand; where it is, nothing waits for a provider's pause to end.
        """
        gate = self._gates[target.provider, target.owner]
        gate.target = target
        trial = await self._enter(gate, target, course.plan, fallback)
        begun, outcome = self._clock(), CANCELLED
        kept = False
        try:
            value = await self._bounded(course, target, begun)
            outcome, kept = ANSWERED, course.plan.stream
            seconds = self._clock() - begun
            self._answered(gate, trial)
            trial = False
        except PenstockError as error:
            verdict = judge(error)
            outcome = verdict.reason
            self._failed(gate, target, trial, error, verdict, self._clock() - begun)
            trial = False
            raise
        finally:
            if trial:
                gate.breaker.abandoned()
            if not kept:
                gate.bulkhead.release()
            METRICS.count(ATTEMPTS, provider=target.provider, model=target.model, outcome=outcome)
        if kept:
            self._speeds.first_token(target, seconds)
            ended = partial(self._stream_ended, gate, target, begun, seconds)
        else:
            self._speeds.total(target, seconds)
            ended = partial(self._answer_ended, target, seconds)
        return Outcome(value, target, _ended=ended)

    # --- the way in ---------------------------------------------------------------------------------------------

    async def _enter(self, gate: Gate, target: Target, plan: Plan, fallback: Callable[[], bool]) -> bool:
        """Take a slot, within every limit. Whether the call is a trial of a half-open provider."""
        pause = self._pauses.of(target.owner, target.provider, target.model)
        if pause is not None:
            await self._wait_out(pause, gate, target, plan, fallback)
        self._refuse_if_open(gate, target)
        limits = target.limits
        slots = (limits and limits.max_concurrency) or self._config.queue.max_concurrency
        if not gate.bulkhead.try_acquire(slots):
            await self._queue_for_slot(gate, target, plan)
        try:
            if limits is not None:
                await self._limits.enter(gate, target, plan.tokens + plan.max_output, plan.deadline)
            return gate.breaker.state(self._clock()) != "closed" and await self._begin_trial(gate, target)
        except BaseException:
            gate.bulkhead.release()
            raise

    async def _wait_out(
        self, pause: Pause, gate: Gate, target: Target, plan: Plan, fallback: Callable[[], bool]
    ) -> None:
        left = pause.until - self._clock()
        if pause.reason != RATE_LIMITED.reason:
            raise NotAskedError(_unusable(pause, target, left), retry_after=left)
        if fallback():
            message = f"{target.provider} asked to leave {target.model} alone for {left:.1f} more seconds."
            raise NotAskedError(message, retry_after=left)
        await self._limits.pause(gate, target, left, plan.deadline)

    def _refuse_if_open(self, gate: Gate, target: Target) -> None:
        now = self._clock()
        if gate.breaker.state(now) == "open":
            left = gate.breaker.reopens - now
            message = f"{target.provider} has been failing; it is left alone for {left:.1f} more seconds."
            raise NotAskedError(message, retry_after=left)

    async def _queue_for_slot(self, gate: Gate, target: Target, plan: Plan) -> None:
        queue, begun = self._config.queue, self._clock()
        timeout = max(0.0, min(queue.longest_wait, plan.deadline - begun))
        try:
            await gate.bulkhead.acquire(max_waiting=queue.max_waiting, timeout=timeout)
        except (QueueFullError, TimeoutError):
            raise NotAskedError(f"Too many calls are at {target.provider} already.", retry_after=1) from None
        finally:
            METRICS.observe(QUEUE_SECONDS, self._clock() - begun, provider=target.provider, queue="slots")

    async def _begin_trial(self, gate: Gate, target: Target) -> bool:
        self._refuse_if_open(gate, target)
        busy = NotAskedError(f"{target.provider} has been failing; other calls are trying it.", retry_after=1)
        if not gate.breaker.try_trial():
            raise busy
        granted = False
        try:
            granted = await self._sharing.try_trial(gate.key)
        finally:
            if not granted:
                gate.breaker.not_granted()
        if not granted:
            raise busy
        note_transition(gate.key, "half_open")
        return True

    # --- the call -----------------------------------------------------------------------------------------------

    async def _bounded(self, course: Course[T], target: Target, now: float) -> T:
        left = course.plan.deadline - now
        if left <= 0:
            raise DeadlineError(f"The time for this request was over before {target.provider} was asked.")
        limit = min(left, self._speeds.first_token_limit(target)) if course.plan.stream else left
        course.attempts += 1
        try:
            async with asyncio.timeout(limit) as timer:
                return await course.once(target, course.attempts)
        except TimeoutError:
            if not timer.expired():
                raise
        if limit < left:
            self._speeds.stalled(target, limit)
            raise StallError(f"{target.model} of {target.provider} did not begin within {limit:.1f} s.")
        raise DeadlineError(f"{target.provider} did not answer within the {left:.1f} s that were left.")

    # --- what it says of the provider ---------------------------------------------------------------------------

    def _answered(self, gate: Gate, trial: bool) -> None:
        gate.key_refusals = 0
        if not trial:
            gate.breaker.succeeded(self._clock())
        elif gate.breaker.tried(self._clock(), well=True):
            note_transition(gate.key, "closed")
            self._sharing.wake()

    def _failed(
        self, gate: Gate, target: Target, trial: bool, error: PenstockError, verdict: Verdict, lasted: float
    ) -> None:
        hung = verdict is DEADLINE and lasted >= self._config.breaker.stalled_answer
        at_fault = verdict.breaker or hung
        now = self._clock()
        if trial and (verdict is NOT_ASKED or (verdict is DEADLINE and not hung)):
            gate.breaker.abandoned()  # Nothing was heard of the provider.
        elif trial:
            if gate.breaker.tried(now, well=not at_fault):
                note_transition(gate.key, "open" if at_fault else "closed")
        elif at_fault and gate.breaker.failed(now):
            note_transition(gate.key, "open")
        paused = self._pause(gate, target, error, verdict)
        if trial or at_fault or paused:
            self._sharing.wake()

    def _pause(self, gate: Gate, target: Target, error: PenstockError, verdict: Verdict) -> bool:
        """Leave alone what the provider's answer says is useless for a while."""
        breaker = self._config.breaker
        key = (target.owner, target.provider, ALL_MODELS)
        if verdict is KEY_REFUSED:
            gate.key_refusals += 1
            if gate.key_refusals < breaker.key_refusals:
                return False  # It may be one model that this key may not use.
            self._pauses.add(key, breaker.broken_key_seconds, verdict.reason)
        elif verdict is SPENT:
            self._pauses.add(key, breaker.broken_key_seconds, verdict.reason)
        elif verdict is RATE_LIMITED and error.retry_after is not None:
            seconds = min(error.retry_after, self._config.queue.longest_pause)
            self._pauses.add((target.owner, target.provider, target.model), seconds, verdict.reason)
        else:
            return False
        return True

    def _answer_ended(self, target: Target, seconds: float, complete: bool | None, output_tokens: int) -> None:
        self._speeds.output(target, output_tokens, seconds)

    def _stream_ended(
        self, gate: Gate, target: Target, begun: float, first_token: float, complete: bool | None, output_tokens: int
    ) -> None:
        gate.bulkhead.release()
        now = self._clock()
        if complete:
            self._speeds.total(target, now - begun)
            self._speeds.output(target, output_tokens, now - begun - first_token)
        elif complete is False:
            METRICS.count(ATTEMPTS, provider=target.provider, model=target.model, outcome="broke_off")
            if gate.breaker.broke_off(now):
                note_transition(gate.key, "open")
            self._sharing.wake()


def _unusable(pause: Pause, target: Target, left: float) -> str:
    whose = "this platform's" if target.owner == OPERATOR else "the tenant's"
    what = f"refuses {whose} key" if pause.reason == KEY_REFUSED.reason else f"says that {whose} account is spent"
    return f"{target.provider} {what}; it is asked again in {left:.0f} s."
