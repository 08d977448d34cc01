"""How long providers take: the first token is log-normal by its p50 and p95, the others follow at a steady rate."""

import math
import random
from dataclasses import dataclass

_Z95 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds and tokens per second; a rate of 0: all tokens at once. An equal p50 and p95 is a fixed time."""

    first_token_p50: float = 0.0
    first_token_p95: float = 0.0
    tokens_per_second: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.first_token_p50 <= self.first_token_p95 or self.tokens_per_second < 0:
            raise ValueError("A latency needs 0 <= first_token_p50 <= first_token_p95 and no negative rate.")

    def first_token(self, source: random.Random) -> float:
        """Seconds until the first token of one call."""
        if self.first_token_p50 == self.first_token_p95:
            return self.first_token_p50
        spread = math.log(self.first_token_p95 / self.first_token_p50) / _Z95 if self.first_token_p50 else 0.0
        return self.first_token_p50 * math.exp(source.gauss(0.0, spread))

    @property
    def interval(self) -> float:
        """Seconds between tokens."""
        return 1 / self.tokens_per_second if self.tokens_per_second else 0.0


NONE = Latency()
_GPT_4O = Latency(2.1, 5.0, 90)
_GROQ = Latency(0.3, 0.8, 400)
_SONAR = Latency(3.2, 7.0, 110)
_SONNET = Latency(1.8, 4.5, 80)
_SMALL = Latency(0.6, 1.5, 150)

DAY: tuple[tuple[str, str, Latency], ...] = (
    ("groq", "", _GROQ),
    ("perplexity", "", _SONAR),
    ("", "mini", _SMALL),
    ("", "luna", _SMALL),
    ("", "haiku", _SMALL),
    ("", "flash", _SMALL),
    ("", "embedding", Latency(0.1, 0.3)),
    ("anthropic", "", _SONNET),
    ("", "", _GPT_4O),
)
"""(provider, part of the model's name, latency): the first that fits, an empty word fits all."""

PROFILES: dict[str, tuple[tuple[str, str, Latency], ...]] = {"fast": (("", "", NONE),), "day": DAY}


class LatencyModel:
    """time_scale: all times are multiplied by it, so that 0.01 replays a day a hundred times as fast."""

    def __init__(self, profile: str = "fast", time_scale: float = 1.0, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self.time_scale = time_scale
        self.use(profile)

    def use(self, profile: str) -> None:
        """Switch to a named profile. Raises ValueError for an unknown one."""
        if profile not in PROFILES:
            raise ValueError(f"There is no profile {profile!r}; there are {', '.join(PROFILES)}.")
        self.profile = profile
        self._rules = PROFILES[profile]
        self._found: dict[tuple[str, str], Latency] = {}

    def set(self, provider: str, latency: Latency) -> None:
        """Let all models of a provider take this long; `*` for every provider."""
        name = "" if provider == "*" else provider
        self._rules = ((name, "", latency), *(rule for rule in self._rules if rule[:2] != (name, "")))
        self._found = {}

    def times(self, provider: str, model: str) -> tuple[float, float]:
        """Seconds to the first token and between tokens, of one call."""
        latency = self._found.get((provider, model))
        if latency is None:
            latency = next(
                (found for name, part, found in self._rules if name in ("", provider) and part in model), NONE
            )
            self._found[provider, model] = latency
        if latency is NONE:
            return 0.0, 0.0
        return latency.first_token(self._random) * self.time_scale, latency.interval * self.time_scale
