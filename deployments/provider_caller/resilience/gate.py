"""All that one replica knows and bounds of one provider with one owner's key."""

import asyncio

import structlog

from deployments.provider_caller.resilience.breaker import Breaker
from deployments.provider_caller.resilience.bulkhead import Bulkhead
from deployments.provider_caller.resilience.config import ResilienceConfig
from deployments.provider_caller.resilience.retry_budget import RetryBudget
from deployments.provider_caller.resilience.targets import Target
from kit.telemetry import METRICS

TRANSITIONS = "penstock_breaker_transitions_total"

_log = structlog.get_logger("penstock.resilience")

GateKey = tuple[str, str]
"""(provider, owner)."""


class Gate:
    """The parts that a call passes. target: the last one that was called, for probes."""

    __slots__ = ("breaker", "budget", "bulkhead", "key", "key_refusals", "limit_turn", "target", "waiting")

    def __init__(self, key: GateKey, config: ResilienceConfig) -> None:
        self.key = key
        self.breaker = Breaker(config.breaker)
        self.bulkhead = Bulkhead()
        self.budget = RetryBudget(config.retry)
        self.key_refusals = 0
        self.limit_turn = asyncio.Lock()
        self.waiting = 0
        """Calls that wait for a limit or a pause to end."""
        self.target: Target | None = None


class Gates(dict[GateKey, Gate]):
    """The gates of this replica, made as they are needed."""

    def __init__(self, config: ResilienceConfig) -> None:
        super().__init__()
        self._config = config

    def __missing__(self, key: GateKey) -> Gate:
        gate = self[key] = Gate(key, self._config)
        return gate


def note_transition(key: GateKey, to: str) -> None:
    """Say that a breaker changed its state by this replica's decision."""
    provider, owner = key
    METRICS.count(TRANSITIONS, provider=provider, to=to)
    level = _log.warning if to == "open" else _log.info
    level("breaker changed", provider=provider, owner=owner, to=to)
