"""Every provider played by the simulator, and how the provider caller is pointed at it."""

from collections.abc import Mapping
from typing import Any

from load.simulator.process import SimulatorProcess

MODELS = {
    "openai": "gpt-4o",
    "anthropic": "claude-sonnet-5-5",
    "groq": "openai/gpt-oss-120b",
    "google": "gemini-3.8-flash",
    "perplexity": "sonar",
}
"""One of each provider."""
PATIENT, HASTY = 10.0, 0.6
"""Seconds that a stream may be silent: where nothing is, so that a slow machine is no failure; where something is."""
STALLS = frozenset({"stall_before", "stall_first", "stall_mid", "slow_bytes"})
"""Faults that are noticed by nothing but the time that passes."""
KEY = "sk-secret"
"""Of every provider; must never be seen by a client."""
EMPTY: Mapping[str, Any] = {}
_FOLDERS = {"google": "gemini"}
"""The simulator's names of providers where they differ from ours."""


def simulated_name(provider: str) -> str:
    """A provider of ours, as the simulator calls it."""
    return _FOLDERS.get(provider, provider)


def base_url(simulated: SimulatorProcess, provider: str) -> str:
    """What a provider of ours is configured with."""
    return simulated.base_url(simulated_name(provider)) + ("/v1" if provider == "perplexity" else "")


def provider_caller_settings(
    simulated: SimulatorProcess,
    *,
    silence: float,
    retry: Mapping[str, Any] = EMPTY,
    keys: Mapping[str, str] = EMPTY,
    base_urls: Mapping[str, str] = EMPTY,
    **resilience: Any,
) -> dict[str, Any]:
    """The provider caller's settings with production's clocks, quicker. silence: seconds that a stream may be silent.
    The other arguments are settings of these sections beside those here."""
    never = 100_000
    return {
        "keys": dict.fromkeys(MODELS, KEY) | dict(keys),
        "base_urls": {name: base_url(simulated, name) for name in MODELS} | dict(base_urls),
        "idle_timeout": silence,
        "money": {"rebuild_pause": 0},
        "resilience": {
            "retry": {"first_wait": 0.01, "longest_wait_before_fallback": 0.2, "budget_share": 1.0, **retry},
            "first_token": {"least": silence, "most": silence, "default": silence},
            # Breakers stay shut and pauses are short: each test sees its own failures.
            "breaker": {
                "consecutive_failures": never,
                "window_failures": never,
                "key_refusals": never,
                "broken_key_seconds": 1e-9,
            },
            "queue": {"longest_pause": 1e-9},
            **resilience,
        },
    }
