"""How fast each model answers, as this replica has seen it of late.

The router's policy `speed` reads what all replicas have seen (`shared_speeds`); here it decides when a stream that has
not begun counts as stalled, and when a call is slow enough for a hedge.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deployments.provider_caller.resilience.config import FirstTokenConfig
from deployments.provider_caller.resilience.targets import Target

SAMPLES = 512
WINDOW_SECONDS = 900.0
REFRESH_SECONDS = 2.0

_STALLED_FACTOR = 1.5

SpeedKey = tuple[str, str, str]
"""(owner, provider, model): a tenant's own server is not the operator's, whatever its models are called."""

Samples = deque[tuple[float, float]]


@dataclass(slots=True)
class Sampled:
    """The last answers of one model: (moment, seconds) each; output: (moment, tokens, seconds they took)."""

    first_token: Samples = field(default_factory=lambda: deque(maxlen=SAMPLES))
    total: Samples = field(default_factory=lambda: deque(maxlen=SAMPLES))
    output: deque[tuple[float, int, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    limit: float | None = None
    slow: tuple[float | None, float | None] = (None, None)
    stale_at: float = 0.0


class Speeds:
    """Bounded windows by target."""

    def __init__(self, config: FirstTokenConfig, hedge_samples: int, clock: Callable[[], float]) -> None:
        self._config = config
        self._hedge_samples = hedge_samples
        self._clock = clock
        self._sampled: dict[SpeedKey, Sampled] = {}

    def first_token(self, target: Target, seconds: float) -> None:
        """A stream began after so many seconds."""
        self._of(target).first_token.append((self._clock(), seconds))

    def stalled(self, target: Target, limit: float) -> None:
        """A stream was given up at its limit. Counted as longer than that: windows that know only what stayed within
        the limit would lower it for ever."""
        self._of(target).first_token.append((self._clock(), limit * _STALLED_FACTOR))

    def total(self, target: Target, seconds: float) -> None:
        """An answer was complete after so many seconds."""
        self._of(target).total.append((self._clock(), seconds))

    def output(self, target: Target, tokens: int, seconds: float) -> None:
        """So many tokens came within so many seconds."""
        if tokens > 0 and seconds > 0:
            self._of(target).output.append((self._clock(), tokens, seconds))

    def first_token_limit(self, target: Target) -> float:
        """Seconds that a stream of this model gets to begin: its 99.9th percentile within the configured bounds."""
        limit = self._fresh(target).limit
        return self._config.default if limit is None else limit

    def slow(self, target: Target, *, stream: bool) -> float | None:
        """Seconds within which 95 % of its streams begin or of its answers are complete; None: too little is known."""
        return self._fresh(target).slow[0 if stream else 1]

    def recent(self) -> Iterator[tuple[SpeedKey, Sampled]]:
        """What was seen within the window; models that were not called are forgotten."""
        oldest = self._clock() - WINDOW_SECONDS
        for key, sampled in list(self._sampled.items()):
            for samples in (sampled.first_token, sampled.total, sampled.output):
                while samples and samples[0][0] < oldest:
                    samples.popleft()
            if sampled.first_token or sampled.total or sampled.output:
                yield key, sampled
            else:
                del self._sampled[key]

    def _of(self, target: Target) -> Sampled:
        key = (target.owner, target.provider, target.model)
        sampled = self._sampled.get(key)
        if sampled is None:
            sampled = self._sampled[key] = Sampled()
        return sampled

    def _fresh(self, target: Target) -> Sampled:
        """Percentiles are worked out every two seconds at most: sorting for each call would cost more than the call."""
        sampled, now = self._of(target), self._clock()
        if now >= sampled.stale_at:
            config = self._config
            begun, complete = _recent(sampled.first_token, now), _recent(sampled.total, now)
            known = len(begun) >= config.samples
            sampled.limit = min(max(_percentile(begun, 0.999), config.least), config.most) if known else None
            enough = self._hedge_samples
            sampled.slow = (
                _percentile(begun, 0.95) if len(begun) >= enough else None,
                _percentile(complete, 0.95) if len(complete) >= enough else None,
            )
            sampled.stale_at = now + REFRESH_SECONDS
        return sampled


def _recent(samples: Samples, now: float) -> list[float]:
    return sorted(seconds for moment, seconds in samples if moment >= now - WINDOW_SECONDS)


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
