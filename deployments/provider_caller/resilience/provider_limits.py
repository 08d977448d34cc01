"""Limits of providers that are known in advance: calls keep within them before a provider has to say so.

What fits goes at once. What fits soon waits in a queue, in order of arrival, bounded in length and in time. What does
not (a spent day, a full queue) is not asked, so that the next target is. The counts lie in Redis, for all replicas
together; while it is lost, each replica counts for itself.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from redis.asyncio import Redis

from deployments.provider_caller.config import ProviderLimits
from deployments.provider_caller.resilience.config import QueueConfig
from deployments.provider_caller.resilience.failures import NotAskedError
from deployments.provider_caller.resilience.gate import Gate
from deployments.provider_caller.resilience.redis_guard import RedisGuard
from deployments.provider_caller.resilience.sliding_window import DAY, MINUTE, Limit, LocalWindow
from deployments.provider_caller.resilience.targets import Target
from kit.telemetry import METRICS

QUEUE_SECONDS = "penstock_provider_queue_seconds"

_SCRIPT = Path(__file__).parent / "sliding_window.lua"

Take = tuple[Limit, int]


class LimitQueue:
    """Lets calls through as a provider's limits allow."""

    def __init__(self, config: QueueConfig, redis: Redis, guard: RedisGuard, clock: Callable[[], float]) -> None:
        self._config = config
        self._guard = guard
        self._clock = clock
        self._script = redis.register_script(_SCRIPT.read_text("utf-8"))
        self._local: dict[str, LocalWindow] = defaultdict(LocalWindow)

    async def enter(self, gate: Gate, target: Target, tokens: int, deadline: float) -> None:
        """Wait until the target's limits allow a call of so many tokens. Raises NotAskedError if that is too long."""
        takes = _takes(target.limits, tokens) if target.limits else ()
        if not takes:
            return
        until = min(deadline, self._clock() + self._config.longest_wait)
        if not gate.limit_turn.locked() and await self._fits(target, takes, until) == 0:
            return
        await self._queue(gate, target, takes, until)

    async def pause(self, gate: Gate, target: Target, seconds: float, deadline: float) -> None:
        """Wait for a pause to end. Raises NotAskedError where that is too long, or too many wait."""
        if seconds > min(deadline - self._clock(), self._config.longest_wait):
            raise _paused(target, seconds)
        self._join(gate, target)
        try:
            await asyncio.sleep(seconds)
        finally:
            gate.waiting -= 1

    async def _queue(self, gate: Gate, target: Target, takes: tuple[Take, ...], until: float) -> None:
        self._join(gate, target)
        begun = self._clock()
        try:
            async with asyncio.timeout(max(0.0, until - self._clock())), gate.limit_turn:
                while wait := await self._fits(target, takes, until):
                    await asyncio.sleep(wait)
        except TimeoutError:
            raise NotAskedError(f"{target.provider} has a limit that too many calls wait for.", retry_after=1) from None
        finally:
            gate.waiting -= 1
            METRICS.observe(QUEUE_SECONDS, self._clock() - begun, provider=target.provider, queue="limits")

    def _join(self, gate: Gate, target: Target) -> None:
        if gate.waiting >= self._config.max_waiting:
            raise NotAskedError(f"Too many calls wait for {target.provider}.", retry_after=1)
        gate.waiting += 1

    async def _fits(self, target: Target, takes: tuple[Take, ...], until: float) -> float:
        """0 where it was taken, else seconds to wait. Raises NotAskedError where they go beyond `until`."""
        keys = [f"penstock:provider:{target.owner}:{target.provider}:{limit.name}" for limit, _ in takes]
        arguments = [
            value
            for limit, amount in takes
            for value in (limit.amount, amount, limit.seconds * 1000, limit.bucket * 1000)
        ]
        answer = await self._guard.call(lambda: self._script(keys=keys, args=arguments))
        if answer is None:
            wait, limit = self._take_locally(keys, takes)
        else:
            wait, limit = (answer[1] / 1000, takes[answer[2] - 1][0]) if answer[0] else (0.0, takes[0][0])
        if self._clock() + wait > until:
            raise NotAskedError(
                f"The known limit of {target.provider}, {limit.amount} {limit.name.replace('_', ' ')}, is reached.",
                retry_after=wait,
            )
        return wait

    def _take_locally(self, keys: list[str], takes: tuple[Take, ...]) -> tuple[float, Limit]:
        now = self._clock()
        waits = [self._local[key].wait(limit, amount, now) for key, (limit, amount) in zip(keys, takes, strict=True)]
        longest = max(waits)
        if longest == 0:
            for key, (limit, amount) in zip(keys, takes, strict=True):
                self._local[key].take(limit, amount, now)
        return longest, takes[waits.index(longest)][0]


def _takes(limits: ProviderLimits, tokens: int) -> tuple[Take, ...]:
    stated = (
        ("requests_per_minute", limits.requests_per_minute, MINUTE, 1),
        ("requests_per_day", limits.requests_per_day, DAY, 1),
        ("tokens_per_minute", limits.tokens_per_minute, MINUTE, max(1, tokens)),
    )
    return tuple((Limit(name, amount, seconds), cost) for name, amount, seconds, cost in stated if amount is not None)


def _paused(target: Target, seconds: float) -> NotAskedError:
    return NotAskedError(f"{target.provider} asked for a pause of {seconds:.0f} more seconds.", retry_after=seconds)
