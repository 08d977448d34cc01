"""Attempts whose results a test writes down beforehand."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployments.provider_caller.resilience.targets import Plan, Target
from kit.errors import PenstockError, RateLimitError, UnavailableError, UpstreamError, UpstreamRefusedError

A, B, C = (Target(name, f"{name}-model") for name in ("a", "b", "c"))


def failed() -> PenstockError:
    return UpstreamError("it failed with status 500")


def overloaded() -> PenstockError:
    return UnavailableError("it is overloaded")


def limited(seconds: float | None = None) -> PenstockError:
    return RateLimitError("too many requests", retry_after=seconds)


def bad_request() -> PenstockError:
    return UpstreamRefusedError("the field `tools` is wrong", status=400)


def key_refused() -> PenstockError:
    return UpstreamError("it refused the key", should_retry=False)


def too_long() -> PenstockError:
    error = UpstreamRefusedError("the prompt is too long", status=400)
    error.code = "context_length_exceeded"
    return error


@dataclass(frozen=True)
class Step:
    """What one attempt does: takes so long, then gives a value or raises."""

    seconds: float = 0.01
    error: Callable[[], Exception] | None = None


OK = Step()


@dataclass
class Provider:
    """Plays steps by target, the last one for ever. `asked`: (target, number, moment) of each attempt."""

    clock: Callable[[], float]
    steps: dict[str, Sequence[Step]]
    asked: list[tuple[Target, int, float]] = field(default_factory=list)
    cancelled: list[Target] = field(default_factory=list)

    async def once(self, target: Target, number: int) -> str:
        made = sum(asked is target for asked, _, _ in self.asked)
        self.asked.append((target, number, self.clock()))
        steps = self.steps.get(target.provider, [OK])
        step = steps[min(made, len(steps) - 1)]
        try:
            await asyncio.sleep(step.seconds)
        except asyncio.CancelledError:
            self.cancelled.append(target)
            raise
        if step.error is not None:
            raise step.error()
        return f"answer of {target.provider}"

    @property
    def order(self) -> str:
        """The targets in the order in which they were asked."""
        return "".join(target.provider for target, _, _ in self.asked)

    @property
    def waits(self) -> list[float]:
        """Seconds between the beginnings of attempts."""
        moments = [moment for _, _, moment in self.asked]
        return [round(later - earlier, 3) for earlier, later in itertools.pairwise(moments)]


def failing(error: Callable[[], Exception], times: int = 100, seconds: float = 0.01) -> list[Step]:
    return [Step(seconds, error)] * times + [OK]


def plan(clock: Callable[[], float], *targets: Target, within: float = 30.0, **more: object) -> Plan:
    return Plan(targets or (A, B), clock() + within, **more)  # type: ignore[arg-type]
