"""What clients are told about their rate limits, and the limits of one process while Redis is lost."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deployments.provider_caller.money import refusals
from deployments.provider_caller.money.rules import Applying, SlotRule, Unit


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of one rate limit. reset: seconds until all of it is there again."""

    unit: Unit
    limit: int
    remaining: int
    reset: float


def headers_of(left: Sequence[Left]) -> dict[str, str]:
    """OpenAI's `x-ratelimit-*` headers: of each unit the limit of which least is left."""
    headers: dict[str, str] = {}
    units: tuple[Unit, ...] = ("requests", "tokens")
    for unit in units:
        tightest = min((one for one in left if one.unit == unit), key=lambda one: one.remaining, default=None)
        if tightest is not None:
            headers[f"x-ratelimit-limit-{unit}"] = str(tightest.limit)
            headers[f"x-ratelimit-remaining-{unit}"] = str(tightest.remaining)
            headers[f"x-ratelimit-reset-{unit}"] = refusals.duration(tightest.reset)
    return headers


class LocalLimits:
    """The same limits in this process's memory. Each replica allows the whole limit while Redis is lost."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tats: dict[str, float] = {}
        self._slots: dict[str, int] = {}

    def take(self, applying: Applying, tokens: int) -> list[Left]:
        """Take from every limit, or raise RateLimitError and take nothing."""
        for slot in applying.slots:
            if self._slots.get(slot.key, 0) >= slot.cap:
                raise refusals.slots_taken(slot)
        now = self._clock()
        tats = []
        for rule in applying.rates:
            interval = rule.rate.interval_ms / 1000
            cost, burst = (tokens if rule.unit == "tokens" else 1), rule.rate.allowed_burst
            tat = max(self._tats.get(rule.key, 0.0), now)
            # More than a whole burst goes alone, as in kit.gcra.
            wait = tat - now if cost > burst else tat + (cost - burst) * interval - now
            if wait > 0:
                raise refusals.rate_reached(rule, wait)
            tats.append(tat + cost * interval)
        for slot in applying.slots:
            self._slots[slot.key] = self._slots.get(slot.key, 0) + 1
        left = []
        for rule, tat in zip(applying.rates, tats, strict=True):
            self._tats[rule.key] = tat
            remaining = int(rule.rate.allowed_burst - (tat - now) * 1000 / rule.rate.interval_ms + 1e-6)
            left.append(Left(rule.unit, rule.rate.amount, max(0, remaining), tat - now))
        return left

    def release(self, slots: Sequence[SlotRule]) -> None:
        """Give slots back."""
        for slot in slots:
            count = self._slots.get(slot.key, 0) - 1
            if count > 0:
                self._slots[slot.key] = count
            else:
                self._slots.pop(slot.key, None)

    def clear(self) -> None:
        """Forget the rates: Redis counts again. Slots stay until they are given back."""
        self._tats.clear()
