"""Whether an attempt that failed is repeated at the same target, and after how long."""

from random import Random

from deployments.provider_caller.resilience.config import RetryConfig
from deployments.provider_caller.resilience.failures import Verdict
from kit.errors import PenstockError


class RetryPolicy:
    """At most three attempts; where a fallback is at hand two, and no wait that would hold the switch up."""

    def __init__(self, config: RetryConfig, random: Random) -> None:
        self._config = config
        self._random = random

    def wait(self, error: PenstockError, verdict: Verdict, *, made: int, fallback: bool, left: float) -> float | None:
        """Seconds until the next attempt; None: none here.

        made: attempts at this target by now. fallback: whether a healthy one is at hand. left: seconds of the deadline.
        """
        config = self._config
        most = config.attempts_before_fallback if fallback else config.attempts
        if not verdict.retry or made >= most or (fallback and verdict.slow):
            return None
        wait = self._backoff(made) if error.retry_after is None else error.retry_after
        longest = min(left, config.longest_wait_before_fallback) if fallback else left
        return wait if wait < longest else None

    def _backoff(self, made: int) -> float:
        spread = self._config.jitter * self._random.uniform(-1, 1)
        return self._config.first_wait * 2.0 ** (made - 1) * (1 + spread)
