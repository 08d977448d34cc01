"""Retries may be a small share of calls, so that a provider in trouble is not buried under them.

After Finagle's retry budgets (https://twitter.github.io/finagle/guide/Clients.html#retries): a share of recent calls,
and a floor for a provider that is seldom called.
"""

from deployments.provider_caller.resilience.config import RetryConfig
from deployments.provider_caller.resilience.counts import SlidingCounts


class RetryBudget:
    """One provider's budget in this process."""

    def __init__(self, config: RetryConfig) -> None:
        self._config = config
        self._counts = SlidingCounts(config.budget_window)

    def called(self, now: float) -> None:
        """A first attempt was made."""
        self._counts.add(now, 1, 0)

    def spend(self, now: float) -> bool:
        """Take one retry; False where none is left."""
        if self.left(now) < 1:
            return False
        self._counts.add(now, 0, 1)
        return True

    def left(self, now: float) -> int:
        """Retries that are allowed now."""
        calls, retries = self._counts.totals(now)
        return max(self._config.budget_floor, int(self._config.budget_share * calls)) - retries
