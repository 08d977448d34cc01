"""The state of providers as one replica sees it, for the health pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deployments.provider_caller.resilience.failures import KEY_REFUSED
from deployments.provider_caller.resilience.gate import Gate, GateKey
from deployments.provider_caller.resilience.pauses import ALL_MODELS, Pauses

ProviderState = Literal["closed", "open", "half_open", "broken_key"]


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """state: the breaker's, or `broken_key`. failures: of all replicas within the breaker's window. for_seconds: how
    long the breaker has been in its state, None for always. retries_left: of the retry budget. running and waiting:
    calls of this replica. paused: models that the provider asked to leave alone, with the seconds that are left."""

    state: ProviderState
    failures: int
    for_seconds: float | None
    retries_left: int
    running: int
    waiting: int
    paused: Mapping[str, float]


def health_of(gates: Mapping[GateKey, Gate], pauses: Pauses, now: float) -> dict[GateKey, ProviderHealth]:
    """By (provider, owner), each that was called or is in trouble."""
    return {key: _health(gate, pauses, now) for key, gate in gates.items()}


def _health(gate: Gate, pauses: Pauses, now: float) -> ProviderHealth:
    provider, owner = gate.key
    held = pauses.of_provider(owner, provider)
    whole = held.get(ALL_MODELS)
    broken = whole is not None and whole.reason == KEY_REFUSED.reason
    breaker = gate.breaker
    return ProviderHealth(
        state="broken_key" if broken else breaker.state(now),
        failures=breaker.failures(now),
        for_seconds=None if breaker.since is None else now - breaker.since,
        retries_left=gate.budget.left(now),
        running=gate.bulkhead.running,
        waiting=gate.bulkhead.waiting + gate.waiting,
        paused={model: pause.until - now for model, pause in held.items()},
    )
