"""What goes wrong on purpose, and which request it happens to.

A fault is written `NAME` or `NAME:VALUE`: `500`, `stall_mid:5`, `429_retry_after:2`.
"""

import random
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from load.simulator.errors import ProviderError

HEADER = b"x-simulator-fault"
SUFFIX = "!"
_MARK = re.compile(r"\[\[([a-z0-9_]+(?::[0-9.]+)?)\]\]")

REFUSALS: dict[str, ProviderError] = {
    "429": ProviderError(429, "rate_limit", "Rate limit reached. Please slow down."),
    "429_retry_after": ProviderError(429, "rate_limit", "Rate limit reached. Please try again later."),
    "429_quota": ProviderError(429, "quota", "You exceeded your current quota, please check your plan and billing."),
    "500": ProviderError(500, "server", "The server had an error while processing your request."),
    "503": ProviderError(503, "overloaded", "The service is temporarily unavailable."),
    "529": ProviderError(529, "overloaded", "Overloaded"),
    "context_length": ProviderError(400, "context_length", ""),
    "bad_tool_schema": ProviderError(400, "tool_schema", "Invalid schema for function: it is not valid.", "tools"),
    "unknown_model": ProviderError(404, "unknown_model", "The model does not exist or you do not have access to it."),
}
"""Faults that are an error answer of the provider."""

CONNECTION = ("refuse", "stall_before", "html", "empty")
"""Faults that take the place of any answer."""

PLAYED = (
    "stall_first", "stall_mid", "slow_bytes", "cut_mid_event", "cut_clean", "garbled", "missing_done",
    "duplicate_usage", "error_200", "error_mid",
)  # fmt: skip
"""Faults of an answer that has begun."""

NAMES = frozenset((*REFUSALS, *CONNECTION, *PLAYED))
DEFAULT_VALUES = {"429_retry_after": "1", "slow_bytes": "1"}
DEFAULT_POSITION = 3
"""Tokens that come before a fault in the middle of a stream."""


class UnknownFaultError(ValueError):
    """No fault has this name, or its value is not a number."""


@dataclass(frozen=True, slots=True)
class Fault:
    """value: as it was written, empty for the default."""

    name: str
    value: str = ""

    @property
    def position(self) -> int:
        """Tokens that come before it."""
        return int(float(self.value)) if self.value else DEFAULT_POSITION

    @property
    def seconds(self) -> float:
        """`Retry-After`, or the time that one byte takes."""
        return float(self.value or DEFAULT_VALUES.get(self.name, "0"))

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Raises UnknownFaultError."""
        name, _, value = text.partition(":")
        if name not in NAMES:
            raise UnknownFaultError(f"There is no fault {name!r}; there are {', '.join(sorted(NAMES))}.")
        try:
            float(value or 0)
        except ValueError as error:
            raise UnknownFaultError(f"The value of {text!r} is not a number.") from error
        return cls(name, value)


@dataclass(slots=True)
class FaultPlan:
    """Of one provider: the faults of its next calls (None: this call is served), then each with its probability."""

    queue: deque[Fault | None] = field(default_factory=deque)
    probabilities: dict[str, float] = field(default_factory=dict)

    def draw(self, random_source: random.Random) -> Fault | None:
        """The fault of the next call."""
        if self.queue:
            return self.queue.popleft()
        if not self.probabilities:
            return None
        point = random_source.random()
        for text, probability in self.probabilities.items():
            point -= probability
            if point < 0:
                return Fault.parse(text)
        return None


ALL = "*"


class FaultChooser:
    """Which fault a call gets: its header, its model's suffix, a mark in its last user message, else the plan of its
    provider, else the plan of all (`*`)."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._plans: dict[str, FaultPlan] = {}

    def plan(
        self, provider: str, queue: Iterable[str | None] | None, probabilities: Mapping[str, float] | None
    ) -> None:
        """Replace what is given of a provider's plan. Raises UnknownFaultError, ValueError for wrong probabilities."""
        plan = self._plans.get(provider) or FaultPlan()
        if probabilities is not None:
            for text in probabilities:
                Fault.parse(text)
            if any(share < 0 for share in probabilities.values()) or sum(probabilities.values()) > 1:
                raise ValueError("Probabilities are 0 to 1 and at most 1 together.")
            plan.probabilities = dict(probabilities)
        if queue is not None:
            plan.queue = deque(None if text is None else Fault.parse(text) for text in queue)
        self._plans[provider] = plan

    def clear(self) -> None:
        """No more faults but those that requests ask for."""
        self._plans.clear()

    @property
    def planned(self) -> bool:
        """Whether calls may get a fault that they do not ask for."""
        return bool(self._plans)

    def drawn(self, provider: str) -> Fault | None:
        """Of the plans. Takes the next one of a queue."""
        plan = self._plans.get(provider) or self._plans.get(ALL)
        return None if plan is None else plan.draw(self._random)


def marked(text: str) -> Fault | None:
    """The fault that a message asks for; marks that are no fault's are none."""
    if "[[" in text:
        for found in _MARK.finditer(text):
            if found[1].partition(":")[0] in NAMES:
                return Fault.parse(found[1])
    return None
