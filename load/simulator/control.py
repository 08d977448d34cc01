"""POST /control: what the next calls meet, while the simulator runs."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from load.simulator.faults import ALL
from load.simulator.latency import Latency
from load.simulator.providers import PROVIDERS
from load.simulator.service import Service


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FaultSettings(_Body):
    """queue: the faults of the next calls, null for a call that is served. probabilities: of every call after them."""

    queue: list[str | None] | None = None
    probabilities: dict[str, float] | None = None


class LatencySettings(_Body):
    """Seconds and tokens per second; p95 missing: always p50."""

    first_token_p50: float = 0.0
    first_token_p95: float | None = None
    tokens_per_second: float = 0.0


class ControlRequest(_Body):
    """All fields may be missing. `reset` comes first: `counts` forgets counts, bills and requests, `all` also plans,
    latencies and prompt caches. Providers are named as in the base URLs, `*` is every one."""

    reset: Literal["counts", "all"] | None = None
    faults: dict[str, FaultSettings] = Field(default_factory=dict)
    profile: str | None = None
    latency: dict[str, LatencySettings] = Field(default_factory=dict)
    time_scale: float | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0, le=1_000_000)
    close: list[str] = Field(default_factory=list)
    open: list[str] = Field(default_factory=list)


class ControlError(ValueError):
    """The request cannot be done; nothing was changed by the part that the message names."""


def apply(body: Any, service: Service, listen: Callable[[str, bool], None]) -> None:
    """Do what the body says. listen: opens or closes a provider's own port. Raises ValueError (also pydantic's)."""
    request = ControlRequest.model_validate(body)
    for name in (*request.faults, *request.latency):
        _known(name, everyone=True)
    for name in (*request.close, *request.open):
        _known(name, everyone=False)
    if request.reset is not None:
        service.counts.reset()
    if request.reset == "all":
        service.faults.clear()
        service.cache.clear()
        service.latency.use(service.latency.profile)
    if request.profile is not None:
        service.latency.use(request.profile)
    for name, faults in request.faults.items():
        service.faults.plan(name, faults.queue, faults.probabilities)
    for name, settings in request.latency.items():
        p95 = settings.first_token_p50 if settings.first_token_p95 is None else settings.first_token_p95
        service.latency.set(name, Latency(settings.first_token_p50, p95, settings.tokens_per_second))
    if request.time_scale is not None:
        service.latency.time_scale = request.time_scale
    if request.tokens is not None:
        service.generator.length = request.tokens
    for name in request.close:
        listen(name, False)
    for name in request.open:
        listen(name, True)


def _known(name: str, *, everyone: bool) -> None:
    if name not in PROVIDERS and not (everyone and name == ALL):
        raise ControlError(f"There is no provider {name!r}; there are {', '.join(PROVIDERS)}.")
