"""Looks at providers that nobody calls any more: a half-open breaker without calls would stay so for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import structlog

from deployments.provider_caller.resilience.config import ProbeConfig
from deployments.provider_caller.resilience.failures import judge
from deployments.provider_caller.resilience.gate import Gate, Gates, note_transition
from deployments.provider_caller.resilience.sharing import Sharing
from deployments.provider_caller.resilience.targets import Target
from kit.errors import PenstockError

Probe = Callable[[Target], Awaitable[None]]
"""Asks a provider something cheap, such as the list of its models. Raises the platform's errors."""

_log = structlog.get_logger("penstock.resilience")


class Probes:
    """Tries a half-open provider that no call has tried for a whole interval."""

    def __init__(
        self,
        config: ProbeConfig,
        gates: Gates,
        sharing: Sharing,
        probe: Probe,
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        self._config = config
        self._gates = gates
        self._sharing = sharing
        self._probe = probe
        self._clock = clock
        self._random = random

    async def run(self) -> None:
        """Look for ever, replicas at different moments."""
        while True:
            await asyncio.sleep(self._config.interval * self._random.uniform(0.8, 1.2))
            await self.look()

    async def look(self) -> None:
        """Try each provider that waits for it."""
        await asyncio.gather(*(self._try(gate, gate.target) for gate in list(self._gates.values()) if gate.target))

    async def _try(self, gate: Gate, target: Target) -> None:
        breaker, now = gate.breaker, self._clock()
        untried = breaker.state(now) == "half_open" and now - breaker.reopens >= self._config.interval
        if not untried or not breaker.try_trial():
            return
        granted, well = False, None
        try:
            granted = await self._sharing.try_trial(gate.key)
            if granted:
                well = await self._answers(target)
        finally:
            if not granted:
                breaker.not_granted()
            elif well is None:
                breaker.abandoned()
            elif breaker.tried(self._clock(), well=well):
                note_transition(gate.key, "closed" if well else "open")
            self._sharing.wake()

    async def _answers(self, target: Target) -> bool:
        try:
            async with asyncio.timeout(self._config.timeout):
                await self._probe(target)
        except PenstockError as error:
            # A refusal is an answer, too.
            return not judge(error).breaker
        except Exception as error:
            _log.warning("probe failed", provider=target.provider, owner=target.owner, error=type(error).__name__)
            return False
        return True
